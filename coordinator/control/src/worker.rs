//! The control loop of a worker process: lease, registration, leadership, routes.
//!
//! Relies on the planner's worker machine for every decision and on one task of tokio to drive it. The
//! process that runs the task threads gets [`Event`]s and gives [`Order`]s. What must stay true: the
//! machine is asked with a fresh reading of the clock; after `Exit` nothing follows; the process ends
//! when the loop does; nothing that the metastore owes keeps an order or `Exit` waiting for long.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use rama_core::options::Settings;
use rama_metastore::{Error, Lease, LeaseState, Metastore, Space};
use rama_planner::ids::{Epoch, GroupId};
use rama_planner::limits::LEASE_MARGIN;
use rama_planner::records::{WorkerDetails, WorkerLive, WorkerPhase};
use rama_planner::store::{Key, Txn, Value, Written};
use rama_planner::view::View;
use rama_planner::worker::{Effect, End, Identity, Input, Worker};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use crate::clock::{now, until};
use crate::follower::{Change, Follower};
use crate::writer::write;

/// How often the machine hears of the lease.
const LEASE_LOOK: Duration = Duration::from_millis(200);

/// Between two tries to get a lease.
const GRANT_RETRY: Duration = Duration::from_millis(500);

/// What giving the lease back may take: it ends by itself, the process has to end now.
const REVOKE_MAX: Duration = Duration::from_secs(2);

/// Where a task group is led, for its peers and clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRoute {
    /// The leader's process as it registered.
    pub live: WorkerLive,
    /// The leader's epoch.
    pub epoch: Epoch,
    /// Its UDP port.
    pub port: u16,
}

/// What the process is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Lead a group from now on.
    Open(GroupId, Epoch),
    /// Stop leading it, now.
    Close(GroupId),
    /// Where all groups of the instance are led; replaces what was told before.
    Routes(BTreeMap<GroupId, GroupRoute>),
    /// Topologies of the module that are paused.
    Paused(Vec<String>),
    /// Dynamic options of the module: all that are set.
    Options(Settings),
    /// Take nothing in any more, finish, give [`Order::Drained`].
    Drain,
    /// End the process.
    Exit(End),
}

/// What the process says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Stop in order.
    Stop,
    /// It has drained.
    Drained,
    /// How far it is, for people.
    Phase(WorkerPhase),
}

/// A running control loop. Dropping it ends the loop; the lease then ends by itself.
#[derive(Debug)]
pub struct Control {
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

impl Control {
    /// Starts the loop on the tokio runtime this is called from. The lease is asked for `ttl`.
    pub fn start<M: Metastore>(
        store: M,
        space: Space,
        identity: Identity,
        ttl: Duration,
    ) -> (Control, mpsc::UnboundedReceiver<Event>) {
        let (events, heard) = mpsc::unbounded_channel();
        let (orders, given) = mpsc::unbounded_channel();
        let follower = Follower::new(&store, &space);
        let control = Loop {
            machine: Worker::new(identity),
            follower,
            store,
            space,
            ttl,
            lease: None,
            grants: JoinSet::new(),
            writes: JoinSet::new(),
            phase: None,
            showing: false,
            events,
            told: Told::default(),
        };
        let task = tokio::spawn(control.run(given));
        (Control { orders, task }, heard)
    }

