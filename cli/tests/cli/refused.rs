//! What a real conductor refuses, and what it plans: its own loop and planner over an embedded metastore.
//!
//! Relies on nodes that are registered and run nothing: a launch stays at its first step. What must stay
//! true: a refusal names the number or name that is wrong, and what to do.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use rama_control::Follower;
use rama_coordinator::artifacts::TrustRoots;
use rama_coordinator::daemon::{Identity, Listen, conductor};
use rama_metastore::{Embedded, Metastore, Space};
use rama_planner::ids::{ModuleName, NodeId};
use rama_planner::place::{Dedicated, Scheduler};
use rama_planner::records::{Process, Supervisor};
use rama_planner::store::{Key, Txn, Value};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::command::{directory, run};

const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs");
const TTL: Duration = Duration::from_secs(600);

/// A conductor, until this is dropped.
struct Running {
    url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "a clean end");
        }
    }
}

/// A conductor with nodes that have these labels.
fn conductor(scheduler: Scheduler, nodes: &'static [&'static str]) -> Running {
    let (ready, started) = mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let runtime = rama_gateway::dev::runtime(1).expect("a runtime");
        let dir = directory();
        runtime.block_on(async {
            let store = Embedded::open(dir.path().join("metastore")).await;
            let store = store.expect("a metastore");
            let space = Space::new("rama").expect("a root");
            let lease = store.grant(TTL).await.expect("a lease");
            let settings = conductor::Settings {
                identity: Identity::claimed(dir.path()).expect("an identity"),
                listen: Listen {
                    bind: Ipv4Addr::LOCALHOST.into(),
                    rpc_port: 0,
                    http_port: 0,
                    host_internal: "localhost".into(),
                    host_external: "localhost".into(),
                },
                store: store.clone(),
                space: space.clone(),
                lease: TTL,
                dir: dir.path().to_owned(),
                scheduler,
                roots: TrustRoots::default(),
            };
            for (at, label) in nodes.iter().enumerate() {
                let node = NodeId(Uuid::from_u128(at as u128 + 1));
                let value = Value::Supervisor(node_with(at, label));
                let txn = Txn::new().put_leased(Key::Supervisor(node), value);
                rama_control::write(&store, &space, Some(lease.id()), &txn).await;
            }
            let port = async {
                let mut follower = Follower::new(&store, &space);
                loop {
                    follower.next().await.expect("a change");
                    if let Some(Value::Conductor(it)) = follower.view().value(&Key::Conductor) {
                        break it.process.http_port.expect("it serves HTTP");
                    }
                }
            };
            let stopped = async {
                ready.send(port.await).expect("the test waits");
                // The sender is dropped when the test fails, which is an end too.
                let _ = stopped.await;
            };
            conductor::run(settings, stopped)
                .await
                .expect("it ends well");
        });
        runtime.shutdown_background();
    });
    let port: u16 = started.recv().expect("it started");
    Running {
        url: format!("http://127.0.0.1:{port}"),
        stop: Some(stop),
        thread: Some(thread),
    }
}

fn node_with(at: usize, label: &str) -> Supervisor {
    let labels = Some(label).filter(|label| !label.is_empty());
    Supervisor {
        process: Process {
            host_internal: format!("n{}", at + 1),
            ..Process::default()
        },
        memory_bytes: 1 << 34,
        labels: labels.into_iter().map(str::to_owned).collect(),
        cores: 8,
        unlimited: String::new(),
    }
}

/// A launch of `WordCount` with eight tasks, four threads and two workers, unless `more` says else.
fn launch(running: &Running, more: &[&str]) -> String {
    let binary = format!("{PROGRAMS}/word_count");
    let args = ["deploy", "--action", "launch", "--binary", &binary];
    let shape = ["--module", "WordCount", "--tasks", "8", "--threads", "4"];
    let args = [&args[..], &shape, &["--workers", "2"], more].concat();
    run(&running.url, &args, "").replace(PROGRAMS, "PROGRAMS")
}

/// `text` with ids and moments replaced.
fn steady(text: &str) -> String {
    let is_word = |char: char| char.is_ascii_alphanumeric() || "-:.".contains(char);
    let mut out = String::new();
    for part in text.split_inclusive(|char| !is_word(char)) {
        let word = part.trim_end_matches(|char| !is_word(char));
        let plain = word.trim_matches(|char: char| !char.is_ascii_alphanumeric());
        let bytes = plain.as_bytes();
        let is_date = bytes.len() == 10 && bytes[4] == b'-' && bytes[7] == b'-';
        let is_time = bytes.len() == 9 && bytes[2] == b':' && bytes[8] == b'Z';
        let replaced = match plain {
            plain
                if plain.len() == 36 && plain.parse::<Uuid>().is_ok_and(|id| id.as_u128() > 9) =>
            {
                part.replace(plain, "ID")
            }
            plain if is_date => part.replace(plain, "DATE"),
            plain if is_time => part.replace(plain, "TIME"),
            _ => part.to_owned(),
        };
        out.push_str(&replaced);
    }
    out
}

