//! What a user of the module would check: posts come when they are due, in order, once.
//!
//! Relies on an in-process cluster whose clock the test sets (spec 16.3, T-10, D-13), and on
//! simulations with power cuts.

use std::time::Duration;

use rama::prelude::*;
use rama::{ErrorKind, SimulatedCluster};
use timed_notifications::{FEEDS, Notification, SCHEDULED, TICKS, TimedNotifications};

fn notification(user: &str, at_millis: u64, post: &str) -> Notification {
    Notification {
        user: user.into(),
        at_millis,
        post: post.into(),
    }
}

async fn feed(cluster: &Cluster, user: &str) -> Vec<String> {
    let feed = FEEDS.key(user).range(..).first_n(1000);
    let entries = cluster.pstate(FEEDS).select(feed.select_entries()).await;
    let posts = entries.expect("select").into_iter();
    posts.map(|(_, post)| post).collect()
}

/// T-10, D-13, T-11: the test sets the time and makes the ticks, at several task counts.
#[tokio::test]
async fn posts_appear_when_they_are_due_in_the_order_of_their_times() {
    for (tasks, threads) in [(1, 1), (2, 1), (8, 2)] {
        let cluster = InProcessCluster::new(tasks, threads).expect("a cluster");
        cluster.set_time_ms(0);
        let module = TimedNotifications {
            ticks_by_hand: true,
        };
        cluster.launch(module).await.expect("launch");
        let scheduled = cluster.depot(SCHEDULED);
        for (user, at, post) in [
            ("alice", 2000, "second"),
            ("alice", 1000, "first"),
            ("bob", 1500, "only"),
            ("alice", 2000, "third"),
        ] {
            let one = notification(user, at, post);
            scheduled.append(&one).await.expect("append");
        }
        let ticks = cluster.depot(TICKS);
        let none: [&str; 0] = [];
        for (millis, alice, bob) in [
            (999, &none[..], &none[..]),
            (1000, &["first"][..], &none[..]),
            (1999, &["first"][..], &["only"][..]),
            (2000, &["first", "second", "third"][..], &["only"][..]),
            (9999, &["first", "second", "third"][..], &["only"][..]),
        ] {
            cluster.set_time_ms(millis);
            ticks.append(&()).await.expect("tick");
            assert_eq!(feed(&cluster, "alice").await, alice, "at {millis}");
            assert_eq!(feed(&cluster, "bob").await, bob, "at {millis}");
        }
    }
}

const USERS: [&str; 3] = ["alice", "bob", "carol"];

/// Schedules posts that say their times; those that are there for sure.
async fn schedule(cluster: &SimulatedCluster) -> Vec<(usize, String)> {
    let mut sure = Vec::new();
    for number in 0..30 {
        let user = (cluster.random_u64() % 3) as usize;
        let at = cluster.now_ms() + cluster.random_u64() % 8_000;
        let post = format!("{at} {number}");
        let one = notification(USERS[user], at, &post);
        let appended = cluster
            .depot(SCHEDULED)
            .append_with(&one, AckLevel::AppendAck);
        match appended.await {
            Ok(_) => sure.push((user, post)),
            Err(error) if error.kind() == ErrorKind::Unknown => {}
            Err(_) => cluster.sleep(Duration::from_millis(5)).await,
        }
    }
    sure
}

/// Over power cuts: never early, never twice, none lost.
#[test]
fn posts_come_once_and_never_early_over_power_cuts() {
    for seed in 0..100 {
        let simulation = Simulation::seed(seed).faults(Faults::power_cuts());
        simulation.run(TimedNotifications::default(), |cluster| async move {
            let sure = schedule(&cluster).await;
            cluster.calm().await;
            let mut missing = sure.len();
            while missing > 0 {
                missing = sure.len();
                for (user, name) in USERS.iter().enumerate() {
                    let posts = feed(&cluster, name).await;
                    let now = cluster.now_ms();
                    for post in &posts {
                        let at = post.split(' ').next().and_then(|at| at.parse().ok());
                        assert!(
                            at.is_some_and(|at: u64| at <= now),
                            "seed {seed}: {post} early"
                        );
                        let count = posts.iter().filter(|found| *found == post).count();
                        assert_eq!(count, 1, "seed {seed}: {post}");
                    }
                    let mine = sure.iter().filter(|(of, _)| *of == user);
                    missing -= mine.filter(|(_, post)| posts.contains(post)).count();
                }
                cluster.sleep(Duration::from_millis(500)).await;
            }
        });
    }
}
