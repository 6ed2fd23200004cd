//! What is kept of operations that ended.

use super::*;
use crate::limits::{LOG_KEPT, OPERATIONS_KEPT};

/// Old entries go as new ones come: the log, and what is kept of ended operations, end somewhere.
#[test]
fn logs_and_ended_operations_are_bounded() {
    let mut store = Store::default();
    store.nodes(1);
    let shape = Shape::new(1, 1, 1, 1).unwrap();
    let mut last = 0;
    for round in 0..OPERATIONS_KEPT as u64 {
        let request = request("Shop", round + 1, shape);
        for story in [Story::Launch, Story::Destroy] {
            last += 1;
            let beginning = store.beginning(last);
            let intent = match story {
                Story::Launch => begin_launch(&store.view, &beginning, &request, &Scheduler::Dev),
                _ => begin_destroy(&store.view, &beginning, &request.module, "ann"),
            };
            let intent = intent.unwrap();
            conduct(
                &mut store,
                story,
                beginning,
                intent,
                &mut 0,
                Kill::default(),
            );
        }
    }
    let newest = (last - LOG_KEPT + 1..=last).map(|number| Key::Log(module("Shop"), number));
    let newest: Vec<Key> = newest.collect();
    assert_eq!(store.view.log_until(&module("Shop"), last), newest);
    // The one that ends is counted with the next.
    let kept = store.view.finished();
    assert_eq!(kept.len(), OPERATIONS_KEPT + 1);
    assert_eq!(kept.last(), Some(&id(last)));
}
