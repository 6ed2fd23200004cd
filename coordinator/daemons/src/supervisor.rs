//! The supervisor's loop: registers its node, tells each slot what is wanted of it, and hands what
//! slots want done to the node.
//!
//! Relies on [`rama_planner::slot::Slot`] for every decision and on a [`Node`] for processes, files
//! and programs. What must stay true: no slot is told what is wanted before the first listing has
//! come; slots that a former life left on the disk are looked after, assigned or not; a slot is
//! forgotten only when nothing of it is left; losing the metastore or its lease stops no worker.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rama_control::{Change, Follower, clock, write};
use rama_core::time::Now;
use rama_metastore::{Error, Lease, Metastore, Space};
use rama_planner::ids::{InstanceId, ModuleName, NodeId, WorkerIndex};
use rama_planner::limits::{CAUSE_CHARS_MAX, RETRY_AFTER};
use rama_planner::records::{Desired, Supervisor, WorkerExit};
use rama_planner::slot::{self, Effect, Exit, Input, Process, Slot, State, Wanted};
use rama_planner::store::{Key, Target, Txn, Value, Written};
use rama_planner::view::View;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

/// One worker of one instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlotName {
    /// The module.
    pub module: ModuleName,
    /// The instance.
    pub instance: InstanceId,
    /// The worker.
    pub worker: WorkerIndex,
}

/// What a supervisor can do on its machine. Nothing here waits: what takes time is started, and
/// answered through [`Answers`].
pub trait Node: Send + 'static {
    /// Does what a slot wants: every effect but `Confirm`, each answered as its documentation says.
    /// `Spawned` goes out before anything else of the same process; exits and heartbeats of
    /// processes that were found or started come unasked, an exit once. The view says what the
    /// worker is.
    fn act(&mut self, slot: &SlotName, effect: Effect, view: &View, answers: &Answers);

    /// Slots of which something is on the disk: data, or a process that was remembered.
    fn left(&self) -> BTreeSet<SlotName>;
}

/// The way back to the loop.
#[derive(Clone, Debug)]
pub struct Answers(mpsc::UnboundedSender<(SlotName, Input)>);

impl Answers {
    /// A way back, and where it leads.
    pub(crate) fn new() -> (Answers, mpsc::UnboundedReceiver<(SlotName, Input)>) {
        let (answers, answered) = mpsc::unbounded_channel();
        (Answers(answers), answered)
    }

    /// Something happened to a slot.
    pub fn tell(&self, slot: &SlotName, input: Input) {
        // Without a loop there is nobody to tell; the next one looks for itself.
        let _ = self.0.send((slot.clone(), input));
    }
}

/// What a supervisor is started as.
#[derive(Clone, Debug)]
pub struct Start<M> {
    /// The metastore.
    pub store: M,
    /// Where in it the cluster is.
    pub space: Space,
    /// Its stable id.
    pub node: NodeId,
    /// What it says of itself.
    pub supervisor: Supervisor,
    /// How long its lease is.
    pub ttl: Duration,
}

/// How a slot is, for status commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotStatus {
    /// Where it is.
    pub state: State,
    /// The process that may be alive.
    pub process: Option<Process>,
    /// The last exits, oldest first.
    pub exits: Vec<Exit>,
}

/// The slots of a node.
pub type Status = BTreeMap<SlotName, SlotStatus>;

/// Starts the loop on the current runtime. It ends when the store is closed or the handle is
/// aborted; workers live on.
#[must_use]
pub fn start<M: Metastore>(
    start: Start<M>,
    node: impl Node,
) -> (watch::Receiver<Status>, JoinHandle<Error>) {
    let (status, seen) = watch::channel(Status::new());
    let registration = tokio::spawn(register(start.clone()));
    let run = async move {
        // Ends with the loop, however that ends.
        let _registration = Aborting(registration);
        Loop::new(start, node, status).run().await
    };
    (seen, tokio::spawn(run))
}

struct Aborting(JoinHandle<()>);

