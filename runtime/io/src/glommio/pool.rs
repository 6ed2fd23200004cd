//! A pool of executors, one thread each, pinned to a core each when there are enough.
//!
//! Relies on `executor` and `guard`. Everything glommio would panic or hang about is asked before
//! it starts: io_uring, locked memory, the number of cores. What must stay true: the main futures
//! begin only when every executor runs; `join` tells how each ended.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use futures_channel::oneshot;
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement, PoolPlacement};

use crate::env::{Category, CategoryShares};
use crate::probe;

use super::durability::DurableWrite;
use super::env::GlommioEnv;
use super::executor::Local;
use super::guard::{Guarded, Pulse, Watchdog};

/// The shortest interval of preemption: with shorter ones the scheduler finds itself preempted
/// before it ran anything, and parks.
const PREEMPT_MIN: Duration = Duration::from_millis(1);
/// Threads per executor for calls that block.
const BLOCKING_THREADS: usize = 2;
/// How long a starting executor may be silent before it is replaced, at first.
const START_MAX: Duration = Duration::from_secs(1);
const START_ATTEMPTS: u32 = 5;

/// Where executors run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// One core each, when there are enough; otherwise as `Unpinned`.
    Cores,
    /// These cores, one each, when all may be used and are enough; otherwise as `Unpinned`.
    /// Memory that an executor touches first is that of its core's NUMA node.
    These(Vec<usize>),
    /// Wherever the kernel likes.
    Unpinned,
}

/// How to build a [`Pool`].
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// Number of executors.
    pub executors: usize,
    /// Whether each gets a core of its own.
    pub pin: Pin,
    /// How long an idle executor polls before it parks. 20–100 µs where it owns its core, zero
    /// where cores are shared. Ignored for executors that are not pinned.
    pub spin: Duration,
    /// How often a busy executor turns to the next queue and to finished I/O; at least 1 ms.
    pub preempt: Duration,
    /// Memory for I/O buffers, registered with the kernel, per executor.
    pub io_memory: usize,
    /// Requests one ring takes at once.
    pub ring_depth: usize,
    /// Division of time between categories.
    pub shares: CategoryShares,
    /// How to write durably; `None` measures on the device.
    pub durable_write: Option<DurableWrite>,
    /// Threads are called after it.
    pub name: String,
}

impl Default for PoolConfig {
    fn default() -> PoolConfig {
        PoolConfig {
            executors: probe::cores().len().max(1),
            pin: Pin::Cores,
            spin: Duration::ZERO,
            preempt: PREEMPT_MIN,
            io_memory: 1 << 20,
            ring_depth: 256,
            shares: CategoryShares::default(),
            durable_write: None,
            name: "task-thread".to_owned(),
        }
    }
}

/// Why a pool did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The kernel gives no io_uring to this process.
    #[error("could not set up io_uring; {remedy}")]
    IoUring {
        /// What the kernel said.
        source: io::Error,
        /// What to do about it.
        remedy: String,
    },
    /// RLIMIT_MEMLOCK is too low.
    #[error("the limit of locked memory is {found} bytes and {needed} are needed; {remedy}")]
    Memlock {
        /// The limit.
        found: u64,
        /// The least that works.
        needed: u64,
        /// What to do about it.
        remedy: String,
    },
    /// An executor could not be started.
    #[error("could not start executor {executor}")]
    Start {
        /// Which one.
        executor: usize,
        /// Why.
        source: io::Error,
    },
    /// A task of an executor panicked; the executor ended, its futures were dropped.
    #[error("executor {executor} ended: {message}")]
    Panicked {
        /// Which one.
        executor: usize,
        /// The message of the panic.
        message: String,
    },
}

/// Bytes and flushes that went to disks, over all executors of a pool.
#[derive(Debug, Default)]
pub struct Counters {
    written_bytes: AtomicU64,
    writes: AtomicU64,
    flushes: AtomicU64,
}

impl Counters {
    pub(super) fn add_written(&self, bytes: usize) {
        self.written_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
        self.writes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_flush(&self) {
        self.flushes.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes given to the devices, padding included.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed)
    }

    /// Number of writes.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Number of flushes; a durable write is one.
    pub fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Relaxed)
    }
}

pub(super) struct PoolShared {
    pub(super) counters: Arc<Counters>,
    pub(super) durable_write: Option<DurableWrite>,
}

/// Running executors.
pub struct Pool<T: Send + 'static = ()> {
    executors: Vec<ExecutorJoinHandle<Result<T, String>>>,
    counters: Arc<Counters>,
    dog: Arc<Watchdog>,
    pinned: bool,
}

