//! One node: a supervisor on a directory, with shell scripts for workers, and the control loop of
//! each worker in this process.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rama_api::{Assignment, MetastoreAddress, SecurityFiles};
use rama_control::worker::{Control, Event, Order};
use rama_coordinator::artifacts::{Artifacts, TrustRoots};
use rama_coordinator::cgroups::Limits;
use rama_coordinator::cores::Topology;
use rama_coordinator::machine::{Machine, Place, Room, Setup, Take};
use rama_coordinator::ports::PortRange;
use rama_coordinator::processes::{self, ProcessName};
use rama_coordinator::supervisor::{self, SlotName, Status};
use rama_metastore::{Embedded, Error, Space};
use rama_planner::ids::{Incarnation, NodeId};
use rama_planner::records::{Supervisor, WorkerDetails, WorkerPhase};
use rama_planner::slot::{Process, State};
use rama_planner::view::View;
use rama_planner::worker::Identity;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

const TTL: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(120);

/// A worker that beats, and nothing else; it ends with its directory, whatever becomes of the test.
const SCRIPT: &str = r#"#!/bin/sh
beat=$(sed -n 's/.*"beat": *"\([^"]*\)".*/\1/p' "$3")
while echo $$ > "$beat"; do sleep 0.2; done
"#;

/// The hash of the script.
pub fn artifact() -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("script");
    std::fs::write(&path, SCRIPT).unwrap();
    rama_coordinator::artifacts::hash_of(&path).unwrap()
}

pub struct Node {
    id: NodeId,
    dir: PathBuf,
    store: Embedded,
    space: Space,
    hold: watch::Sender<bool>,
    /// What the supervisor that runs, or ran last, says.
    status: watch::Sender<Status>,
    controls: Option<JoinHandle<()>>,
    run: Option<JoinHandle<Error>>,
}

impl Node {
    pub fn new(n: u128, dir: &Path, store: Embedded, space: Space) -> Node {
        Node {
            id: NodeId(Uuid::from_u128(n)),
            dir: dir.to_owned(),
            store,
            space,
            hold: watch::Sender::new(false),
            status: watch::Sender::new(Status::new()),
            controls: None,
            run: None,
        }
    }

    /// Whether workers that run stay unregistered.
    pub fn hold(&self, hold: bool) {
        self.hold.send_replace(hold);
    }

    /// Starts a supervisor.
    pub fn start(&mut self) {
        let artifacts = Artifacts::open(&self.dir.join("artifacts"), TrustRoots::default());
        let node = self.id;
        let setup = Setup {
            dir: self.dir.clone(),
            artifacts: artifacts.unwrap(),
            fetch: Arc::new(|artifacts, name| {
                Box::pin(async move {
                    let mut upload = artifacts.begin(&name).unwrap();
                    upload.write(SCRIPT.as_bytes()).unwrap();
                    upload
                        .finish()
                        .map(|_| ())
                        .map_err(|error| error.to_string())
                })
            }),
            assign: Arc::new(move |view, slot, place| assign(view, node, slot, place)),
            resources: Arc::new(|_, _| Ok(unlimited())),
            room: Room {
                ports: PortRange::new([0, 0]),
                bind: Ipv4Addr::LOCALHOST.into(),
                own_port: 0,
                topology: Topology::default(),
            },
            cgroups: None,
        };
        let start = supervisor::Start {
            store: self.store.clone(),
            space: self.space.clone(),
            node: self.id,
            supervisor: Supervisor {
                cores: 4,
                ..Supervisor::default()
            },
            ttl: TTL,
        };
        let (mut status, run) = supervisor::start(start, Machine::open(setup).unwrap());
        self.run = Some(run);
        let said = self.status.clone();
        said.send_replace(Status::new());
        tokio::spawn(async move {
            while status.changed().await.is_ok() {
                said.send_replace(status.borrow_and_update().clone());
            }
        });
        // Control loops belong to workers: they go on when a supervisor ends.
        if self.controls.is_none() {
            let identity = Controls {
                node: self.id,
                store: self.store.clone(),
                space: self.space.clone(),
            };
            let run = identity.run(self.status.subscribe(), self.hold.subscribe());
            self.controls = Some(tokio::spawn(run));
        }
    }

    /// Ends the supervisor, as a crash does.
    pub fn stop(&mut self) {
        if let Some(run) = self.run.take() {
            run.abort();
        }
    }

