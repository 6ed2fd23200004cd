//! The benchmark in small: every way carries every message.

use std::time::Duration;

use super::*;

#[test]
fn every_way_counts_what_was_sent_and_answers_what_was_asked() {
    for way in Way::ALL {
        let ends = Ends::start(way).expect("a server");
        let count = ends.flood(100, Duration::from_millis(20)).expect("a count");
        assert!(count > 0, "{}", way.name());
        let took = ends.ping(5_000, 1_000.0, Duration::from_millis(20));
        assert_eq!(took.expect("answers").len(), 20, "{}", way.name());
        ends.stop().expect("an end");
    }
}
