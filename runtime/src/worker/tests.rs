//! Workers in one process that know each other only by address.

use std::time::Duration;

use super::*;
use crate::testing::{Bank, COUNTS, DEPOSITS, EXACT, FUNDS, LINES, TRANSFERS, Words};
use crate::{AckLevel, RemoteConfig, RemoteModule};

const CLUSTER: Uuid = Uuid::from_u128(0xc1);
const INSTANCE: Uuid = Uuid::from_u128(0x15);

fn config_of(dir: &std::path::Path, index: u32, incarnation: u64) -> WorkerConfig {
    WorkerConfig {
        cluster: CLUSTER,
        node: node(index),
        instance: INSTANCE,
        incarnation,
        tasks: 8,
        threads: 4,
        local: vec![index, index + 2],
        dir: dir.join(format!("worker-{index}")),
        bind: [127, 0, 0, 1].into(),
        first_port: 0,
        security: Security::InsecureLoopback,
        pinned: false,
        options: ModuleOptions::default(),
    }
}

fn node(index: u32) -> Uuid {
    Uuid::from_u128(0x100 + u128::from(index))
}

/// Tells each worker where the others are.
fn connect(workers: &[&Worker]) {
    for worker in workers {
        worker.set_routes(routes(workers));
    }
}

async fn two(dir: &std::path::Path, module: &dyn Module) -> (Worker, Worker) {
    let first = Worker::bind(config_of(dir, 0, 1)).await.unwrap();
    let second = Worker::bind(config_of(dir, 1, 1)).await.unwrap();
    connect(&[&first, &second]);
    first.launch(module).await.unwrap();
    second.launch(module).await.unwrap();
    (first, second)
}

/// Repeats a call while the links are not up.
async fn until_up<T, F: Future<Output = Result<T>>>(cluster: &Cluster, call: impl Fn() -> F) -> T {
    loop {
        match call().await {
            Ok(value) => return value,
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                cluster.sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error:#}"),
        }
    }
}

/// Waits until the links between all task threads are up, by lines that go everywhere: a stream whose
/// link is down fails its first try, which an ACK append tells (D-20).
async fn warm_up(cluster: &Cluster) {
    let lines = cluster.depot(LINES);
    let line = "warm up every link between any two task threads of both workers".to_owned();
    let mut well = 0;
    while well < 32 {
        match lines.append(&line).await {
            Ok(_) => well += 1,
            Err(_) => {
                well = 0;
                cluster.sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// 20.3, O-9: ack and read-your-write over processes, whichever worker the client speaks to.
#[tokio::test]
async fn two_workers_run_one_module() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = two(dir.path(), &Words).await;
    let mut expected = 0;
    for worker in [&first, &second] {
        let cluster = worker.cluster();
        warm_up(&cluster).await;
        let lines = cluster.depot(LINES);
        for _ in 0..20 {
            let line = "the quick brown fox jumps over the lazy dog".to_owned();
            until_up(&cluster, || lines.append(&line)).await;
            expected += 2;
            let counts = cluster.pstate(COUNTS);
            let found = until_up(&cluster, || counts.select(COUNTS.key("the"))).await;
            assert_eq!(found, Some(expected));
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

fn routes(workers: &[&Worker]) -> BTreeMap<u32, Route> {
    let of = |worker: &&Worker| {
        let (node, incarnation) = (worker.config.node, worker.config.incarnation);
        let route = move |(&thread, &address): (&u32, &SocketAddr)| {
            let epoch = 1;
            let route = Route {
                address,
                node,
                incarnation,
                epoch,
            };
            (thread, route)
        };
        worker.addresses().iter().map(route).collect::<Vec<_>>()
    };
    workers.iter().flat_map(of).collect()
}

fn outside() -> RemoteConfig {
    RemoteConfig {
        cluster: CLUSTER,
        node: Uuid::from_u128(0xc0de),
        role: Role::Client,
        security: Security::InsecureLoopback,
        instance: INSTANCE,
        tasks: 8,
        threads: 4,
        deadline: Duration::from_secs(60),
    }
}

/// A program outside appends, reads and watches; while a worker restarts its calls wait.
#[tokio::test]
async fn a_program_outside_does_not_notice_a_restart_beyond_latency() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = two(dir.path(), &Words).await;
    warm_up(&first.cluster()).await;
    let remote = RemoteModule::open(outside(), &Words).unwrap();
    let cluster = remote.cluster();
    let (lines, counts) = (cluster.depot(LINES), cluster.pstate(COUNTS));
    let line = "a b c d e f g h".to_owned();
    let append = lines.append(&line);
    // It waits for the routes.
    remote.set_routes(routes(&[&first, &second]));
    append.await.unwrap();
    let mut watch = counts.watch(COUNTS.key("h")).unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap(), Some(1));
    lines.append(&line).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap(), Some(2));

    second.shutdown().await.unwrap();
    let reads = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let reads = reads.map(|word| counts.select(COUNTS.key(word)));
    let second = Worker::bind(config_of(dir.path(), 1, 2)).await.unwrap();
    connect(&[&first, &second]);
    remote.set_routes(routes(&[&first, &second]));
    second.launch(&Words).await.unwrap();
    for read in reads {
        assert_eq!(read.await.unwrap(), Some(2));
    }
    warm_up(&cluster).await;
    lines.append(&line).await.unwrap();
    assert_eq!(counts.select(COUNTS.key("h")).await.unwrap(), Some(3));
    drop(remote);
    let error = lines.append(&line).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:#}");
    first.shutdown().await.unwrap();
    second.shutdown().await.unwrap();
}

/// A crash under load: what was under way is sent again, and nothing is taken twice.
#[tokio::test]
async fn appends_that_a_crash_left_without_an_answer_are_taken_once() {
    let dir = tempfile::tempdir().unwrap();
    let (first, mut second) = two(dir.path(), &Words).await;
    let remote = RemoteModule::open(outside(), &Words).unwrap();
    remote.set_routes(routes(&[&first, &second]));
    // From outside, and from the other worker, whose HTTP clients come this way.
    let lines = remote.cluster().depot(LINES);
    let inside = first.cluster().depot(LINES);
    let mut appended = 0;
    for start in 2..5 {
        let line = "one".to_owned();
        let under_way: Vec<_> = (0..200)
            .map(|_| lines.append_with(&line, AckLevel::AppendAck))
            .collect();
        let from_inside: Vec<_> = (0..200)
            .map(|_| inside.append_with(&line, AckLevel::AppendAck))
            .collect();
        appended += from_inside.len() as u64;
        appended += under_way.len() as u64;
        drop(second);
        second = Worker::bind(config_of(dir.path(), 1, start)).await.unwrap();
        connect(&[&first, &second]);
        remote.set_routes(routes(&[&first, &second]));
        second.launch(&Words).await.unwrap();
        for append in under_way {
            append.await.unwrap();
        }
        for append in from_inside {
            append.await.unwrap();
        }
    }
    let mut found = 0;
    for partition in 0..8 {
        let range = lines.partition_info(partition).await.unwrap();
        found += range.end - range.start;
    }
    assert_eq!(found, appended);
    first.shutdown().await.unwrap();
    second.shutdown().await.unwrap();
}
