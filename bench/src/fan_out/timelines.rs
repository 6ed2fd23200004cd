//! Home timelines: the newest 600 posts of those whom a user follows, in one of three layouts.
//!
//! Relies on the code around it running on the user's task. The layouts are here to be compared;
//! what must stay true: in each of them a timeline ends after 600 posts, and the oldest go first.

use clap::ValueEnum;
use rama::prelude::*;
use rama::{LocalPState, Microbatch, Topology, Untracked};

/// So many posts a timeline has at most.
pub const LONGEST: usize = 600;
/// So many posts are in a page of the last layout.
const PAGE: usize = 10;

/// An author and the number of a post.
pub type Entry = (u32, u64);

const WHOLE: PState<Map<u32, Vec<Entry>>> = PState::named("$$timelines");
const ENTRIES: PState<Map<u32, Map<u64, Entry, Untracked>>> = PState::named("$$timelines");
const NEWEST: PState<Map<u32, Newest>> = PState::named("$$newest");
const PAGES: PState<Map<u32, Map<u64, Vec<Entry>, Untracked>>> = PState::named("$$pages");

/// How timelines lie in PStates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    /// A timeline is one value, written whole.
    Whole,
    /// Each post of a timeline is an entry of its own.
    Entries,
    /// The newest posts of a timeline are one value, the ones before them pages of ten.
    Pages,
}

/// The newest posts of a timeline, and how many full pages came before them.
#[rama::record]
#[derive(Default)]
struct Newest {
    pages: u64,
    entries: Vec<Entry>,
}

/// The timelines of a task's users.
#[derive(Clone, Copy)]
pub enum Timelines {
    /// Users to their timelines, the oldest post first.
    Whole(LocalPState<Map<u32, Vec<Entry>>>),
    /// Users to their posts, numbered downwards: the newest is the first.
    Entries(LocalPState<Map<u32, Map<u64, Entry, Untracked>>>),
    /// Users to their newest posts and to pages.
    Pages(Paged),
}

/// Timelines in pages.
#[derive(Clone, Copy)]
pub struct Paged {
    newest: LocalPState<Map<u32, Newest>>,
    pages: LocalPState<Map<u32, Map<u64, Vec<Entry>, Untracked>>>,
}

impl Timelines {
    /// Declares the PStates of a layout.
    pub fn declare(mb: &mut Topology<Microbatch>, layout: Layout) -> Timelines {
        match layout {
            Layout::Whole => Timelines::Whole(mb.pstate(WHOLE)),
            Layout::Entries => Timelines::Entries(mb.pstate(ENTRIES)),
            Layout::Pages => Timelines::Pages(Paged {
                newest: mb.pstate(NEWEST),
                pages: mb.pstate(PAGES),
            }),
        }
    }

    /// Adds a post to the timeline of a user.
    pub fn push(&self, task: &Task, user: u32, entry: Entry) {
        match self {
            Timelines::Whole(whole) => whole.key(&user).modify(task, |entries| {
                if entries.len() == LONGEST {
                    entries.remove(0);
                }
                entries.push(entry);
            }),
            Timelines::Entries(entries) => {
                let entries = entries.key(&user);
                let newest = entries.all().first_n(1).keys(task);
                let number = newest.first().map_or(u64::MAX, |newest| newest - 1);
                entries.key(&number).set(task, entry);
                if let Some(dropped) = number.checked_add(LONGEST as u64) {
                    entries.remove(task, &dropped);
                }
            }
            Timelines::Pages(paged) => paged.push(task, user, entry),
        }
    }

    /// A timeline that is full, where there was none; the oldest post first.
    pub fn fill(&self, task: &Task, user: u32, entries: Vec<Entry>) {
        match self {
            Timelines::Whole(whole) => whole.key(&user).set(task, entries),
            Timelines::Entries(_) => {
                for entry in entries {
                    self.push(task, user, entry);
                }
            }
            Timelines::Pages(paged) => {
                for page in entries.chunks(PAGE) {
                    let number = paged.next_page(task, user);
                    paged.pages.key(&user).key(&number).set(task, page.to_vec());
                }
            }
        }
    }

    /// The `count` newest posts of a user, the newest first.
    pub fn newest(&self, task: &Task, user: u32, count: usize) -> Vec<Entry> {
        match self {
            Timelines::Whole(whole) => {
                let entries = whole.key(&user).get(task).unwrap_or_default();
                entries.into_iter().rev().take(count).collect()
            }
            Timelines::Entries(entries) => {
                let newest = entries.key(&user).all().first_n(count as u64);
                newest.values(task)
            }
            Timelines::Pages(paged) => paged.newest(task, user, count),
        }
    }
}

impl Paged {
    fn push(&self, task: &Task, user: u32, entry: Entry) {
        let full = self.newest.key(&user).modify(task, |newest| {
            newest.entries.push(entry);
            if newest.entries.len() < PAGE {
                return None;
            }
            newest.pages += 1;
            Some((newest.pages - 1, std::mem::take(&mut newest.entries)))
        });
        let Some((number, page)) = full else { return };
        let pages = self.pages.key(&user);
        pages.key(&number).set(task, page);
        if let Some(dropped) = number.checked_sub((LONGEST / PAGE) as u64) {
            pages.remove(task, &dropped);
        }
    }

    /// Counts one page more and says which it is.
    fn next_page(&self, task: &Task, user: u32) -> u64 {
        self.newest.key(&user).modify(task, |newest| {
            newest.pages += 1;
            newest.pages - 1
        })
    }

    fn newest(&self, task: &Task, user: u32, count: usize) -> Vec<Entry> {
        let newest = self.newest.key(&user).get(task).unwrap_or_default();
        let mut entries: Vec<Entry> = newest.entries.into_iter().rev().take(count).collect();
        let mut page = newest.pages;
        while entries.len() < count && page > 0 {
            page -= 1;
            let before = self.pages.key(&user).key(&page).get(task);
            // The page before the oldest one: the timeline ends.
            let Some(before) = before else { break };
            let left = count - entries.len();
            entries.extend(before.into_iter().rev().take(left));
        }
        entries
    }
}
