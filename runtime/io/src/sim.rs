//! A seeded simulator of everything an engine waits for: time, files, channels, scheduling.
//!
//! Relies on the contract of `env` alone. One thread, virtual time, and one seed that decides every
//! choice: which ready task runs, how long an I/O takes, which message comes first, what a power
//! cut leaves of unflushed writes. The same seed gives the same execution, proven by the same
//! [`Sim::trace_hash`]. What must stay true: nothing below reads a real clock, a random source or
//! an address.

mod channel;
mod config;
mod disk;
mod env;
mod executor;
mod inode;
mod notes;
mod rng;
#[cfg(test)]
mod tests;
mod world;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::env::Tick;

pub use channel::{SimReceiver, SimSender, SimTransport};
pub use config::{Faults, Latency, SimConfig};
pub use env::{SimEnv, SimFile};
pub use notes::{Note, Notes};
pub use world::ProcessId;

use disk::lock;
use executor::{Step, Tasks};
use rng::Rng;
use world::{Place, Process, Shared, TaskKey};

/// One simulated world. Clones are the same world.
///
/// ```
/// use std::path::Path;
/// use rama_io::sim::{Sim, SimConfig};
/// use rama_io::{Env, File, Open};
///
/// let sim = Sim::new(42, SimConfig::default());
/// let machine = sim.process();
/// let env = sim.env(machine, "task thread 0");
/// sim.block_on(async {
///     env.make_dir(Path::new("/data")).await?;
///     let file = env.open(Path::new("/data/log"), Open::Create).await?;
///     let mut block = file.buffer(512);
///     block[..5].copy_from_slice(b"hello");
///     file.write_durable(0, block).await?;
///     env.sync_dir(Path::new("/data")).await?;
///     std::io::Result::Ok(())
/// })?;
///
/// sim.power_cut(machine);
///
/// let env = sim.env(machine, "task thread 0");
/// let found = sim.block_on(async {
///     let file = env.open(Path::new("/data/log"), Open::Existing).await?;
///     file.read(0, 5).await
/// })?;
/// assert_eq!(found, b"hello");
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone)]
pub struct Sim {
    shared: Arc<Shared>,
    tasks: Rc<Tasks>,
    _end: Rc<End>,
}

/// Why a simulation cannot go on. Its text names the seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// The seed of the run.
    pub seed: u64,
    /// Virtual time.
    pub now: Tick,
    /// What is wrong.
    pub reason: StuckReason,
}

/// What is wrong with a stuck simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StuckReason {
    /// No task is ready and no I/O, message or timer is to come.
    Deadlock,
    /// Tasks wake each other for ever without any I/O, message or timer.
    Livelock,
    /// The budget of virtual time is used up.
    OutOfTime,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.reason {
            StuckReason::Deadlock => "every task waits and nothing is to come",
            StuckReason::Livelock => "tasks only wake each other",
            StuckReason::OutOfTime => "the budget of virtual time is used up",
        };
        let Stuck { seed, now, .. } = self;
        write!(
            f,
            "simulation with seed {seed} is stuck at {} ns: {what}",
            now.0
        )
    }
}

impl std::error::Error for Stuck {}

impl Sim {
    /// The world of `seed`.
    pub fn new(seed: u64, config: SimConfig) -> Sim {
        let (shared, tasks) = (Shared::new(seed, config), Rc::<Tasks>::default());
        let end = Rc::new(End {
            shared: shared.clone(),
            tasks: tasks.clone(),
        });
        Sim {
            shared,
            tasks,
            _end: end,
        }
    }

    /// A new machine with an empty disk.
    pub fn process(&self) -> ProcessId {
        let mut world = self.shared.world();
        world.processes.push(Process::default());
        ProcessId(world.processes.len() as u32 - 1)
    }

