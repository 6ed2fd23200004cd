//! What must hold in the storm: at every change, at every effect, and when it is over.

use std::collections::{BTreeMap, BTreeSet};

use super::world::{Kind, To, World};
use crate::ids::{Epoch, GroupId, Incarnation, InstanceId, NodeId, OperationId};
use crate::records::{ModuleState, Operation};
use crate::store::{Key, Target, Txn, Value};
use crate::view::Event;

/// What was seen so far, and how often.
#[derive(Default)]
pub(super) struct Rules {
    /// Who leads a group in an epoch: by the metastore, and by what a worker does.
    leaders: BTreeMap<(InstanceId, GroupId, Epoch), Incarnation>,
    opened: BTreeMap<(InstanceId, GroupId, Epoch), u64>,
    epochs: BTreeMap<(InstanceId, GroupId), Epoch>,
    operations: BTreeMap<OperationId, Operation>,
    /// Whether nodes are dedicated to modules, and the assigned workers of each.
    pub(super) isolated: bool,
    dedicated: BTreeMap<NodeId, BTreeSet<Key>>,
    pub(super) counts: BTreeMap<&'static str, u64>,
}

fn rule(holds: bool, text: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(text()) }
}

impl Rules {
    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_insert(0) += 1;
    }

    /// A worker begins to lead.
    pub(super) fn open(
        &mut self,
        instance: InstanceId,
        group: GroupId,
        epoch: Epoch,
        life: u64,
    ) -> Result<(), String> {
        self.count("opened");
        let other = self.opened.insert((instance, group, epoch), life);
        rule(other.is_none(), || {
            format!("group {group} is opened twice in epoch {epoch}: by {other:?} and {life}")
        })
    }

    /// The metastore changed.
    pub(super) fn after(&mut self, event: &Event) -> Result<(), String> {
        match (&event.key, &event.value) {
            (Key::Leader(_, instance, group), Some(Value::Leader(leader))) => {
                let at = (*instance, *group, leader.epoch);
                let other = self.leaders.insert(at, leader.incarnation);
                rule(
                    other.is_none_or(|other| other == leader.incarnation),
                    || format!("group {group} has two leaders in epoch {}", leader.epoch),
                )
            }
            (Key::Isr(_, instance, group), Some(Value::Isr(isr))) => {
                let before = self.epochs.insert((*instance, *group), isr.epoch);
                rule(before.is_none_or(|before| before <= isr.epoch), || {
                    format!("the epoch of group {group} falls to {}", isr.epoch)
                })
            }
            (Key::Operation(id), Some(Value::Operation(record))) => self.operation(*id, record),
            (Key::Worker(..), value) if self.isolated => self.placed(&event.key, value.as_ref()),
            _ => Ok(()),
        }
    }

    /// A worker is assigned, or its assignment is gone.
    fn placed(&mut self, key: &Key, value: Option<&Value>) -> Result<(), String> {
        for on in self.dedicated.values_mut() {
            on.remove(key);
        }
        let (Key::Worker(name, ..), Some(Value::Worker(record))) = (key, value) else {
            return Ok(());
        };
        let on = self.dedicated.entry(record.node).or_default();
        let foreign = |other: &&Key| !matches!(other, Key::Worker(own, ..) if own == name);
        let foreign = on.iter().find(foreign).map(Key::to_string);
        on.insert(key.clone());
        rule(foreign.is_none(), || {
            format!("{key} is placed on the node of {foreign:?}")
        })
    }

    fn operation(&mut self, id: OperationId, record: &Operation) -> Result<(), String> {
        let before = self.operations.insert(id, record.clone());
        if let Some(before) = before {
            let ended = before.outcome.is_none() || before.outcome == record.outcome;
            rule(ended, || format!("the outcome of {id} changes: {record:?}"))?;
            return rule(
                before.step <= record.step && before.attempts <= record.attempts,
                || format!("operation {id} goes back from {before:?} to {record:?}"),
            );
        }
        let others = self.operations.iter();
        let mut others = others.filter(|(other, of)| {
            **other != id && of.module == record.module && of.outcome.is_none()
        });
        let other = others.next();
        rule(other.is_none(), || {
            format!("{id} begins on {} beside {other:?}", record.module)
        })
    }
}

impl World {
    /// A node confirms a deletion only after it happened.
    pub(super) fn check_confirmation(&self, txn: &Txn) -> Result<(), String> {
        for target in &txn.deletes {
            let Target::Key(Key::Worker(name, id, w)) = target else {
                continue;
            };
            let slot = (name.clone(), *id, *w);
            let key = Key::Worker(name.clone(), *id, *w);
            let Some(stored) = self.metastore.keys.get(&key) else {
                continue;
            };
            let Value::Worker(record) = &stored.value else {
                continue;
            };
            for (at, node) in self.nodes.iter().enumerate() {
                let here = super::faults::node_id(at) == record.node;
                let left = node.data.contains(&slot) || !self.processes_of(at, &slot).is_empty();
                rule(!here || !left, || {
                    format!("{key} is confirmed, but its data or process is there")
                })?;
            }
        }
        Ok(())
    }

