//! Programs outside of a cluster whose directory is scripted and whose workers are real.

mod proxies;

use std::time::Duration;

use crate::testing::workers::{ALL_MODULES, INSTANCE, Said, Told, at, config_of, connect, two};
use crate::testing::{Bank, COUNTS, FUNDS, LINES, Words};
use crate::{
    AckLevel, Cluster, Definition, DepotClient, ErrorKind, InProcessCluster, ModuleClient, Outcome,
    Worker, WorkerConfig,
};
use uuid::Uuid;

/// Anything that is waited for takes far less.
const PATIENCE: Duration = Duration::from_secs(60);

async fn open(told: &Told) -> (Cluster, ModuleClient) {
    let cluster = Cluster::connect(told.config(PATIENCE)).await.unwrap();
    let words = cluster.open(&Words).await.unwrap();
    (cluster, words)
}

/// A program outside appends, reads and watches; while a worker restarts its calls wait.
#[tokio::test]
async fn a_program_outside_does_not_notice_a_restart_beyond_latency() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = two(dir.path(), &Words).await;
    let told = Told::new(at(1, &Words, &[&first]));
    let (cluster, words) = open(&told).await;
    let (lines, counts) = (words.depot(LINES), words.pstate(COUNTS));
    let line = "a b c d e f g h".to_owned();
    // Those for the second worker wait for its routes.
    let appends: Vec<_> = (0..20).map(|_| lines.append(&line)).collect();
    told.say(at(2, &Words, &[&first, &second]));
    for append in appends {
        append.await.unwrap();
    }
    let mut watch = counts.watch(COUNTS.key("h")).unwrap();
    let seen = watch.next().await.unwrap().unwrap();
    assert!(seen.is_some_and(|count| count >= 20), "{seen:?}");
    lines.append(&line).await.unwrap();
    assert!(watch.next().await.unwrap().unwrap() > seen);

    second.shutdown().await.unwrap();
    let reads = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let reads = reads.map(|word| counts.select(COUNTS.key(word)));
    let append = lines.append(&line);
    let second = Worker::bind(config_of(dir.path(), 1, 2)).await.unwrap();
    connect(&[&first, &second]);
    told.say(at(3, &Words, &[&first, &second]));
    second.launch(&Words).await.unwrap();
    for read in reads {
        assert!(read.await.unwrap().is_some_and(|count| count >= 21));
    }
    append.await.unwrap();
    // The directory is needed for news alone.
    told.say(Said::Nothing);
    lines.append(&line).await.unwrap();
    assert!(counts.select(COUNTS.key("h")).await.unwrap() >= Some(23));
    let (lines_left, _) = (lines.clone(), drop((cluster, words, counts, lines)));
    lines_left.append(&line).await.unwrap();
    first.shutdown().await.unwrap();
    second.shutdown().await.unwrap();
}

/// D-16: a crash under load. What was under way is sent again, and nothing is taken twice.
#[tokio::test]
async fn appends_that_a_crash_left_without_an_answer_are_taken_once() {
    let dir = tempfile::tempdir().unwrap();
    let (first, mut second) = two(dir.path(), &Words).await;
    let told = Told::new(at(1, &Words, &[&first, &second]));
    let (_cluster, words) = open(&told).await;
    // From outside, and from the other worker, whose HTTP clients come this way.
    let (lines, inside) = (words.depot(LINES), first.cluster().depot(LINES));
    let mut appended = 0;
    for start in 2..5 {
        let line = "one".to_owned();
        let append = |depot: &DepotClient<String>, ack| depot.append_with(&line, ack);
        let mut under_way = Vec::new();
        for _ in 0..100 {
            under_way.push(append(&lines, AckLevel::AppendAck));
            under_way.push(append(&inside, AckLevel::AppendAck));
        }
        drop(second);
        second = Worker::bind(config_of(dir.path(), 1, start)).await.unwrap();
        connect(&[&first, &second]);
        told.say(at(start, &Words, &[&first, &second]));
        second.launch(&Words).await.unwrap();
        for append in under_way {
            append.await.unwrap();
            appended += 1;
        }
    }
    assert_eq!(records(&lines, 8).await, appended);
    first.shutdown().await.unwrap();
    second.shutdown().await.unwrap();
}

async fn records(lines: &DepotClient<String>, partitions: u32) -> u64 {
    let mut found = 0;
    for partition in 0..partitions {
        let range = lines.partition_info(partition).await.unwrap();
        found += range.end - range.start;
    }
    found
}

