//! All followed paths of one task, found by the keys that a commit writes.
//!
//! Relies on the log's order: a commit's writes are shown right before they reach the store
//! (`Group::apply_before`), so the store still has every old value. What must stay true: nothing is
//! computed while nobody follows (P-46); a commit costs one search per written key and, beyond
//! that, only what those who follow the key need; updates of a path leave in the order of commits
//! (P-42); a reader that is gone is forgotten at once (P-44).

use std::cell::RefCell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rama_io::Env;
use rama_storage::lsm::{self, Op, WriteBatch};
use rama_wire::SpaceId;

use super::followed::{Followed, Left};
use super::footprint::Footprint;
use super::intervals::Intervals;
use super::slot::Subscription;
use crate::category_queue::Signal;
use crate::client::select;
use crate::error::{Error, Result};
use crate::limits;
use crate::plan::{Limits, Plan};
use crate::task_thread::Thread;

/// The followed paths of one task.
#[derive(Default)]
pub(crate) struct Followers {
    known: RefCell<Known>,
    /// There is something to evaluate.
    signal: Signal,
}

#[derive(Default)]
struct Known {
    last_id: u64,
    /// By id.
    paths: BTreeMap<u64, Path>,
    /// The path of each PState and plan.
    by_plan: BTreeMap<(u16, Vec<u8>), u64>,
    /// By space on disk: who depends on which keys.
    by_key: BTreeMap<SpaceId, Intervals>,
    /// The path of each reader.
    readers: BTreeMap<u64, u64>,
    /// How many readers a PState has.
    counts: BTreeMap<u16, usize>,
    /// Paths to be evaluated.
    due: BTreeSet<u64>,
}

struct Path {
    pstate: u16,
    space: SpaceId,
    followed: Followed,
}

/// What is to be followed.
pub(crate) struct Target {
    pub(crate) pstate: u16,
    /// Its space on disk.
    pub(crate) space: SpaceId,
    pub(crate) plan: Plan,
}

impl Followers {
    /// Whether nobody follows anything here.
    pub(crate) fn is_idle(&self) -> bool {
        self.known.borrow().paths.is_empty()
    }

    /// One more reader of a path, of at most so many of its PState (`pstate.proxy.limit`). Its first
    /// value follows; `gone` is called with the reader's number when it goes away.
    pub(crate) fn add(
        &self,
        target: Target,
        count_max: usize,
        subscription: Subscription,
        gone: impl FnOnce(u64) + Send + 'static,
    ) {
        let mut known = self.known.borrow_mut();
        let count = known.counts.entry(target.pstate).or_default();
        if *count >= count_max {
            let text = "this task has too many proxies of this PState, nothing was done; retry \
                        later, or raise the option pstate.proxy.limit";
            return subscription.refuse(Error::unavailable(text));
        }
        *count += 1;
        let reader = known.next_id();
        subscription.on_reader_gone(Box::new(move || gone(reader)));
        known.add(reader, target, subscription);
        self.signal.ring();
    }

    /// A reader is gone.
    pub(crate) fn remove(&self, reader: u64) {
        let gone = self.known.borrow_mut().remove(reader);
        drop(gone);
    }

    /// How many readers there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.known.borrow().readers.len()
    }

    /// A commit is about to make these writes; at most so many updates wait for a reader of each
    /// PState.
    pub(crate) fn on_writes(
        &self,
        before: &dyn lsm::Read,
        batch: &WriteBatch,
        waiting_max: &dyn Fn(u16) -> usize,
    ) {
        let mut known = self.known.borrow_mut();
        if known.paths.is_empty() {
            return;
        }
        known.on_writes(before, batch, waiting_max);
        if !known.due.is_empty() {
            self.signal.ring();
        }
    }
}

