//! What an operation does next, from what is written: one function per step.
//!
//! Relies on a view that shows at least what this conductor wrote last. Every transaction compares
//! the operation's revision, which each taking-up and each step changes. What must stay true: a
//! step looks for what is missing and writes that, so doing it twice does nothing twice.

use core::cmp::Reverse;
use std::collections::BTreeSet;

use super::begin;
use crate::ids::{GroupId, InstanceId, NodeId, OperationId, ReplicaId, WorkerIndex};
use crate::limits::{LAUNCH_FAILURES_MAX, LOG_KEPT, OPERATIONS_KEPT, PRUNED_MAX, TXN_PUTS_MAX};
use crate::mutants::{self, Mutant};
use crate::place::Scheduler;
use crate::plan::{Plan, PlannedWorker};
use crate::records::{
    Desired, GroupIsr, InstanceSpec, ModuleLog, ModuleMeta, ModuleState, Operation, OperationKind,
    OperationLog, Outcome, Placement, Step, WorkerAssignment, WorkerPhase, groups_text,
};
use crate::store::{Key, Put, Target, Txn, Value};
use crate::view::{Seen, View};

/// What a step wants.
pub(super) enum Next {
    Write(Txn),
    /// The view to change, or the deadline to come.
    Wait,
}

/// A plan, and who had placed last when it was made.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    plan: Plan,
    after: Option<u64>,
}

/// One look at one operation.
pub(super) struct Steps<'a> {
    pub(super) id: OperationId,
    pub(super) view: &'a View,
    pub(super) operation: Seen<'a, Operation>,
    pub(super) scheduler: &'a Scheduler,
    pub(super) plan: &'a mut Option<Placed>,
    /// Whether the step's deadline is over.
    pub(super) late: bool,
}

