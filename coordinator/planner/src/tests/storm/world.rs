//! The storm's world: virtual time, one queue of happenings, and the lives that take part.
//!
//! A *life* is one run of one process: a conductor, a supervisor or a worker. Each has its own
//! view, fed by a watch that is late, repeats itself and has gaps. A life that ended gets nothing
//! any more, but what it sent may still arrive. A life that stands still (stopped, swapped out)
//! gets everything later. Everything comes from one seed; `trace` is a hash over all happenings.

use std::collections::{BTreeMap, BTreeSet};

use core::time::Duration;

use rama_core::ids::mix;
use rama_core::time::Now;

use super::faults::Weather;
use super::metastore::{Metastore, describe};
use super::rules::Rules;
use crate::ids::{InstanceId, ModuleName, OperationId, WorkerIndex};
use crate::operation::Transition;
use crate::place::Scheduler;
use crate::slot::{self, Process, Slot, Wanted};
use crate::store::{Key, Txn, Written};
use crate::tests::Random;
use crate::view::View;
use crate::worker::{self, Worker};

pub(super) const TTL_MS: u64 = 5_000;

/// One worker of one instance.
pub(super) type SlotKey = (ModuleName, InstanceId, WorkerIndex);

/// What a life is.
pub(super) enum Kind {
    Conductor {
        transitions: BTreeMap<OperationId, Transition>,
        /// Once it is in office.
        term: Option<u64>,
    },
    Supervisor {
        node: usize,
        slots: BTreeMap<SlotKey, (Slot, Option<Wanted>)>,
        /// What a process was when its pidfd was opened.
        pidfds: BTreeMap<Process, Process>,
    },
    Worker {
        node: usize,
        process: Process,
        slot: SlotKey,
        machine: Box<Worker>,
    },
}

pub(super) struct Life {
    pub(super) kind: Kind,
    pub(super) view: View,
    /// Whether the first listing is there.
    pub(super) listed: bool,
    cursor: usize,
    pulling: bool,
    wake_at: u64,
    pub(super) stalled_until: u64,
    /// Until when nothing of it reaches the metastore.
    pub(super) cut_until: u64,
}

/// Who has a process id.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Occupant {
    Worker(u64),
    Foreign,
}

/// A machine: what survives its processes, and its processes.
#[derive(Default)]
pub(super) struct Node {
    pub(super) data: BTreeSet<SlotKey>,
    pub(super) remembered: BTreeMap<SlotKey, Process>,
    pub(super) alive: BTreeMap<u32, (u64, Occupant)>,
    pub(super) supervisor: Option<u64>,
}

/// To which machine of a life an answer goes.
#[derive(Clone)]
pub(super) enum To {
    Office,
    Operation(OperationId),
    Worker,
    Nobody,
}

