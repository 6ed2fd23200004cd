//! The storm's supervisors: what their loop does around its slots, and what their node answers.
//!
//! A node's disk (`data`, `remembered`) and its processes outlive the supervisor. Signals reach
//! what the process id meant when its pidfd was opened.

use std::collections::{BTreeMap, BTreeSet};

use super::faults::node_id;
use super::world::{Happening, Kind, Life, Occupant, SlotKey, To, World};
use crate::ids::Incarnation;
use crate::records::{Desired, Supervisor, WorkerDetails, WorkerPhase};
use crate::slot::{self, Process, Signal, Slot, State, Wanted};
use crate::store::{Key, Target, Txn, Value};
use crate::worker::{self, Identity, Worker};

impl World {
    pub(super) fn start_supervisor(&mut self, node: usize) {
        if self.nodes[node].supervisor.is_some() {
            return;
        }
        let life = self.create(Kind::Supervisor {
            node,
            slots: BTreeMap::new(),
            pidfds: BTreeMap::new(),
        });
        self.note(|| format!("life {life}: supervisor of node {}", node + 1));
        self.nodes[node].supervisor = Some(life);
        self.after(5, Happening::List(life, To::Nobody));
        self.after(5, Happening::Register(life));
    }

    pub(super) fn register_supervisor(&mut self, life: u64) {
        let Some(Kind::Supervisor { node, .. }) = self.lives.get(&life).map(|it| &it.kind) else {
            return;
        };
        let key = Key::Supervisor(node_id(*node));
        self.grant(life);
        if !self.metastore.leases.contains_key(&life) {
            self.after(1_000, Happening::Register(life));
            return;
        }
        let record = Supervisor {
            cores: 16,
            ..Supervisor::default()
        };
        let txn = Txn::new().put_leased(key, Value::Supervisor(record));
        self.metastore.txn(life, &txn);
    }

    /// Tells every slot what is wanted of it, new ones included; forgets those that are over.
    pub(super) fn steer(&mut self, life: u64) -> Result<(), String> {
        let Some(it) = self.lives.get(&life) else {
            return Ok(());
        };
        let Kind::Supervisor { node, slots, .. } = &it.kind else {
            return Ok(());
        };
        if !it.listed {
            return Ok(());
        }
        let (node, me) = (*node, node_id(*node));
        let assigned = it
            .view
            .entries()
            .filter_map(|(key, value)| match (key, value) {
                (Key::Worker(name, id, w), Value::Worker(record)) if record.node == me => {
                    Some((name.clone(), *id, *w))
                }
                _ => None,
            });
        let keys: BTreeSet<SlotKey> = assigned.chain(slots.keys().cloned()).collect();
        for key in keys {
            let Some(it) = self.lives.get_mut(&life) else {
                return Ok(());
            };
            let wanted = slot::wanted(&it.view, me, &key.0, key.1, key.2);
            let Kind::Supervisor { slots, .. } = &mut it.kind else {
                return Ok(());
            };
            let known = slots
                .entry(key.clone())
                .or_insert_with(|| (Slot::new(), None));
            if known.1.as_ref() != Some(&wanted) {
                known.1 = Some(wanted.clone());
                self.tell_slot(life, &key, slot::Input::Wanted(wanted.clone()))?;
            }
            let clean = !self.nodes[node].data.contains(&key);
            if let Some(Kind::Supervisor { slots, .. }) =
                self.lives.get_mut(&life).map(|it| &mut it.kind)
                && wanted == Wanted::Stop
                && clean
                && slots[&key].0.state() == State::Idle
            {
                slots.remove(&key);
            }
        }
        Ok(())
    }

    pub(super) fn tell_slot(
        &mut self,
        life: u64,
        key: &SlotKey,
        input: slot::Input,
    ) -> Result<(), String> {
        let now = self.moment();
        self.with_slot(life, key, |slot| slot.on_input(now, input))
    }