impl Known {
    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn add(&mut self, reader: u64, target: Target, subscription: Subscription) {
        let Target {
            pstate,
            space,
            plan,
        } = target;
        let fresh = self.last_id + 1;
        let path = match self.by_plan.entry((pstate, plan.to_bytes())) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                let footprint = Footprint::of(&plan);
                let keys = self.by_key.entry(space).or_default();
                keys.insert(&footprint.lo, footprint.hi.as_deref(), fresh);
                let followed = Followed::new(plan, footprint);
                let path = Path {
                    pstate,
                    space,
                    followed,
                };
                self.last_id = fresh;
                self.paths.insert(fresh, path);
                *new.insert(fresh)
            }
        };
        if let Some(found) = self.paths.get_mut(&path) {
            found.followed.add(reader, subscription);
        }
        self.readers.insert(reader, path);
        self.due.insert(path);
    }

    fn remove(&mut self, reader: u64) -> Option<Subscription> {
        let path = self.readers.remove(&reader)?;
        let found = self.paths.get_mut(&path)?;
        if let Some(count) = self.counts.get_mut(&found.pstate) {
            *count -= 1;
        }
        let gone = found.followed.remove(reader);
        if found.followed.is_deserted() {
            self.forget(path);
        }
        gone
    }

    fn forget(&mut self, path: u64) {
        let Some(Path {
            pstate,
            space,
            followed,
        }) = self.paths.remove(&path)
        else {
            return;
        };
        self.due.remove(&path);
        self.by_plan.remove(&(pstate, followed.plan.to_bytes()));
        if let Entry::Occupied(mut keys) = self.by_key.entry(space) {
            keys.get_mut().remove(&followed.footprint.lo, path);
            if keys.get().is_empty() {
                keys.remove();
            }
        }
    }

    /// Ends a path for all its readers.
    fn refuse(&mut self, path: u64, error: impl Fn() -> Error) {
        let Some(found) = self.paths.get_mut(&path) else {
            return;
        };
        let pstate = found.pstate;
        for reader in found.followed.refuse_all(error) {
            self.readers.remove(&reader);
            if let Some(count) = self.counts.get_mut(&pstate) {
                *count -= 1;
            }
        }
        self.forget(path);
    }

    fn on_writes(
        &mut self,
        before: &dyn lsm::Read,
        batch: &WriteBatch,
        waiting_max: &dyn Fn(u16) -> usize,
    ) {
        let mut touched = BTreeSet::new();
        let mut found = Vec::new();
        for op in batch.ops() {
            let space = match op {
                Op::Put { space, .. }
                | Op::Delete { space, .. }
                | Op::DeleteRange { space, .. }
                | Op::Clear { space } => space,
            };
            let Some(keys) = self.by_key.get(&space) else {
                continue;
            };
            match op {
                Op::Put { key, .. } | Op::Delete { key, .. } => {
                    keys.holding(key, &mut |path| found.push(path));
                }
                Op::DeleteRange { lo, hi, .. } => {
                    keys.meeting(lo, Some(hi), &mut |path| found.push(path));
                }
                Op::Clear { .. } => keys.meeting(&[], None, &mut |path| found.push(path)),
            }
            for path in found.drain(..) {
                let Some(path_of) = self.paths.get_mut(&path) else {
                    continue;
                };
                touched.insert(path);
                let followed = &mut path_of.followed;
                let seen = match op {
                    Op::Put { key, value, .. } => {
                        followed.on_entry(before, space, (key, Some(value)))
                    }
                    Op::Delete { key, .. } => followed.on_entry(before, space, (key, None)),
                    Op::DeleteRange { lo, hi, .. } => {
                        followed.on_range(before, space, (lo, Some(hi)))
                    }
                    Op::Clear { .. } => followed.on_range(before, space, (&[], None)),
                };
                // What cannot be read now is found out, and told, by the evaluation.
                followed.dirty |= seen.is_err();
            }
        }
        self.settle(touched, waiting_max);
    }

    /// The commit is over: tells what it changed, and notes what has to be evaluated.
    fn settle(&mut self, touched: BTreeSet<u64>, waiting_max: &dyn Fn(u16) -> usize) {
        for path in touched {
            let Some(found) = self.paths.get_mut(&path) else {
                continue;
            };
            let left = found.followed.on_commit(waiting_max(found.pstate));
            if found.followed.is_too_large() {
                self.refuse(path, too_large);
            } else if left == Left::Work {
                self.due.insert(path);
            }
        }
    }
}

fn too_large() -> Error {
    let (rows, bytes) = (limits::PROXY_ROWS_MAX, limits::PROXY_BYTES_MAX);
    Error::invalid(format!(
        "could not follow a value of more than {rows} elements or {bytes} bytes; follow a smaller \
         range, first_n, or the size"
    ))
}

/// Tells what a commit left to be told, and evaluates what has to be told whole: to new readers, to
/// those that were behind, and of paths whose writes do not say what changed. Commits that come
/// meanwhile are one more round.
pub(crate) async fn run<E: Env>(thread: Rc<Thread<E>>, place: usize) {
    let task = &thread.tasks[place];
    loop {
        task.followers.signal.rung().await;
        while work_some(&thread, task.id, &task.followers) {
            thread.env.yield_now().await;
        }
    }
}

/// Does a slice of what is due; answers whether there is more.
fn work_some<E: Env>(thread: &Thread<E>, task: u32, followers: &Followers) -> bool {
    let mut known = followers.known.borrow_mut();
    let select = |pstate, plan: &Plan, limits| select::evaluate(thread, task, pstate, plan, limits);
    for _ in 0..limits::CLIENT_SLICE {
        let tuning = thread.tuning();
        let waiting_max = |pstate: u16| tuning.proxy_waiting_max[usize::from(pstate)];
        match known.work(&select, &waiting_max) {
            Worked::All => {}
            Worked::Some => return true,
            Worked::None => return false,
        }
    }
    !known.due.is_empty()
}

/// Answers a plan as of now.
type Select<'a> = dyn Fn(u16, &Plan, Limits) -> Result<Vec<u8>> + 'a;

/// What was done of the next piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worked {
    None,
    Some,
    All,
}

impl Known {
    /// Does what is due of the next path: tells its readers what they do not know yet, and
    /// evaluates it if somebody has to know the whole.
    fn work(&mut self, select: &Select<'_>, waiting_max: &dyn Fn(u16) -> usize) -> Worked {
        let Some(path) = self.due.pop_first() else {
            return Worked::None;
        };
        let Some(found) = self.paths.get_mut(&path) else {
            return Worked::All;
        };
        let waiting = waiting_max(found.pstate);
        if !found.followed.tell_some(limits::PROXIES_SLICE, waiting) {
            self.due.insert(path);
            return Worked::Some;
        }
        if !found.followed.needs_answer() {
            return Worked::All;
        }
        // One more row than may be, so that too large a value is told from one that just fits.
        let limits = Limits {
            rows_max: limits::PROXY_ROWS_MAX + 1,
            bytes_max: limits::PROXY_BYTES_MAX * 2,
        };
        match select(found.pstate, &found.followed.plan, limits) {
            Ok(answer) => {
                found.followed.on_answer(answer, waiting);
                if found.followed.is_too_large() {
                    self.refuse(path, too_large);
                }
            }
            Err(error) => {
                let (kind, text) = (error.kind(), format!("{error:#}"));
                self.refuse(path, || Error::new(kind, text.clone()));
            }
        }
        Worked::All
    }
}

#[cfg(test)]
mod tests;