pub(super) enum Happening {
    Arrive(u64, To, u64, Txn),
    Reply(u64, To, u64, Written),
    Pull(u64),
    List(u64, To),
    Wake(u64),
    Grant(u64),
    KeepAlive(u64),
    Leased(u64, u64),
    LeaseGone(u64),
    LeaseTick,
    Heartbeat(u64),
    Slot(u64, SlotKey, slot::Input),
    Spawn(u64, SlotKey),
    Delete(u64, SlotKey),
    Drained(u64),
    Terminate(u64),
    Revoke(u64),
    Die(u64, &'static str),
    Register(u64),
    Fault,
    Operate,
    StartConductor,
    StartSupervisor(usize),
    MetastoreUp,
}

pub(super) struct World {
    pub(super) seed: u64,
    pub(super) random: Random,
    pub(super) weather: Weather,
    pub(super) now: u64,
    pub(super) trace: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    pub(super) metastore: Metastore,
    pub(super) lives: BTreeMap<u64, Life>,
    pub(super) last_life: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) rules: Rules,
    pub(super) last_id: u64,
    pub(super) start_time: u64,
    pub(super) log: bool,
    /// Whether everything that is sent arrives after it was given up.
    pub(super) all_late: bool,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let weather = Weather::draw(&mut random, seed);
        let nodes = (0..weather.nodes).map(|_| Node::default()).collect();
        let mut rules = Rules::default();
        rules.isolated = matches!(weather.scheduler, Scheduler::Isolation(_));
        World {
            seed,
            random,
            weather,
            now: 1_000,
            trace: mix(seed),
            queue: BTreeMap::new(),
            sequence: 0,
            metastore: Metastore::default(),
            lives: BTreeMap::new(),
            last_life: 0,
            nodes,
            rules,
            last_id: 0,
            start_time: 0,
            log: std::env::var_os("RAMA_STORM_LOG").is_some(),
            all_late: false,
        }
    }

    pub(super) fn moment(&self) -> Now {
        Now(self.now * 1_000_000)
    }

    pub(super) fn after(&mut self, ms: u64, happening: Happening) {
        self.sequence += 1;
        let at = self.now + ms;
        self.queue.insert((at, self.sequence), happening);
    }

    /// A short time, rarely a long one while there are faults.
    pub(super) fn delay(&mut self) -> u64 {
        if self.weather.faults && self.random.one_in(self.weather.slow_one_in) {
            1 + self.random.below(3_000) as u64
        } else {
            1 + self.random.below(20) as u64
        }
    }

    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        if self.log {
            println!("{:>7} {}", self.now, text());
        }
    }

    fn hash(&mut self, words: [u64; 3]) {
        self.trace = words.iter().fold(self.trace, |hash, word| mix(hash ^ word));
    }

    pub(super) fn create(&mut self, kind: Kind) -> u64 {
        self.last_life += 1;
        let life = Life {
            kind,
            view: View::default(),
            listed: false,
            cursor: 0,
            pulling: false,
            wake_at: u64::MAX,
            stalled_until: 0,
            cut_until: 0,
        };
        self.lives.insert(self.last_life, life);
        self.last_life
    }

    /// Takes the next happening, unless the time is over.
    pub(super) fn step(&mut self, until: u64) -> Result<bool, String> {
        let Some(entry) = self.queue.first_entry() else {
            return Ok(false);
        };
        if entry.key().0 > until {
            self.now = until;
            return Ok(false);
        }
        let ((at, _), happening) = entry.remove_entry();
        self.now = at;
        let Some(happening) = self.postpone(happening) else {
            return Ok(true);
        };
        let (kind, life) = happening.words();
        self.hash([at, kind, life]);
        let from = self.metastore.log.len();
        self.dispatch(happening)?;
        self.publish(from)?;
        Ok(true)
    }

    /// What happens to a life that stands still happens to it later; to a dead one, never.
    fn postpone(&mut self, happening: Happening) -> Option<Happening> {
        let life = happening.witness();
        let Some(life) = life else {
            return Some(happening);
        };
        let stalled = self.lives.get(&life)?.stalled_until;
        if stalled > self.now {
            self.after(stalled - self.now, happening);
            return None;
        }
        Some(happening)
    }

    fn dispatch(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Arrive(life, to, token, txn) => self.arrive(life, to, token, &txn),
            Happening::Reply(life, to, token, result) => self.reply(life, &to, token, result),
            Happening::Pull(life) => self.pull(life),
            Happening::List(life, to) => self.list(life, &to),
            Happening::Wake(life) => self.wake(life),
            Happening::Grant(life) => {
                self.grant(life);
                Ok(())
            }
            Happening::KeepAlive(life) => {
                self.keep_alive(life);
                Ok(())
            }
            Happening::Leased(life, sent_at) => {
                let input = worker::Input::Leased {
                    sent_at: Now(sent_at * 1_000_000),
                    ttl: Duration::from_millis(TTL_MS),
                };
                self.tell_worker(life, input)
            }
            Happening::LeaseGone(life) => self.lease_gone(life),
            Happening::LeaseTick => self.lease_tick(),
            Happening::Heartbeat(life) => self.heartbeat(life),
            Happening::Slot(life, slot, input) => self.tell_slot(life, &slot, input),
            Happening::Spawn(life, slot) => self.spawn(life, &slot),
            Happening::Delete(life, slot) => self.delete(life, slot),
            Happening::Drained(life) => self.tell_worker(life, worker::Input::Drained),
            Happening::Terminate(life) => self.tell_worker(life, worker::Input::Stop),
            Happening::Revoke(life) => {
                if !self.metastore.down {
                    self.metastore.revoke(life);
                }
                Ok(())
            }
            Happening::Die(life, text) => {
                self.die(life, text);
                Ok(())
            }
            Happening::Register(life) => {
                self.register_supervisor(life);
                Ok(())
            }
            Happening::Fault => self.fault(),
            Happening::Operate => {
                self.operate();
                Ok(())
            }
            Happening::StartConductor => {
                self.start_conductor();
                Ok(())
            }
            Happening::StartSupervisor(node) => {
                self.start_supervisor(node);
                Ok(())
            }
            Happening::MetastoreUp => {
                self.metastore_up();
                Ok(())
            }
        }
    }

    /// Sends a transaction. The answer may be lost; the transaction may arrive after it was given
    /// up.
    pub(super) fn send(&mut self, life: u64, to: To, token: u64, txn: Txn) {
        let faults = self.weather.faults;
        let late = faults && (self.all_late || self.random.one_in(self.weather.late_one_in));
        let delay = if late {
            let unknown = Happening::Reply(life, to.clone(), token, Written::Unknown);
            self.after(2_000, unknown);
            2_000 + self.random.below(8_000) as u64
        } else {
            self.delay()
        };
        self.note(|| format!("life {life} sends {token}: {}", describe(&txn)));
        self.after(delay, Happening::Arrive(life, to, token, txn));
    }

    fn arrive(&mut self, life: u64, to: To, token: u64, txn: &Txn) -> Result<(), String> {
        let cut = self
            .lives
            .get(&life)
            .is_some_and(|it| it.cut_until > self.now);
        if self.metastore.down || cut {
            self.after(2_000, Happening::Reply(life, to, token, Written::Unknown));
            return Ok(());
        }
        self.check_confirmation(txn)?;
        let mut result = self.metastore.txn(life, txn);
        if matches!(result, Written::Done { .. }) {
            self.rules.count("written");
            self.check_driver(life, &to)?;
        }
        self.note(|| format!("life {life} {token}: {result:?}"));
        if self.weather.faults && self.random.one_in(self.weather.lost_one_in) {
            result = Written::Unknown;
        }
        let delay = self.delay();
        self.after(delay, Happening::Reply(life, to, token, result));
        Ok(())
    }

    /// Wakes the watches that what was just logged concerns.
    fn publish(&mut self, from: usize) -> Result<(), String> {
        if from == self.metastore.log.len() {
            return Ok(());
        }
        let mut lives = Vec::new();
        for event in &self.metastore.log[from..] {
            self.rules.after(event)?;
            let concerned = self.lives.iter_mut();
            for (life, it) in concerned.filter(|(_, it)| it.listed && !it.pulling) {
                if it.wakes(&event.key, event.value.as_ref()) {
                    it.pulling = true;
                    lives.push(*life);
                }
            }
        }
        for life in lives {
            let delay = self.delay();
            self.after(delay, Happening::Pull(life));
        }
        Ok(())
    }

    /// Delivers what the watch has, or part of it, sometimes once more what it had; or notices a
    /// gap.
    fn pull(&mut self, life: u64) -> Result<(), String> {
        let end = self.metastore.log.len();
        let faults = self.weather.faults;
        let gap = faults && self.random.one_in(self.weather.gap_one_in);
        let again = faults && self.random.one_in(4);
        let part = faults && self.random.one_in(4);
        let rest = self.random.below(8);
        let Some(it) = self.lives.get_mut(&life) else {
            return Ok(());
        };
        it.pulling = false;
        if gap {
            let skipped = self.random.below(4_000) as u64;
            self.after(skipped, Happening::List(life, To::Nobody));
            return Ok(());
        }
        let from = if again {
            it.cursor.saturating_sub(5)
        } else {
            it.cursor
        };
        let to = if part { end.min(from + rest) } else { end };
        for event in &self.metastore.log[from..to] {
            if it.takes(&event.key) {
                it.view.apply(event.clone());
            }
        }
        it.cursor = it.cursor.max(to);
        if it.cursor < end {
            it.pulling = true;
            let delay = self.delay();
            self.after(delay, Happening::Pull(life));
        }
        self.looked(life)
    }

    fn list(&mut self, life: u64, to: &To) -> Result<(), String> {
        if self.metastore.down {
            self.after(1_000, Happening::List(life, to.clone()));
            return Ok(());
        }
        let all = self.metastore.list();
        let (revision, end) = (self.metastore.revision, self.metastore.log.len());
        let Some(it) = self.lives.get_mut(&life) else {
            return Ok(());
        };
        let own = all.into_iter().filter(|(key, _, _)| it.takes(key));
        let own: Vec<_> = own.collect();
        it.view.relist(revision, own);
        it.cursor = end;
        let first = !it.listed;
        it.listed = true;
        self.relisted(life, first, to)
    }

    /// Asks for a wake-up at the earliest deadline of a life's machines.
    pub(super) fn arm(&mut self, life: u64) {
        let now = self.now;
        let Some(it) = self.lives.get_mut(&life) else {
            return;
        };
        let Some(deadline) = it.deadline() else {
            return;
        };
        let at = deadline.0.div_ceil(1_000_000).max(now + 1);
        if at < it.wake_at || it.wake_at <= now {
            it.wake_at = at;
            self.after(at - now, Happening::Wake(life));
        }
    }
}

