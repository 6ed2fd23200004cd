//! The storm's drivers: what a daemon's loop does around the machines, without waiting.
//!
//! Each tells its machine, and then does the effects in order. What they do is what the real loops
//! must do: list before steering, watch by pidfd, check nothing that a machine decides. Here is
//! what all lives share, and the conductor; `supervisors` and `workers` hold the others.

use std::collections::BTreeMap;

use super::world::{Happening, Kind, SlotKey, To, World};
use crate::ids::{Incarnation, OperationId};
use crate::operation::{self, Transition};
use crate::records::{Conductor, Process};
use crate::slot::Slot;
use crate::store::{Key, Txn, Value, Written};
use crate::worker;

impl World {
    pub(super) fn reply(
        &mut self,
        life: u64,
        to: &To,
        token: u64,
        result: Written,
    ) -> Result<(), String> {
        match to {
            To::Nobody => Ok(()),
            To::Office => {
                self.in_office(life, result);
                Ok(())
            }
            To::Operation(id) => {
                self.tell_operation(life, *id, operation::Input::Written { token, result });
                Ok(())
            }
            To::Worker => self.tell_worker(life, worker::Input::Written { token, result }),
        }
    }

    /// A life's view changed.
    pub(super) fn looked(&mut self, life: u64) -> Result<(), String> {
        match self.lives.get(&life).map(|it| &it.kind) {
            Some(Kind::Conductor { transitions, .. }) => {
                let ids: Vec<OperationId> = transitions.keys().copied().collect();
                for id in ids {
                    self.tell_operation(life, id, operation::Input::Looked);
                }
                Ok(())
            }
            Some(Kind::Supervisor { .. }) => self.steer(life),
            Some(Kind::Worker { .. }) => self.tell_worker(life, worker::Input::Looked),
            None => Ok(()),
        }
    }

    /// A life's view was listed anew, the first time or again.
    pub(super) fn relisted(&mut self, life: u64, first: bool, to: &To) -> Result<(), String> {
        if first {
            self.first_listing(life);
        }
        if let To::Operation(id) = to {
            self.tell_operation(life, *id, operation::Input::Relisted);
        }
        self.looked(life)
    }

    fn first_listing(&mut self, life: u64) {
        let Some(mut it) = self.lives.remove(&life) else {
            return;
        };
        match &mut it.kind {
            Kind::Conductor { transitions, term } => {
                let term = term.expect("it lists when it is in office");
                for id in it.view.unfinished() {
                    self.rules.count("resumed");
                    let scheduler = self.weather.scheduler.clone();
                    transitions.insert(id, Transition::resume(id, term, scheduler));
                }
            }
            Kind::Supervisor { node, slots, .. } => {
                // What a former life left on the disk is looked after, assigned or not.
                let disk = &self.nodes[*node];
                for slot in disk.data.iter().chain(disk.remembered.keys()) {
                    slots.insert(slot.clone(), (Slot::new(), None));
                }
            }
            Kind::Worker { .. } => {}
        }
        self.lives.insert(life, it);
    }

    pub(super) fn wake(&mut self, life: u64) -> Result<(), String> {
        let now = self.moment();
        let Some(it) = self.lives.get(&life) else {
            return Ok(());
        };
        match &it.kind {
            Kind::Conductor { transitions, .. } => {
                let due = transitions
                    .iter()
                    .filter(|(_, t)| t.deadline().is_some_and(|at| at <= now));
                let due: Vec<OperationId> = due.map(|(id, _)| *id).collect();
                for id in due {
                    self.tell_operation(life, id, operation::Input::Looked);
                }
            }
            Kind::Supervisor { slots, .. } => {
                let due = slots
                    .iter()
                    .filter(|(_, (slot, _))| slot.deadline().is_some_and(|at| at <= now));
                let due: Vec<SlotKey> = due.map(|(key, _)| key.clone()).collect();
                for key in due {
                    self.with_slot(life, &key, |slot| slot.on_deadline(now))?;
                }
            }
            Kind::Worker { .. } => self.tell_worker(life, worker::Input::Looked)?,
        }
        self.arm(life);
        Ok(())
    }

    pub(super) fn start_conductor(&mut self) {
        let (transitions, term) = (BTreeMap::new(), None);
        let life = self.create(Kind::Conductor { transitions, term });
        self.note(|| format!("life {life}: conductor"));
        self.take_office(life);
    }

    /// A conductor writes its key, and lists what is unfinished after that. In this world it takes
    /// the key from one that may still be there, as if that one's lease had ended early.
    fn take_office(&mut self, life: u64) {
        let incarnation = Incarnation(life);
        let seen = self.metastore.keys.get(&Key::Conductor);
        let seen = seen.map(|stored| stored.revision);
        let txn = Txn::new().as_seen(Key::Conductor, seen).put(
            Key::Conductor,
            Value::Conductor(Conductor {
                incarnation,
                process: Process::default(),
            }),
        );
        self.send(life, To::Office, 0, txn);
    }

    fn in_office(&mut self, life: u64, result: Written) {
        let Some(Kind::Conductor { term, .. }) = self.lives.get_mut(&life).map(|it| &mut it.kind)
        else {
            return;
        };
        // The answer to what was given up before.
        if term.is_some() {
            return;
        }
        match result {
            Written::Done { revision } => {
                *term = Some(revision);
                self.after(5, Happening::List(life, To::Nobody));
            }
            // Who does not know whether it is in office takes office again.
            Written::Unknown | Written::Refused => self.take_office(life),
        }
    }

    /// The conductor that was started last.
    pub(super) fn conductor(&self) -> Option<u64> {
        let conductors = self.lives.iter().rev();
        let mut conductors = conductors.filter(|(_, it)| matches!(it.kind, Kind::Conductor { .. }));
        conductors.next().map(|(life, _)| *life)
    }

    pub(super) fn tell_operation(&mut self, life: u64, id: OperationId, input: operation::Input) {
        let now = self.moment();
        let Some(mut it) = self.lives.remove(&life) else {
            return;
        };
        let mut effects = Vec::new();
        if let Kind::Conductor { transitions, .. } = &mut it.kind
            && let Some(transition) = transitions.get_mut(&id)
        {
            transition.on_input(now, &it.view, input);
            while let Some(effect) = transition.poll_effect() {
                effects.push(effect);
            }
            let over = |effect: &operation::Effect| {
                use operation::Effect::{Ended, Lost, TakenOver};
                matches!(effect, Ended { .. } | Lost | TakenOver)
            };
            if effects.iter().any(over) {
                transitions.remove(&id);
            }
        }
        self.lives.insert(life, it);
        for effect in effects {
            match effect {
                operation::Effect::Write { token, txn } => {
                    self.send(life, To::Operation(id), token, txn);
                }
                operation::Effect::Relist => {
                    let delay = self.delay();
                    self.after(delay, Happening::List(life, To::Operation(id)));
                }
                operation::Effect::Ended { outcome } => {
                    self.note(|| format!("life {life}: operation {id:?} ended: {outcome:?}"));
                    self.rules.count("ended");
                }
                operation::Effect::Lost => self.rules.count("lost"),
                operation::Effect::TakenOver => self.rules.count("taken over"),
                operation::Effect::NotCancelled { .. } => self.rules.count("not cancelled"),
            }
        }
        self.arm(life);
    }
}