    pub(super) fn with_slot(
        &mut self,
        life: u64,
        key: &SlotKey,
        tell: impl FnOnce(&mut Slot),
    ) -> Result<(), String> {
        let mut effects = Vec::new();
        if let Some(Life {
            kind: Kind::Supervisor { slots, .. },
            ..
        }) = self.lives.get_mut(&life)
            && let Some((slot, _)) = slots.get_mut(key)
        {
            let before = slot.state();
            tell(slot);
            while let Some(effect) = slot.poll_effect() {
                effects.push(effect);
            }
            let after = slot.state();
            if before == State::Finding && after == State::Running {
                self.rules.count("adopted");
            }
            if after == State::Backoff && before != after {
                self.rules.count("backoff");
            }
        }
        for effect in effects {
            self.do_slot(life, key, effect)?;
        }
        self.arm(life);
        Ok(())
    }

    fn do_slot(&mut self, life: u64, key: &SlotKey, effect: slot::Effect) -> Result<(), String> {
        self.note(|| format!("life {life} worker {}/{}: {effect:?}", key.0, key.2));
        let delay = self.delay();
        let bad = self.weather.faults && self.random.one_in(30);
        let text = || "no luck".to_owned();
        let answer = |input| Happening::Slot(life, key.clone(), input);
        match effect {
            slot::Effect::Find => {
                let found = self.find(life, key);
                self.after(delay, answer(found));
            }
            slot::Effect::Fetch { .. } if bad => {
                self.after(delay, answer(slot::Input::FetchFailed { text: text() }));
            }
            slot::Effect::Fetch { .. } => self.after(delay, answer(slot::Input::Fetched)),
            slot::Effect::Spawn { .. } if bad => {
                self.after(delay, answer(slot::Input::SpawnFailed { text: text() }));
            }
            slot::Effect::Spawn { .. } => self.after(delay, Happening::Spawn(life, key.clone())),
            slot::Effect::Remember { process } => self.remember(life, key, process),
            slot::Effect::Signal { process, signal } => {
                return self.signal(life, process, signal);
            }
            slot::Effect::Delete if bad => {
                self.after(delay, answer(slot::Input::DeleteFailed { text: text() }));
            }
            slot::Effect::Delete => {
                self.after(delay + 50, Happening::Delete(life, key.clone()));
            }
            slot::Effect::Confirm => self.confirm(life, key),
        }
        Ok(())
    }

    fn node_of(&self, life: u64) -> Option<usize> {
        match self.lives.get(&life)?.kind {
            Kind::Supervisor { node, .. } | Kind::Worker { node, .. } => Some(node),
            Kind::Conductor { .. } => None,
        }
    }

    fn find(&mut self, life: u64, key: &SlotKey) -> slot::Input {
        let node = self.node_of(life).expect("a supervisor has a node");
        let remembered = self.nodes[node].remembered.get(key).copied();
        let at_pid = remembered.and_then(|process| {
            let pid = process.pid;
            let (start_time, _) = *self.nodes[node].alive.get(&pid).as_ref()?;
            let start_time = *start_time;
            Some(Process { pid, start_time })
        });
        let tagged = self.processes_of(node, key);
        // Watched from the moment they are looked at, so that no id changes hands in between.
        for process in &tagged {
            self.watch(life, *process, *process);
        }
        if let (Some(process), Some(really)) = (remembered, at_pid) {
            self.watch(life, process, really);
        }
        slot::Input::Found {
            remembered,
            at_pid,
            tagged,
        }
    }

    /// The live processes of a slot on a node.
    pub(super) fn processes_of(&self, node: usize, key: &SlotKey) -> Vec<Process> {
        let lives = self.nodes[node].alive.values();
        let lives = lives.filter_map(|(_, occupant)| match occupant {
            Occupant::Worker(life) => match &self.lives.get(life)?.kind {
                Kind::Worker { process, slot, .. } if slot == key => Some(*process),
                _ => None,
            },
            Occupant::Foreign => None,
        });
        lives.collect()
    }

    fn remember(&mut self, life: u64, key: &SlotKey, process: Process) {
        let node = self.node_of(life).expect("a supervisor has a node");
        self.nodes[node].remembered.insert(key.clone(), process);
        let target = self.watched(life, process);
        let there = self.nodes[node].alive.get(&target.pid);
        if there.is_none_or(|(start_time, _)| *start_time != target.start_time) {
            let text = "gone".to_owned();
            let exited = slot::Input::Exited { process, text };
            self.after(1, Happening::Slot(life, key.clone(), exited));
        }
    }

