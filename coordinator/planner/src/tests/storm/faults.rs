//! The storm's weather: how large the cluster is, what goes wrong how often, what operators want.

use core::time::Duration;

use rama_core::options::{Objects, Settings};
use uuid::Uuid;

use super::world::{Happening, Kind, World};
use crate::ids::{InstanceId, ModuleName, NodeId, OperationId};
use crate::operation::{
    self, Beginning, LaunchRequest, Refusal, Transition, begin_destroy, begin_launch,
};
use crate::place::{Dedicated, Scheduler};
use crate::records::InstanceSpec;
use crate::shape::Shape;
use crate::tests::{Random, module, node};

pub(super) fn node_id(index: usize) -> NodeId {
    node(index as u64 + 1)
}

pub(super) struct Weather {
    pub(super) faults: bool,
    pub(super) nodes: usize,
    pub(super) modules: usize,
    /// Faults come until then.
    pub(super) until: u64,
    pub(super) slow_one_in: usize,
    pub(super) late_one_in: usize,
    pub(super) lost_one_in: usize,
    pub(super) gap_one_in: usize,
    fault_every: usize,
    operate_every: usize,
    pub(super) scheduler: Scheduler,
}

impl Weather {
    /// Every eighth world has 64 nodes, the others are small: more happens to each part of them.
    pub(super) fn draw(random: &mut Random, seed: u64) -> Weather {
        let large = seed % 8 == 7;
        let nodes = if large { 64 } else { 2 + random.below(5) };
        let modules = if large { 6 } else { 1 + random.below(2) };
        Weather {
            faults: true,
            nodes,
            modules,
            until: 40_000 + random.below(60_000) as u64,
            slow_one_in: 10 + random.below(60),
            late_one_in: 10 + random.below(60),
            lost_one_in: 8 + random.below(40),
            gap_one_in: 10 + random.below(40),
            fault_every: if large {
                300
            } else {
                400 + random.below(3_000)
            },
            operate_every: 1_000 + random.below(10_000),
            scheduler: if seed % 3 == 2 {
                dedicate(random, nodes, modules)
            } else {
                Scheduler::Dev
            },
        }
    }
}

/// Nodes for each module alone, few enough for all of them at once.
fn dedicate(random: &mut Random, nodes: usize, modules: usize) -> Scheduler {
    let each = (nodes / modules).min(4);
    let dedicated = (0..modules).map(|at| {
        let nodes = 1 + random.below(each) as u32;
        let label = None;
        (module(&format!("M{at}")), Dedicated { nodes, label })
    });
    Scheduler::Isolation(dedicated.collect())
}

impl World {
    /// One fault, and the next one later.
    pub(super) fn fault(&mut self) -> Result<(), String> {
        if self.now >= self.weather.until {
            self.calm();
            return Ok(());
        }
        let next = 1 + self.random.below(self.weather.fault_every) as u64;
        self.after(next, Happening::Fault);
        let lives: Vec<u64> = self.lives.keys().copied().collect();
        let chosen = self.random.below(lives.len());
        let life = lives.get(chosen).copied().unwrap_or(0);
        let ms = 100 + self.random.below(12_000) as u64;
        match self.random.below(12) {
            0 => self.crash_conductor(ms),
            1 => self.stall_conductor(ms),
            2 | 3 => {
                let node = self.random.below(self.nodes.len());
                self.crash_supervisor(node, ms);
            }
            4 | 5 => self.kill_worker(),
            6 | 7 => {
                self.rules.count("stalled");
                if let Some(it) = self.lives.get_mut(&life) {
                    // Never shorter than it was: what was put off comes only then.
                    it.stalled_until = it.stalled_until.max(self.now + ms);
                }
            }
            8 => {
                self.rules.count("cut off");
                if let Some(it) = self.lives.get_mut(&life) {
                    it.cut_until = self.now + ms;
                }
            }
            9 => {
                let node = self.random.below(self.nodes.len());
                self.reboot(node, ms);
            }
            10 => {
                self.rules.count("leases early");
                self.note(|| format!("lease of life {life} ends early"));
                self.metastore.revoke(life);
            }
            _ if !self.metastore.down => {
                self.rules.count("outages");
                self.note(|| format!("metastore down for {ms}"));
                self.metastore.down = true;
                self.after(ms, Happening::MetastoreUp);
            }
            _ => {}
        }
        Ok(())
    }

    /// From now on nothing breaks any more; what is broken comes back.
    fn calm(&mut self) {
        self.note(|| "calm".to_owned());
        self.weather.faults = false;
        for it in self.lives.values_mut() {
            it.cut_until = 0;
        }
        if self.conductor().is_none() {
            self.start_conductor();
        }
    }

    fn crash_conductor(&mut self, ms: u64) {
        if let Some(life) = self.conductor() {
            self.note(|| format!("life {life}: conductor crashes"));
            self.rules.count("conductors crashed");
            self.lives.remove(&life);
            self.after(ms / 2, Happening::StartConductor);
        }
    }

    /// A conductor that is thought to be dead and is not; the next one starts beside it.
    fn stall_conductor(&mut self, ms: u64) {
        if let Some(life) = self.conductor() {
            self.note(|| format!("life {life}: conductor stands still for {ms}"));
            self.rules.count("conductors stalled");
            let now = self.now;
            if let Some(it) = self.lives.get_mut(&life) {
                it.stalled_until = it.stalled_until.max(now + ms);
            }
            self.after(ms / 8, Happening::StartConductor);
        }
    }

