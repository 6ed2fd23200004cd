//! A view under late, doubled and reordered events.

use super::{Event, View};
use crate::ids::NodeId;
use crate::records::{NodeFlags, Supervisor};
use crate::store::{Key, Value};
use crate::tests::{Random, explore, node};

fn event(revision: u64, n: u64, put: bool) -> Event {
    let record = Supervisor {
        cores: u32::try_from(revision).unwrap(),
        ..Supervisor::default()
    };
    Event {
        revision,
        key: Key::Supervisor(node(n)),
        value: put.then_some(Value::Supervisor(record)),
    }
}

fn cores(view: &View) -> Vec<(NodeId, u32)> {
    let nodes = view.cluster().nodes.into_iter();
    nodes.map(|(node, info)| (node, info.cores)).collect()
}

fn any_order_ends_alike(seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed);
    let history: Vec<Event> = (1..40)
        .map(|revision| event(revision, random.below(4) as u64, !random.one_in(3)))
        .collect();
    let mut truth = View::default();
    let mut late = View::default();
    for event in &history {
        assert!(truth.apply(event.clone()));
    }
    // A listing somewhere in the middle, everything twice, in any order.
    let listed = random.below(history.len());
    let mut middle = View::default();
    for event in &history[..listed] {
        middle.apply(event.clone());
    }
    let mut events: Vec<Event> = history.iter().chain(&history).cloned().collect();
    for at in (1..events.len()).rev() {
        events.swap(at, random.below(at + 1));
    }
    let relist_at = random.below(events.len());
    for (at, event) in events.into_iter().enumerate() {
        late.apply(event);
        if at == relist_at {
            let keys = middle.keys.iter();
            let keys = keys.map(|(key, (at, value))| (key.clone(), *at, value.clone()));
            late.relist(listed as u64, keys);
        }
    }
    if cores(&truth) == cores(&late) {
        Ok(())
    } else {
        Err(format!("{:?} instead of {:?}", cores(&late), cores(&truth)))
    }
}

#[test]
fn any_order_of_events_ends_alike() {
    explore(0..2000, any_order_ends_alike);
}

/// What an operator asked of a node outlives its supervisor, and says nothing while there is none.
#[test]
fn flags_count_for_nodes_that_are_there() {
    let flags = NodeFlags {
        leaders_disallowed: true,
        draining: true,
    };
    let mut view = View::default();
    view.apply(Event {
        revision: 1,
        key: Key::Flags(node(1)),
        value: Some(Value::Flags(flags)),
    });
    assert!(view.cluster().nodes.is_empty());
    view.apply(event(2, 1, true));
    view.apply(event(3, 2, true));
    let nodes = view.cluster().nodes;
    let info = |n: u64| {
        let info = &nodes[&node(n)];
        (info.leaders_allowed, info.draining)
    };
    assert_eq!((info(1), info(2)), ((false, true), (true, false)));
}