    /// Opens a pidfd for what is believed to be `process`.
    fn watch(&mut self, life: u64, process: Process, really: Process) {
        if let Some(Kind::Supervisor { pidfds, .. }) =
            self.lives.get_mut(&life).map(|it| &mut it.kind)
        {
            pidfds.insert(process, really);
        }
    }

    fn watched(&self, life: u64, process: Process) -> Process {
        match self.lives.get(&life).map(|it| &it.kind) {
            Some(Kind::Supervisor { pidfds, .. }) => pidfds.get(&process).copied(),
            _ => None,
        }
        .unwrap_or(process)
    }

    fn signal(&mut self, life: u64, process: Process, signal: Signal) -> Result<(), String> {
        let node = self.node_of(life).expect("a supervisor has a node");
        let target = self.watched(life, process);
        match self.nodes[node].alive.get(&target.pid) {
            Some((start, Occupant::Worker(worker))) if *start == target.start_time => {
                let happening = match signal {
                    Signal::Terminate => Happening::Terminate(*worker),
                    Signal::Kill => Happening::Die(*worker, "signal 9"),
                };
                self.after(1, happening);
                Ok(())
            }
            Some((start, Occupant::Foreign)) if *start == target.start_time => Err(format!(
                "a supervisor signalled process {} of node {}, which is not a worker",
                target.pid,
                node + 1
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn spawn(&mut self, life: u64, key: &SlotKey) -> Result<(), String> {
        let node = self.node_of(life).expect("a supervisor has a node");
        for other in 0..self.nodes.len() {
            if let Some(process) = self.processes_of(other, key).first() {
                return Err(format!(
                    "node {} started worker {} of {} while process {} of node {} runs",
                    node + 1,
                    key.2,
                    key.0,
                    process.pid,
                    other + 1
                ));
            }
        }
        let alive = &self.nodes[node].alive;
        let pid = (1..).find(|pid| !alive.contains_key(pid));
        let pid = pid.expect("there are more process ids than processes");
        self.start_time += 1;
        let process = Process {
            pid,
            start_time: self.start_time,
        };
        let identity = Identity {
            module: key.0.clone(),
            instance: key.1,
            index: key.2,
            node: node_id(node),
            incarnation: Incarnation(self.random.next()),
            details: WorkerDetails {
                phase: WorkerPhase::Serving,
                ..WorkerDetails::default()
            },
        };
        let worker = self.create(Kind::Worker {
            node,
            process,
            slot: key.clone(),
            machine: Box::new(Worker::new(identity)),
        });
        self.nodes[node].data.insert(key.clone());
        let occupant = (process.start_time, Occupant::Worker(worker));
        self.nodes[node].alive.insert(pid, occupant);
        self.watch(life, process, process);
        let delay = self.delay();
        let spawned = slot::Input::Spawned { process };
        self.after(delay, Happening::Slot(life, key.clone(), spawned));
        self.after(delay + 300, Happening::List(worker, To::Nobody));
        self.after(delay + 500, Happening::Heartbeat(worker));
        self.tell_worker(worker, worker::Input::Looked)
    }

    pub(super) fn delete(&mut self, life: u64, key: SlotKey) -> Result<(), String> {
        let node = self.node_of(life).expect("a supervisor has a node");
        if !self.processes_of(node, &key).is_empty() {
            return Err(format!("the data of a running worker {key:?} is deleted"));
        }
        self.nodes[node].data.remove(&key);
        self.nodes[node].remembered.remove(&key);
        self.rules.count("deleted");
        self.tell_slot(life, &key, slot::Input::Deleted)
    }

    fn confirm(&mut self, life: u64, key: &SlotKey) {
        let Some(it) = self.lives.get(&life) else {
            return;
        };
        let seen = it.view.worker(&key.0, &key.1, &key.2);
        if let Some(seen) = seen.filter(|seen| seen.record.desired == Desired::Destroy) {
            let key = Key::Worker(key.0.clone(), key.1, key.2);
            let txn = Txn::new()
                .at(key.clone(), seen.revision)
                .delete(Target::Key(key));
            self.send(life, To::Nobody, 0, txn);
        }
    }
}
