//! Workers in one process that know each other only by address.

use std::time::Duration;

use super::*;
use crate::AckLevel;
use crate::testing::workers::{config_of, connect, two, until_up};
use crate::testing::{Bank, COUNTS, DEPOSITS, EXACT, FUNDS, LINES, TRANSFERS, Words};

/// 20.3, O-9: ack and read-your-write over processes, whichever worker the client speaks to.
#[tokio::test]
async fn two_workers_run_one_module() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = two(dir.path(), &Words).await;
    let mut expected = 0;
    for worker in [&first, &second] {
        let cluster = worker.cluster();
        let lines = cluster.depot(LINES);
        for _ in 0..20 {
            let line = "the quick brown fox jumps over the lazy dog".to_owned();
            until_up(&cluster, || lines.append(&line)).await;
            expected += 2;
            let counts = cluster.pstate(COUNTS);
            let found = until_up(&cluster, || counts.select(COUNTS.key("the"))).await;
            // A link that comes up makes streams try again what is in work (S-11).
            assert!(found.is_some_and(|count| count >= expected), "{found:?}");
        }
    }
    let cluster = second.cluster();
    let exact = cluster.pstate(EXACT);
    while until_up(&cluster, || exact.select(EXACT.key("the"))).await != Some(expected) {
        cluster.sleep(Duration::from_millis(10)).await;
    }
    first.shutdown().await.unwrap();
    second.shutdown().await.unwrap();
}

/// D-20, S-9: what a broken link fails is no failure of the topology. ACK appends that are under way
/// while a worker is away wait for the retry, and all of them are acknowledged.
#[tokio::test]
async fn acks_wait_for_a_worker_that_is_away_under_them() {
    let dir = tempfile::tempdir().unwrap();
    let (first, mut second) = two(dir.path(), &Words).await;
    let line = "to every task of both workers goes one of these many words".to_owned();
    let lines = first.cluster().depot(LINES);
    let mut appended = 0;
    for start in 2..5 {
        second.shutdown().await.unwrap();
        let under_way: Vec<_> = (0..200).map(|_| lines.append(&line)).collect();
        second = Worker::bind(config_of(dir.path(), 1, start)).await.unwrap();
        connect(&[&first, &second]);
        second.launch(&Words).await.unwrap();
        for append in under_way {
            append.await.unwrap();
            appended += 1;
        }
        let counts = first.cluster().pstate(COUNTS);
        let found = counts.select(COUNTS.key("words")).await.unwrap();
        assert!(found.is_some_and(|count| count >= appended), "{found:?}");
    }
    let letters = first.cluster().dead_letters("Words").await.unwrap();
    assert_eq!(letters, []);
    first.shutdown().await.unwrap();
    second.shutdown().await.unwrap();
}

/// M-4: a worker that goes away and comes back at another address costs no money.
#[tokio::test]
async fn a_worker_that_comes_back_elsewhere_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let bank = Bank::default();
    let (first, mut second) = two(dir.path(), &bank).await;
    let cluster = first.cluster();
    let (deposits, transfers) = (cluster.depot(DEPOSITS), cluster.depot(TRANSFERS));
    let funds = cluster.pstate(FUNDS);
    let users = 0..16_u64;
    for start in [9, 3, 5] {
        for user in users.clone() {
            let ack = AckLevel::AppendAck;
            until_up(&cluster, || deposits.append_with(&(user, 100), ack)).await;
            let transfer = (user, (user + 5) % 16, 7);
            until_up(&cluster, || transfers.append_with(&transfer, ack)).await;
        }
        drop(second);
        second = Worker::bind(config_of(dir.path(), 1, start)).await.unwrap();
        connect(&[&first, &second]);
        second.launch(&bank).await.unwrap();
        // What is sent into the dead link is lost with it: a read may be asked again, an append not.
        for user in users.clone() {
            until_up(&cluster, || funds.select(FUNDS.key(&user))).await;
        }
    }
    loop {
        let mut total = 0;
        let mut even = true;
        for user in users.clone() {
            let found = until_up(&cluster, || funds.select(FUNDS.key(&user))).await;
            total += found.unwrap_or(0);
            even &= found == Some(300);
        }
        if total == 16 * 300 && even {
            break;
        }
        cluster.sleep(Duration::from_millis(20)).await;
    }
    first.shutdown().await.unwrap();
    second.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_worker_refuses_threads_that_do_not_exist() {
    let dir = tempfile::tempdir().unwrap();
    let refuse = |change: fn(&mut WorkerConfig)| {
        let mut config = config_of(dir.path(), 0, 1);
        change(&mut config);
        Worker::bind(config)
    };
    for change in [
        (|config| config.local = vec![4]) as fn(&mut WorkerConfig),
        |config| config.local = vec![],
        |config| config.local = vec![1, 1],
        |config| config.threads = 16,
    ] {
        let error = refuse(change).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:#}");
    }
}