/// One executor that may begin.
struct Started<T: Send + 'static> {
    handle: ExecutorJoinHandle<Result<T, String>>,
    pulse: Arc<Pulse>,
    go: oneshot::Sender<()>,
}

impl<T: Send + 'static> Pool<T> {
    /// Starts the executors; each runs `main(env, index)` and ends when that is done, dropping
    /// every other future it has.
    ///
    /// # Errors
    /// When the machine lacks something, with the remedy; see [`PoolError`].
    pub fn start<Main, Running>(config: PoolConfig, main: Main) -> Result<Pool<T>, PoolError>
    where
        Main: Fn(GlommioEnv, usize) -> Running + Clone + Send + 'static,
        Running: Future<Output = T> + 'static,
    {
        let config = PoolConfig {
            preempt: config.preempt.max(PREEMPT_MIN),
            ..config
        };
        probe::require_io_uring(probe::open_ring)?;
        probe::require_memlock(probe::memlock_limit())?;
        let cores = config.pin.cores(&probe::cores());
        let pinned = config.executors <= cores.len();
        let dog = Arc::<Watchdog>::default();
        let counters = Arc::<Counters>::default();
        let durable_write = config.durable_write;
        let shared = Arc::new(PoolShared {
            counters: counters.clone(),
            durable_write,
        });
        let launch = |index: usize| Launch {
            index,
            placement: if pinned {
                Placement::Fixed(cores[index])
            } else {
                Placement::Unbound
            },
            config: &config,
            dog: &dog,
            shared: &shared,
        };
        let launched: Vec<_> = (0..config.executors)
            .map(|index| launch(index).launch(main.clone()))
            .collect();
        let mut started = Vec::with_capacity(config.executors);
        for (index, launched) in launched.into_iter().enumerate() {
            started.push(launch(index).confirm(launched?, &main)?);
        }
        let pulses: Vec<_> = started
            .iter()
            .map(|started| started.pulse.clone())
            .collect();
        let watch = {
            let dog = dog.clone();
            move || dog.watch(&pulses)
        };
        let watchdog = std::thread::Builder::new().name(format!("{}-watchdog", config.name));
        let failed = |source| PoolError::Start {
            executor: 0,
            source,
        };
        watchdog.spawn(watch).map_err(failed)?;
        let executors = started.into_iter().map(Started::begin).collect();
        Ok(Pool {
            executors,
            counters,
            dog,
            pinned,
        })
    }

    /// Waits until every executor has ended.
    ///
    /// # Errors
    /// [`PoolError::Panicked`] for the first executor that a panic ended.
    pub fn join(self) -> Result<Vec<T>, PoolError> {
        let ends: Vec<_> = self
            .executors
            .into_iter()
            .map(ExecutorJoinHandle::join)
            .collect();
        let ends = ends
            .into_iter()
            .enumerate()
            .map(|(executor, end)| match end {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(message)) => Err(PoolError::Panicked { executor, message }),
                Err(error) => Err(PoolError::Panicked {
                    executor,
                    message: error.to_string(),
                }),
            });
        ends.collect()
    }

    /// What went to the disks so far.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// How often an executor ran none of its runnable tasks for about 5 ms: one long event, a core
    /// taken away, or the park hang that the watchdog ended.
    pub fn stalls(&self) -> u64 {
        self.dog.stalls()
    }

    #[cfg(test)]
    pub(super) fn dog(&self) -> Arc<Watchdog> {
        self.dog.clone()
    }

    /// Whether each executor has a core of its own.
    pub fn pinned(&self) -> bool {
        self.pinned
    }
}

impl Pin {
    /// Cores to use, of those that may be used: none when executors are not pinned.
    fn cores(&self, usable: &[usize]) -> Vec<usize> {
        match self {
            Pin::Cores => usable.to_vec(),
            Pin::These(wanted) if wanted.iter().all(|core| usable.contains(core)) => wanted.clone(),
            Pin::These(_) | Pin::Unpinned => Vec::new(),
        }
    }
}

impl<T: Send + 'static> Started<T> {
    fn begin(self) -> ExecutorJoinHandle<Result<T, String>> {
        // An executor that is gone already tells why when it is joined.
        let _ = self.go.send(());
        self.handle
    }
}

type Launched<T> = (Started<T>, mpsc::Receiver<()>);

/// What starting one executor needs.
struct Launch<'a> {
    index: usize,
    placement: Placement,
    config: &'a PoolConfig,
    dog: &'a Arc<Watchdog>,
    shared: &'a Arc<PoolShared>,
}

