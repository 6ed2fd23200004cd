//! A worker's life by script, and the lease rules of reliability §2.2.

use core::time::Duration;
use std::collections::BTreeSet;

use super::{Effect, Identity, Input, Worker};
use crate::ids::{Epoch, GroupId, Incarnation, InstanceId, ReplicaId, WorkerIndex};
use crate::plan::GroupReplica;
use crate::records::{Desired, GroupIsr, GroupLeader, WorkerAssignment, WorkerDetails, WorkerLive};
use crate::store::{Compare, Key, Txn, Value, Written};
use crate::tests::script::{self, Command};
use crate::tests::{module, node};
use crate::view::{Event, View};
use rama_core::time::Now;

const INSTANCE: InstanceId = InstanceId(uuid::Uuid::from_u128(5));

/// Worker 1 of Shop, which holds replica 1 of groups 0 (not preferred) and 1 (preferred).
struct Stage {
    worker: Worker,
    view: View,
    now: Now,
    revision: u64,
    /// Transactions that wait for their answers.
    sent: Vec<(u64, Txn)>,
}

fn start(incarnation: u64) -> Worker {
    Worker::new(Identity {
        module: module("Shop"),
        instance: INSTANCE,
        index: WorkerIndex(1),
        node: node(1),
        incarnation: Incarnation(incarnation),
        details: WorkerDetails::default(),
    })
}

impl Stage {
    fn put(&mut self, key: Key, value: Option<Value>) {
        self.revision += 1;
        let revision = self.revision;
        self.view.apply(Event {
            revision,
            key,
            value,
        });
    }

    fn tell(&mut self, input: Input) {
        self.worker.on_input(self.now, &self.view, input);
    }

    fn look(&mut self, key: Key, value: Option<Value>) {
        self.put(key, value);
        self.tell(Input::Looked);
    }

    fn answer(&mut self, command: &Command<'_>) {
        let (token, txn) = self.sent.remove(0);
        let result = match command.name {
            "done" => {
                self.revision += 1;
                for put in txn.puts {
                    let revision = self.revision;
                    let event = Event {
                        revision,
                        key: put.key,
                        value: Some(put.value),
                    };
                    if command.text("seen") != Some("no") {
                        self.view.apply(event);
                    }
                }
                Written::Done {
                    revision: self.revision,
                }
            }
            "refused" => Written::Refused,
            _ => Written::Unknown,
        };
        self.tell(Input::Written { token, result });
    }

    fn execute(&mut self, line: &str) -> String {
        let command = Command::parse(line);
        let name = module("Shop");
        let number = |key| u32::try_from(command.need(key)).expect("numbers are small");
        match command.name {
            "start" => {
                self.sent.clear();
                self.worker = start(command.need("life"));
            }
            "assigned" => {
                let held = |group, preferred_leader| GroupReplica {
                    group: GroupId(group),
                    replica: ReplicaId(1),
                    preferred_leader,
                };
                let record = WorkerAssignment {
                    node: node(1),
                    replica_set: ReplicaId(1),
                    groups: vec![held(0, false), held(1, true)],
                    desired: Desired::Run,
                };
                let key = Key::Worker(name.clone(), INSTANCE, WorkerIndex(1));
                self.put(key, Some(Value::Worker(record)));
                for group in 0..2 {
                    let key = Key::Isr(name.clone(), INSTANCE, GroupId(group));
                    let isr = GroupIsr {
                        epoch: Epoch(4),
                        isr: BTreeSet::from([ReplicaId(0), ReplicaId(1)]),
                        osr: BTreeSet::new(),
                    };
                    self.put(key, Some(Value::Isr(isr)));
                }
                self.tell(Input::Looked);
            }
            "isr" => {
                let isr = command.text("isr").unwrap_or("").split(',');
                let isr = isr.map(|r| ReplicaId(r.parse().expect("a replica is a number")));
                let record = GroupIsr {
                    epoch: Epoch(command.need("epoch")),
                    isr: isr.collect(),
                    osr: BTreeSet::new(),
                };
                let key = Key::Isr(name, INSTANCE, GroupId(number("group")));
                self.look(key, Some(Value::Isr(record)));
            }
            "leader" => {
                let key = Key::Leader(name, INSTANCE, GroupId(number("group")));
                let record = command.number("epoch").map(|epoch| {
                    Value::Leader(GroupLeader {
                        replica: ReplicaId(0),
                        worker: WorkerIndex(0),
                        incarnation: Incarnation(99),
                        epoch: Epoch(epoch),
                    })
                });
                self.look(key, record);
            }
            "live" => {
                let record = command.number("life").map(|life| {
                    Value::Live(WorkerLive {
                        incarnation: Incarnation(life),
                        node: node(command.need("node")),
                        details: WorkerDetails::default(),
                    })
                });
                self.look(Key::Live(name, INSTANCE, WorkerIndex(1)), record);
            }
            "leased" => {
                let ago = Duration::from_millis(command.number("ago_ms").unwrap_or(0));
                let sent_at = Now(self.now.0 - u64::try_from(ago.as_nanos()).unwrap());
                let ttl = Duration::from_secs(5);
                self.tell(Input::Leased { sent_at, ttl });
            }
            "lease-lost" => self.tell(Input::LeaseLost),
            "stop" => self.tell(Input::Stop),
            "drained" => self.tell(Input::Drained),
            "wait" => {
                self.now = self.now.after(Duration::from_millis(command.need("ms")));
                self.worker.on_deadline(self.now, &self.view);
            }
            _ => self.answer(&command),
        }
        self.report()
    }

    fn report(&mut self) -> String {
        let mut out = String::new();
        while let Some(effect) = self.worker.poll_effect() {
            out += &match effect {
                Effect::Write { token, txn } => {
                    let text = render(&txn);
                    self.sent.push((token, txn));
                    text
                }
                Effect::Open { held, epoch } => format!("open {} in epoch {epoch}", held.group),
                Effect::Close { group } => format!("close {group}"),
                other => format!("{other:?}").to_lowercase(),
            };
            out.push('\n');
        }
        if out.is_empty() {
            out += "(nothing)\n";
        }
        out
    }
}

fn render(txn: &Txn) -> String {
    let compares = txn.compares.iter().map(|compare| match compare {
        Compare::Absent(key) => format!("{key} absent"),
        Compare::Revision(key, revision) => format!("{key} at {revision}"),
    });
    let puts = txn.puts.iter().map(|put| {
        let leased = if put.leased { " leased" } else { "" };
        format!("{}{leased}", put.key)
    });
    let (compares, puts): (Vec<_>, Vec<_>) = (compares.collect(), puts.collect());
    format!("if {}: write {}", compares.join(", "), puts.join(", "))
}

#[test]
fn a_worker_does_what_the_script_says() {
    let mut stage = Stage {
        worker: start(1),
        view: View::default(),
        now: Now(1_000_000_000_000),
        revision: 0,
        sent: Vec::new(),
    };
    script::run("worker.txt", &mut |line| stage.execute(line));
}
