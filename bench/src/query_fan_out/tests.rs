//! The benchmark in small.

use super::*;

#[test]
fn every_task_is_asked_and_counted_once() {
    let rows = measure(&std::env::temp_dir(), 0.05, &[1, 4]).expect("rows");
    assert_eq!(rows.len(), 8);
    assert!(rows.iter().all(|row| row.operations > 0));
}
