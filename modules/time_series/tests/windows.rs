//! What a user of the module would check: window statistics and range reads over them.
//!
//! Relies on an in-process cluster, at several task counts. Values follow the survey's TimeSeries
//! (spec 16.2).

use rama::prelude::*;
use time_series::{Granularity, LATENCIES, RenderLatency, STATS, TimeSeries, WINDOWS, WindowStats};

fn latency(minute: u64, render_millis: u32) -> RenderLatency {
    RenderLatency {
        url: "foo.com".into(),
        render_millis,
        at_millis: minute * 60_000,
    }
}

#[tokio::test]
async fn windows_aggregate_and_ranges_read_them_in_order() {
    for (tasks, threads) in [(1, 1), (4, 2)] {
        let cluster = InProcessCluster::new(tasks, threads).expect("a cluster");
        cluster.launch(TimeSeries).await.expect("launch");
        let measured = [
            (3, 10),
            (3, 20),
            (10, 15),
            (70, 18),
            (60 * 30, 100),
            (60 * 24 * 40, 7),
        ]
        .map(|(minute, millis)| latency(minute, millis));
        for one in &measured {
            cluster.depot(LATENCIES).append(one).await.expect("append");
        }
        cluster
            .wait_for_processed("TimeSeries", "windows", 6)
            .await
            .expect("processed");

        let windows = cluster.pstate(WINDOWS);
        let minutes = WINDOWS.key("foo.com").key(&Granularity::Minute);
        let third = windows.select_one(minutes.key(&3)).await.expect("select");
        let expected = WindowStats {
            count: 2,
            total_millis: 30,
            last_millis: 20,
            min_millis: 10,
            max_millis: 20,
        };
        assert_eq!(third, Some(expected));

        let minutes = WINDOWS.key("foo.com").key(&Granularity::Minute);
        let early = windows.select(minutes.range(0..100)).await.expect("select");
        let buckets: Vec<u64> = early.iter().map(|(bucket, _)| *bucket).collect();
        assert_eq!(buckets, [3, 10, 70]);

        for (millis, expected) in [
            (3 * 60_000..10 * 60_000, vec![3]),
            (4 * 60_000 - 1..10 * 60_000 + 1, vec![3, 10]),
            (u64::MAX - 1..u64::MAX, vec![]),
            (60_000..60_000, vec![]),
        ] {
            let range = minutes.range(Granularity::Minute.buckets(millis.clone()));
            let found = windows.select(range.select_keys()).await.expect("select");
            assert_eq!(found, expected, "{millis:?}");
        }

        let hours = WINDOWS.key("foo.com").key(&Granularity::Hour);
        let first = windows.select_one(hours.key(&0)).await.expect("select");
        assert_eq!(
            first.map(|stats| (stats.count, stats.total_millis)),
            Some((3, 45))
        );

        let days = WINDOWS.key("foo.com").key(&Granularity::Day);
        assert_eq!(
            windows.select_one(days.select_len()).await.expect("select"),
            3
        );
    }
}

/// The survey's values: the windows of a span come to the statistics in the order of time, so that the
/// last measurement is that of the last window.
#[tokio::test]
async fn a_query_puts_the_windows_of_a_span_together() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(TimeSeries).await.expect("launch");
    let day = 60 * 24;
    let measured = [
        (3, 10),
        (3, 20),
        (10, 15),
        (10, 18),
        (10, 33),
        (65, 20),
        (65, 30),
        (day, 100),
        (day + 8, 100),
        (2 * day + 122, 50),
    ];
    for (minute, millis) in measured {
        let append = cluster
            .depot(LATENCIES)
            .append(&latency(minute, millis))
            .await;
        append.expect("append");
    }
    let processed = cluster
        .wait_for_processed("TimeSeries", "windows", 10)
        .await;
    processed.expect("processed");
    let stats = |count, total, last, min, max| WindowStats {
        count,
        total_millis: total,
        last_millis: last,
        min_millis: min,
        max_millis: max,
    };
    let windows = cluster.pstate(WINDOWS);
    let minutes = WINDOWS.key("foo.com").key(&Granularity::Minute);
    let early = windows.select(minutes.range(3..11)).await.expect("select");
    assert_eq!(
        early,
        [
            (3, stats(2, 30, 20, 10, 20)),
            (10, stats(3, 66, 33, 15, 33))
        ]
    );
    let count = windows
        .select_one(minutes.range(0..3 * day).select_len())
        .await;
    assert_eq!(count.expect("select"), 6);
    let days = WINDOWS.key("foo.com").key(&Granularity::Day);
    let first = windows.select_one(days.key(&0)).await.expect("select");
    assert_eq!(first, Some(stats(7, 146, 30, 10, 33)));
    for (minutes, expected) in [
        (0..3 * day, stats(10, 396, 50, 10, 100)),
        (4..66, stats(5, 116, 30, 15, 33)),
        (11..65, WindowStats::default()),
    ] {
        let (from, to) = (minutes.start * 60_000, minutes.end * 60_000);
        let answer = cluster
            .query(STATS)
            .invoke(("foo.com".into(), from, to))
            .await;
        assert_eq!(answer.expect("an answer"), expected, "{minutes:?}");
    }
}

#[test]
fn a_span_of_time_is_the_windows_it_touches() {
    for size in Granularity::ALL {
        let one = size.millis();
        assert_eq!(size.buckets(0..one), 0..1);
        assert_eq!(size.buckets(one - 1..one + 1), 0..2);
        assert_eq!(size.buckets(5 * one..7 * one), 5..7);
        assert_eq!(size.buckets(one..one), 0..0);
        let backwards = std::ops::Range {
            start: 9 * one,
            end: one,
        };
        assert_eq!(size.buckets(backwards), 0..0);
    }
}

#[test]
fn windows_combine_in_order() {
    let (a, b) = (WindowStats::single(10), WindowStats::single(4));
    let both = a.followed_by(b);
    assert_eq!(
        (both.count, both.total_millis, both.last_millis),
        (2, 14, 4)
    );
    assert_eq!((both.min_millis, both.max_millis), (4, 10));
    assert_eq!(WindowStats::default().followed_by(a), a);
    assert_eq!(a.followed_by(WindowStats::default()), a);
}
