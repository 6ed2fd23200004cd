//! A machine with real processes: found again, remembered, forgotten.

use std::fs;

use rama_planner::ids::{InstanceId, ModuleName, NodeId, ReplicaId, WorkerIndex};
use rama_planner::records::{Desired, InstanceSpec, WorkerAssignment};
use rama_planner::shape::Shape;
use rama_planner::store::{Key, Value};
use rama_planner::view::Event;
use tokio::sync::mpsc::UnboundedReceiver;
use uuid::Uuid;

use super::*;
use crate::artifacts::{TrustRoots, hash_of};

/// A worker with a process of its own below it.
const SCRIPT: &str = "#!/bin/sh\nsleep 60 &\nwait\n";

fn slot() -> SlotName {
    SlotName {
        module: ModuleName::new("M").unwrap(),
        instance: InstanceId(Uuid::from_u128(7)),
        worker: WorkerIndex(1),
    }
}

fn machine(dir: &Path) -> Machine {
    let artifacts = Artifacts::open(&dir.join("artifacts"), TrustRoots::default()).unwrap();
    let assignment = include_str!("tests/assignment.json");
    Machine::open(Setup {
        dir: dir.to_owned(),
        artifacts,
        fetch: Arc::new(|_, _| Box::pin(async { Err("nobody has it".to_owned()) })),
        assign: Arc::new(move |_, _, data_dir, beat| {
            let made: Assignment = serde_json::from_str(assignment).unwrap();
            Some(Assignment {
                data_dir,
                beat,
                ..made
            })
        }),
        environment: BTreeMap::new(),
    })
    .unwrap()
}

/// A view that shows the slot as published, with the script as its program.
fn published(dir: &Path) -> View {
    let script = dir.join("script");
    fs::write(&script, SCRIPT).unwrap();
    let artifact = hash_of(&script).unwrap();
    let artifacts = Artifacts::open(&dir.join("artifacts"), TrustRoots::default()).unwrap();
    let mut upload = artifacts.begin(&artifact).unwrap();
    upload.write(SCRIPT.as_bytes()).unwrap();
    upload.finish().unwrap();
    let of = slot();
    let spec = InstanceSpec {
        artifact,
        shape: Shape::new(1, 1, 1, 1).unwrap(),
        label: None,
        overrides: BTreeMap::new(),
        metadata: String::new(),
        created_ms: 1,
    };
    let worker = WorkerAssignment {
        node: NodeId(Uuid::from_u128(1)),
        replica_set: ReplicaId(0),
        groups: Vec::new(),
        desired: Desired::Run,
    };
    let mut view = View::default();
    let all = [
        (Key::Spec(of.module.clone(), of.instance), Value::Spec(spec)),
        (
            Key::Worker(of.module.clone(), of.instance, of.worker),
            Value::Worker(worker),
        ),
    ];
    for (at, (key, value)) in all.into_iter().enumerate() {
        view.apply(Event {
            revision: at as u64 + 1,
            key,
            value: Some(value),
        });
    }
    view
}

/// The next thing that is told, beats aside.
async fn told(answered: &mut UnboundedReceiver<(SlotName, Input)>) -> Input {
    loop {
        let (of, input) = answered.recv().await.unwrap();
        assert_eq!(of, slot());
        if !matches!(input, Input::Heartbeat { .. }) {
            return input;
        }
    }
}

/// Appendix B: a supervisor that died between starting a worker and remembering it finds it, and
/// does not take what the worker started for a second one.
#[tokio::test]
async fn a_worker_that_was_not_remembered_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let view = published(dir.path());
    let mut first = machine(dir.path());
    let (answers, mut answered) = Answers::new();
    first.act(&slot(), Effect::Spawn { attempt: 0 }, &view, &answers);
    let Input::Spawned { process } = told(&mut answered).await else {
        panic!("it was not started");
    };

    let mut second = machine(dir.path());
    assert_eq!(second.left(), BTreeSet::from([slot()]));
    let (answers, mut heard) = Answers::new();
    second.act(&slot(), Effect::Find, &view, &answers);
    let found = Input::Found {
        remembered: None,
        at_pid: None,
        tagged: vec![process],
    };
    assert_eq!(told(&mut heard).await, found);

    second.act(&slot(), Effect::Remember { process }, &view, &answers);
    let mut third = machine(dir.path());
    third.act(&slot(), Effect::Find, &view, &answers);
    let found = Input::Found {
        remembered: Some(process),
        at_pid: Some(process),
        tagged: vec![process],
    };
    assert_eq!(told(&mut heard).await, found);

    let signal = Signal::Kill;
    third.act(&slot(), Effect::Signal { process, signal }, &view, &answers);
    for answered in [&mut answered, &mut heard] {
        let ended = told(answered).await;
        assert!(matches!(ended, Input::Exited { process: it, .. } if it == process));
    }
}

/// Ids and start times begin anew with each boot.
#[tokio::test]
async fn a_process_of_an_earlier_boot_is_not_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let machine = machine(dir.path());
    let process = Process {
        pid: 1,
        start_time: 2,
    };
    let assignment = serde_json::from_str(include_str!("tests/assignment.json")).unwrap();
    machine.files.prepare(&slot(), &assignment).unwrap();
    assert_eq!(machine.files.remembered(&slot()), None);
    machine.files.remember(&slot(), process).unwrap();
    assert_eq!(machine.files.remembered(&slot()), Some(process));
    let file = dir.path().join("workers").join(slot().instance.to_string());
    let file = file.join("1/slot.json");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace(boot.trim(), "another")).unwrap();
    assert_eq!(machine.files.remembered(&slot()), None);
}

#[tokio::test]
async fn deleting_leaves_the_log_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = machine(dir.path());
    let assignment = serde_json::from_str(include_str!("tests/assignment.json")).unwrap();
    machine.files.prepare(&slot(), &assignment).unwrap();
    fs::write(machine.files.log(&slot()), "why it ended").unwrap();
    fs::write(machine.files.data(&slot()).join("file"), "data").unwrap();
    let (answers, mut answered) = Answers::new();
    // Twice is as good as once.
    for _ in 0..2 {
        machine.act(&slot(), Effect::Delete, &View::default(), &answers);
        assert_eq!(told(&mut answered).await, Input::Deleted);
    }
    assert_eq!(machine.files.slots().unwrap(), BTreeSet::new());
    assert!(machine.files.log(&slot()).is_file());
}

/// What nobody has is told with its reason, and what is here is verified before it is run.
#[tokio::test]
async fn a_program_is_fetched_and_verified() {
    let dir = tempfile::tempdir().unwrap();
    let view = published(dir.path());
    let mut machine = machine(dir.path());
    let (answers, mut answered) = Answers::new();
    let spec = view.spec(&slot().module, &slot().instance).unwrap();
    let artifact = spec.record.artifact.clone();
    let fetch = |artifact: &str| Effect::Fetch {
        artifact: artifact.to_owned(),
    };
    machine.act(&slot(), fetch(&artifact), &view, &answers);
    assert_eq!(told(&mut answered).await, Input::Fetched);
    let other = "0".repeat(64);
    machine.act(&slot(), fetch(&other), &view, &answers);
    let text = "nobody has it".to_owned();
    assert_eq!(told(&mut answered).await, Input::FetchFailed { text });
    fs::write(
        dir.path().join("artifacts").join(&artifact),
        "something else",
    )
    .unwrap();
    machine.act(&slot(), fetch(&artifact), &view, &answers);
    let failed = told(&mut answered).await;
    assert!(
        matches!(&failed, Input::FetchFailed { text } if text.contains("SHA-256")),
        "{failed:?}"
    );
}
