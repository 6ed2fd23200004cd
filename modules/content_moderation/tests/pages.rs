//! What a user of the module would check: pages are full, and nobody on them is muted.
//!
//! Relies on an in-process cluster of random shape and on simulations. Values are those of the
//! survey's ContentModeration (spec 16.3).

use std::time::Duration;

use content_moderation::{ContentModeration, INBOXES, MUTED, MUTES, Mute, PAGE, POSTS, Page, Post};
use rama::prelude::*;

const ALICE: u64 = 100;
const BOB: u64 = 101;
const CHARLIE: u64 = 102;
const DAVID: u64 = 103;
const EMILY: u64 = 104;

/// The numbers of the posts on a page of Alice's, and where the next one begins.
async fn page(cluster: &Cluster, from: u64, limit: u64) -> (Vec<u64>, Option<u64>) {
    let page = cluster.query(PAGE).invoke((ALICE, from, limit)).await;
    let Page { posts, next } = page.expect("a page");
    let numbers = posts
        .iter()
        .map(|post| post.content.parse().expect("a number"));
    (numbers.collect(), next)
}

async fn mute(cluster: &Cluster, other: u64, muted: bool) {
    let mute = Mute {
        user: ALICE,
        other,
        muted,
    };
    cluster.depot(MUTES).append(&mute).await.expect("append");
}

/// F-16, F-17, Q-7, T-5: a query that goes round until its page is full.
#[tokio::test]
async fn pages_leave_out_who_is_muted_and_are_full() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(ContentModeration).await.expect("launch");
    let writers = [BOB, ALICE, BOB, EMILY, DAVID, ALICE, BOB, CHARLIE];
    for (number, from) in (1..).zip(writers) {
        let (to, content) = (ALICE, number.to_string());
        let post = Post { from, to, content };
        cluster.depot(POSTS).append(&post).await.expect("append");
    }
    assert_eq!(page(&cluster, 0, 3).await, (vec![1, 2, 3], Some(3)));
    assert_eq!(page(&cluster, 3, 3).await, (vec![4, 5, 6], Some(6)));
    assert_eq!(page(&cluster, 6, 3).await, (vec![7, 8], None));
    assert_eq!(page(&cluster, 8, 3).await, (vec![], None));

    mute(&cluster, BOB, true).await;
    mute(&cluster, DAVID, true).await;
    assert_eq!(page(&cluster, 0, 3).await, (vec![2, 4, 6], Some(6)));
    assert_eq!(page(&cluster, 6, 3).await, (vec![8], None));

    mute(&cluster, BOB, false).await;
    assert_eq!(page(&cluster, 0, 3).await, (vec![1, 2, 3], Some(3)));
    assert_eq!(page(&cluster, 3, 3).await, (vec![4, 6, 7], Some(7)));
    assert_eq!(page(&cluster, 7, 3).await, (vec![8], None));
    // What no client should ask for.
    assert_eq!(page(&cluster, 99, 3).await, (vec![], None));
    assert_eq!(page(&cluster, 2, 0).await, (vec![], Some(2)));
    assert_eq!(page(&cluster, 7, u64::MAX).await, (vec![8], None));
    assert_eq!(page(&cluster, u64::MAX, u64::MAX).await, (vec![], None));
}

/// Appends posts to three users, and mutes among them, as far as the cluster takes them.
async fn write(cluster: &Cluster, random: impl Fn(u64) -> u64) {
    for number in 0..30 {
        let (user, other) = (random(3), random(3));
        let taken = match random(4) {
            0 => {
                let mute = Mute {
                    user,
                    other,
                    muted: random(3) > 0,
                };
                cluster
                    .depot(MUTES)
                    .append_with(&mute, AckLevel::AppendAck)
                    .await
            }
            _ => {
                let content = number.to_string();
                let post = Post {
                    from: other,
                    to: user,
                    content,
                };
                cluster
                    .depot(POSTS)
                    .append_with(&post, AckLevel::AppendAck)
                    .await
            }
        };
        // Whether it was taken is asked of the depot.
        if taken.is_err() {
            cluster.sleep(Duration::from_millis(5)).await;
        }
    }
}

/// S-11: each post comes once and in order, also when power fails; pages add up to what is not muted.
#[test]
fn pages_show_every_post_once_under_faults() {
    for seed in 0..100 {
        let simulation = Simulation::seed(seed)
            .tasks(1 << (seed % 4))
            .faults(Faults::all());
        simulation.run(ContentModeration, |cluster| async move {
            write(&cluster, |below| cluster.random_u64() % below).await;
            cluster.calm().await;
            let posts = cluster.depot(POSTS).read_all().await.expect("read");
            let mutes = cluster.depot(MUTES).read_all().await.expect("read");
            for user in 0..3 {
                let inbox: Vec<_> = posts.iter().filter(|post| post.to == user).collect();
                let muted = |other| {
                    let mut mutes = mutes.iter().rev();
                    let last = mutes.find(|mute| mute.user == user && mute.other == other);
                    last.is_some_and(|mute| mute.muted)
                };
                let muted: Vec<u64> = (0..3).filter(|other| muted(*other)).collect();
                for _ in 0..200 {
                    let len = cluster
                        .pstate(INBOXES)
                        .select_one(INBOXES.key(&user).select_len());
                    let now = MUTED.key(&user).all();
                    let now = cluster.pstate(MUTED).select(now).await.expect("select");
                    if len.await.expect("select") >= inbox.len() as u64 && now == muted {
                        break;
                    }
                    cluster.sleep(Duration::from_millis(50)).await;
                }
                let (limit, mut from, mut shown) = (1 + seed % 5, Some(0), Vec::new());
                while let Some(at) = from {
                    let page = cluster
                        .query(PAGE)
                        .invoke((user, at, limit))
                        .await
                        .expect("a page");
                    let full = page.posts.len() as u64 == limit;
                    assert!(full || page.next.is_none(), "seed {seed}: {page:?}");
                    shown.extend(page.posts);
                    from = page.next;
                }
                let expected = inbox.into_iter().filter(|post| !muted.contains(&post.from));
                assert!(
                    shown.iter().eq(expected),
                    "seed {seed}: user {user} saw {shown:?}"
                );
            }
        });
    }
}
