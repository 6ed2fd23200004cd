//! What a user of the module would check: visits by session, and by page over any span of time.
//!
//! Relies on an in-process cluster of random shape and on simulations. Values follow the survey's
//! PageAnalytics and TimeSeries (spec 16.1, 16.2).

use std::time::Duration;

use page_analytics::{PageAnalytics, SESSIONS, STATS, Stats, VISITS, Visit, WINDOWS};
use rama::prelude::*;

fn visit(session: &str, path: &str, minute: u64, seconds: u64) -> Visit {
    Visit {
        session: session.into(),
        path: path.into(),
        minute,
        seconds,
    }
}

fn stats(visits: u64, seconds: u64, longest: u64) -> Stats {
    Stats {
        visits,
        seconds,
        longest,
    }
}

/// visits are appended to their session and counted in the windows of their page.
#[tokio::test]
async fn visits_are_kept_by_session_and_counted_by_page() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(PageAnalytics).await.expect("launch");
    let day = 24 * 60;
    let visits = [
        visit("abc123", "/posts", 3, 10),
        visit("abc123", "/posts", 3, 20),
        visit("abc123", "/users", 10, 15),
        visit("xyz", "/posts", 65, 30),
        visit("xyz", "/posts", day, 100),
        visit("xyz", "/posts", 2 * day + 122, 50),
    ];
    for visit in &visits {
        cluster.depot(VISITS).append(visit).await.expect("append");
    }
    let processed = cluster
        .wait_for_processed("PageAnalytics", "analytics", 6)
        .await;
    processed.expect("processed");

    let session = SESSIONS.key("abc123").all();
    let session = cluster
        .pstate(SESSIONS)
        .select(session)
        .await
        .expect("select");
    assert_eq!(session, visits[..3]);
    let windows = cluster.pstate(WINDOWS);
    let hours = WINDOWS.key("/posts").key(&60);
    let hours = windows
        .select(hours.range(..day / 60))
        .await
        .expect("select");
    assert_eq!(hours, [(0, stats(2, 30, 20)), (1, stats(1, 30, 30))]);

    let query = cluster.query(STATS);
    for (path, from, to, expected) in [
        ("/posts", 0, u64::MAX, stats(5, 210, 100)),
        ("/posts", 3, 4, stats(2, 30, 20)),
        ("/posts", 4, day, stats(1, 30, 30)),
        ("/posts", 4, 2 * day + 123, stats(3, 180, 100)),
        ("/users", 0, day, stats(1, 15, 15)),
        ("/posts", 7, 7, Stats::default()),
        ("/posts", 9, 3, Stats::default()),
        ("/none", 0, day, Stats::default()),
    ] {
        let answer = query.invoke((path.into(), from, to)).await.expect("answer");
        assert_eq!(answer, expected, "{path} from {from} to {to}");
    }
}

/// M-1: each visit that is in the depot counts once, in every window and in its session.
#[test]
fn every_visit_counts_once_under_faults() {
    for seed in 0..100 {
        let simulation = Simulation::seed(seed)
            .tasks(1 << (seed % 4))
            .faults(Faults::all());
        simulation.run(PageAnalytics, |cluster| async move {
            for _ in 0..20 {
                let random = |below: u64| cluster.random_u64() % below;
                let (session, path) = (format!("s{}", random(4)), format!("/{}", random(3)));
                let visit = visit(&session, &path, random(4 * 1440), random(600));
                let visits = cluster.depot(VISITS);
                // Whether it was taken is asked of the depot, below.
                if visits
                    .append_with(&visit, AckLevel::AppendAck)
                    .await
                    .is_err()
                {
                    cluster.sleep(Duration::from_millis(5)).await;
                }
            }
            cluster.calm().await;
            let visits = cluster.depot(VISITS).read_all().await.expect("read");
            let (from, to) = (
                cluster.random_u64() % 2000,
                2000 + cluster.random_u64() % 4000,
            );
            for (from, to) in [(0, u64::MAX), (from, to)] {
                for path in ["/0", "/1", "/2"] {
                    let within = (from..to, path);
                    let found = visits
                        .iter()
                        .filter(|v| v.path == within.1 && within.0.contains(&v.minute));
                    let expected = found
                        .map(|v| Stats::of(v.seconds))
                        .fold(Stats::default(), Stats::and);
                    let ask = || cluster.query(STATS).invoke((path.into(), from, to));
                    for _ in 0..200 {
                        if ask().await.expect("answer") == expected {
                            break;
                        }
                        cluster.sleep(Duration::from_millis(50)).await;
                    }
                    let answer = ask().await.expect("answer");
                    assert_eq!(answer, expected, "seed {seed}: {path} from {from} to {to}");
                }
            }
            for session in ["s0", "s1", "s2", "s3"] {
                let kept = cluster
                    .pstate(SESSIONS)
                    .select(SESSIONS.key(session).all())
                    .await;
                let expected = visits.iter().filter(|visit| visit.session == session);
                let expected: Vec<_> = expected.cloned().collect();
                assert_eq!(kept.expect("select"), expected, "seed {seed}: {session}");
            }
        });
    }
}
