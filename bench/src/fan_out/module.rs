//! The module: posts go to the home timelines of their authors' followers, exactly once.
//!
//! Relies on followers being kept where their own timelines are: every task has the followers of
//! every author who are at home there, so a post goes to each task once and no delivery leaves it.
//! What must stay true: a post takes at most [`CHUNK`] deliveries of a task in one microbatch; the
//! rest is appended to a depot of the same topology, behind the posts that came meanwhile, so that
//! the followers of a giant wait and nobody waits for them.

use rama::prelude::*;
use rama::{DepotHandle, LocalPState, Untracked};
use rama_wire::hash;

use super::timelines::{Entry, LONGEST, Layout, Timelines};

/// So many followers of an author lie in one value, and get a post in one go.
pub const CHUNK: usize = 1000;
/// How many statuses a page of a timeline has.
pub const PAGE: usize = 20;
/// How many posts of a partition one microbatch takes: what bounds the time until the next one.
const POSTS_PER_BATCH: u64 = 128;
/// How many unfinished ones.
const REST_PER_BATCH: u64 = 16;

/// Somebody writes something.
#[rama::record]
pub struct Post {
    /// Who.
    pub author: u32,
    /// Its number, unique.
    pub number: u64,
    /// What.
    pub text: String,
}

/// What is there before the first post.
#[rama::record]
pub enum Load {
    /// Some followers of an author, all at home on one task.
    Followers {
        /// That task.
        task: u32,
        /// Whom they follow.
        author: u32,
        /// Which of the author's values on that task this is.
        chunk: u32,
        /// Who they are.
        followers: Vec<u32>,
    },
    /// Users of one task whose timelines are full from the beginning, with posts of their own.
    Users {
        /// That task.
        task: u32,
        /// Who they are.
        users: Vec<u32>,
    },
}

/// A post on its way to the followers of a task.
#[rama::record]
pub struct Delivery {
    author: u32,
    number: u64,
    chunk: u32,
}

/// A post as its author's task has it.
#[rama::record]
#[derive(Default)]
pub struct Status {
    /// What was written.
    pub text: String,
    /// How many liked it.
    pub likes: u64,
    /// How many answered.
    pub replies: u64,
}

/// What a task has done so far.
#[rama::record]
#[derive(Copy, Default)]
pub struct Progress {
    /// Posts put into timelines.
    pub writes: u64,
    /// Posts that have reached all followers here.
    pub finished: u64,
}

/// What a timeline holds, in short.
#[rama::record]
#[derive(Copy, PartialEq, Eq)]
pub struct Digest {
    /// Whose.
    pub user: u32,
    /// How many posts.
    pub posts: u64,
    /// How many of them that were not there from the beginning.
    pub new: u64,
    /// How many that are in it twice.
    pub repeated: u64,
    /// The sum of the hashes of all.
    pub sum: u64,
}

impl Digest {
    /// The digest of a timeline.
    pub fn of(user: u32, mut entries: Vec<Entry>) -> Digest {
        let hash = |(author, number): &Entry| {
            let mixed = (u64::from(*author) << 40) ^ number;
            mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15)
        };
        let sum = entries.iter().map(hash).fold(0, u64::wrapping_add);
        let new = entries.iter().filter(|(author, _)| *author != user).count();
        let posts = entries.len();
        entries.sort_unstable();
        entries.dedup();
        Digest {
            user,
            posts: posts as u64,
            new: new as u64,
            repeated: (posts - entries.len()) as u64,
            sum,
        }
    }
}

/// Posts, partitioned by author.
pub const POSTS: Depot<Post> = Depot::named("*posts");
/// What is there before the first post.
pub const LOADS: Depot<Load> = Depot::named("*loads");
/// Deliveries that were begun.
const REST: Depot<Delivery> = Depot::named("*rest");
/// Numbers of posts that have reached all followers of a task.
pub const FINISHED: Depot<u64> = Depot::named("*finished");
type Statuses = Map<u32, Map<u64, Status, Untracked>>;
/// Author and number to post.
const STATUSES: PState<Statuses> = PState::named("$$statuses");
/// Author and number of a value to followers at home on the same task.
const FOLLOWERS: PState<Map<u32, Map<u32, Vec<u32>, Untracked>>> = PState::named("$$followers");
/// What each task has done.
pub const PROGRESS: PState<Progress> = PState::named("$$progress");
/// The newest statuses of a user's timeline, with authors and what they wrote, in one round trip.
pub const TIMELINE: Query<u32, Vec<(u64, u32, Status)>> = Query::named("timeline");
/// The timelines of users from one up to another, in short.
pub const DIGESTS: Query<(u32, u32), Vec<Digest>> = Query::named("digests");

/// The timeline that a user has from the beginning.
pub fn first_timeline(user: u32) -> Vec<Entry> {
    (0..LONGEST as u64).map(|number| (user, number)).collect()
}

