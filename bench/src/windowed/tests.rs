//! The benchmark in small, and proof that its yardstick counts.

use super::*;

#[test]
fn windows_hold_every_view_once_and_spans_what_their_minutes_hold() {
    let shape = Shape {
        views: 2_000,
        pages: 20,
    };
    let rows = measure(&std::env::temp_dir(), 0.1, shape).expect("rows");
    assert_eq!(rows.len(), 5);
}

#[test]
fn the_loop_over_memory_counts_a_view_in_its_window_of_each_size() {
    let mut naive = Naive::default();
    let view = |minute, seconds| View {
        page: page(1),
        minute,
        seconds,
    };
    naive.add(&[view(61, 5), view(61, 7), view(1500, 1)]);
    let two = Stats::of(5).and(Stats::of(7));
    assert_eq!(naive.span(&page(1), 61..62), two);
    assert_eq!(naive.windows[&(page(1), 60, 1)], two);
    assert_eq!(naive.windows[&(page(1), 1440, 0)], two);
    assert_eq!(naive.span(&page(1), 62..2000), Stats::of(1));
    assert_eq!(naive.span(&page(2), 0..2000), Stats::default());
}
