//! The benchmark in small, and proof that its check can fail.

use super::*;

#[test]
fn the_list_has_the_greatest_totals() {
    let shape = Shape {
        scores: 3_000,
        players: 500,
    };
    let rows = measure(&std::env::temp_dir(), 0.1, shape).expect("rows");
    assert_eq!(rows.len(), 3);
}

#[test]
fn a_list_with_a_wrong_total_or_without_a_great_one_is_told() {
    let mut naive = Naive::default();
    naive.add(&[(1, 10), (2, 30), (1, 5), (3, 1)]);
    assert!(naive.check(&[(2, 30), (1, 15), (3, 1)]).is_ok());
    assert!(naive.check(&[(2, 30), (1, 14), (3, 1)]).is_err());
    assert!(naive.check(&[(2, 30), (1, 15)]).is_err());
    assert!(naive.check(&[(1, 30), (2, 15), (3, 1)]).is_err());
}