/// Another instance of half the size, over data of its own.
fn other(dir: &std::path::Path) -> WorkerConfig {
    WorkerConfig {
        instance: Uuid::from_u128(0x16),
        tasks: 4,
        threads: 2,
        local: vec![0, 1],
        dir: dir.join("other"),
        ..config_of(dir, 0, 7)
    }
}

/// Destroyed and launched again, smaller: the handles go on with the new instance; what was not sent to
/// the old one was surely not done.
#[tokio::test]
async fn handles_follow_their_module_to_its_next_instance() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = two(dir.path(), &Words).await;
    let told = Told::new(at(1, &Words, &[&first]));
    let (_cluster, words) = open(&told).await;
    let (lines, counts) = (words.depot(LINES), words.pstate(COUNTS));
    let line = "a b c d e f g h".to_owned();
    let never_sent: Vec<_> = (0..64)
        .map(|_| lines.append_with(&line, AckLevel::AppendAck))
        .collect();
    let reads = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let reads = reads.map(|word| counts.select(COUNTS.key(word)));
    told.say(Said::Gone);
    let mut left = 0;
    for append in never_sent {
        // Those for the worker that has routes may have been done.
        if let Err(error) = append.await {
            left += u64::from(error.outcome() == Outcome::NotDone && error.is_retryable());
        }
    }
    assert!(left > 0, "all of 64 appends went to one of two workers");
    for read in reads {
        let answer = read.await;
        assert!(answer.is_ok() || answer.is_err_and(|error| error.is_retryable()));
    }
    let error = lines.append(&line).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:#}");
    assert!(error.to_string().contains("Words does not run"), "{error}");
    drop((first, second));

    let only = Worker::bind(other(dir.path())).await.unwrap();
    connect(&[&only]);
    only.launch(&Words).await.unwrap();
    told.say(at(5, &Words, &[&only]));
    // The news may come a moment later.
    while lines.append(&line).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(counts.select(COUNTS.key("h")).await.unwrap() >= Some(1));
    assert_eq!(lines.partitions().unwrap(), 4);
    // An answer that is older than what is known changes nothing.
    let Said::At(mut old) = at(3, &Words, &[&only]) else {
        unreachable!("it runs there");
    };
    old.instance = INSTANCE;
    told.say(Said::At(old));
    lines.append(&line).await.unwrap();
    only.shutdown().await.unwrap();
}

/// D-16: at its deadline a call was done or not, or nobody knows; what was never sent was not.
#[tokio::test]
async fn at_its_deadline_an_append_that_was_not_sent_is_known_not_to_be_done() {
    let dir = tempfile::tempdir().unwrap();
    let first = Worker::bind(config_of(dir.path(), 0, 1)).await.unwrap();
    connect(&[&first]);
    first.launch(&Words).await.unwrap();
    let told = Told::new(at(1, &Words, &[&first]));
    let (_cluster, words) = open(&told).await;
    // Half of the partitions are nowhere, and so are half of the words of those that are there.
    let line = "some of all of these many words are counted on tasks of nobody".to_owned();
    let lines = words.depot(LINES).within(Duration::from_millis(50));
    let (mut not_done, mut unknown) = (0, 0);
    while not_done == 0 || unknown == 0 {
        let error = lines.append(&line).await.unwrap_err();
        match error.outcome() {
            Outcome::NotDone => {
                assert!(error.is_retryable());
                assert!(error.to_string().contains("nothing was done"), "{error}");
                not_done += 1;
            }
            Outcome::Unknown => {
                assert!(error.to_string().contains("may be appended"), "{error}");
                unknown += 1;
            }
            Outcome::Done => panic!("a link that is down fails no topology: {error:#}"),
        }
    }
    let counts = words.pstate(COUNTS).within(Duration::from_millis(50));
    let mut late = 0;
    for word in line.split(' ') {
        if let Err(error) = counts.select(COUNTS.key(word)).await {
            assert!(error.is_retryable(), "{error:#}");
            late += 1;
        }
    }
    assert!(late > 0, "half of the tasks are nowhere");
    drop(first);
}

