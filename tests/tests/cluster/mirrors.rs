//! A module that uses another one, each in workers of its own.
//!
//! Relies on the built `word_count` and `word_trends` programs with the feature `etcd`.

use rama_tests::binary;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use word_count::{LINES, WordCount};
use word_trends::{LENGTHS, WordTrends};

use super::{InstanceStatus, World, connect};

/// lines of one module are consumed by another with other tasks, in other
/// processes, each once, over the death of workers of both; who is used is not destroyed.
#[test]
fn a_module_uses_another_over_the_death_of_workers() {
    let world = World::start(2);
    let shape = json!({"tasks": 8, "threads": 2, "workers": 2});
    let used = world.launch(&binary("word_count"), "WordCount", shape);
    let cluster = connect(world.conductor_ports());
    let words = rama::block_on(cluster.open(&WordCount)).expect("it runs");
    let append = |lines: u64| {
        let depot = words.depot(LINES);
        for _ in 0..lines {
            rama::block_on(depot.append(&"to be or not to be".to_owned())).expect("appended");
        }
    };
    append(20);
    let shape = json!({"tasks": 4, "threads": 2, "workers": 2});
    let user = world.launch(&binary("word_trends"), "WordTrends", shape);
    let trends = rama::block_on(cluster.open(&WordTrends)).expect("it runs");
    let lengths = trends.pstate(LENGTHS);
    let seen = |lines: u64| {
        world.until("each line is seen once", || {
            let read = rama::block_on(lengths.select(LENGTHS.key(&6)));
            read.is_ok_and(|read| read == Some(lines))
        });
    };
    seen(20);

    for (module, instance, lines) in [("WordCount", used, 20), ("WordTrends", user, 40)] {
        let path = format!("/v1/modules/{module}/instances/{instance}");
        let status: InstanceStatus = world.get(&path);
        let victim = Pid::from_raw(status.processes[0].pid as i32).expect("a pid");
        kill_process(victim, Signal::KILL).expect("killed");
        append(20);
        seen(lines + 20);
    }

    let refused = world.conductor().delete("/v1/modules/WordCount");
    let refused = format!("{:?}", refused.expect_err("it is used"));
    assert!(refused.contains("WordTrends"), "{refused}");
    drop((cluster, words, trends, lengths));
    world.destroy("WordTrends");
    world.destroy("WordCount");
    world.stop();
}
