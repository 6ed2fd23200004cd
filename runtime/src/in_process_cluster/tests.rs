//! The engine on real threads and real files.

use std::time::Duration;

use super::*;
use crate::testing::{Bank, COUNTS, DEPOSITS, EXACT, FUNDS, LINES, TRANSFERS, Words};
use crate::{AckLevel, block_on};

#[test]
fn a_line_is_counted_by_a_stream_and_by_a_microbatch() {
    let cluster = InProcessCluster::new(4, 2).unwrap();
    block_on(async {
        cluster.launch(Words).await.unwrap();
        let lines = cluster.depot(LINES);
        let appended = lines.append(&"one two two".to_owned()).await.unwrap();
        assert_eq!(appended.returns["count"], 11);
        let counts = cluster.pstate(COUNTS);
        assert_eq!(counts.select(COUNTS.key("two")).await.unwrap(), Some(2));
        cluster
            .wait_for_processed("Words", "exact", 1)
            .await
            .unwrap();
        let exact = cluster.pstate(EXACT);
        assert_eq!(exact.select(EXACT.key("two")).await.unwrap(), Some(2));
    });
}

#[test]
fn several_clusters_live_in_one_process_and_keep_apart() {
    let clusters: Vec<_> = (0..3)
        .map(|_| InProcessCluster::new(2, 1).unwrap())
        .collect();
    block_on(async {
        for (index, cluster) in clusters.iter().enumerate() {
            cluster.launch(Bank::default()).await.unwrap();
            let deposit = (1, index as i64);
            cluster.depot(DEPOSITS).append(&deposit).await.unwrap();
        }
        for (index, cluster) in clusters.iter().enumerate() {
            cluster.wait_for_processed("Bank", "bank", 1).await.unwrap();
            let found = cluster.pstate(FUNDS).select(FUNDS.key(&1)).await.unwrap();
            assert_eq!(found, Some(index as i64));
        }
    });
}

/// O-11, 20.14: progress and PStates persist over a restart and over an update.
#[test]
fn data_and_progress_survive_a_restart_and_an_update() {
    let dir = tempfile::tempdir().unwrap();
    let open = || InProcessCluster::builder().dir(dir.path()).start().unwrap();
    let cluster = open();
    block_on(async {
        cluster.launch(Bank::default()).await.unwrap();
        cluster.depot(DEPOSITS).append(&(1, 50)).await.unwrap();
        cluster.depot(TRANSFERS).append(&(1, 2, 20)).await.unwrap();
        cluster.wait_for_processed("Bank", "bank", 2).await.unwrap();
        cluster.update(Bank::default()).await.unwrap();
        let found = cluster.pstate(FUNDS).select(FUNDS.key(&2)).await.unwrap();
        assert_eq!(found, Some(20));
        cluster.depot(DEPOSITS).append(&(2, 5)).await.unwrap();
    });
    drop(cluster);
    let cluster = open();
    block_on(async {
        cluster.launch(Bank::default()).await.unwrap();
        cluster.wait_for_processed("Bank", "bank", 3).await.unwrap();
        let found = cluster.pstate(FUNDS).select(FUNDS.key(&2)).await.unwrap();
        assert_eq!(found, Some(25));
        cluster.shutdown().await.unwrap();
    });
}

#[test]
fn a_watch_shows_the_value_now_and_after_each_change() {
    let cluster = InProcessCluster::new(4, 2).unwrap();
    block_on(async {
        cluster.launch(Words).await.unwrap();
        let mut watch = cluster.pstate(COUNTS).watch(COUNTS.key("w")).unwrap();
        assert_eq!(watch.next().await.unwrap().unwrap(), None);
        for round in 1..=3 {
            cluster.depot(LINES).append(&"w".to_owned()).await.unwrap();
            assert_eq!(watch.next().await.unwrap().unwrap(), Some(round));
        }
        cluster
            .depot(LINES)
            .append(&"other".to_owned())
            .await
            .unwrap();
        cluster.destroy("Words").await.unwrap();
        assert!(watch.next().await.unwrap().is_err());
        assert!(watch.next().await.is_none());
    });
}

/// M-15: pause waits for the running microbatch; appends accumulate.
#[test]
fn a_paused_microbatch_goes_on_where_it_stopped() {
    let cluster = InProcessCluster::new(2, 2).unwrap();
    block_on(async {
        cluster.launch(Bank::default()).await.unwrap();
        cluster.pause("Bank", "bank").await.unwrap();
        cluster.pause("Bank", "bank").await.unwrap();
        for _ in 0..10 {
            cluster.depot(DEPOSITS).append(&(3, 1)).await.unwrap();
        }
        let short = Duration::from_millis(50);
        let waited = cluster
            .cluster()
            .wait_for_processed("Bank", "bank", 1, short)
            .await;
        assert!(waited.unwrap_err().to_string().contains("0 of 1 records"));
        cluster.resume("Bank", "bank").await.unwrap();
        cluster
            .wait_for_processed("Bank", "bank", 10)
            .await
            .unwrap();
        assert_eq!(
            cluster.pstate(FUNDS).select(FUNDS.key(&3)).await.unwrap(),
            Some(10)
        );
    });
}

#[test]
fn what_a_caller_did_wrong_is_said() {
    let cluster = InProcessCluster::new(2, 1).unwrap();
    block_on(async {
        let error = cluster
            .depot(LINES)
            .append(&String::new())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        cluster.launch(Bank::default()).await.unwrap();
        let error = cluster.launch(Bank::default()).await.unwrap_err();
        assert!(error.to_string().contains("update it"), "{error}");
        let error = cluster.depot(DEPOSITS).read(0, 0..5).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let error = cluster.pstate(FUNDS).select(FUNDS.all()).await.unwrap_err();
        assert!(error.to_string().contains("begin with a key"), "{error}");
        let record = serde_json::json!({ "no": "deposit" });
        let appended = cluster
            .append_json("Bank", "*deposits", &record, AckLevel::Ack)
            .await;
        assert_eq!(appended.unwrap_err().kind(), ErrorKind::Invalid);
        let record = serde_json::json!([7, 30]);
        cluster
            .append_json("Bank", "*deposits", &record, AckLevel::Ack)
            .await
            .unwrap();
        cluster.wait_for_processed("Bank", "bank", 1).await.unwrap();
        let path = serde_json::json!([7]);
        let found = cluster.select_json("Bank", "$$funds", &path).await.unwrap();
        assert_eq!(found, [30]);
        let mut watch = cluster.watch_json("Bank", "$$funds", &path).unwrap();
        assert_eq!(watch.next().await.unwrap().unwrap(), [30]);
        let path = serde_json::json!([["nonsense"]]);
        let error = cluster
            .select_json("Bank", "$$funds", &path)
            .await
            .unwrap_err();
        assert!(format!("{error:#}").contains("allowed here"), "{error:#}");
    });
}