/// a connection lists what its directory knows, waits for one that is silent, and no longer than
/// its deadline.
#[tokio::test]
async fn a_connection_lists_all_modules() {
    let told = Told::new(Said::Gone);
    let cluster = Cluster::connect(told.config(PATIENCE)).await.unwrap();
    let hasty = told.config(Duration::from_millis(50));
    let hasty = Cluster::connect(hasty).await.unwrap();
    assert_eq!(cluster.modules().await.unwrap(), ALL_MODULES);
    assert!(cluster.modules_here().is_empty());
    told.say(Said::Nothing);
    let error = hasty.modules().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:#}");
    let waiting = cluster.modules();
    told.say(Said::Gone);
    assert_eq!(waiting.await.unwrap(), ALL_MODULES);
}

#[tokio::test]
async fn a_module_that_does_not_run_or_runs_other_code_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = two(dir.path(), &Words).await;
    let told = Told::new(Said::Gone);
    let cluster = Cluster::connect(told.config(PATIENCE)).await.unwrap();
    let error = cluster.open(&Words).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:#}");
    assert!(error.to_string().contains("Words"), "{error}");

    let bank = Bank::default();
    told.say(at(1, &bank, &[&first, &second]));
    let error = cluster.open(&Words).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error:#}");
    let interface = |module: &dyn crate::Module| Definition::of(module).unwrap().interface();
    for named in [interface(&Words), interface(&bank)] {
        let named = format!("{named:016x}");
        assert!(error.to_string().contains(&named), "{error}");
    }

    let Said::At(mut absurd) = at(2, &Words, &[&first, &second]) else {
        unreachable!("it runs there");
    };
    absurd.tasks = u32::MAX;
    told.say(Said::At(absurd));
    let error = cluster.open(&Words).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:#}");

    told.say(at(3, &Words, &[&first, &second]));
    let words = cluster.open(&Words).await.unwrap();
    words.depot(LINES).append(&"a".to_owned()).await.unwrap();
    let found = cluster.pstate(COUNTS).select(COUNTS.key("a")).await;
    assert!(found.unwrap() >= Some(1));
    let error = cluster.pstate(FUNDS).select(FUNDS.key(&1)).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);

    // Other code takes its place under the open handle.
    let Said::At(mut updated) = at(4, &bank, &[&first, &second]) else {
        unreachable!("it runs there");
    };
    updated.instance = Uuid::from_u128(0x17);
    told.say(Said::At(updated));
    loop {
        if let Err(error) = words.depot(LINES).append(&"a".to_owned()).await
            && error.kind() == ErrorKind::Rejected
        {
            assert!(error.to_string().contains("other code of Words"), "{error}");
            break;
        }
        tokio::task::yield_now().await;
    }
    first.shutdown().await.unwrap();
    second.shutdown().await.unwrap();
}

/// connecting, and opening a module, lasts until somebody answers or the time is over.
#[tokio::test]
async fn a_cluster_that_nobody_answers_for_is_asked_until_the_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = two(dir.path(), &Words).await;
    let told = Told::new(Said::Nothing);
    let soon = told.config(Duration::from_millis(200));
    let error = Cluster::connect(soon).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:#}");
    assert!(
        error.to_string().contains("all daemons are down"),
        "{error}"
    );

    // It comes back while it is asked: to connect, and to open a module.
    let connecting = tokio::spawn(Cluster::connect(told.config(PATIENCE)));
    told.say(Said::Gone);
    let cluster = connecting.await.unwrap().unwrap();
    told.say(Said::Nothing);
    let opening = tokio::spawn({
        let cluster = cluster.clone();
        async move { cluster.open(&Words).await }
    });
    tokio::task::yield_now().await;
    told.say(at(1, &Words, &[&first, &second]));
    let words = opening.await.unwrap().unwrap();
    words.depot(LINES).append(&"a".to_owned()).await.unwrap();
    first.shutdown().await.unwrap();
    second.shutdown().await.unwrap();
}

/// The same program works against a cluster in its own process.
#[tokio::test]
async fn a_module_of_a_cluster_in_this_process_is_opened_in_the_same_way() {
    let cluster = InProcessCluster::builder().tasks(2).threads(1).start();
    let cluster = cluster.unwrap();
    let error = cluster.open(&Words).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:#}");
    cluster.launch(Words).await.unwrap();
    let words = cluster.open(&Words).await.unwrap();
    words.depot(LINES).append(&"a".to_owned()).await.unwrap();
    let found = words.pstate(COUNTS).select(COUNTS.key("a")).await.unwrap();
    assert_eq!(found, Some(1));
    cluster.shutdown().await.unwrap();
}
