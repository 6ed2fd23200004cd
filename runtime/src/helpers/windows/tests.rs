//! Windows of a span: the vectors of the survey's TimeSeries (spec 16.2), and every edge.

use super::*;

const SIZES: [u64; 4] = [1, 60, 1440, 43_200];

#[test]
fn a_span_has_large_windows_in_the_middle() {
    let expected = [
        (0, 63..120),
        (1, 2..24),
        (2, 1..6),
        (1, 144..167),
        (0, 10_020..10_033),
    ];
    assert_eq!(windows(63..10_033, &SIZES), expected);
    let days = windows(3..122, &[1, 30]);
    assert_eq!(days, [(0, 3..30), (1, 1..4), (0, 120..122)]);
}

#[test]
fn windows_make_up_their_span_without_gap_or_overlap() {
    let edges = [
        0,
        1,
        59,
        60,
        61,
        1439,
        1440,
        1500,
        43_199,
        43_200,
        43_261,
        216_000,
        u64::MAX,
    ];
    for from in edges {
        for to in edges {
            let mut at = from;
            for (size, numbers) in windows(from..to, &SIZES) {
                assert!(!numbers.is_empty(), "from {from} to {to}");
                assert_eq!(numbers.start * SIZES[size], at, "from {from} to {to}");
                at = numbers.end * SIZES[size];
            }
            assert_eq!(at, from.max(to), "from {from} to {to}");
        }
    }
}

#[test]
fn what_the_smallest_size_cuts_counts_whole() {
    assert_eq!(windows(59..61, &[60]), [(0, 0..2)]);
    assert_eq!(windows(61..62, &[60, 120]), [(0, 1..2)]);
}

#[test]
#[should_panic(expected = "multiples of each other")]
fn sizes_that_do_not_fit_into_each_other_are_refused() {
    windows(0..1, &[7, 30]);
}