    /// Says something to the loop; nothing when it has ended.
    pub fn order(&self, order: Order) {
        // The events have said that it ended.
        let _ = self.orders.send(order);
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What was told last, so that only changes are told.
#[derive(Default)]
struct Told {
    routes: BTreeMap<GroupId, GroupRoute>,
    paused: Vec<String>,
    options: Settings,
}

struct Loop<M: Metastore> {
    machine: Worker,
    follower: Follower,
    store: M,
    space: Space,
    ttl: Duration,
    lease: Option<Lease>,
    /// The lease that is asked for; one at most.
    grants: JoinSet<Result<Lease, Error>>,
    writes: JoinSet<(u64, Written)>,
    /// How far the process is; shown until it is seen, because a write may be lost.
    phase: Option<WorkerPhase>,
    /// Whether the phase is being written.
    showing: bool,
    events: mpsc::UnboundedSender<Event>,
    told: Told,
}

/// Token of writes that show the phase: the machine asks for none with it.
const PHASE_TOKEN: u64 = 0;

impl<M: Metastore> Loop<M> {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut look = tokio::time::interval(LEASE_LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            if self.effects().await {
                return;
            }
            let deadline = self.machine.deadline();
            tokio::select! {
                change = self.follower.next() => match change {
                    Ok(change) => self.changed(change),
                    Err(error @ Error::Closed { .. }) => self.closed(&error),
                    Err(error) => tracing::warn!(%error, "the metastore cannot be followed"),
                },
                Some(done) = self.grants.join_next() => match done {
                    Ok(Ok(lease)) => {
                        self.lease = Some(lease);
                        self.look_at_lease();
                    }
                    Ok(Err(error)) => self.closed(&error),
                    Err(error) => {
                        tracing::error!(%error, "asking for a lease ended badly");
                        self.input(Input::LeaseLost);
                    }
                },
                Some(done) = self.writes.join_next() => match done {
                    // If it was refused, what refused it is seen next.
                    Ok((PHASE_TOKEN, _)) => self.showing = false,
                    Ok((token, result)) => self.input(Input::Written { token, result }),
                    Err(error) => tracing::error!(%error, "a write ended badly"),
                },
                order = orders.recv() => match order {
                    Some(Order::Stop) => self.input(Input::Stop),
                    Some(Order::Drained) => self.input(Input::Drained),
                    Some(Order::Phase(phase)) => {
                        self.phase = Some(phase);
                        self.show_phase();
                    }
                    None => return,
                },
                _ = look.tick() => {
                    self.look_at_lease();
                    self.show_phase();
                }
                () = until(deadline) => {
                    // What the lease has become meanwhile comes first.
                    self.look_at_lease();
                    self.machine.on_deadline(now(), self.follower.view());
                }
            }
        }
    }

    fn input(&mut self, input: Input) {
        self.machine.on_input(now(), self.follower.view(), input);
    }

    fn changed(&mut self, change: Change) {
        match change {
            Change::View => {
                self.input(Input::Looked);
                let routes = routes(self.follower.view(), self.machine.identity());
                if routes != self.told.routes {
                    self.told.routes.clone_from(&routes);
                    self.tell(Event::Routes(routes));
                }
                self.tell_settings();
            }
            Change::Settings => self.tell_settings(),
            Change::Nothing => {}
        }
    }

    /// The store is closed, for good. A lease that nobody keeps alive and a view that nobody follows
    /// are as good as lost: the end is the same, and the next process opens a store of its own.
    fn closed(&mut self, error: &Error) {
        tracing::error!(%error, "the metastore cannot be used any more");
        self.input(Input::LeaseLost);
    }

    fn tell_settings(&mut self) {
        let module = self.machine.identity().module.as_str();
        let (paused, options) = (self.follower.paused(module), self.follower.settings(module));
        if paused != self.told.paused {
            self.told.paused.clone_from(&paused);
            self.tell(Event::Paused(paused));
        }
        if options != self.told.options {
            self.told.options.clone_from(&options);
            self.tell(Event::Options(options));
        }
    }

    fn tell(&self, event: Event) {
        // When nobody hears it the process is on its way out.
        let _ = self.events.send(event);
    }

    fn look_at_lease(&mut self) {
        let Some(lease) = &self.lease else { return };
        let input = match lease.state() {
            LeaseState::Lost => Input::LeaseLost,
            // The handle counts from the sending of each renewal, less a margin of its own.
            _ => {
                let ttl = lease.held_for() + LEASE_MARGIN;
                let sent_at = now();
                Input::Leased { sent_at, ttl }
            }
        };
        self.input(input);
    }

    /// Does what the machine wants; whether it was the end.
    async fn effects(&mut self) -> bool {
        while let Some(effect) = self.machine.poll_effect() {
            match effect {
                Effect::Grant => self.grant(),
                Effect::Write { token, txn } => self.write(token, txn),
                Effect::Open { held, epoch } => self.tell(Event::Open(held.group, epoch)),
                Effect::Close { group } => self.tell(Event::Close(group)),
                Effect::Drain => self.tell(Event::Drain),
                Effect::Revoke => self.revoke().await,
                Effect::Exit(end) => {
                    self.tell(Event::Exit(end));
                    return true;
                }
            }
        }
        false
    }

    /// Asks for a lease until there is one, or the store is closed.
    fn grant(&mut self) {
        let (store, ttl) = (self.store.clone(), self.ttl);
        self.grants.spawn(async move {
            loop {
                match store.grant(ttl).await {
                    Err(error) if !matches!(error, Error::Closed { .. }) => {
                        tracing::warn!(%error, "no lease yet");
                    }
                    done => return done,
                }
                tokio::time::sleep(GRANT_RETRY).await;
            }
        });
    }

    async fn revoke(&mut self) {
        let Some(lease) = self.lease.take() else {
            return;
        };
        let revoked = tokio::time::timeout(REVOKE_MAX, self.store.revoke(lease.id())).await;
        match revoked {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the lease ends by itself"),
            Err(_) => tracing::warn!("the metastore is away: the lease ends by itself"),
        }
    }

    fn write(&mut self, token: u64, txn: Txn) {
        let (store, space) = (self.store.clone(), self.space.clone());
        let lease = self.lease.as_ref().map(Lease::id);
        self.writes
            .spawn(async move { (token, write(&store, &space, lease, &txn).await) });
    }

    /// Says how far the process is, unless that is seen already; who it is stays as it is.
    fn show_phase(&mut self) {
        let Some(phase) = self.phase.filter(|_| !self.showing) else {
            return;
        };
        let me = self.machine.identity();
        let (module, index) = (me.module.clone(), me.index);
        let Some(seen) = self.follower.view().live(&module, &me.instance, &index) else {
            return;
        };
        if seen.record.incarnation != me.incarnation || seen.record.details.phase == phase {
            return;
        }
        let record = WorkerLive {
            details: WorkerDetails {
                phase,
                ..seen.record.details.clone()
            },
            ..seen.record.clone()
        };
        let key = Key::Live(module, me.instance, index);
        let txn = Txn::new()
            .at(key.clone(), seen.revision)
            .put_leased(key, Value::Live(record));
        self.showing = true;
        self.write(PHASE_TOKEN, txn);
    }
}

/// Where the groups of an instance are led, as far as the view shows it.
#[must_use]
pub fn routes(view: &View, me: &Identity) -> BTreeMap<GroupId, GroupRoute> {
    let leaders = view
        .entries()
        .filter_map(|(key, value)| match (key, value) {
            (Key::Leader(module, instance, group), Value::Leader(leader))
                if *module == me.module && *instance == me.instance =>
            {
                Some((*group, leader))
            }
            _ => None,
        });
    let route = |(group, leader): (GroupId, &rama_planner::records::GroupLeader)| {
        let live = view.live(&me.module, &me.instance, &leader.worker)?;
        let live = Some(live.record).filter(|live| live.incarnation == leader.incarnation)?;
        let port = *live.details.ports.get(&group.0)?;
        let (live, epoch) = (live.clone(), leader.epoch);
        Some((group, GroupRoute { live, epoch, port }))
    };
    leaders.filter_map(route).collect()
}