impl Steps<'_> {
    /// Counts one more attempt, which takes the operation from any conductor that had it.
    pub(super) fn take_up(&self, term: u64) -> Txn {
        let mut record = self.operation.record.clone();
        record.attempts += 1;
        record.term = term;
        self.with(record)
    }

    /// The way back, where there is one: until the targets are switched.
    pub(super) fn cancel(&self, reason: &str) -> Option<Txn> {
        match self.operation.record.step {
            Step::Assign | Step::Start | Step::Elect | Step::Open => {
                Some(self.undo(&format!("cancelled: {reason}")))
            }
            Step::Undo | Step::Stop | Step::Done => None,
        }
    }

    pub(super) fn next(&mut self) -> Next {
        let record = self.operation.record;
        let Some(instance) = record.instance else {
            // Nothing of the module is alive: its record is all there is.
            return Next::Write(self.finish(BTreeSet::new()));
        };
        match (record.step, &record.spec) {
            (Step::Assign, Some(spec)) => self.assign(instance, spec),
            (Step::Start, Some(spec)) => self.start(instance, spec),
            (Step::Elect, Some(spec)) => self.elect(instance, spec),
            (Step::Open, Some(_)) => Next::Write(self.open(instance)),
            (Step::Undo | Step::Stop, _) => self.stop(instance),
            // A launch without a spec was never written by us.
            (_, None) => Next::Write(self.undo("its record holds no specification")),
            (Step::Done, Some(_)) => Next::Wait,
        }
    }

    /// Writes workers and ISRs, then publishes them with the specification. Every write of workers
    /// compares who placed last: two launches at once do not take the same nodes.
    fn assign(&mut self, instance: InstanceId, spec: &InstanceSpec) -> Next {
        let record = self.operation.record;
        let last = self.view.placement();
        let after = last.map(|last| last.revision);
        let own = last.is_some_and(|last| last.record.operation == self.id);
        // Somebody else placed since: what was free may not be.
        let stale = |placed: &Placed| placed.after != after && !own;
        if self.plan.as_ref().is_none_or(stale) {
            match begin::plan(self.view, &record.module, spec, self.scheduler) {
                Ok(plan) => *self.plan = Some(Placed { plan, after }),
                Err(error) => return Next::Write(self.undo(&error.to_string())),
            }
        }
        let plan = &self.plan.as_ref().expect("it was just made").plan;
        let name = &record.module;
        let workers = plan.workers.iter().map(|worker| Put {
            key: Key::Worker(name.clone(), instance, worker.index),
            value: Value::Worker(assignment(worker)),
            leased: false,
        });
        let replicas: BTreeSet<ReplicaId> = (0..spec.shape.replication()).map(ReplicaId).collect();
        let isrs = (0..spec.shape.threads()).map(GroupId).map(|group| Put {
            key: Key::Isr(name.clone(), instance, group),
            value: Value::Isr(GroupIsr {
                epoch: crate::ids::Epoch(0),
                isr: replicas.clone(),
                osr: BTreeSet::new(),
            }),
            leased: false,
        });
        let missing = |put: &Put| self.view.value(&put.key) != Some(&put.value);
        let puts: Vec<Put> = workers
            .chain(isrs)
            .filter(missing)
            .take(TXN_PUTS_MAX)
            .collect();
        if !puts.is_empty() {
            let mut txn = self.guarded();
            txn.puts = puts;
            if mutants::active(Mutant::PlacedUnseen) {
                return Next::Write(txn);
            }
            let operation = self.id;
            let by = Value::Placement(Placement { operation });
            return Next::Write(txn.as_seen(Key::Placement, after).put(Key::Placement, by));
        }
        let mut next = record.clone();
        next.step = Step::Start;
        let txn = self.with(next);
        let txn = self.put_meta(txn, |meta| meta.state = ModuleState::LaunchingAssigned);
        let spec_key = Key::Spec(name.clone(), instance);
        Next::Write(txn.put(spec_key, Value::Spec(spec.clone())))
    }

    /// Waits until every worker is registered where it is assigned.
    fn start(&self, instance: InstanceId, spec: &InstanceSpec) -> Next {
        let name = &self.operation.record.module;
        let missing: Vec<WorkerIndex> = (0..spec.shape.processes())
            .map(WorkerIndex)
            .filter(|index| {
                let live = self.view.live(name, &instance, index);
                let assigned = self.view.worker(name, &instance, index);
                !live.is_some_and(|live| {
                    assigned.is_some_and(|assigned| assigned.record.node == live.record.node)
                })
            })
            .collect();
        if missing.is_empty() {
            let mut next = self.operation.record.clone();
            next.step = Step::Elect;
            let txn = self.with(next);
            let state = ModuleState::LaunchingWorkersUp;
            return Next::Write(self.put_meta(txn, |meta| meta.state = state));
        }
        let exits = missing.iter().filter_map(|index| {
            let exit = self.view.exit(name, &instance, index)?.record;
            Some((*index, exit))
        });
        // The one that failed most says most.
        let worst = exits.max_by_key(|(index, exit)| (exit.failures, Reverse(*index)));
        let hopeless = worst.is_some_and(|(_, exit)| exit.failures >= LAUNCH_FAILURES_MAX);
        if !self.late && !hopeless {
            return Next::Wait;
        }
        let worst = worst.map_or_else(String::new, |(index, exit)| {
            let times = exit.failures;
            format!("; worker {index} failed {times} times: {}", exit.cause)
        });
        let nodes: BTreeSet<NodeId> = missing
            .iter()
            .filter_map(|index| self.view.worker(name, &instance, index))
            .map(|assigned| assigned.record.node)
            .collect();
        let nodes: Vec<String> = nodes.iter().map(NodeId::to_string).collect();
        let reason = format!(
            "{} of {} workers did not register, on nodes {}{worst}; see their logs there",
            missing.len(),
            spec.shape.processes(),
            nodes.join(", ")
        );
        Next::Write(self.undo(&reason))
    }

    /// Waits until every task group has a leader that serves: what is RUNNING can be used.
    fn elect(&self, instance: InstanceId, spec: &InstanceSpec) -> Next {
        let name = &self.operation.record.module;
        let led = |group: &GroupId| {
            let leader = self.view.leader(name, &instance, group);
            leader.is_some_and(|leader| {
                let live = self.view.live(name, &instance, &leader.record.worker);
                live.is_some_and(|live| {
                    live.record.incarnation == leader.record.incarnation
                        && live.record.details.phase == WorkerPhase::Serving
                })
            })
        };
        let groups = (0..spec.shape.threads()).map(GroupId);
        let missing: Vec<GroupId> = groups.filter(|group| !led(group)).collect();
        if missing.is_empty() {
            let mut next = self.operation.record.clone();
            next.step = Step::Open;
            let txn = self.with(next);
            let state = ModuleState::LaunchingLeadersElected;
            return Next::Write(self.put_meta(txn, |meta| meta.state = state));
        }
        if !self.late {
            return Next::Wait;
        }
        let reason = format!(
            "{} of {} task groups had no leader that serves in time: {}; see the logs of their workers",
            missing.len(),
            spec.shape.threads(),
            groups_text(&missing)
        );
        Next::Write(self.undo(&reason))
    }

    /// Switches the targets: the point of no return.
    fn open(&self, instance: InstanceId) -> Txn {
        let outcome = Outcome::Succeeded {
            left: BTreeSet::new(),
        };
        self.ended(outcome, |meta| {
            meta.state = ModuleState::Running;
            meta.read_target = Some(instance);
            meta.append_target = Some(instance);
        })
    }

    /// Tells all nodes to stop workers and delete their data; waits until they confirmed by
    /// removing the assignments, or until the deadline.
    fn stop(&self, instance: InstanceId) -> Next {
        let name = &self.operation.record.module;
        let published = self.view.spec(name, &instance).is_some();
        let mut txn = self.guarded();
        let mut waiting = BTreeSet::new();
        for (index, seen) in self.view.workers(name, instance) {
            let key = Key::Worker(name.clone(), instance, index);
            waiting.insert(seen.record.node);
            if txn.puts.len() >= TXN_PUTS_MAX || seen.record.desired == Desired::Destroy {
                continue;
            }
            let mut record = seen.record.clone();
            record.desired = Desired::Destroy;
            // Only while it exists: its node may have confirmed in the meantime.
            txn = txn
                .at(key.clone(), seen.revision)
                .put(key, Value::Worker(record));
        }
        if !txn.puts.is_empty() {
            return Next::Write(txn);
        }
        if published {
            // Nobody starts anything from now on, whatever becomes of the rest.
            return Next::Write(txn.delete(Target::Key(Key::Spec(name.clone(), instance))));
        }
        if waiting.is_empty() || self.late {
            return Next::Write(self.finish(waiting));
        }
        Next::Wait
    }

    /// The end of a destruction or of an undone launch.
    fn finish(&self, left: BTreeSet<NodeId>) -> Txn {
        let record = self.operation.record;
        let mut txn = match record.kind {
            OperationKind::Destroy => self.ended(Outcome::Succeeded { left }, |_| {}),
            OperationKind::Launch => {
                let reason = record.reason.clone().unwrap_or_default();
                self.ended(Outcome::RolledBack { reason, left }, |meta| {
                    meta.state = ModuleState::NotAlive;
                })
            }
        };
        if let Some(instance) = record.instance {
            let name = record.module.clone();
            txn = txn.delete(Target::Groups(name, instance));
        }
        // What was set on the module, and its uses of others, end with it.
        let name = &record.module;
        txn = txn
            .delete(Target::Settings(name.clone()))
            .delete(Target::Pauses(name.clone()));
        let uses = self.view.entries().filter_map(|(key, _)| match key {
            Key::Dependency(user, _) if *user == record.module => Some(key.clone()),
            _ => None,
        });
        uses.fold(txn, |txn, key| txn.delete(Target::Key(key)))
    }

    fn undo(&self, reason: &str) -> Txn {
        let mut record = self.operation.record.clone();
        record.step = Step::Undo;
        record.reason = Some(reason.to_owned());
        let txn = self.with(record);
        self.put_meta(txn, |meta| meta.state = ModuleState::LaunchingUndoing)
    }

    /// Stores the outcome: in the operation, in the module's log, and in the module, which is
    /// forgotten when it was destroyed.
    fn ended(&self, outcome: Outcome, change: impl FnOnce(&mut ModuleMeta)) -> Txn {
        let record = self.operation.record;
        let mut done = record.clone();
        done.step = Step::Done;
        done.outcome = Some(outcome.clone());
        let mut txn = self.with(done);
        let Some(seen) = self.view.module(&record.module) else {
            return txn;
        };
        let number = seen.record.log_last + 1;
        let entry = ModuleLog::Operation(OperationLog {
            operation: self.id,
            kind: record.kind,
            started_ms: record.started_ms,
            by: record.by.clone(),
            outcome,
        });
        txn = txn.put(Key::Log(record.module.clone(), number), Value::Log(entry));
        txn = self.prune(txn, number);
        if record.kind == OperationKind::Destroy {
            let key = Key::Module(record.module.clone());
            return txn.at(key.clone(), seen.revision).delete(Target::Key(key));
        }
        self.put_meta(txn, |meta| {
            change(meta);
            meta.operation = None;
            meta.last_operation = Some(self.id);
            meta.log_last = number;
        })
    }

    /// Removes what is old enough of the module's log and of ended operations, so that neither
    /// grows for ever.
    fn prune(&self, txn: Txn, newest: u64) -> Txn {
        let module = &self.operation.record.module;
        let log = self.view.log_until(module, newest.saturating_sub(LOG_KEPT));
        let operations = self.view.finished();
        let many = operations.len().saturating_sub(OPERATIONS_KEPT);
        let operations = operations.into_iter().take(many).map(Key::Operation);
        let old = log.into_iter().take(PRUNED_MAX);
        old.chain(operations.take(PRUNED_MAX))
            .fold(txn, |txn, key| txn.delete(Target::Key(key)))
    }

    /// A transaction that only this conductor can do.
    fn guarded(&self) -> Txn {
        Txn::new().at(Key::Operation(self.id), self.operation.revision)
    }

    fn with(&self, record: Operation) -> Txn {
        let value = Value::Operation(Box::new(record));
        self.guarded().put(Key::Operation(self.id), value)
    }

    fn put_meta(&self, txn: Txn, change: impl FnOnce(&mut ModuleMeta)) -> Txn {
        let name = &self.operation.record.module;
        let Some(seen) = self.view.module(name) else {
            return txn;
        };
        let mut meta = seen.record.clone();
        change(&mut meta);
        let key = Key::Module(name.clone());
        txn.at(key.clone(), seen.revision)
            .put(key, Value::Module(meta))
    }
}

fn assignment(worker: &PlannedWorker) -> WorkerAssignment {
    WorkerAssignment {
        node: worker.node,
        replica_set: worker.replica_set,
        groups: worker.groups.clone(),
        desired: Desired::Run,
    }
}
