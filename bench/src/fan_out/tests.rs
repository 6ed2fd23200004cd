//! The benchmark in small, and proof that its checks can fail.

use super::graph::GREATEST;
use super::module::{Digest, first_timeline};
use super::*;

const SMALL: Shape = Shape {
    users: 300,
    mean: 12.0,
    layout: Layout::Pages,
};

fn graph() -> Graph {
    Graph::build(2_000, 40.0, SEED)
}

#[test]
fn every_post_reaches_every_follower_in_every_layout() {
    for layout in [Layout::Whole, Layout::Entries, Layout::Pages] {
        let dir = std::env::temp_dir();
        let rows = measure(&dir, 0.1, Shape { layout, ..SMALL });
        let rows = rows.unwrap_or_else(|error| panic!("{layout:?}: {error}"));
        assert_eq!(rows.len(), 7, "{layout:?}");
    }
}

#[test]
fn posts_have_as_many_followers_as_accounts_and_the_greatest_account_its_share() {
    let graph = graph();
    let followers = |account| graph.followers(account).len() as f64;
    let mean = (0..graph.users()).map(followers).sum::<f64>() / f64::from(graph.users());
    assert!((39.0..=41.0).contains(&mean), "accounts: {mean}");
    assert_eq!(followers(0), (2_000.0 * GREATEST).floor());
    let mut rng = Rng::with_seed(SEED);
    let posts = 20_000;
    let drawn = (0..posts).map(|_| followers(graph.author(&mut rng)));
    let mean = drawn.sum::<f64>() / f64::from(posts);
    assert!((36.0..=44.0).contains(&mean), "posts: {mean}");
    assert!((0..posts).all(|_| followers(graph.small_author(&mut rng)) <= 41.0));
}

#[test]
fn nobody_follows_an_account_twice_or_itself() {
    let graph = graph();
    for account in 0..graph.users() {
        let mut followers = graph.followers(account).to_vec();
        followers.sort_unstable();
        followers.dedup();
        assert_eq!(followers.len(), graph.followers(account).len(), "{account}");
        assert!(!followers.contains(&account), "{account}");
    }
}

#[test]
fn a_timeline_with_a_wrong_a_missing_or_a_repeated_post_is_told() {
    let graph = graph();
    let author = 7;
    let user = graph.followers(author)[0];
    let right = {
        let mut timeline = first_timeline(user)[1..].to_vec();
        timeline.push((author, 600));
        timeline
    };
    let check = |change: fn(&mut Vec<_>)| {
        let mut timeline = right.clone();
        change(&mut timeline);
        Naive::deliver(&graph, &[author]).check(Digest::of(user, timeline))
    };
    assert!(check(|_| ()).is_ok());
    assert!(check(|timeline| timeline[599].1 += 1).is_err());
    assert!(check(|timeline| timeline.truncate(599)).is_err());
    assert!(check(|timeline| timeline[0] = timeline[599]).is_err());
    assert!(check(|timeline| timeline.reverse()).is_ok());
}

#[test]
fn a_post_that_a_task_finishes_twice_is_told() {
    let tracker = Tracker::new(2);
    let (number, _everywhere) = tracker.publish(1);
    tracker.finished(0, number);
    assert!(tracker.authors().is_err(), "it is still out");
    tracker.finished(1, number);
    assert_eq!(tracker.authors().expect("it is everywhere"), [1]);
    tracker.finished(1, number);
    assert!(tracker.authors().is_err());
}