    /// Waits until there is a worker in this state; answers their processes.
    pub async fn processes(&self, state: State) -> Vec<Process> {
        let mut status = self.status.subscribe();
        let in_state = |status: &Status| -> Vec<Process> {
            let slots = status.values().filter(|slot| slot.state == state);
            slots.filter_map(|slot| slot.process).collect()
        };
        let some = status.wait_for(|status| !in_state(status).is_empty());
        let some = tokio::time::timeout(PATIENCE, some).await.unwrap().unwrap();
        in_state(&some)
    }

    /// SIGKILL to every worker.
    pub fn kill_workers(&self) {
        let status = self.status.borrow().clone();
        for process in status.values().filter_map(|slot| slot.process) {
            let pid = rustix::process::Pid::from_raw(process.pid as i32).unwrap();
            // One that has ended meanwhile is fine.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }

    /// What is left of workers on the disk.
    pub fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        for instance in std::fs::read_dir(self.dir.join("workers")).unwrap() {
            for worker in std::fs::read_dir(instance.unwrap().path()).unwrap() {
                left.push(worker.unwrap().path().display().to_string());
            }
        }
        left
    }
}

fn unlimited() -> Take {
    Take {
        limits: Limits {
            memory_bytes_max: None,
            cpus: 0,
            cpu_weight: 100,
        },
        pinned: false,
        environment: BTreeMap::new(),
    }
}

fn assign(view: &View, node: NodeId, slot: &SlotName, place: Place) -> Option<Assignment> {
    let worker = view.worker(&slot.module, &slot.instance, &slot.worker)?;
    let spec = view.spec(&slot.module, &slot.instance)?.record;
    Some(Assignment {
        cluster: Uuid::from_u128(1),
        node: node.0,
        module: slot.module.to_string(),
        instance: slot.instance.0,
        worker: slot.worker.0,
        tasks: spec.shape.tasks(),
        threads: spec.shape.threads(),
        replication: spec.shape.replication(),
        groups: worker
            .record
            .groups
            .iter()
            .map(|held| held.group.0)
            .collect(),
        data_dir: place.data_dir,
        beat: place.beat,
        bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
        first_port: place.first_port,
        host_internal: "localhost".to_owned(),
        host_external: "localhost".to_owned(),
        cores: place.cores,
        daemons: Vec::new(),
        metastore: MetastoreAddress {
            endpoints: Vec::new(),
            root: "rama".to_owned(),
            lease_ms: 2_000,
            user: None,
            password_file: None,
            authority: None,
            certificate: None,
            key: None,
        },
        security: SecurityFiles::InsecureLoopback,
        overrides: BTreeMap::new(),
    })
}

/// The control loops of the workers of a node.
#[derive(Clone)]
struct Controls {
    node: NodeId,
    store: Embedded,
    space: Space,
}

impl Controls {
    async fn run(self, mut status: watch::Receiver<Status>, mut hold: watch::Receiver<bool>) {
        let mut known = BTreeSet::new();
        loop {
            let now = status.borrow_and_update().clone();
            let running = now.iter().filter(|(_, slot)| slot.state == State::Running);
            for (slot, process) in running.filter_map(|(name, slot)| Some((name, slot.process?))) {
                if !*hold.borrow_and_update() && known.insert(process) {
                    tokio::spawn(self.clone().control(slot.clone(), process));
                }
            }
            tokio::select! {
                changed = status.changed() => if changed.is_err() { return },
                changed = hold.changed() => if changed.is_err() { return },
            }
        }
    }

    /// What a worker's program does beside beating, until its process ends.
    async fn control(self, slot: SlotName, process: Process) {
        let name = ProcessName {
            pid: process.pid,
            start_time: process.start_time,
        };
        let Ok(watched) = processes::watch(name) else {
            return;
        };
        let identity = Identity {
            module: slot.module,
            instance: slot.instance,
            index: slot.worker,
            node: self.node,
            incarnation: Incarnation(process.start_time << 22 | u64::from(process.pid)),
            details: WorkerDetails {
                phase: WorkerPhase::Serving,
                ..WorkerDetails::default()
            },
        };
        let (control, mut events) = Control::start(self.store, self.space, identity, TTL);
        loop {
            tokio::select! {
                _ = watched.ended() => return,
                event = events.recv() => match event {
                    Some(Event::Drain) => control.order(Order::Drained),
                    Some(Event::Exit(_)) | None => {
                        watched.signal(rustix::process::Signal::KILL).unwrap();
                        return;
                    }
                    Some(_) => {}
                },
            }
        }
    }
}
