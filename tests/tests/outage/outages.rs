//! What can happen to a cluster, and how it is known that it is over.
//!
//! Relies on the world. A killed daemon is started again at once, as systemd would; nothing else is
//! done for it. What must stay true: each outage ends by itself; the moment its cause is gone is
//! known, and so is a sign that whatever was hit is another one now.

use std::time::{Duration, Instant};

use rama_api::{ClusterStatus, InstanceStatus, WorkerPhase};
use rustix::process::Signal;

use crate::service::kill;
use crate::world::{BEYOND_LEASE, NODES, World};

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub enum Outage {
    /// `kill -9` of a worker.
    Worker(usize),
    /// `kill -9` of a supervisor; its workers go on.
    Supervisor(usize),
    /// `kill -9` of the conductor.
    Conductor,
    /// The conductor gets no time until another one is in office, which then dies.
    ConductorFrozen,
    /// `kill -9` of a member of etcd, for so long.
    Member(usize, Duration),
    /// The same for all members.
    Members(Duration),
    /// The node of a worker is cut off for longer than its lease.
    Partition(usize),
    /// So many packets of a hundred are lost, for so long.
    Loss(u32, Duration),
}

/// The cause is gone.
pub struct Lifted {
    /// Since when.
    pub at: Instant,
    /// Whether what was hit is another one now.
    pub renewed: Box<dyn Fn(&World) -> bool>,
}

impl Lifted {
    fn now(renewed: impl Fn(&World) -> bool + 'static) -> Lifted {
        Lifted {
            at: Instant::now(),
            renewed: Box::new(renewed),
        }
    }
}

impl Outage {
    /// For the table.
    pub fn name(self) -> String {
        match self {
            Outage::Worker(worker) => format!("kill -9 of worker {worker}"),
            Outage::Supervisor(node) => format!("kill -9 of supervisor {node}"),
            Outage::Conductor => "kill -9 of the conductor".to_owned(),
            Outage::ConductorFrozen => "the conductor frozen beyond its lease".to_owned(),
            Outage::Member(node, held) => format!("etcd member {node} dead for {held:?}"),
            Outage::Members(held) => format!("all members of etcd dead for {held:?}"),
            Outage::Partition(_) => format!("a worker's node cut off for {BEYOND_LEASE:?}"),
            Outage::Loss(percent, held) => format!("{percent} % of all packets lost for {held:?}"),
        }
    }

    /// Whether it can happen in this world; otherwise why not.
    pub fn is_possible(self, world: &World) -> Result<(), String> {
        match self {
            Outage::Partition(_) | Outage::Loss(..) if !world.network.can_be_cut() => {
                Err("nodes have no network of their own here".to_owned())
            }
            Outage::Loss(..) => world.network.lose(1).map(|()| world.network.heal()),
            _ => Ok(()),
        }
    }

    /// Lets it happen and ends it.
    pub fn happens(self, world: &mut World, module: &str) -> Lifted {
        match self {
            Outage::Worker(worker) => worker_dies(world, module, worker),
            Outage::Supervisor(node) => {
                world.supervisors[node].kill();
                world.supervisors[node].start_again();
                // The probes ask each supervisor.
                Lifted::now(|_| true)
            }
            Outage::Conductor => {
                let before = in_office(world);
                world.conductor.kill();
                world.conductor.start_again();
                Lifted::now(move |world| is_another(in_office(world), before))
            }
            Outage::ConductorFrozen => conductor_freezes(world),
            Outage::Member(node, held) => {
                world.etcd[node].kill();
                std::thread::sleep(held);
                world.etcd[node].start_again();
                Lifted::now(|_| true)
            }
            Outage::Members(held) => {
                world.etcd.iter_mut().for_each(|member| member.kill());
                std::thread::sleep(held);
                world
                    .etcd
                    .iter_mut()
                    .for_each(|member| member.start_again());
                Lifted::now(|_| true)
            }
            Outage::Partition(worker) => worker_is_cut_off(world, module, worker),
            Outage::Loss(percent, held) => {
                world.network.lose(percent).expect("it was tried before");
                std::thread::sleep(held);
                world.network.heal();
                Lifted::now(|_| true)
            }
        }
    }
}

fn instance(world: &World, module: &str) -> InstanceStatus {
    world.until("the conductor answers", || world.instance(module).is_some());
    world.instance(module).expect("it did just now")
}

/// Whether a worker is another process than it was, and serves.
fn renewed(world: &World, module: &str, before: &rama_api::WorkerStatus) -> bool {
    let now = world.instance(module);
    let now = now.and_then(|it| {
        it.processes
            .into_iter()
            .find(|it| it.worker == before.worker)
    });
    now.is_some_and(|it| it.phase == WorkerPhase::Serving && it.incarnation != before.incarnation)
}

fn worker_dies(world: &World, module: &str, worker: usize) -> Lifted {
    let before = instance(world, module).processes[worker].clone();
    kill(before.pid, Signal::KILL).expect("it was alive");
    let module = module.to_owned();
    Lifted::now(move |world| renewed(world, &module, &before))
}

fn worker_is_cut_off(world: &World, module: &str, worker: usize) -> Lifted {
    let before = instance(world, module).processes[worker].clone();
    let node = world.network.at(&before.host).expect("hosts are nodes");
    world.network.cut(node);
    std::thread::sleep(BEYOND_LEASE);
    world.network.join(node);
    let module = module.to_owned();
    // Whoever cannot renew its lease ends, for others may act by now.
    Lifted::now(move |world| renewed(world, &module, &before))
}

/// Where the conductor in office is and since when, as the metastore says.
fn in_office(world: &World) -> Option<(u16, u64)> {
    let status: ClusterStatus = world.get("/v1/cluster")?;
    let conductor = status.conductor?;
    Some((conductor.rpc_port, conductor.started_ms))
}

fn is_another(now: Option<(u16, u64)>, before: Option<(u16, u64)>) -> bool {
    now.is_some() && now != before
}

fn conductor_freezes(world: &mut World) -> Lifted {
    world.until("the conductor is in office", || in_office(world).is_some());
    let before = in_office(world);
    world.start_standby();
    world.conductor.freeze();
    // Longer than the lease: the other one takes office meanwhile.
    std::thread::sleep(BEYOND_LEASE);
    world.conductor.thaw();
    world.until("the one that was frozen knows of the other", || {
        is_another(in_office(world), before)
    });
    let destroy = [
        "destroy",
        "NoSuchModule",
        "--yes",
        "NoSuchModule",
        "--timeout",
        "5s",
    ];
    world.until("one without office carries nothing out", || {
        let refused = world.rama(&destroy);
        assert!(!refused.status.success(), "{refused:?}");
        String::from_utf8_lossy(&refused.stderr).contains("not in office")
    });
    drop(world.standby.take());
    Lifted::now(move |world| in_office(world) == before)
}

/// Everything, in an order that lets each begin where all is well.
pub fn all(held: Duration) -> Vec<Outage> {
    let short = Duration::from_secs(3);
    let mut outages = vec![Outage::Worker(0), Outage::Worker(1)];
    outages.extend((0..NODES).map(Outage::Supervisor));
    outages.extend([
        Outage::Conductor,
        Outage::ConductorFrozen,
        Outage::Member(0, short),
        Outage::Partition(1),
        Outage::Loss(10, short),
        Outage::Members(held),
    ]);
    outages
}