    fn crash_supervisor(&mut self, node: usize, ms: u64) {
        if let Some(life) = self.nodes[node].supervisor.take() {
            self.note(|| format!("life {life}: supervisor of node {} crashes", node + 1));
            self.rules.count("supervisors crashed");
            self.lives.remove(&life);
            self.after(ms / 4, Happening::StartSupervisor(node));
        }
    }

    fn kill_worker(&mut self) {
        let workers = self.lives.iter();
        let workers = workers.filter(|(_, it)| matches!(it.kind, Kind::Worker { .. }));
        let workers: Vec<u64> = workers.map(|(life, _)| *life).collect();
        if !workers.is_empty() {
            let life = workers[self.random.below(workers.len())];
            self.rules.count("workers killed");
            self.die(life, "signal 9");
        }
    }

    /// All processes of a node end at once; the disk stays.
    fn reboot(&mut self, node: usize, ms: u64) {
        self.note(|| format!("node {} reboots", node + 1));
        self.rules.count("reboots");
        self.crash_supervisor(node, ms * 4);
        let on = self.lives.iter().filter(|(_, it)| match it.kind {
            Kind::Worker { node: at, .. } => at == node,
            _ => false,
        });
        let on: Vec<u64> = on.map(|(life, _)| *life).collect();
        for life in on {
            self.die(life, "reboot");
        }
    }

    /// What operators ask of the conductor, sometimes for all modules at once.
    pub(super) fn operate(&mut self) {
        if self.now < self.weather.until {
            let next = 1 + self.random.below(self.weather.operate_every) as u64;
            self.after(next, Happening::Operate);
        }
        let Some(life) = self.conductor() else {
            return;
        };
        if !self.lives[&life].listed || self.lives[&life].stalled_until > self.now {
            return;
        }
        let one = self.random.below(self.weather.modules);
        let all = self.random.one_in(3);
        let modules = if all {
            0..self.weather.modules
        } else {
            one..one + 1
        };
        // Sometimes what it sends arrives after its end.
        self.all_late = self.weather.faults && self.random.one_in(8);
        for at in modules {
            self.ask(life, module(&format!("M{at}")));
        }
        if self.all_late {
            self.all_late = false;
            self.crash_conductor(50);
        }
    }

    /// Asks for one operation: mostly what makes sense, sometimes what does not.
    fn ask(&mut self, life: u64, name: ModuleName) {
        self.last_id += 1;
        let id = OperationId(Uuid::from_u128(u128::from(self.last_id)));
        let view = &self.lives[&life].view;
        let meta = view.module(&name);
        let running = meta.and_then(|meta| meta.record.operation);
        if let Some(operation) = running.filter(|_| self.random.one_in(3)) {
            let reason = "the operator".to_owned();
            self.rules.count("cancelled");
            self.tell_operation(life, operation, operation::Input::Cancel { reason });
            return;
        }
        let alive = meta.is_some_and(|meta| meta.record.append_target.is_some());
        let destroys = alive != self.random.one_in(6);
        let Kind::Conductor {
            term: Some(term), ..
        } = self.lives[&life].kind
        else {
            return;
        };
        let now_ms = self.now;
        let beginning = Beginning { id, term, now_ms };
        let begun = if destroys {
            begin_destroy(view, &beginning, &name, "storm")
        } else {
            let request = LaunchRequest {
                module: name,
                instance: InstanceId(Uuid::from_u128(u128::from(self.last_id))),
                spec: InstanceSpec {
                    artifact: "0123".to_owned(),
                    shape: draw_shape(&mut self.random, self.weather.nodes),
                    label: None,
                    overrides: std::collections::BTreeMap::new(),
                    metadata: String::new(),
                    created_ms: 0,
                    objects: Objects::default(),
                    offers: rama_core::mirrors::Offers::default(),
                },
                uses: std::collections::BTreeSet::new(),
                mirrors: Vec::new(),
                settings: Settings::new(),
                by: "storm".to_owned(),
            };
            begin_launch(view, &beginning, &request, &self.weather.scheduler)
        };
        match begun {
            Ok(intent) => {
                self.rules
                    .count(if destroys { "destroys" } else { "launches" });
                let transition =
                    Transition::begin(&beginning, intent, self.weather.scheduler.clone());
                if let Some(Kind::Conductor { transitions, .. }) =
                    self.lives.get_mut(&life).map(|it| &mut it.kind)
                {
                    transitions.insert(id, transition);
                }
                self.tell_operation(life, id, operation::Input::Looked);
            }
            Err(Refusal::InProgress { .. }) => self.rules.count("in progress"),
            Err(_) => self.rules.count("refused"),
        }
    }
}

fn draw_shape(random: &mut Random, nodes: usize) -> Shape {
    let large = nodes > 16;
    let tasks = 1u32
        << (if large {
            4 + random.below(3)
        } else {
            random.below(5)
        });
    let threads = 1 + random.below(tasks.min(16) as usize) as u32;
    let workers = 1 + random.below(threads.min(8) as usize) as u32;
    let replication = 1 + random.below(nodes.min(3)) as u32;
    Shape::new(tasks, threads, workers, replication).expect("the numbers are drawn to fit")
}

/// A lease is longer than what its holder believes.
const _: () = assert!(super::world::TTL_MS > Duration::from_secs(1).as_millis() as u64);
