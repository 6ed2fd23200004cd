//! A worker's own life: register, lead, stop serving in time, drain, end.
//!
//! Relies on a control thread that drives it beside the executors, and that measures leases with a
//! clock that runs while the machine is suspended (CLOCK_BOOTTIME). The rules of reliability §2.2:
//! a lease is believed until TTL − margin after its keep-alive was *sent*; when that is over, or
//! the registration is seen gone, every group stops at once and the process ends. It never
//! registers again: the next process is a new incarnation. What must stay true: no group is open
//! outside the believed time; a group is open under the epoch that this life took, and closes when
//! a higher one is seen; nothing is taken while draining.
//!
//! ```text
//! lease ─► register ─► serve: groups open and close ─► drain ─► revoke, end
//!                        └── lease over, or registration lost ─► close all, end
//! ```

#[cfg(test)]
mod tests;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use rama_core::time::Now;

use crate::election::{self, Candidate, Claim};
use crate::ids::{Epoch, GroupId, Incarnation, InstanceId, ModuleName, NodeId, WorkerIndex};
use crate::limits::{CLAIM_GRACE, LEASE_MARGIN, RETRY_AFTER};
use crate::mutants::{self, Mutant};
use crate::plan::GroupReplica;
use crate::records::{Desired, WorkerDetails, WorkerLive};
use crate::store::{Key, Txn, Value, Written};
use crate::view::View;

/// Which worker this process is; all of it was handed to it at its start, the incarnation drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The module.
    pub module: ModuleName,
    /// The instance.
    pub instance: InstanceId,
    /// The worker.
    pub index: WorkerIndex,
    /// The node it runs on.
    pub node: NodeId,
    /// This life of it.
    pub incarnation: Incarnation,
    /// What it registers beside that.
    pub details: WorkerDetails,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The view may have changed.
    Looked,
    /// The lease was granted or kept alive.
    Leased {
        /// When the request was sent.
        sent_at: Now,
        /// What the metastore granted.
        ttl: Duration,
    },
    /// The metastore says that the lease is gone.
    LeaseLost,
    /// The answer to `Write`.
    Written {
        /// Of which write.
        token: u64,
        /// What became of it.
        result: Written,
    },
    /// SIGTERM.
    Stop,
    /// The engine has drained.
    Drained,
}

/// Why the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was asked to, and has drained.
    Stopped,
    /// Its lease is over, or may be.
    LeaseOver,
    /// Another life of it is registered, or it is not assigned here any more.
    Replaced,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Get a lease and keep it alive; each answer is a `Leased`.
    Grant,
    /// Do a transaction under the lease and answer `Written`.
    Write {
        /// Names the write.
        token: u64,
        /// The transaction.
        txn: Txn,
    },
    /// Lead a group from now on.
    Open {
        /// What.
        held: GroupReplica,
        /// In which epoch; every message carries it.
        epoch: Epoch,
    },
    /// Stop leading it, now.
    Close {
        /// Which.
        group: GroupId,
    },
    /// Stop taking work in, finish what is under way, answer `Drained`.
    Drain,
    /// Give the lease back, so that others need not wait for its end.
    Revoke,
    /// End the process.
    Exit(End),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Leasing,
    Registering,
    Serving,
    Draining,
    Ended,
}

/// What is under way for one group.
#[derive(Clone, Copy, Debug, Default)]
struct Duty {
    open: Option<Epoch>,
    /// The claim whose answer is awaited.
    claiming: Option<(u64, Epoch)>,
    /// Not before: after a refusal, or in favor of the preferred leader.
    not_before: Option<Now>,
}

/// The machine. See the module documentation.
#[derive(Clone, Debug)]
pub struct Worker {
    me: Identity,
    phase: Phase,
    valid_until: Option<Now>,
    registering: Option<u64>,
    register_after: Now,
    /// From this revision on a view without our registration means that it is lost.
    registered_at: u64,
    duties: BTreeMap<GroupId, Duty>,
    token: u64,
    effects: VecDeque<Effect>,
}

impl Worker {
    /// A process that just started.
    #[must_use]
    pub fn new(me: Identity) -> Worker {
        Worker {
            me,
            phase: Phase::Leasing,
            valid_until: None,
            registering: None,
            register_after: Now(0),
            registered_at: 0,
            duties: BTreeMap::new(),
            token: 0,
            effects: VecDeque::from([Effect::Grant]),
        }
    }

