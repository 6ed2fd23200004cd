//! Claims: who may lead, and that only one of many does.

use std::collections::BTreeSet;

use super::{Candidate, Claim, claim};
use crate::ids::{Epoch, GroupId, Incarnation, InstanceId, ReplicaId, WorkerIndex};
use crate::records::{GroupIsr, WorkerDetails, WorkerLive};
use crate::store::{Compare, Key, Txn, Value};
use crate::tests::{module, node};
use crate::view::{Event, View};

fn holds(view: &View, txn: &Txn) -> bool {
    txn.compares.iter().all(|compare| match compare {
        Compare::Absent(key) => view.revision_of(key).is_none(),
        Compare::Revision(key, revision) => view.revision_of(key) == Some(*revision),
    })
}

/// Reliability §2.1: of three replicas that see the same, one leads; who is out of sync may not
/// try; whoever comes later with an old view is refused.
#[test]
fn of_all_replicas_in_sync_one_leads() {
    let name = module("Shop");
    let instance = InstanceId(uuid::Uuid::from_u128(1));
    let group = GroupId(0);
    let mut view = View::default();
    let mut revision = 0;
    let mut put = |view: &mut View, key: Key, value: Value| {
        revision += 1;
        view.apply(Event {
            revision,
            key,
            value: Some(value),
        });
    };
    let isr = GroupIsr {
        epoch: Epoch(3),
        isr: BTreeSet::from([ReplicaId(0), ReplicaId(1)]),
        osr: BTreeSet::from([ReplicaId(2)]),
    };
    put(
        &mut view,
        Key::Isr(name.clone(), instance, group),
        Value::Isr(isr),
    );
    for w in 0..3u32 {
        let record = WorkerLive {
            incarnation: Incarnation(10 + u64::from(w)),
            node: node(u64::from(w)),
            details: WorkerDetails::default(),
        };
        let key = Key::Live(name.clone(), instance, WorkerIndex(w));
        put(&mut view, key, Value::Live(record));
    }
    let candidate = |w: u32| Candidate {
        module: &name,
        instance,
        worker: WorkerIndex(w),
        incarnation: Incarnation(10 + u64::from(w)),
        replica: ReplicaId(w),
    };
    assert_eq!(claim(&view, &candidate(2), group), Claim::Barred);
    let unknown = Candidate {
        incarnation: Incarnation(77),
        ..candidate(0)
    };
    assert_eq!(claim(&view, &unknown, group), Claim::Barred);
    let take = |w| match claim(&view, &candidate(w), group) {
        Claim::Take { epoch, txn } => (epoch, txn),
        other => panic!("{w} sees {other:?}"),
    };
    let (first, late) = (take(0), take(1));
    assert_eq!((first.0, late.0), (Epoch(4), Epoch(4)));
    assert!(holds(&view, &first.1) && holds(&view, &late.1));
    for one in first.1.puts {
        put(&mut view, one.key, one.value);
    }
    assert!(!holds(&view, &late.1), "two leaders in one epoch");
    assert_eq!(claim(&view, &candidate(0), group), Claim::Held(Epoch(4)));
    assert_eq!(claim(&view, &candidate(1), group), Claim::Foreign(Epoch(4)));
}
