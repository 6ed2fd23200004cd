//! A worker's control loop over the embedded metastore, and over one that is away or closed.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use rama_metastore::{Embedded, LeaseId, Listing, Scope, TxnOutcome, Versioned, Watch, WatchFrom};
use rama_planner::ids::{Incarnation, InstanceId, ModuleName, NodeId, ReplicaId, WorkerIndex};
use rama_planner::plan::GroupReplica;
use rama_planner::records::{Desired, GroupIsr, WorkerAssignment};
use tokio::sync::watch;
use uuid::Uuid;

use super::*;

const INSTANCE: InstanceId = InstanceId(Uuid::from_u128(5));
const NODE: NodeId = NodeId(Uuid::from_u128(6));
const TTL: Duration = Duration::from_secs(5);

fn module() -> ModuleName {
    ModuleName::new("M").unwrap()
}

fn identity(life: u64) -> Identity {
    Identity {
        module: module(),
        instance: INSTANCE,
        index: WorkerIndex(0),
        node: NODE,
        incarnation: Incarnation(life),
        details: WorkerDetails {
            ports: BTreeMap::from([(0, 4000), (1, 4001)]),
            ..WorkerDetails::default()
        },
    }
}

/// An instance with one worker that holds two groups, as a conductor writes it.
async fn assigned(store: &Embedded, space: &Space) {
    let group = |group| GroupReplica {
        group: GroupId(group),
        replica: ReplicaId(0),
        preferred_leader: true,
    };
    let worker = WorkerAssignment {
        node: NODE,
        replica_set: ReplicaId(0),
        groups: vec![group(0), group(1)],
        desired: Desired::Run,
    };
    let isr = || GroupIsr {
        epoch: Epoch(0),
        isr: BTreeSet::from([ReplicaId(0)]),
        osr: BTreeSet::new(),
    };
    let txn = Txn::new()
        .put(
            Key::Worker(module(), INSTANCE, WorkerIndex(0)),
            Value::Worker(worker),
        )
        .put(Key::Isr(module(), INSTANCE, GroupId(0)), Value::Isr(isr()))
        .put(Key::Isr(module(), INSTANCE, GroupId(1)), Value::Isr(isr()));
    let written = write(store, space, None, &txn).await;
    assert!(matches!(written, Written::Done { .. }), "{written:?}");
}

type Heard = mpsc::UnboundedReceiver<Event>;

/// Reads events until one fits.
async fn wait_for<T>(heard: &mut Heard, mut fits: impl FnMut(Event) -> Option<T>) -> T {
    loop {
        let event = heard.recv().await.expect("the loop goes on");
        if let Some(found) = fits(event) {
            return found;
        }
    }
}

async fn led(heard: &mut Heard, life: u64) -> BTreeMap<GroupId, GroupRoute> {
    wait_for(heard, |event| match event {
        Event::Routes(routes) => {
            let own = |route: &GroupRoute| route.live.incarnation == Incarnation(life);
            (routes.len() == 2 && routes.values().all(own)).then_some(routes)
        }
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_worker_registers_leads_drains_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path().join("store")).await.unwrap();
    let space = Space::new("rama").unwrap();
    assigned(&store, &space).await;
    let (control, mut heard) = Control::start(store.clone(), space.clone(), identity(1), TTL);
    let routes = led(&mut heard, 1).await;
    assert_eq!(routes[&GroupId(1)].port, 4001);
    assert_eq!(routes[&GroupId(1)].epoch, Epoch(1));
    control.order(Order::Phase(WorkerPhase::Serving));
    let serves = |event| match event {
        Event::Routes(routes) => {
            let live = &routes.get(&GroupId(0))?.live;
            (live.details.phase == WorkerPhase::Serving).then_some(())
        }
        _ => None,
    };
    wait_for(&mut heard, serves).await;
    control.order(Order::Stop);
    wait_for(&mut heard, |event| (event == Event::Drain).then_some(())).await;
    control.order(Order::Drained);
    let ended = |event| match event {
        Event::Exit(end) => Some(end),
        _ => None,
    };
    assert_eq!(wait_for(&mut heard, ended).await, End::Stopped);
    let live = Scope::WorkersLive("M".into(), INSTANCE.0);
    assert_eq!(store.list(&space.prefix(&live)).await.unwrap().entries, []);
}

/// The metastore may be slow to show the registration, or a write may be lost.
#[tokio::test]
async fn a_phase_that_cannot_be_shown_yet_is_shown_later() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path().join("store")).await.unwrap();
    let space = Space::new("rama").unwrap();
    let (control, mut heard) = Control::start(store.clone(), space.clone(), identity(1), TTL);
    control.order(Order::Phase(WorkerPhase::Serving));
    assigned(&store, &space).await;
    let serves = |event| match event {
        Event::Routes(routes) => {
            let live = &routes.get(&GroupId(0))?.live;
            (live.details.phase == WorkerPhase::Serving).then_some(())
        }
        _ => None,
    };
    wait_for(&mut heard, serves).await;
}

