//! A cluster on one machine: a real etcd, daemons, and workers that are real processes.
//!
//! Relies on the built `word_count` program with the feature `etcd`. Everything is awaited by asking;
//! nothing is timed. What must stay true: what was acknowledged is counted, once, whoever is killed.

mod certificates;
mod client;
mod mirrors;
mod options;
mod secure;
mod walk;
mod world;

use std::time::Duration;

use rama::{AckLevel, ClientConfig, Cluster, ErrorKind, Outcome};
use rama_api::InstanceStatus;
use rama_tests::binary;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use word_count::{EXACT_COUNTS, LINES, WordCount};

use world::{Ports, World};

const APPEND: &str = "/rest/WordCount/depot/lines/append";
const COUNT: &str = "/rest/WordCount/pstate/exact_counts/selectOne";

/// A program outside, which names one daemon.
fn connect(daemon: Ports) -> Cluster {
    let config = ClientConfig::at(format!("127.0.0.1:{}", daemon.rpc));
    let config = config.insecure().deadline(Duration::from_secs(60));
    rama::block_on(Cluster::connect(config)).expect("a cluster")
}

#[test]
fn a_module_is_launched_used_wounded_and_destroyed() {
    let world = World::start(2);
    let cluster = connect(world.conductor_ports());
    let error = rama::block_on(cluster.open(&WordCount)).expect_err("it does not run");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:#}");
    let program = binary("word_count");
    let launched = world.launch(
        &program,
        "WordCount",
        json!({"tasks": 8, "threads": 4, "workers": 2}),
    );
    let second = world.try_launch(
        &program,
        "WordCount",
        json!({"tasks": 8, "threads": 4, "workers": 2}),
    );
    let refusal = second.expect_err("it runs already");
    assert!(refusal.contains("it is running already"), "{refusal}");

    // HTTP through any supervisor.
    for supervisor in 0..2 {
        let http = world.supervisor(supervisor);
        for _ in 0..20 {
            let body = json!({"data": "to be or not to be", "ackLevel": "appendAck"});
            http.post(APPEND, &body).expect("appended");
        }
    }
    world.until("all is counted", || {
        world.supervisor(1).post(COUNT, &json!(["be"])).ok() == Some(json!(80))
    });

    // A typed client, over a worker that is killed under it.
    let words = rama::block_on(cluster.open(&WordCount)).expect("it runs");
    let (lines, counts) = (words.depot(LINES), words.pstate(EXACT_COUNTS));
    let line = "to be or not to be".to_owned();
    let acks = [AckLevel::AppendAck, AckLevel::Ack];
    let under_way: Vec<_> = (0..100)
        .map(|at| lines.append_with(&line, acks[at % 2]))
        .collect();
    let path = format!("/v1/modules/WordCount/instances/{launched}");
    let before: InstanceStatus = world.get(&path);
    let victim = &before.processes[0];
    kill_process(
        Pid::from_raw(victim.pid as i32).expect("a pid"),
        Signal::KILL,
    )
    .expect("killed");
    for append in under_way {
        rama::block_on(append).expect("an acknowledgment, before or after");
    }
    let after: InstanceStatus = world.get(&path);
    assert_ne!(after.processes[0].incarnation, victim.incarnation);
    world.until("each line is counted once", || {
        let count = rama::block_on(counts.select(EXACT_COUNTS.key("be")));
        count.is_ok_and(|count| count == Some(80 + 200))
    });

    world.destroy("WordCount");
    for (dir, _) in world.nodes() {
        let left = std::fs::read_dir(dir.join("supervisor/workers"));
        let left: Vec<_> = left.expect("the directory").flatten().collect();
        assert!(left.is_empty(), "data stays behind: {left:?}");
    }

    // The same handles, over the next instance, which is smaller.
    let error = rama::block_on(lines.within(Duration::from_millis(1)).append(&line));
    assert!(error.is_err_and(|error| error.outcome() != Outcome::Done));
    let shape = json!({"tasks": 4, "threads": 2, "workers": 1});
    world.launch(&program, "WordCount", shape);
    let lines = words.depot(LINES);
    world.until("the client has heard of it", || {
        let appended = rama::block_on(lines.append(&line));
        appended.is_ok() && lines.partitions().ok() == Some(4)
    });
    let count = rama::block_on(counts.select(EXACT_COUNTS.key("be")));
    assert!(count.is_ok(), "{count:?}");
    drop((cluster, words, lines, counts));
    world.destroy("WordCount");
    world.stop();
}
