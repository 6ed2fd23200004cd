//! A cluster on one machine: a real etcd, daemons, and workers that are real processes.
//!
//! Relies on the built `word_count` program with the feature `etcd`. Everything is awaited by asking;
//! nothing is timed. What must stay true: what was acknowledged is counted, once, whoever is killed.

mod certificates;
mod client;
mod secure;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use rama_api::{InstanceStatus, ModuleRoutes};
use rama_net::{Role, Security};
use rama_runtime::{AckLevel, RemoteConfig, RemoteModule, Route};
use rama_tests::binary;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use uuid::Uuid;
use word_count::{EXACT_COUNTS, LINES, WordCount};

use world::World;

const APPEND: &str = "/rest/WordCount/depot/lines/append";
const COUNT: &str = "/rest/WordCount/pstate/exact_counts/selectOne";

/// A typed client as a program outside has it.
fn remote(world: &World) -> RemoteModule {
    let routes: ModuleRoutes = world.get("/v1/modules/WordCount/routes");
    let config = RemoteConfig {
        cluster: routes.cluster,
        node: Uuid::new_v4(),
        role: Role::Client,
        security: Security::InsecureLoopback,
        instance: routes.instance,
        tasks: routes.tasks,
        threads: routes.threads,
        deadline: Duration::from_secs(60),
    };
    let remote = RemoteModule::open(config, &WordCount).expect("a client");
    remote.set_routes(of(&routes));
    remote
}

fn of(routes: &ModuleRoutes) -> BTreeMap<u32, Route> {
    let route = |route: &rama_api::ThreadRoute| {
        let address = format!("{}:{}", route.host, route.port);
        let address = address.parse().expect("hosts are addresses here");
        let (node, incarnation, epoch) = (route.node, route.incarnation, route.epoch);
        let found = Route {
            address,
            node,
            incarnation,
            epoch,
        };
        (route.thread, found)
    };
    routes.routes.iter().map(route).collect()
}

#[test]
fn a_module_is_launched_used_wounded_and_destroyed() {
    let world = World::start(2);
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
    let remote = remote(&world);
    let cluster = remote.cluster();
    let (lines, counts) = (cluster.depot(LINES), cluster.pstate(EXACT_COUNTS));
    let line = "to be or not to be".to_owned();
    let under_way: Vec<_> = (0..100)
        .map(|_| lines.append_with(&line, AckLevel::AppendAck))
        .collect();
    let path = format!("/v1/modules/WordCount/instances/{launched}");
    let before: InstanceStatus = world.get(&path);
    let victim = &before.processes[0];
    kill_process(
        Pid::from_raw(victim.pid as i32).expect("a pid"),
        Signal::KILL,
    )
    .expect("killed");
    world.until("the worker is back", || {
        let after: InstanceStatus = world.get(&path);
        let worker = &after.processes[0];
        worker.incarnation != victim.incarnation && worker.phase == rama_api::WorkerPhase::Serving
    });
    remote.set_routes(of(&world.get("/v1/modules/WordCount/routes")));
    for append in under_way {
        rama::block_on(append).expect("an acknowledgment, before or after");
    }
    world.until("each line is counted once", || {
        let count = rama::block_on(counts.select(EXACT_COUNTS.key("be")));
        count.is_ok_and(|count| count == Some(80 + 200))
    });
    let count = rama::block_on(counts.select(EXACT_COUNTS.key("be")));
    assert_eq!(count.expect("a count"), Some(280));
    drop(remote);

    world.destroy("WordCount");
    for (dir, _) in world.nodes() {
        let left = std::fs::read_dir(dir.join("supervisor/workers"));
        let left: Vec<_> = left.expect("the directory").flatten().collect();
        assert!(left.is_empty(), "data stays behind: {left:?}");
    }
    world.stop();
}