    /// Only the conductor that took an operation up last writes for it.
    pub(super) fn check_driver(&self, life: u64, to: &To) -> Result<(), String> {
        let (To::Operation(id), Some(it)) = (to, self.lives.get(&life)) else {
            return Ok(());
        };
        let stored = self.metastore.keys.get(&Key::Operation(*id));
        let (Kind::Conductor { term, .. }, Some(Value::Operation(record))) =
            (&it.kind, stored.map(|stored| &stored.value))
        else {
            return Ok(());
        };
        rule(*term == Some(record.term), || {
            format!("life {life} of term {term:?} writes for {record:?}")
        })
    }

    /// A lease that ends by itself ends after its holder stopped serving.
    pub(super) fn check_not_serving(&self, life: u64) -> Result<(), String> {
        let Some(it) = self.lives.get(&life) else {
            return Ok(());
        };
        let Kind::Worker { machine, .. } = &it.kind else {
            return Ok(());
        };
        let awake = it.stalled_until + 1 < self.now;
        rule(!awake || machine.open().next().is_none(), || {
            format!("life {life} serves after its lease is over")
        })
    }

    /// Whether everything has come to rest where it should; what is missing otherwise.
    pub(super) fn settled(&self) -> Result<(), String> {
        let mut targets = BTreeMap::new();
        for (key, stored) in &self.metastore.keys {
            match (key, &stored.value) {
                (Key::Operation(id), Value::Operation(record)) => {
                    rule(record.outcome.is_some(), || {
                        format!("{} {id} is stuck at {:?}", record.kind, record.step)
                    })?;
                }
                (Key::Module(name), Value::Module(meta)) => {
                    rule(meta.operation.is_none(), || format!("{name} is busy"))?;
                    if let Some(instance) = meta.append_target {
                        rule(meta.state == ModuleState::Running, || {
                            format!("{name} is {}", meta.state)
                        })?;
                        targets.insert(instance, name.clone());
                    }
                }
                _ => {}
            }
        }
        for key in self.metastore.keys.keys() {
            let (Key::Spec(_, id)
            | Key::Worker(_, id, _)
            | Key::Live(_, id, _)
            | Key::Isr(_, id, _)
            | Key::Leader(_, id, _)) = key
            else {
                continue;
            };
            rule(targets.contains_key(id), || format!("{key} is left over"))?;
        }
        for (at, node) in self.nodes.iter().enumerate() {
            rule(node.supervisor.is_some(), || {
                format!("node {} has no supervisor", at + 1)
            })?;
            let mut foreign = node
                .data
                .iter()
                .filter(|slot| !targets.contains_key(&slot.1));
            let left = foreign.next();
            rule(left.is_none(), || {
                format!("node {} still has data of {left:?}", at + 1)
            })?;
        }
        self.served(&targets)
    }

    /// Every worker of every running module runs, is registered, and every group is led.
    fn served(&self, targets: &BTreeMap<InstanceId, crate::ids::ModuleName>) -> Result<(), String> {
        let mut serving = BTreeSet::new();
        for (life, it) in &self.lives {
            let Kind::Worker { slot, machine, .. } = &it.kind else {
                continue;
            };
            rule(targets.contains_key(&slot.1), || {
                format!("life {life} of {slot:?} runs for nothing")
            })?;
            for (group, epoch) in machine.open() {
                let key = Key::Leader(slot.0.clone(), slot.1, group);
                let leader = self.metastore.keys.get(&key).map(|stored| &stored.value);
                let Some(Value::Leader(leader)) = leader else {
                    return Err(format!("{key} is led by nobody but life {life}"));
                };
                let own = leader.incarnation == machine.identity().incarnation;
                rule(own && leader.epoch == epoch, || {
                    format!("life {life} leads group {group} against {leader:?}")
                })?;
                serving.insert((slot.1, group));
            }
        }
        for (instance, name) in targets {
            let spec = Key::Spec(name.clone(), *instance);
            let Some(Value::Spec(spec)) = self.metastore.keys.get(&spec).map(|s| &s.value) else {
                return Err(format!("{name} has no specification"));
            };
            for group in (0..spec.shape.threads()).map(GroupId) {
                rule(serving.contains(&(*instance, group)), || {
                    format!("group {group} of {name} is not served")
                })?;
            }
            for w in (0..spec.shape.processes()).map(crate::ids::WorkerIndex) {
                let live = Key::Live(name.clone(), *instance, w);
                rule(self.metastore.keys.contains_key(&live), || {
                    format!("{live} is not registered")
                })?;
            }
        }
        Ok(())
    }
}
