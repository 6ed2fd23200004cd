//! The benchmark in small, and proof that its check can fail.

use super::*;

#[test]
fn rows_on_disk_and_in_memory_come_to_the_same() {
    let shape = Shape {
        orders: 2_000,
        regions: 5,
        little: 4_096,
    };
    let rows = measure(&std::env::temp_dir(), shape).expect("rows");
    assert_eq!(rows.len(), 3);
}

#[test]
fn a_wrong_count_is_told() {
    let shape = Shape {
        orders: 100,
        regions: 2,
        little: 0,
    };
    let expected = naive(&draw(shape));
    assert_eq!(expected.values().sum::<u64>(), 110);
    assert!(check(&expected, &expected).is_ok());
    let mut found = expected.clone();
    *found.get_mut(&(0, 1)).expect("a way") -= 1;
    assert!(check(&found, &expected).is_err());
}
