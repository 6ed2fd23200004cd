//! Dynamic options on workers that are real processes.
//!
//! Relies on the limit of watches, which a client sees at once: above it a watch is refused. What
//! must stay true: what is set holds on the worker that runs and on the one that comes after it,
//! without a new deployment.

use rama::{ModuleClient, Watch};
use rama_api::{Done, InstanceStatus, LogEntry, OptionInfo};
use rama_tests::binary;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use word_count::{COUNTS, WordCount};

use crate::connect;
use crate::world::World;

const OPTIONS: &str = "/v1/modules/WordCount/options";
const LIMIT: &str = "pstate.proxy.limit";

/// A watch that gave its first value, or why it was refused.
fn watch(words: &ModuleClient) -> Result<Watch<Option<u64>>, String> {
    let counts = words.pstate(COUNTS);
    let mut watch = counts.watch(COUNTS.key("be")).expect("a watch");
    match rama::block_on(watch.next()).expect("a first value") {
        Ok(_) => Ok(watch),
        Err(error) => Err(format!("{error:#}")),
    }
}

fn refused(words: &ModuleClient) -> bool {
    watch(words).is_err_and(|error| error.contains(LIMIT))
}

/// Spec operations §6.3, §2.2, §4.0: from the first moment, changed and unset under a worker that runs,
/// over its death, and written down.
#[test]
fn options_hold_on_workers_that_run_and_on_those_that_come() {
    let world = World::start(1);
    let program = binary("word_count");
    let deploy = |name: &str, limit: Value| {
        json!({
            "tasks": 1, "threads": 1, "workers": 1,
            "options": {"pstate": {"$$counts": {name: limit}}},
        })
    };
    let wrong = world.try_launch(&program, "WordCount", deploy(LIMIT, json!(0)));
    let text = wrong.expect_err("no limit is 0");
    assert!(text.contains("it takes 1 to 1000000 proxies"), "{text}");
    let wrong = world.try_launch(&program, "WordCount", deploy("no.such", json!(1)));
    let text = wrong.expect_err("there is none");
    assert!(text.contains("there is no option no.such"), "{text}");

    let instance = world.launch(&program, "WordCount", deploy(LIMIT, json!(1)));
    let cluster = connect(world.conductor_ports());
    let words = rama::block_on(cluster.open(&WordCount)).expect("it runs");
    let first = watch(&words).expect("the first is taken");
    assert!(refused(&words), "from the first moment");

    let http = world.conductor_ports().http;
    let url = format!("http://127.0.0.1:{http}{OPTIONS}");
    let own = json!({"level": "pstate", "object": "counts", "option": LIMIT});
    let unset = ureq::delete(&url).force_send_body().send_json(&own);
    unset.expect("unset");
    world.until("a second watch is taken", || watch(&words).is_ok());
    let module = json!({"level": "module", "option": LIMIT, "value": 1});
    world
        .conductor()
        .put(OPTIONS, module.to_string().into_bytes());
    world.until("a second watch is refused", || refused(&words));
    let infos: Vec<OptionInfo> = world.get(OPTIONS);
    let set: Vec<_> = infos.iter().filter(|info| info.set).collect();
    assert!(matches!(&set[..], [info] if info.value == 1 && info.option == LIMIT));

    let path = format!("/v1/modules/WordCount/instances/{instance}");
    let before: InstanceStatus = world.get(&path);
    let victim = &before.processes[0];
    let pid = Pid::from_raw(victim.pid as i32).expect("a pid");
    kill_process(pid, Signal::KILL).expect("killed");
    world.until("the worker is back", || {
        let after: InstanceStatus = world.get(&path);
        let worker = &after.processes[0];
        worker.incarnation != victim.incarnation && worker.phase == rama_api::WorkerPhase::Serving
    });
    drop(first);
    world.until("a watch is taken by the new worker", || {
        watch(&words).is_ok_and(|_first| refused(&words))
    });

    let log: Vec<LogEntry> = world.get("/v1/modules/WordCount/log");
    let numbers: Vec<u64> = log.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4], "{log:?}");
    assert!(
        log.iter()
            .all(|entry| entry.by == "operator" && entry.at_ms > 0)
    );
    let done: Vec<&Done> = log.iter().flat_map(|entry| &entry.done).collect();
    assert!(
        matches!(
            &done[..],
            [
                Done::SetOption(_),
                Done::Operation { .. },
                Done::UnsetOption(_),
                Done::SetOption(_)
            ]
        ),
        "{log:?}"
    );
    world.destroy("WordCount");
    world.stop();
}
