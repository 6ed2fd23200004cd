//! Conductor and supervisors on the embedded metastore, with real processes: shell scripts that
//! beat. What a worker's program does besides, its control loop, runs here for each of them.

#![allow(clippy::unwrap_used)]

#[path = "cluster/node.rs"]
mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rama_control::Follower;
use rama_coordinator::conductor::{Conductor, ConductorError, Start};
use rama_core::options::{Objects, Settings};
use rama_metastore::{Embedded, Error, Space};
use rama_planner::ids::{Epoch, GroupId, Incarnation, InstanceId, ModuleName, WorkerIndex};
use rama_planner::operation::{LaunchRequest, Refusal};
use rama_planner::place::Scheduler;
use rama_planner::records::{self, InstanceSpec, ModuleState, Outcome, Process};
use rama_planner::shape::Shape;
use rama_planner::slot::State;
use rama_planner::store::{Key, Value};
use rama_planner::view::View;
use tokio::task::JoinHandle;
use uuid::Uuid;

use node::Node;

const TTL: Duration = Duration::from_secs(2);
/// No condition takes longer to come true than this.
const PATIENCE: Duration = Duration::from_secs(120);

struct Cluster {
    store: Embedded,
    space: Space,
    follower: Follower,
    dir: tempfile::TempDir,
}

