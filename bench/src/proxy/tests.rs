//! The benchmark in small, and proof that its check can fail.

use super::*;

#[test]
fn every_follower_is_told_the_last_write_of_its_key() {
    let rows = measure(&std::env::temp_dir(), 0.2, 50).expect("rows");
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[1].operations, 400);
}

#[test]
fn a_follower_that_missed_a_write_is_told() {
    assert_eq!(behind(&[3, 7], &[3, 7]), None);
    let behind = behind(&[3, 5], &[3, 7]).expect("one is behind");
    assert!(behind.contains("key 1 was told write 5"), "{behind}");
}