impl Life {
    fn deadline(&self) -> Option<Now> {
        match &self.kind {
            Kind::Conductor { transitions, .. } => {
                transitions.values().filter_map(|t| t.deadline()).min()
            }
            Kind::Supervisor { slots, .. } => {
                slots.values().filter_map(|(slot, _)| slot.deadline()).min()
            }
            Kind::Worker { machine, .. } => machine.deadline(),
        }
    }

    /// What its watch covers.
    fn takes(&self, key: &Key) -> bool {
        match (&self.kind, key) {
            (Kind::Conductor { .. }, _) => true,
            (Kind::Supervisor { .. }, Key::Worker(..) | Key::Spec(..)) => true,
            (Kind::Supervisor { .. }, _) => false,
            (Kind::Worker { slot, .. }, Key::Worker(name, id, w) | Key::Live(name, id, w)) => {
                (name, id, w) == (&slot.0, &slot.1, &slot.2)
            }
            (Kind::Worker { slot, .. }, Key::Isr(name, id, _) | Key::Leader(name, id, _)) => {
                (name, id) == (&slot.0, &slot.1)
            }
            (Kind::Worker { .. }, _) => false,
        }
    }

    /// Of what its watch covers, what is worth a wake-up in this world: the rest it gets with that.
    fn wakes(&self, key: &Key, value: Option<&crate::store::Value>) -> bool {
        let Kind::Supervisor { node, slots, .. } = &self.kind else {
            return self.takes(key);
        };
        match (key, value) {
            (Key::Worker(_, _, _), Some(crate::store::Value::Worker(record))) => {
                record.node == super::faults::node_id(*node)
            }
            (Key::Worker(name, id, w), _) => slots.contains_key(&(name.clone(), *id, *w)),
            (Key::Spec(name, id), _) => {
                let from = (name.clone(), *id, WorkerIndex(0));
                let mut own = slots.range(from..);
                own.next()
                    .is_some_and(|(slot, _)| slot.0 == *name && slot.1 == *id)
            }
            _ => false,
        }
    }
}

