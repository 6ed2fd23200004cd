//! The storm's workers, and the leases of workers and supervisors.

use super::world::{Happening, Kind, Life, Occupant, TTL_MS, To, World};
use crate::slot;
use crate::worker;

impl World {
    pub(super) fn tell_worker(&mut self, life: u64, input: worker::Input) -> Result<(), String> {
        let now = self.moment();
        let mut effects = Vec::new();
        let mut who = None;
        if let Some(it) = self.lives.get_mut(&life)
            && let Kind::Worker { machine, slot, .. } = &mut it.kind
        {
            machine.on_input(now, &it.view, input);
            while let Some(effect) = machine.poll_effect() {
                effects.push(effect);
            }
            who = Some(slot.clone());
        }
        let Some(slot) = who else {
            return Ok(());
        };
        for effect in effects {
            self.note(|| format!("life {life} {}/{}: {effect:?}", slot.0, slot.2));
            let delay = self.delay();
            match effect {
                worker::Effect::Grant => self.after(delay, Happening::Grant(life)),
                worker::Effect::Write { token, txn } => self.send(life, To::Worker, token, txn),
                worker::Effect::Open { held, epoch } => {
                    self.rules.open(slot.1, held.group, epoch, life)?;
                }
                worker::Effect::Close { .. } => {}
                worker::Effect::Drain => {
                    let work = 100 + self.random.below(3_000) as u64;
                    self.after(work, Happening::Drained(life));
                }
                worker::Effect::Revoke => self.after(delay, Happening::Revoke(life)),
                worker::Effect::Exit(end) => {
                    self.rules.count(match end {
                        worker::End::Stopped => "stopped",
                        worker::End::LeaseOver => "lease over",
                        worker::End::Replaced => "replaced",
                    });
                    self.die(life, "exit");
                }
            }
        }
        self.arm(life);
        Ok(())
    }

    pub(super) fn heartbeat(&mut self, life: u64) -> Result<(), String> {
        let Some(Kind::Worker {
            node,
            process,
            slot,
            ..
        }) = self.lives.get(&life).map(|it| &it.kind)
        else {
            return Ok(());
        };
        if let Some(supervisor) = self.nodes[*node].supervisor {
            let beat = slot::Input::Heartbeat { process: *process };
            let beat = Happening::Slot(supervisor, slot.clone(), beat);
            self.after(1, beat);
        }
        self.after(3_000, Happening::Heartbeat(life));
        Ok(())
    }

    /// A worker process ends, however.
    pub(super) fn die(&mut self, life: u64, text: &str) {
        let Some(Life {
            kind:
                Kind::Worker {
                    node,
                    process,
                    slot,
                    ..
                },
            ..
        }) = self.lives.remove(&life)
        else {
            return;
        };
        self.note(|| format!("life {life}: worker ends: {text}"));
        self.rules.count("died");
        self.nodes[node].alive.remove(&process.pid);
        if self.weather.faults && self.random.one_in(2) {
            // Somebody else gets the process id.
            self.start_time += 1;
            let occupant = (self.start_time, Occupant::Foreign);
            self.nodes[node].alive.insert(process.pid, occupant);
        }
        if let Some(supervisor) = self.nodes[node].supervisor {
            let text = text.to_owned();
            let exited = slot::Input::Exited { process, text };
            self.after(1, Happening::Slot(supervisor, slot, exited));
        }
    }

    pub(super) fn grant(&mut self, life: u64) {
        let cut = self
            .lives
            .get(&life)
            .is_none_or(|it| it.cut_until > self.now);
        if self.metastore.down || cut {
            let worker = |it: &Life| matches!(it.kind, Kind::Worker { .. });
            if self.lives.get(&life).is_some_and(worker) {
                self.after(1_000, Happening::Grant(life));
            }
            return;
        }
        self.extend(life);
        self.after(TTL_MS / 3, Happening::KeepAlive(life));
    }

    fn extend(&mut self, life: u64) {
        self.metastore.leases.insert(life, self.now + TTL_MS);
        self.after(TTL_MS + 1, Happening::LeaseTick);
        let (delay, sent_at) = (self.delay(), self.now);
        self.after(delay, Happening::Leased(life, sent_at));
    }

    pub(super) fn keep_alive(&mut self, life: u64) {
        let cut = self
            .lives
            .get(&life)
            .is_none_or(|it| it.cut_until > self.now);
        if self.metastore.down || cut {
            self.after(500, Happening::KeepAlive(life));
        } else if self.metastore.leases.contains_key(&life) {
            self.extend(life);
            self.after(TTL_MS / 3, Happening::KeepAlive(life));
        } else {
            let delay = self.delay();
            self.after(delay, Happening::LeaseGone(life));
        }
    }

    pub(super) fn lease_gone(&mut self, life: u64) -> Result<(), String> {
        match self.lives.get(&life).map(|it| &it.kind) {
            Some(Kind::Supervisor { .. }) => {
                self.register_supervisor(life);
                Ok(())
            }
            _ => self.tell_worker(life, worker::Input::LeaseLost),
        }
    }

    pub(super) fn lease_tick(&mut self) -> Result<(), String> {
        if self.metastore.down {
            return Ok(());
        }
        let over = self.metastore.leases.iter();
        let over = over.filter(|(_, end)| **end <= self.now);
        let over: Vec<u64> = over.map(|(life, _)| *life).collect();
        for life in over {
            self.check_not_serving(life)?;
            self.metastore.revoke(life);
            self.rules.count("leases over");
        }
        Ok(())
    }

    pub(super) fn metastore_up(&mut self) {
        self.metastore.down = false;
        let now = self.now;
        let random = &mut self.random;
        for end in self.metastore.leases.values_mut() {
            if *end <= now {
                *end = now + 1 + random.below(TTL_MS as usize) as u64;
            }
        }
        self.after(TTL_MS + 1, Happening::LeaseTick);
    }
}