impl Launch<'_> {
    fn launch<T, Main, Running>(&self, main: Main) -> Result<Launched<T>, PoolError>
    where
        T: Send + 'static,
        Main: Fn(GlommioEnv, usize) -> Running + Send + 'static,
        Running: Future<Output = T> + 'static,
    {
        let (index, config) = (self.index, self.config);
        let pulse = Pulse::new(self.dog.clone());
        let (ready_sender, ready) = mpsc::channel();
        let (go, go_receiver) = oneshot::channel();
        let begin = Begin {
            shares: config.shares,
            pulse: pulse.clone(),
            shared: self.shared.clone(),
            seed: RandomState::new().hash_one(index),
            ready: ready_sender,
            go: go_receiver,
        };
        let built = LocalExecutorBuilder::new(self.placement.clone())
            .name(&format!("{}-{index}", config.name))
            .spin_before_park(config.spin)
            .preempt_timer(config.preempt)
            .io_memory(config.io_memory)
            .ring_depth(config.ring_depth)
            .blocking_thread_pool_placement(PoolPlacement::Unbound(BLOCKING_THREADS))
            .spawn(move || run(begin, move |env| main(env, index)));
        let handle = built.map_err(|error| self.failed(error))?;
        Ok((Started { handle, pulse, go }, ready))
    }

    /// Waits until the executor runs. One that says nothing hit the park hang before its first
    /// task could leave a waker with the watchdog: it is given up and replaced.
    fn confirm<T, Main, Running>(
        &self,
        launched: Launched<T>,
        main: &Main,
    ) -> Result<Started<T>, PoolError>
    where
        T: Send + 'static,
        Main: Fn(GlommioEnv, usize) -> Running + Clone + Send + 'static,
        Running: Future<Output = T> + 'static,
    {
        let mut launched = launched;
        for attempt in 0..START_ATTEMPTS {
            let (started, ready) = launched;
            match ready.recv_timeout(START_MAX * (1 << attempt)) {
                Ok(()) => return Ok(started),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    tracing::warn!(executor = self.index, "replacing a silent executor");
                    launched = self.launch(main.clone())?;
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(match started.handle.join() {
                        Err(error) => self.failed(error),
                        Ok(_) => self.failed(io::Error::other("it ended before it began")),
                    });
                }
            }
        }
        Err(self.failed(io::Error::new(
            io::ErrorKind::TimedOut,
            "it never ran a task",
        )))
    }

    fn failed(&self, error: impl Into<io::Error>) -> PoolError {
        PoolError::Start {
            executor: self.index,
            source: error.into(),
        }
    }
}

/// What an executor takes along to its thread.
struct Begin {
    shares: CategoryShares,
    pulse: Arc<Pulse>,
    shared: Arc<PoolShared>,
    seed: u64,
    ready: mpsc::Sender<()>,
    go: oneshot::Receiver<()>,
}

/// The first task of an executor: runs `main` as a task of its own and cleans up behind it.
async fn run<T, Running>(
    begin: Begin,
    main: impl FnOnce(GlommioEnv) -> Running + 'static,
) -> Result<T, String>
where
    T: 'static,
    Running: Future<Output = T> + 'static,
{
    let pulse = begin.pulse.clone();
    glommio::spawn_local(pulse.clone().nudged()).detach();
    let outcome = Rc::new(std::cell::RefCell::new(None));
    let inner = outcome.clone();
    let body = async move {
        let Begin {
            shares,
            pulse,
            shared,
            seed,
            ready,
            go,
        } = begin;
        let local = Local::new(&shares, pulse, shared, seed);
        let _ = ready.send(());
        if go.await.is_err() {
            return;
        }
        let value = Rc::new(std::cell::RefCell::new(None));
        let (task, result) = (local.clone(), value.clone());
        local.spawn(Category::Replication, async move {
            let done = main(GlommioEnv(task.clone())).await;
            *result.borrow_mut() = Some(done);
            task.end();
        });
        local.ended().await;
        local.close().await;
        let value = value.borrow_mut().take();
        *inner.borrow_mut() = Some(match local.take_failure() {
            Some(message) => Err(message),
            None => value.ok_or_else(|| "its main future did not finish".to_owned()),
        });
    };
    let panicked = outcome.clone();
    let on_end = move |panic: Option<String>| {
        if let Some(message) = panic {
            *panicked.borrow_mut() = Some(Err(message));
        }
    };
    let slot = Rc::new(std::cell::RefCell::new(Some(Box::pin(body) as _)));
    Guarded::new(slot, pulse.clone(), on_end).await;
    pulse.stop();
    let outcome = outcome.borrow_mut().take();
    outcome.unwrap_or_else(|| Err("it was replaced before it began".to_owned()))
}