impl Cluster {
    async fn new() -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let store = Embedded::open(dir.path().join("metastore")).await.unwrap();
        let space = Space::new("rama").unwrap();
        let follower = Follower::new(&store, &space);
        Cluster {
            store,
            space,
            follower,
            dir,
        }
    }

    fn conductor(&self, life: u64) -> (Conductor, JoinHandle<Error>) {
        Conductor::start(Start {
            store: self.store.clone(),
            space: self.space.clone(),
            conductor: records::Conductor {
                incarnation: Incarnation(life),
                process: Process::default(),
            },
            scheduler: Scheduler::Dev,
            ttl: TTL,
        })
    }

    fn node(&self, n: u128) -> Node {
        let dir = self.dir.path().join(format!("node{n}"));
        Node::new(n, &dir, self.store.clone(), self.space.clone())
    }

    /// Waits until the metastore shows something.
    async fn shows(&mut self, what: &str, condition: impl Fn(&View) -> bool) {
        let wait = async {
            while !condition(self.follower.view()) {
                self.follower.next().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        assert!(waited.is_ok(), "{what}: did not come true");
    }

    async fn in_office(&mut self, life: u64) {
        let office = |view: &View| {
            let office = view.value(&Key::Conductor);
            matches!(office, Some(Value::Conductor(it)) if it.incarnation == Incarnation(life))
        };
        self.shows("the conductor is in office", office).await;
    }
}

fn shop() -> ModuleName {
    ModuleName::new("Shop").unwrap()
}

fn instance() -> InstanceId {
    InstanceId(Uuid::from_u128(7))
}

fn request() -> LaunchRequest {
    LaunchRequest {
        module: shop(),
        instance: instance(),
        spec: InstanceSpec {
            artifact: node::artifact(),
            shape: Shape::new(8, 4, 2, 1).unwrap(),
            label: None,
            overrides: BTreeMap::new(),
            metadata: String::new(),
            created_ms: 1,
            objects: Objects::default(),
            offers: rama_core::mirrors::Offers::default(),
        },
        uses: BTreeSet::new(),
        mirrors: Vec::new(),
        settings: Settings::new(),
        by: "ann".to_owned(),
    }
}

/// Asks again until the conductor is in office and sees the nodes: it looks for itself.
async fn patiently<T, F>(mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, ConductorError>>,
{
    let asked = async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(ConductorError::NotInOffice | ConductorError::Refused(Refusal::Plan(_))) => {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap()
}

fn running(view: &View) -> bool {
    let meta = view.module(&shop());
    meta.is_some_and(|meta| meta.record.state == ModuleState::Running)
}

fn epochs(view: &View) -> Vec<Epoch> {
    let leader = |group| view.leader(&shop(), &instance(), &GroupId(group));
    let leaders = (0..4).filter_map(leader);
    leaders.map(|leader| leader.record.epoch).collect()
}

fn succeeded() -> Outcome {
    let left = BTreeSet::new();
    Outcome::Succeeded { left }
}

/// Spec §4.0 and appendix B, end to end: a launch, a second operation refused by name, a killed
/// worker that comes back under new epochs, a supervisor that starts again and goes on with its
/// worker, and a destruction that leaves nothing.
#[tokio::test]
async fn a_module_is_launched_survives_kills_and_is_destroyed() {
    let mut cluster = Cluster::new().await;
    let (mut first, mut second) = (cluster.node(1), cluster.node(2));
    first.start();
    second.start();
    let both = |view: &View| view.cluster().nodes.len() == 2;
    cluster.shows("both nodes are there", both).await;
    let (conductor, _run) = cluster.conductor(1);
    let plan = patiently(|| conductor.plan(request())).await;
    assert_eq!(plan.nodes().len(), 2);

    let launch = patiently(|| conductor.launch(request())).await;
    let again = conductor.launch(request()).await.unwrap_err();
    let named = |refusal: &Refusal| match refusal {
        Refusal::InProgress { operation, .. } => *operation == launch,
        // It may have been quick.
        other => matches!(other, Refusal::AlreadyAlive { .. }),
    };
    assert!(
        matches!(&again, ConductorError::Refused(refusal) if named(refusal)),
        "{again}"
    );
    assert_eq!(conductor.ended(launch).await, Ok(succeeded()));
    cluster.shows("it runs", running).await;

    first.kill_workers();
    let new = |view: &View| {
        epochs(view)
            .iter()
            .filter(|epoch| **epoch > Epoch(1))
            .count()
            == 2
    };
    cluster.shows("what was killed leads again", new).await;
    let told = |view: &View| {
        let exit = |worker| view.exit(&shop(), &instance(), &WorkerIndex(worker));
        let mut exits = (0..2).filter_map(exit).map(|seen| seen.record);
        exits.any(|exit| exit.failures >= 1 && exit.cause.starts_with("it ended"))
    };
    cluster.shows("how it ended", told).await;

    let before = second.processes(State::Running).await;
    assert_eq!(before.len(), 1);
    second.stop();
    second.start();
    let after = second.processes(State::Running).await;
    assert_eq!(before, after, "a supervisor goes on with its workers");

    let destroy = conductor.destroy(shop(), "ann".to_owned()).await.unwrap();
    assert_eq!(conductor.ended(destroy).await, Ok(succeeded()));
    for node in [&first, &second] {
        assert_eq!(node.leftovers(), Vec::<String>::new());
    }
    let gone = |view: &View| view.module(&shop()).is_none() && epochs(view).is_empty();
    cluster.shows("nothing is left of it", gone).await;
}

/// Spec §4.0: all of an operation is in the metastore; the next conductor goes on with it.
#[tokio::test]
async fn the_next_conductor_goes_on_where_the_one_before_ended() {
    let mut cluster = Cluster::new().await;
    let mut node = cluster.node(1);
    // Its workers beat, but do not register yet.
    node.hold(true);
    node.start();
    let there = |view: &View| view.cluster().nodes.len() == 1;
    cluster.shows("the node is there", there).await;
    let (conductor, first) = cluster.conductor(1);
    let launch = patiently(|| conductor.launch(request())).await;
    let published = |view: &View| view.spec(&shop(), &instance()).is_some();
    cluster.shows("the launch is published", published).await;
    first.abort();

    let (conductor, _second) = cluster.conductor(2);
    cluster.in_office(2).await;
    node.hold(false);
    let outcome = patiently(|| conductor.ended(launch)).await;
    assert_eq!(outcome, succeeded());
    let twice = |view: &View| {
        let seen = view.operation(&launch);
        seen.is_some_and(|seen| seen.record.attempts == 2)
    };
    cluster.shows("it was taken up twice", twice).await;
    node.stop();
    node.kill_workers();
}