#[test]
fn a_plan_is_the_planners_own() {
    let running = conductor(Scheduler::Dev, &["ssd", "", "ssd"]);
    let seen = [
        launch(&running, &["--dry-run"]),
        launch(
            &running,
            &["--dryRun", "--targetLabel", "ssd", "--output", "json"],
        ),
        launch(
            &running,
            &["--dry-run", "--replicationFactor", "3", "--output", "jsonl"],
        ),
    ];
    insta::assert_snapshot!(steady(&seen.join("\n")));
}

#[test]
fn what_cannot_be_placed_is_refused_with_the_number_that_is_wrong() {
    let empty = conductor(Scheduler::Dev, &[]);
    let running = conductor(Scheduler::Dev, &["ssd", ""]);
    let dir = directory();
    let overrides = dir.path().join("overrides.toml");
    let with = |text: &str| {
        std::fs::write(&overrides, text).expect("written");
        let path = overrides.display().to_string();
        launch(&running, &["--config-overrides", &path]).replace(&path, "OVERRIDES")
    };
    let seen = [
        launch(&empty, &[]),
        launch(&running, &["--replicationFactor", "3"]),
        launch(&running, &["--targetLabel", "gpu"]),
        launch(
            &running,
            &["--target-label", "ssd", "--replication-factor", "2"],
        ),
        with("[worker.resources]\nmemory_max = \"1KiB\"\n"),
        with("[worker.resources]\ncores = 2\n"),
        with("[http]\nport = 1\n"),
        run(&running.url, &["destroy", "Nope", "--yes", "Nope"], ""),
        run(&running.url, &["moduleStatus", "Nope"], ""),
    ];
    insta::assert_snapshot!(steady(&seen.join("\n")));
}

#[test]
fn isolation_takes_modules_that_are_listed_on_nodes_that_are_free() {
    let listed = |name: &str, nodes, label: Option<&str>| {
        let name = ModuleName::new(name).expect("a name");
        let label = label.map(str::to_owned);
        (name, Dedicated { nodes, label })
    };
    let isolation = |modules: Vec<_>| Scheduler::Isolation(modules.into_iter().collect());
    let nodes: &[&str] = &["ssd", ""];
    let refused = [
        vec![listed("Bank", 1, None)],
        vec![listed("WordCount", 3, None)],
        vec![listed("WordCount", 2, Some("ssd"))],
    ];
    let seen = refused.map(|modules| launch(&conductor(isolation(modules), nodes), &[]));
    let one = conductor(isolation(vec![listed("WordCount", 1, Some("ssd"))]), nodes);
    let planned = launch(&one, &["--dry-run"]);
    insta::assert_snapshot!(steady(&format!("{}\n{planned}", seen.join("\n"))));
}

#[test]
fn a_second_operation_is_refused_and_the_first_is_named() {
    let running = conductor(Scheduler::Dev, &["", ""]);
    let url = running.url.as_str();
    let begun = launch(&running, &["--no-wait"]);
    assert!(begun.ends_with("--- exit 0\n"), "{begun}");
    let seen = [
        launch(&running, &[]),
        run(url, &["destroy", "WordCount", "--yes", "WordCount"], ""),
        run(url, &["operations", "--output", "json"], ""),
    ];
    // How far it has come meanwhile is up to the machine; that no worker comes is not.
    for refused in &seen[..2] {
        assert!(refused.contains("launch"), "{refused}");
        assert!(refused.contains("is in progress since"), "{refused}");
        assert!(refused.ends_with("--- exit 4\n"), "{refused}");
    }
    let (_, listed) = seen[2].split_once('\n').expect("a transcript");
    let (listed, _) = listed.split_once("--- stderr").expect("a transcript");
    let listed: serde_json::Value = serde_json::from_str(listed).expect("JSON");
    let id = listed[0]["id"].as_str().expect("an id");
    assert!(seen[0].contains(id), "{}", seen[0]);
    let modules: BTreeSet<&str> = [listed[0]["module"].as_str().unwrap_or_default()].into();
    assert_eq!(modules, BTreeSet::from(["WordCount"]));
}