#[tokio::test]
async fn a_new_life_takes_over_with_the_next_epoch_and_the_old_one_ends() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path().join("store")).await.unwrap();
    let space = Space::new("rama").unwrap();
    assigned(&store, &space).await;
    let (_old, mut old) = Control::start(store.clone(), space.clone(), identity(1), TTL);
    led(&mut old, 1).await;
    let (_new, mut new) = Control::start(store.clone(), space.clone(), identity(2), TTL);
    let routes = led(&mut new, 2).await;
    assert!(routes.values().all(|route| route.epoch == Epoch(2)));
    let mut open = BTreeSet::new();
    let end = wait_for(&mut old, |event| {
        match event {
            Event::Open(group, _) => open.insert(group),
            Event::Close(group) => open.remove(&group),
            Event::Exit(end) => return Some(end),
            _ => false,
        };
        None
    })
    .await;
    assert_eq!(end, End::Replaced);
    assert!(open.is_empty(), "it led {open:?} to the end");
}

#[tokio::test]
async fn a_lease_that_is_gone_ends_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path().join("store")).await.unwrap();
    let space = Space::new("rama").unwrap();
    assigned(&store, &space).await;
    let (_control, mut heard) = Control::start(store.clone(), space.clone(), identity(1), TTL);
    led(&mut heard, 1).await;
    let key = Key::Live(module(), INSTANCE, WorkerIndex(0));
    let stored = space.key(&crate::codec::stored_key(&key));
    let gone = rama_metastore::Txn::new().delete(stored);
    store.txn(gone).await.unwrap().done().unwrap();
    let end = wait_for(&mut heard, |event| match event {
        Event::Exit(end) => Some(end),
        _ => None,
    })
    .await;
    assert_eq!(end, End::Replaced);
}

#[tokio::test]
async fn pauses_and_options_are_told_when_they_change() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path().join("store")).await.unwrap();
    let space = Space::new("rama").unwrap();
    assigned(&store, &space).await;
    let (_control, mut heard) = Control::start(store.clone(), space.clone(), identity(1), TTL);
    let key = |key: &rama_metastore::Key| space.key(key);
    let paused = key(&rama_metastore::Key::Paused("M".into(), "t".into()));
    let option = key(&rama_metastore::Key::Setting(
        "M".into(),
        rama_metastore::Level::Module,
        "o".into(),
    ));
    let set = rama_metastore::Txn::new()
        .put(paused.clone(), r#"{"v":1,"since_ms":1}"#)
        .put(option, r#"{"v":1,"value":5}"#);
    store.txn(set).await.unwrap().done().unwrap();
    let options = wait_for(&mut heard, |event| match event {
        Event::Options(options) => Some(options),
        _ => None,
    })
    .await;
    let set = Settings::new().with(rama_core::options::Level::Module, "o", 5);
    assert_eq!(options, set);
    let resume = rama_metastore::Txn::new().delete(paused);
    store.txn(resume).await.unwrap().done().unwrap();
    wait_for(&mut heard, |event| {
        (event == Event::Paused(Vec::new())).then_some(())
    })
    .await;
}

/// How a store answers one kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    Away,
    Closed,
}

/// A store whose leases can be away, and that can be closed under those who follow it.
#[derive(Clone)]
struct Moody {
    store: Embedded,
    grants: Mood,
    revokes: Mood,
    watches: watch::Sender<Mood>,
}

impl Moody {
    async fn answers(mood: Mood) -> Result<(), Error> {
        match mood {
            Mood::Well => Ok(()),
            Mood::Away => std::future::pending().await,
            Mood::Closed => Err(Error::Closed {
                attempt: "ask".to_owned(),
            }),
        }
    }
}