impl Drop for Aborting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps the node registered.
async fn register<M: Metastore>(start: Start<M>) {
    loop {
        if let Some(lease) = register_once(&start).await {
            lease.lost().await;
            tracing::warn!("the registration is lost; it is made anew");
        } else {
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }
}

async fn register_once<M: Metastore>(start: &Start<M>) -> Option<Lease> {
    let lease = start.store.grant(start.ttl).await;
    let lease = lease.map_err(|error| tracing::warn!(%error, "no lease at present"));
    let lease = lease.ok()?;
    // Whatever a former life left there is over: there is one supervisor for an id.
    let value = Value::Supervisor(start.supervisor.clone());
    let txn = Txn::new().put_leased(Key::Supervisor(start.node), value);
    match write(&start.store, &start.space, Some(lease.id()), &txn).await {
        Written::Done { .. } => Some(lease),
        Written::Refused | Written::Unknown => None,
    }
}

/// A slot, and what it was told last.
#[derive(Default)]
struct Held {
    slot: Slot,
    told: Option<Wanted>,
}

struct Loop<M, N> {
    start: Start<M>,
    node: N,
    follower: Follower,
    /// Whether the first listing has come: before, nothing is concluded from what is missing.
    listed: bool,
    slots: BTreeMap<SlotName, Held>,
    answers: Answers,
    answered: mpsc::UnboundedReceiver<(SlotName, Input)>,
    writes: JoinSet<Written>,
    status: watch::Sender<Status>,
}

impl<M: Metastore, N: Node> Loop<M, N> {
    fn new(start: Start<M>, node: N, status: watch::Sender<Status>) -> Loop<M, N> {
        let follower = Follower::new(&start.store, &start.space);
        let (answers, answered) = Answers::new();
        Loop {
            start,
            node,
            follower,
            listed: false,
            slots: BTreeMap::new(),
            answers,
            answered,
            writes: JoinSet::new(),
            status,
        }
    }

    async fn run(mut self) -> Error {
        for name in self.node.left() {
            self.with(&name, |_, _| {});
        }
        loop {
            self.publish();
            let deadline = self.slots.values().filter_map(|held| held.slot.deadline());
            let deadline = deadline.min();
            tokio::select! {
                // Heartbeats that have come count before deadlines: a supervisor that got no turn
                // itself does not kill workers for it.
                biased;
                Some((name, input)) = self.answered.recv() => {
                    let beat = matches!(input, Input::Heartbeat { .. });
                    // What comes late for a slot that is forgotten wakes nothing up.
                    if self.slots.contains_key(&name) {
                        self.with(&name, |slot, now| slot.on_input(now, input));
                    }
                    if !beat {
                        self.steer();
                    }
                }
                change = self.follower.next() => match change {
                    // The first is a listing.
                    Ok(Change::View) => {
                        self.listed = true;
                        self.steer();
                    }
                    Ok(Change::Settings | Change::Nothing) => {}
                    Err(error @ Error::Closed { .. }) => return error,
                    Err(error) => tracing::warn!(%error, "the metastore cannot be followed"),
                },
                Some(_) = self.writes.join_next() => {}
                () = clock::until(deadline) => self.on_deadlines(),
            }
        }
    }

    /// Tells every slot what is wanted of it, new ones included; forgets those that are over.
    fn steer(&mut self) {
        if !self.listed {
            return;
        }
        let me = self.start.node;
        let assigned = self.follower.view().entries();
        let assigned = assigned.filter_map(|(key, value)| match (key, value) {
            (Key::Worker(name, id, worker), Value::Worker(record)) if record.node == me => {
                Some(SlotName {
                    module: name.clone(),
                    instance: *id,
                    worker: *worker,
                })
            }
            _ => None,
        });
        let names: BTreeSet<SlotName> = assigned.chain(self.slots.keys().cloned()).collect();
        let left = self.node.left();
        for name in names {
            let view = self.follower.view();
            let wanted = slot::wanted(view, me, &name.module, name.instance, name.worker);
            let told = self.slots.get(&name).and_then(|held| held.told.clone());
            if told.as_ref() != Some(&wanted) {
                let tell = wanted.clone();
                self.with(&name, |slot, now| {
                    slot.on_input(now, Input::Wanted(tell));
                });
            }
            let Some(held) = self.slots.get_mut(&name) else {
                continue;
            };
            held.told = Some(wanted);
            let over = held.told == Some(Wanted::Stop) && held.slot.state() == State::Idle;
            if over && !left.contains(&name) {
                self.slots.remove(&name);
            }
        }
    }

    fn on_deadlines(&mut self) {
        let now = clock::now();
        let due = |held: &Held| held.slot.deadline().is_some_and(|at| at <= now);
        let due = self.slots.iter().filter(|(_, held)| due(held));
        let due: Vec<SlotName> = due.map(|(name, _)| name.clone()).collect();
        for name in due {
            self.with(&name, Slot::on_deadline);
        }
    }

    /// Tells one slot something, and has done what it wants.
    fn with(&mut self, name: &SlotName, tell: impl FnOnce(&mut Slot, Now)) {
        let held = self.slots.entry(name.clone()).or_default();
        let (before, failed) = (held.slot.state(), held.slot.failures());
        tell(&mut held.slot, clock::now());
        let after = held.slot.state();
        let failed = held.slot.failures() > failed;
        let mut effects = Vec::new();
        while let Some(effect) = held.slot.poll_effect() {
            effects.push(effect);
        }
        if before != after {
            let (module, worker) = (&name.module, name.worker);
            tracing::info!(%module, %worker, from = %before, to = %after, "worker slot");
        }
        if failed {
            self.report(name);
        }
        for effect in effects {
            if effect == Effect::Confirm {
                self.confirm(name);
            } else {
                let view = self.follower.view();
                self.node.act(name, effect, view, &self.answers);
            }
        }
    }

    /// Removes the assignment, if it still says destroy. The slot asks again until it is gone.
    fn confirm(&mut self, name: &SlotName) {
        let view = self.follower.view();
        let seen = view.worker(&name.module, &name.instance, &name.worker);
        let Some(seen) = seen.filter(|seen| seen.record.desired == Desired::Destroy) else {
            return;
        };
        let key = Key::Worker(name.module.clone(), name.instance, name.worker);
        let exit = Key::Exit(name.module.clone(), name.instance, name.worker);
        let txn = Txn::new()
            .at(key.clone(), seen.revision)
            .delete(Target::Key(key))
            .delete(Target::Key(exit));
        self.write(txn);
    }

    /// Tells the cluster how a worker failed, as long as it is assigned here. Best effort: the log
    /// of this node has it anyway, and the next failure is told again.
    fn report(&mut self, name: &SlotName) {
        let view = self.follower.view();
        let seen = view.worker(&name.module, &name.instance, &name.worker);
        let me = self.start.node;
        let Some(seen) = seen.filter(|seen| seen.record.node == me) else {
            return;
        };
        let Some(slot) = self.slots.get(name).map(|held| &held.slot) else {
            return;
        };
        let cause = slot.exits().last().map(|exit| exit.cause.to_string());
        let exit = WorkerExit {
            node: me,
            at_ms: crate::wall_ms(),
            failures: slot.failures(),
            cause: cause
                .unwrap_or_default()
                .chars()
                .take(CAUSE_CHARS_MAX)
                .collect(),
        };
        let assigned = Key::Worker(name.module.clone(), name.instance, name.worker);
        let key = Key::Exit(name.module.clone(), name.instance, name.worker);
        let txn = Txn::new()
            .at(assigned, seen.revision)
            .put(key, Value::Exit(exit));
        self.write(txn);
    }

    fn write(&mut self, txn: Txn) {
        let (store, space) = (self.start.store.clone(), self.start.space.clone());
        self.writes
            .spawn(async move { write(&store, &space, None, &txn).await });
    }

    fn publish(&self) {
        let status = self.slots.iter().map(|(name, held)| {
            let status = SlotStatus {
                state: held.slot.state(),
                process: held.slot.process(),
                exits: held.slot.exits().cloned().collect(),
            };
            (name.clone(), status)
        });
        let status: Status = status.collect();
        self.status.send_if_modified(|old| {
            let changed = *old != status;
            *old = status;
            changed
        });
    }
}
