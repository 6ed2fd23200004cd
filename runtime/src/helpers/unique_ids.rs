//! Numbers that no other task of the module gives.
//!
//! Relies on the events of a task being serial. What must stay true: an id that was given is never
//! given again, over restarts and updates.

use crate::pstate::{LocalPState, PState};
use crate::setup::Topology;
use crate::task::Task;
use crate::topology_def::Consumes;

/// The low bits of an id count the ids of its task; the task's number is above.
const COUNT_BITS: u32 = 42;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;

/// Ids that are unique in the module: the task's number in the top 22 bits, below a count of its
/// own. Ids of one task ascend, or descend where the newest is to come first in a map.
///
/// An event that fails gives its ids back with its other writes. A stream that tries a record again
/// gives it another id, unless the first was stored with it; in a microbatch there is one.
///
/// ```
/// use rama_runtime::helpers::UniqueIds;
/// # use rama_runtime::{Depot, Module, PState, Partition, Setup};
/// # const POSTS: Depot<String> = Depot::named("*posts");
///
/// const NEXT_ID: PState<u64> = PState::named("$$nextId").private();
///
/// # struct M;
/// # impl Module for M {
/// fn define(&self, m: &mut Setup) {
///     m.depot(POSTS, Partition::random());
///     let mut s = m.stream("posts");
///     let ids = UniqueIds::ascending(&mut s, NEXT_ID);
///     s.source(POSTS).each(move |task, _| task.ack_return(&ids.next(task)));
/// }
/// # }
/// # rama_runtime::Definition::of(&M)?;
/// # Ok::<(), rama_runtime::DefinitionError>(())
/// ```
#[derive(Clone, Copy)]
pub struct UniqueIds {
    given: LocalPState<u64>,
    descending: bool,
}

impl UniqueIds {
    /// From low to high, counted in `given`.
    #[track_caller]
    pub fn ascending<K: Consumes>(topology: &mut Topology<K>, given: PState<u64>) -> UniqueIds {
        UniqueIds {
            given: topology.pstate(given),
            descending: false,
        }
    }

    /// From high to low, counted in `given`.
    #[track_caller]
    pub fn descending<K: Consumes>(topology: &mut Topology<K>, given: PState<u64>) -> UniqueIds {
        UniqueIds {
            given: topology.pstate(given),
            descending: true,
        }
    }

    /// The next one. Costs a read and a write of one number.
    ///
    /// # Errors
    /// The event fails after 2^42 ids of one task, and in a module of more than 2^22 tasks.
    pub fn next(&self, task: &Task) -> u64 {
        let count = self.given.get(task).unwrap_or(0);
        if count > COUNT_MAX || u64::from(task.id()) >> (64 - COUNT_BITS) != 0 {
            task.fail(format!("task {} has no ids left", task.id()));
        }
        self.given.set(task, count + 1);
        let low = match self.descending {
            false => count,
            true => COUNT_MAX - count,
        };
        (u64::from(task.id()) << COUNT_BITS) | low
    }
}