    /// A new executor of the living incarnation of `process`. The name seeds its random stream.
    pub fn env(&self, process: ProcessId, name: &str) -> SimEnv {
        let mut world = self.shared.world();
        world.executor_count += 1;
        let (executor, seed) = (world.executor_count, world.seed);
        let incarnation = world.process(process).incarnation;
        let stream = format!("env {} {incarnation} {name}", process.0);
        drop(world);
        SimEnv {
            shared: self.shared.clone(),
            tasks: self.tasks.clone(),
            place: Place {
                process: Some(process),
                incarnation,
                executor,
            },
            rng: Rc::new(RefCell::new(Rng::new(seed, &stream))),
        }
    }

    /// Channels of this world, for code outside of any executor.
    pub fn transport(&self) -> SimTransport {
        SimTransport(self.shared.clone())
    }

    /// Runs `future` beside the test, outside of any process: nothing kills it.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.tasks.spawn(&self.shared, Place::DRIVER, future);
    }

    /// Waits in virtual time; for code outside of any process.
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + 'static {
        env::sleep(self.shared.clone(), duration)
    }

    /// Virtual time.
    pub fn now(&self) -> Tick {
        self.shared.world().now
    }

    /// A number that depends on the seed and on all that happened.
    pub fn random_u64(&self) -> u64 {
        self.shared.world().schedule_rng.next()
    }

    /// Changes which faults happen from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.world().config.faults = faults;
    }

    /// Runs the world until `future` is done. Other tasks stay where they are.
    ///
    /// # Panics
    /// When the world is [`Stuck`]; and with every panic of a task, after printing the seed.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        match self.try_block_on(future) {
            Ok(value) => value,
            Err(stuck) => panic!("{stuck}; {} tasks wait", self.tasks.count()),
        }
    }

    /// Like [`Sim::block_on`], and tells why when the world is stuck.
    pub fn try_block_on<T>(&self, future: impl Future<Output = T>) -> Result<T, Stuck> {
        let _teller = SeedTeller(self);
        let mut future = pin!(future);
        let sequence = self.shared.world().next_sequence();
        let key = TaskKey {
            slot: usize::MAX,
            id: sequence,
        };
        let flag = executor::waker_of(key, &self.shared.ready);
        let waker = Waker::from(flag.clone());
        waker.wake_by_ref();
        loop {
            match self.tasks.step(&self.shared, self.limit()) {
                Step::Foreign(found) if found == key => {
                    flag.queued.store(false, Ordering::Relaxed);
                    let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
                    if let Poll::Ready(value) = polled {
                        return Ok(value);
                    }
                }
                Step::Foreign(_) | Step::Worked => {}
                Step::Idle => return Err(self.stuck_idle()),
            }
            let livelock = {
                let world = self.shared.world();
                world.idle_polls > world.config.livelock_polls
            };
            if livelock {
                return Err(self.stuck(StuckReason::Livelock));
            }
        }
    }

    /// Lets the world run for a span of virtual time.
    pub fn run_for(&self, duration: Duration) {
        self.block_on(self.sleep(duration));
    }

    /// Ends a process as `kill -9` does: its futures are dropped; the disk keeps what was written,
    /// and what was not flushed stays at risk. Environments made before are dead;
    /// [`Sim::env`] makes new ones.
    pub fn kill(&self, process: ProcessId) {
        self.end_incarnation(process, "kill", None, |machine, _, rng| {
            machine.disk.kill(rng);
        });
    }

    /// Cuts the power of a machine: its futures are dropped, and of what was not flushed only a
    /// random part survives, torn at 512 bytes (see [`Faults`]).
    pub fn power_cut(&self, process: ProcessId) {
        self.cut(process, None);
    }

    /// The number of a fault that the caller's own draw has planned for now; `None` when
    /// [`SimConfig::only_faults`] leaves it out. The fault is then to happen under this number.
    pub fn planned_fault(&self) -> Option<u32> {
        self.shared.world().planned()
    }

    /// A [power cut](Sim::power_cut) that is the [planned fault](Sim::planned_fault) of this number.
    pub fn planned_power_cut(&self, process: ProcessId, fault: u32) {
        self.cut(process, Some(fault));
    }

    fn cut(&self, process: ProcessId, fault: Option<u32>) {
        let cut = |machine: &mut Process, faults: &Faults, rng: &mut Rng| {
            machine.disk.power_cut(faults, rng);
        };
        self.end_incarnation(process, "power cut", fault, cut);
    }

    /// A number that sums up every decision, I/O and message so far.
    pub fn trace_hash(&self) -> u64 {
        self.shared.world().trace.value()
    }

    /// Remembers something that happened, beside the faults that note themselves. A run that fails
    /// prints the last of them with their times, and all faults.
    pub fn note(&self, text: impl Into<String>) {
        self.shared.world().note(text.into());
    }

    /// Where the same may be said from anywhere.
    pub fn notes(&self) -> Notes {
        Notes(self.shared.clone())
    }

    /// The numbers of the faults that the seed has planned so far and that happened.
    pub fn faults(&self) -> BTreeSet<u32> {
        self.shared.world().notes.faults().collect()
    }

    /// How many I/Os were issued so far.
    pub fn io_count(&self) -> u64 {
        self.shared.world().io_count
    }

    /// The names and lengths of all files of a machine, sorted.
    pub fn files(&self, process: ProcessId) -> Vec<(PathBuf, u64)> {
        let mut world = self.shared.world();
        let files = world.process(process).disk.files();
        files
            .iter()
            .map(|(path, inode)| (path.clone(), lock(inode).len()))
            .collect()
    }

    /// Flips one bit of a file, as rot does. False when there is no such byte.
    pub fn flip_bit(&self, process: ProcessId, path: &Path, position: u64, bit: u8) -> bool {
        let mut world = self.shared.world();
        let Some(inode) = world.process(process).disk.files().get(path) else {
            return false;
        };
        let mut inode = lock(inode);
        let found = position < inode.len();
        if found {
            inode.flip_bit(position, bit);
        }
        found
    }

    fn end_incarnation(
        &self,
        process: ProcessId,
        name: &str,
        fault: Option<u32>,
        damage: impl FnOnce(&mut Process, &Faults, &mut Rng),
    ) {
        {
            let mut world = self.shared.world();
            world.trace.fold_bytes(name.as_bytes());
            let (now, faults) = (world.now, world.config.faults);
            let text = format!("{name} of machine {}", process.0);
            world.notes.fault(now, fault, text);
            // A stream of its own, as of every fault: a cut that is left out shifts no other draws.
            let incarnation = world.process(process).incarnation;
            let stream = format!("end {} {incarnation}", process.0);
            let rng = &mut Rng::new(world.seed, &stream);
            let machine = world.process(process);
            machine.incarnation += 1;
            if faults.clock_jumps {
                machine.wall_offset_ms = rng.below(1_000);
            }
            damage(machine, &faults, rng);
        }
        self.tasks.drop_process(&self.shared, process);
    }

    fn limit(&self) -> Tick {
        Tick(self.shared.world().config.time_budget.as_nanos() as u64)
    }

    fn stuck_idle(&self) -> Stuck {
        let to_come = self.shared.world().next_event(Tick(u64::MAX)).is_some();
        let reason = if to_come {
            StuckReason::OutOfTime
        } else {
            StuckReason::Deadlock
        };
        self.stuck(reason)
    }

    fn stuck(&self, reason: StuckReason) -> Stuck {
        let world = self.shared.world();
        Stuck {
            seed: world.seed,
            now: world.now,
            reason,
        }
    }
}

/// Breaks the cycles between tasks, events and channels when the last `Sim` goes.
struct End {
    shared: Arc<Shared>,
    tasks: Rc<Tasks>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.tasks.clear();
        let events = self.shared.world().take_events();
        drop(events);
        self.shared.ready.list().clear();
    }
}

/// Prints the seed when a task panics, so that the run can be repeated, and what went before.
struct SeedTeller<'a>(&'a Sim);

impl Drop for SeedTeller<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let world = self.0.shared.world();
            if !world.config.tells {
                return;
            }
            eprintln!(
                "simulation: seed {}, virtual time {} ns",
                world.seed, world.now.0
            );
            for note in world.notes.all() {
                eprintln!("{note}");
            }
        }
    }
}
