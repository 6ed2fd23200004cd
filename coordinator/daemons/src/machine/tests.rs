//! A machine with real processes: found again, remembered, forgotten.

use std::fs;

use rama_core::options::Objects;
use rama_planner::ids::{InstanceId, ModuleName, NodeId, ReplicaId, WorkerIndex};
use rama_planner::records::{Desired, InstanceSpec, WorkerAssignment};
use rama_planner::shape::Shape;
use rama_planner::store::{Key, Value};
use rama_planner::view::Event;
use tokio::sync::mpsc::UnboundedReceiver;
use uuid::Uuid;

use super::*;
use crate::artifacts::{TrustRoots, hash_of};
use crate::cores::Topology;
use crate::ports::PortRange;

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
        assign: Arc::new(move |_, _, place| {
            let made: Assignment = serde_json::from_str(assignment).unwrap();
            Some(Assignment {
                data_dir: place.data_dir,
                beat: place.beat,
                first_port: place.first_port,
                cores: place.cores,
                ..made
            })
        }),
        resources: Arc::new(|_, _| {
            Ok(Take {
                limits: Limits {
                    memory_bytes_max: None,
                    cpus: 0,
                    cpu_weight: 100,
                },
                pinned: true,
                environment: BTreeMap::new(),
            })
        }),
        room: Room {
            ports: PortRange::new([0, 0]),
            bind: std::net::Ipv4Addr::LOCALHOST.into(),
            own_port: 0,
            topology: Topology::parse(|_| None, &[0, 1, 2]),
        },
        cgroups: None,
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
        objects: Objects::default(),
        offers: rama_core::mirrors::Offers::default(),
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

    // What it started ends with it. That shows its environment once it has become another program.
    let sleeping = loop {
        let tagged = processes::tagged(&third.files.tag(&slot()));
        if let Some(found) = tagged.into_iter().find(|name| own(*name) != process) {
            break found;
        }
        tokio::task::yield_now().await;
    };
    let started = processes::watch(sleeping).unwrap();
    let signal = Signal::Kill;
    third.act(&slot(), Effect::Signal { process, signal }, &view, &answers);
    for answered in [&mut answered, &mut heard] {
        let ended = told(answered).await;
        assert!(matches!(ended, Input::Exited { process: it, .. } if it == process));
    }
    started.ended().await;
}

/// Ports and cores are a worker's until it is deleted; its own come back to it.
#[tokio::test]
async fn workers_of_a_machine_have_ports_and_cores_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let machine = machine(dir.path());
    let told: Assignment = serde_json::from_str(include_str!("tests/assignment.json")).unwrap();
    let other = |worker| SlotName {
        worker: WorkerIndex(worker),
        ..slot()
    };
    let bound = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = bound.local_addr().unwrap().port();
    // Enough above what the system gave out for all of the workers, whoever else runs here.
    let range = [taken.min(65_000), taken.min(65_000) + 500];
    let room = Room {
        ports: PortRange::new(range),
        own_port: range[0] + 1,
        ..machine.setup.room.clone()
    };
    let place = |worker, threads: usize, pinned| {
        let place = room.place(&machine.files, &other(worker), threads, pinned);
        let place = place.unwrap();
        let told = Assignment {
            groups: (0..threads as u32).collect(),
            first_port: place.first_port,
            cores: place.cores.clone(),
            ..told.clone()
        };
        machine.files.prepare(&other(worker), &told).unwrap();
        place
    };
    let (a, b, c) = (place(0, 2, true), place(1, 1, true), place(2, 1, true));
    assert_eq!((a.cores, b.cores, c.cores), (vec![0, 1], vec![2], vec![]));
    let mut given = BTreeSet::from([taken, room.own_port]);
    for (place, count) in [(a.first_port, 3), (b.first_port, 2), (c.first_port, 2)] {
        for port in place..place + count {
            assert!(given.insert(port), "port {port} was given twice");
        }
    }
    let again = place(1, 1, true);
    assert_eq!((again.first_port, again.cores), (b.first_port, vec![2]));
    assert!(place(0, 2, false).cores.is_empty());
    machine.files.delete(&other(1)).unwrap();
    assert_eq!(place(2, 1, true).cores, [0]);
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
