//! Who leads a task group: what a candidate may do about what it sees, as one transaction.
//!
//! Relies on reliability §2.1 and §2.2: leases elect, epochs fence. A candidate is a replica in the
//! ISR on a worker that is registered; it takes the leadership when nobody has it, or when its own
//! slot's former life has it (that life is over: the registration was taken from it). Every new
//! leader has the next epoch, kept in the ISR record, which no lease removes. What must stay true:
//! one leader per task group and epoch; nobody out of sync leads; a restarted process never resumes
//! leadership, it takes it anew.

#[cfg(test)]
mod tests;

use crate::ids::{Epoch, GroupId, Incarnation, InstanceId, ModuleName, ReplicaId, WorkerIndex};
use crate::mutants::{self, Mutant};
use crate::records::{GroupIsr, GroupLeader};
use crate::store::{Compare, Key, Txn, Value};
use crate::view::View;

/// A replica that would lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The module.
    pub module: &'a ModuleName,
    /// The instance.
    pub instance: InstanceId,
    /// The worker.
    pub worker: WorkerIndex,
    /// Its life.
    pub incarnation: Incarnation,
    /// The replica.
    pub replica: ReplicaId,
}

/// What a candidate can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It leads, in this epoch.
    Held(Epoch),
    /// It may try to lead, in this epoch.
    Take {
        /// The epoch that the transaction would begin.
        epoch: Epoch,
        /// The transaction.
        txn: Txn,
    },
    /// Another life leads, in this epoch.
    Foreign(Epoch),
    /// It may not lead: it is out of sync, not registered, or the group is not there.
    Barred,
}

/// What `candidate` can do about `group`.
#[must_use]
pub fn claim(view: &View, candidate: &Candidate<'_>, group: GroupId) -> Claim {
    let (name, instance) = (candidate.module, candidate.instance);
    let leader = view.leader(name, &instance, &group);
    if let Some(leader) = leader {
        let epoch = leader.record.epoch;
        if leader.record.incarnation == candidate.incarnation {
            return Claim::Held(epoch);
        }
        if leader.record.worker != candidate.worker {
            return Claim::Foreign(epoch);
        }
    }
    let registered = view
        .live(name, &instance, &candidate.worker)
        .filter(|live| live.record.incarnation == candidate.incarnation);
    let isr = view
        .isr(name, &instance, &group)
        .filter(|isr| isr.record.isr.contains(&candidate.replica));
    let (Some(registered), Some(isr)) = (registered, isr) else {
        return Claim::Barred;
    };
    let mut epoch = isr.record.epoch.next();
    if mutants::active(Mutant::EpochKept) && isr.record.epoch > Epoch(0) {
        epoch = isr.record.epoch;
    }
    let isr_key = Key::Isr(name.clone(), instance, group);
    let leader_key = Key::Leader(name.clone(), instance, group);
    let live_key = Key::Live(name.clone(), instance, candidate.worker);
    let record = GroupLeader {
        replica: candidate.replica,
        worker: candidate.worker,
        incarnation: candidate.incarnation,
        epoch,
    };
    let in_sync = GroupIsr {
        epoch,
        ..isr.record.clone()
    };
    let mut txn = Txn::new()
        .at(live_key, registered.revision)
        .as_seen(leader_key.clone(), leader.map(|leader| leader.revision))
        .at(isr_key.clone(), isr.revision)
        .put_leased(leader_key, Value::Leader(record))
        .put(isr_key, Value::Isr(in_sync));
    if mutants::active(Mutant::ClaimWithoutCompare) {
        let is_live = |compare: &Compare| matches!(compare, Compare::Revision(Key::Live(..), _));
        txn.compares.retain(is_live);
    }
    Claim::Take { epoch, txn }
}