impl Metastore for Moody {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, Error> {
        self.store.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Listing, Error> {
        self.store.list(prefix).await
    }

    async fn txn(&self, txn: rama_metastore::Txn) -> Result<TxnOutcome, Error> {
        self.store.txn(txn).await
    }

    fn watch(&self, prefix: &str, from: WatchFrom) -> Watch {
        let mut mood = self.watches.subscribe();
        let closed = async move {
            mood.wait_for(|mood| *mood == Mood::Closed).await.ok();
        };
        Watch::new(self.store.watch(prefix, from).take_until(Box::pin(closed)))
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        Moody::answers(self.grants).await?;
        self.store.grant(ttl).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        Moody::answers(self.revokes).await?;
        self.store.revoke(lease).await
    }

    async fn compact(&self, revision: u64) -> Result<(), Error> {
        self.store.compact(revision).await
    }
}

async fn moody(dir: &tempfile::TempDir, space: &Space) -> Moody {
    let store = Embedded::open(dir.path().join("store")).await.unwrap();
    assigned(&store, space).await;
    Moody {
        store,
        grants: Mood::Well,
        revokes: Mood::Well,
        watches: watch::Sender::new(Mood::Well),
    }
}

/// The end, and what was still led when it came.
async fn end_of(heard: &mut Heard) -> (End, BTreeSet<GroupId>) {
    let mut open = BTreeSet::new();
    let exit = wait_for(heard, |event| {
        match event {
            Event::Open(group, _) => open.insert(group),
            Event::Close(group) => open.remove(&group),
            Event::Exit(end) => return Some(end),
            _ => false,
        };
        None
    });
    // It comes within seconds; this tells a loop that hangs from one that ends.
    let end = tokio::time::timeout(Duration::from_secs(60), exit).await;
    (end.expect("the loop ends"), open)
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_lease() {
    let dir = tempfile::tempdir().unwrap();
    let space = Space::new("rama").unwrap();
    let mut store = moody(&dir, &space).await;
    store.grants = Mood::Away;
    let (control, mut heard) = Control::start(store, space, identity(1), TTL);
    control.order(Order::Stop);
    assert_eq!(end_of(&mut heard).await.0, End::Stopped);
}

#[tokio::test]
async fn an_exit_does_not_wait_for_a_metastore_that_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let space = Space::new("rama").unwrap();
    let mut store = moody(&dir, &space).await;
    store.revokes = Mood::Away;
    let (control, mut heard) = Control::start(store, space, identity(1), TTL);
    led(&mut heard, 1).await;
    control.order(Order::Stop);
    control.order(Order::Drained);
    assert_eq!(end_of(&mut heard).await.0, End::Stopped);
}

#[tokio::test]
async fn a_store_that_is_closed_ends_the_process_as_a_lease_that_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let space = Space::new("rama").unwrap();
    let store = moody(&dir, &space).await;
    let watches = store.watches.clone();
    let (_control, mut heard) = Control::start(store, space.clone(), identity(1), TTL);
    let mut open = BTreeSet::new();
    wait_for(&mut heard, |event| {
        if let Event::Open(group, _) = event {
            open.insert(group);
        }
        (open.len() == 2).then_some(())
    })
    .await;
    watches.send_replace(Mood::Closed);
    let closed = |event| match event {
        Event::Close(group) => Some(group),
        Event::Exit(end) => panic!("{end:?} before the groups were closed"),
        _ => None,
    };
    for _ in 0..2 {
        let next = wait_for(&mut heard, closed);
        let group = tokio::time::timeout(Duration::from_secs(60), next).await;
        assert!(open.remove(&group.expect("the loop ends")));
    }
    assert_eq!(end_of(&mut heard).await, (End::LeaseOver, BTreeSet::new()));
}

#[tokio::test]
async fn a_store_that_is_closed_gives_no_lease_and_ends_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let space = Space::new("rama").unwrap();
    let mut store = moody(&dir, &space).await;
    store.grants = Mood::Closed;
    let (_control, mut heard) = Control::start(store, space, identity(1), TTL);
    assert_eq!(end_of(&mut heard).await.0, End::LeaseOver);
}