    /// Which worker it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.me
    }

    /// The groups it leads, with their epochs.
    pub fn open(&self) -> impl Iterator<Item = (GroupId, Epoch)> {
        let open = self.duties.iter();
        open.filter_map(|(group, duty)| Some((*group, duty.open?)))
    }

    /// Until when it may serve, read fresh before each answer (reliability §2.2).
    #[must_use]
    pub fn valid_until(&self) -> Option<Now> {
        self.valid_until
    }

    /// Applies one input.
    pub fn on_input(&mut self, now: Now, view: &View, input: Input) {
        if self.phase == Phase::Ended {
            return;
        }
        // Whatever arrives, the lease comes first: it may have ended while this process stood
        // still.
        if self.expired(now) {
            return self.end(End::LeaseOver);
        }
        match input {
            Input::Looked => {}
            Input::Leased { sent_at, ttl } => {
                let until = sent_at.after(ttl.saturating_sub(LEASE_MARGIN));
                self.valid_until = self.valid_until.max(Some(until));
                if self.phase == Phase::Leasing {
                    self.phase = Phase::Registering;
                }
                if self.expired(now) {
                    return self.end(End::LeaseOver);
                }
            }
            Input::LeaseLost => return self.end(End::LeaseOver),
            Input::Written { token, result } => self.handle_written(now, view, token, result),
            Input::Stop => self.handle_stop(),
            Input::Drained => {
                if self.phase == Phase::Draining {
                    return self.end(End::Stopped);
                }
            }
        }
        self.pump(now, view);
    }

    /// The deadline has come.
    pub fn on_deadline(&mut self, now: Now, view: &View) {
        self.on_input(now, view, Input::Looked);
    }

    /// When to call `on_deadline`.
    #[must_use]
    pub fn deadline(&self) -> Option<Now> {
        if self.phase == Phase::Ended {
            return None;
        }
        let waits = self.duties.values().filter_map(|duty| duty.not_before);
        let waits = waits.filter(|_| self.phase == Phase::Serving);
        let register = (self.phase == Phase::Registering && self.registering.is_none())
            .then_some(self.register_after)
            .filter(|at| *at > Now(0));
        let valid = self
            .valid_until
            .filter(|_| !mutants::active(Mutant::NoLocalStop));
        waits.chain(register).chain(valid).min()
    }

    /// Takes the next effect.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn expired(&self, now: Now) -> bool {
        let over = self.valid_until.is_some_and(|until| now >= until);
        over && !mutants::active(Mutant::NoLocalStop)
    }

    fn handle_written(&mut self, now: Now, view: &View, token: u64, result: Written) {
        if self.registering == Some(token) {
            self.registering = None;
            match result {
                Written::Done { revision } => self.registered(revision),
                // Perhaps it was done after all: then the view will show it. Otherwise once more.
                Written::Refused | Written::Unknown => {
                    self.register_after = now.after(RETRY_AFTER);
                }
            }
            return;
        }
        let claimed = |duty: &Duty| duty.claiming.is_some_and(|(own, _)| own == token);
        let Some(group) = self.duties.iter().find(|(_, duty)| claimed(duty)) else {
            return;
        };
        let group = *group.0;
        let duty = self.duties.entry(group).or_default();
        let claimed = duty.claiming.take();
        let Written::Done { .. } = result else {
            duty.not_before = Some(now.after(RETRY_AFTER));
            return;
        };
        let (_, epoch) = claimed.expect("it was found by its token");
        let leader = view.leader(&self.me.module, &self.me.instance, &group);
        let passed = leader.is_some_and(|leader| leader.record.epoch > epoch);
        if self.phase == Phase::Serving && !passed {
            // The view may not show it yet; until it does, nothing is to be claimed.
            duty.not_before = Some(now.after(RETRY_AFTER));
            if let Some(held) = held(view, &self.me, group) {
                self.open_group(held, epoch);
            }
        }
    }

    fn registered(&mut self, revision: u64) {
        self.registered_at = revision;
        if self.phase == Phase::Registering {
            self.phase = Phase::Serving;
        }
    }

    fn handle_stop(&mut self) {
        match self.phase {
            Phase::Leasing | Phase::Registering => self.end(End::Stopped),
            Phase::Serving => {
                self.phase = Phase::Draining;
                self.effects.push_back(Effect::Drain);
            }
            Phase::Draining | Phase::Ended => {}
        }
    }

    fn pump(&mut self, now: Now, view: &View) {
        match self.phase {
            Phase::Registering => self.register(now, view),
            Phase::Serving | Phase::Draining => {
                if self.replaced(view) {
                    return self.end(End::Replaced);
                }
                self.lead(now, view);
            }
            Phase::Leasing | Phase::Ended => {}
        }
    }

    fn register(&mut self, now: Now, view: &View) {
        let (name, instance, index) = (&self.me.module, &self.me.instance, &self.me.index);
        let live = view.live(name, instance, index);
        if let Some(live) = live.filter(|live| live.record.incarnation == self.me.incarnation) {
            self.registering = None;
            let revision = live.revision;
            self.registered(revision);
            return self.pump(now, view);
        }
        if self.registering.is_some() || now < self.register_after {
            return;
        }
        // A former life on this node is over: the supervisor starts one process at a time. One on
        // another node may still run; its lease has to end first.
        if live.is_some_and(|live| live.record.node != self.me.node) {
            self.register_after = now.after(RETRY_AFTER);
            return;
        }
        let Some(assigned) = view
            .worker(name, instance, index)
            .filter(|seen| seen.record.node == self.me.node && seen.record.desired == Desired::Run)
        else {
            // Not seen yet, or not ours any more: then the supervisor will say so.
            self.register_after = now.after(RETRY_AFTER);
            return;
        };
        let key = Key::Live(name.clone(), *instance, *index);
        let record = WorkerLive {
            incarnation: self.me.incarnation,
            node: self.me.node,
            details: self.me.details.clone(),
        };
        let txn = Txn::new()
            .at(
                Key::Worker(name.clone(), *instance, *index),
                assigned.revision,
            )
            .as_seen(key.clone(), live.map(|live| live.revision))
            .put_leased(key, Value::Live(record));
        let token = self.write(txn);
        self.registering = Some(token);
    }

    /// Whether the view shows that the registration is not ours any more.
    fn replaced(&self, view: &View) -> bool {
        let live = view.live(&self.me.module, &self.me.instance, &self.me.index);
        match live {
            Some(live) if live.record.incarnation == self.me.incarnation => false,
            // An older record that the view still shows says nothing.
            Some(live) => live.revision > self.registered_at,
            None => view.revision() >= self.registered_at,
        }
    }

    fn lead(&mut self, now: Now, view: &View) {
        let (name, instance) = (self.me.module.clone(), self.me.instance);
        let Some(assigned) = view.worker(&name, &instance, &self.me.index) else {
            return;
        };
        for held in &assigned.record.groups {
            let candidate = Candidate {
                module: &name,
                instance,
                worker: self.me.index,
                incarnation: self.me.incarnation,
                replica: held.replica,
            };
            let duty = self.duties.entry(held.group).or_default();
            match election::claim(view, &candidate, held.group) {
                Claim::Held(epoch) => {
                    duty.not_before = None;
                    if duty.open.is_none_or(|open| open < epoch) && self.phase == Phase::Serving {
                        self.open_group(*held, epoch);
                    }
                }
                Claim::Foreign(epoch) => {
                    duty.not_before = None;
                    if duty.open.is_some_and(|open| open < epoch) {
                        self.close_group(held.group);
                    }
                }
                Claim::Take { epoch, txn } => {
                    if duty.claiming.is_some() || self.phase != Phase::Serving {
                        duty.not_before = None;
                        continue;
                    }
                    if duty.open.is_some_and(|open| open >= epoch) {
                        // The view is older than our own claim.
                        duty.not_before = Some(now.after(RETRY_AFTER));
                        continue;
                    }
                    let grace = if held.preferred_leader {
                        now
                    } else {
                        now.after(CLAIM_GRACE)
                    };
                    if now < *duty.not_before.get_or_insert(grace) {
                        continue;
                    }
                    let token = self.write(txn);
                    let duty = self.duties.entry(held.group).or_default();
                    duty.claiming = Some((token, epoch));
                    duty.not_before = None;
                }
                Claim::Barred => duty.not_before = None,
            }
        }
    }

    fn open_group(&mut self, held: GroupReplica, epoch: Epoch) {
        let duty = self.duties.entry(held.group).or_default();
        if duty.open.is_some_and(|open| open >= epoch) {
            return;
        }
        if duty.open.is_some() {
            self.close_group(held.group);
        }
        self.duties.entry(held.group).or_default().open = Some(epoch);
        self.effects.push_back(Effect::Open { held, epoch });
    }

    fn close_group(&mut self, group: GroupId) {
        self.duties.entry(group).or_default().open = None;
        self.effects.push_back(Effect::Close { group });
    }

    fn write(&mut self, txn: Txn) -> u64 {
        self.token += 1;
        let token = self.token;
        self.effects.push_back(Effect::Write { token, txn });
        token
    }

    fn end(&mut self, end: End) {
        self.phase = Phase::Ended;
        // What was not handed over yet is not done any more.
        self.effects.clear();
        let open: Vec<GroupId> = self.open().map(|(group, _)| group).collect();
        for group in open {
            self.close_group(group);
        }
        if self.valid_until.is_some() {
            self.effects.push_back(Effect::Revoke);
        }
        self.effects.push_back(Effect::Exit(end));
    }
}

/// What the assignment says of a group of this worker.
fn held(view: &View, me: &Identity, group: GroupId) -> Option<GroupReplica> {
    let assigned = view.worker(&me.module, &me.instance, &me.index)?;
    let held = assigned.record.groups.iter();
    held.copied().find(|held| held.group == group)
}