/// Whether a user is at home on a task.
fn at_home(task: &Task, user: u32) -> bool {
    hash::task_of(&user.key_bytes(), task.count()) == task.id()
}

/// The module.
pub struct Social {
    /// How timelines lie in PStates.
    pub layout: Layout,
}

/// What delivers posts on a task. `Copy`, so that closures move it in.
#[derive(Clone, Copy)]
struct Deliver {
    timelines: Timelines,
    followers: LocalPState<Map<u32, Map<u32, Vec<u32>, Untracked>>>,
    progress: LocalPState<Progress>,
    rest: DepotHandle<Delivery>,
    finished: DepotHandle<u64>,
}

impl Deliver {
    /// One chunk of a delivery; what is left is for a later microbatch.
    fn run(&self, task: &Task, delivery: Delivery) {
        let Delivery {
            author,
            number,
            chunk,
        } = delivery;
        // Kept with the followers, not with the author: this is not the author's home.
        let chunks = self.followers.unaligned().key(&author);
        let followers = chunks.key(&chunk).get(task).unwrap_or_default();
        for user in &followers {
            self.timelines.push(task, *user, (author, number));
        }
        let finished = followers.len() < CHUNK;
        self.progress.update(task, |progress| {
            let Progress {
                writes,
                finished: of,
            } = progress.unwrap_or_default();
            Progress {
                writes: writes + followers.len() as u64,
                finished: of + u64::from(finished),
            }
        });
        match finished {
            true => self.finished.append(task, &number),
            false => {
                let chunk = chunk + 1;
                let rest = Delivery { chunk, ..delivery };
                self.rest.append(task, &rest);
            }
        }
    }

    fn load(&self, task: &Task, load: Load) {
        match load {
            Load::Followers {
                author,
                chunk,
                followers,
                ..
            } => {
                let chunks = self.followers.unaligned().key(&author);
                chunks.key(&chunk).set(task, followers);
            }
            Load::Users { users, .. } => {
                for user in users {
                    self.timelines.fill(task, user, first_timeline(user));
                }
            }
        }
    }
}

impl Module for Social {
    fn define(&self, m: &mut Setup) {
        const LIMIT: &str = "depot.microbatch.max.records";
        m.depot_by(POSTS, |post| &post.author)
            .option(LIMIT, POSTS_PER_BATCH);
        m.depot(
            LOADS,
            Partition::custom(|load: &Load, _| match load {
                Load::Followers { task, .. } | Load::Users { task, .. } => *task,
            }),
        );
        let rest = m.depot(REST, Partition::disallow());
        let rest = rest.option(LIMIT, REST_PER_BATCH).handle();
        let finished = m.depot(FINISHED, Partition::disallow()).handle();

        let mut mb = m.microbatch("fan-out");
        let timelines = Timelines::declare(&mut mb, self.layout);
        let statuses = mb.pstate(STATUSES);
        let deliver = Deliver {
            timelines,
            followers: mb.pstate(FOLLOWERS),
            progress: mb.pstate(PROGRESS),
            rest,
            finished,
        };
        mb.source(LOADS)
            .each(move |task, load| deliver.load(task, load));
        mb.source(REST)
            .each(move |task, delivery| deliver.run(task, delivery));
        mb.source(POSTS)
            .map(move |task, post| {
                let (author, number, chunk) = (post.author, post.number, 0);
                let status = Status {
                    text: post.text,
                    ..Status::default()
                };
                statuses.key(&author).key(&number).set(task, status);
                Delivery {
                    author,
                    number,
                    chunk,
                }
            })
            .all_partition()
            .each(move |task, delivery| deliver.run(task, delivery));

        queries(m, timelines, statuses);
    }
}

fn queries(m: &mut Setup, timelines: Timelines, statuses: LocalPState<Statuses>) {
    m.query(TIMELINE, |q| {
        q.hash_partition(|user| user)
            .flat_map(move |task, user| timelines.newest(task, user, PAGE))
            .hash_partition(|(author, _)| author)
            .map(move |task, (author, number)| {
                let status = statuses.key(&author).key(&number).get(task);
                // What a timeline had from the beginning was never posted.
                (number, author, status.unwrap_or_default())
            })
            .origin_partition()
            .agg(|of| of.top(PAGE, |(number, ..)| *number))
    });
    m.query(DIGESTS, |q| {
        q.all_partition()
            .flat_map(move |task, (from, to)| {
                let users = (from..to).filter(|user| at_home(task, *user));
                let digest = |user| {
                    let entries = timelines.newest(task, user, LONGEST);
                    Digest::of(user, entries)
                };
                users.map(digest).collect::<Vec<_>>()
            })
            .origin_partition()
            .agg(|of| of.list(|digest| *digest))
    });
}