impl Happening {
    /// The life that must be there, and awake, for it to happen.
    fn witness(&self) -> Option<u64> {
        match self {
            Happening::Reply(life, ..)
            | Happening::Pull(life)
            | Happening::List(life, _)
            | Happening::Wake(life)
            | Happening::Grant(life)
            | Happening::KeepAlive(life)
            | Happening::Leased(life, _)
            | Happening::LeaseGone(life)
            | Happening::Heartbeat(life)
            | Happening::Slot(life, ..)
            | Happening::Spawn(life, _)
            | Happening::Delete(life, _)
            | Happening::Drained(life)
            | Happening::Terminate(life)
            | Happening::Register(life) => Some(*life),
            Happening::Arrive(..)
            | Happening::Revoke(_)
            | Happening::Die(..)
            | Happening::LeaseTick
            | Happening::Fault
            | Happening::Operate
            | Happening::StartConductor
            | Happening::StartSupervisor(_)
            | Happening::MetastoreUp => None,
        }
    }

    /// For the trace.
    fn words(&self) -> (u64, u64) {
        let about = match self {
            Happening::Arrive(life, _, token, _) | Happening::Reply(life, _, token, _) => {
                life << 20 | token
            }
            Happening::Revoke(life) | Happening::Die(life, _) => *life,
            Happening::StartSupervisor(node) => *node as u64,
            other => other.witness().unwrap_or(0),
        };
        let kind = match self {
            Happening::Arrive(..) => 1,
            Happening::Reply(..) => 2,
            Happening::Pull(_) => 3,
            Happening::List(..) => 4,
            Happening::Wake(_) => 5,
            Happening::Grant(_) => 6,
            Happening::KeepAlive(_) => 7,
            Happening::Leased(..) => 8,
            Happening::LeaseGone(_) => 9,
            Happening::LeaseTick => 10,
            Happening::Heartbeat(_) => 11,
            Happening::Slot(..) => 12,
            Happening::Spawn(..) => 13,
            Happening::Delete(..) => 14,
            Happening::Drained(_) => 15,
            Happening::Revoke(_) => 16,
            Happening::Die(..) => 17,
            Happening::Register(_) => 18,
            Happening::Fault => 19,
            Happening::Operate => 20,
            Happening::StartConductor => 21,
            Happening::StartSupervisor(_) => 22,
            Happening::MetastoreUp => 23,
            Happening::Terminate(_) => 24,
        };
        (kind, about)
    }
}
