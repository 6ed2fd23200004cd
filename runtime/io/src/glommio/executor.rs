//! What belongs to one executor: its queues, its tasks, its I/O under way, and how it ends.
//!
//! Relies on `guard` for tasks. glommio forgets waiting tasks when an executor ends; the contract
//! of `Env` wants their futures dropped, so they are kept in a table here. What must stay true: no
//! I/O is under way when the executor ends, so that no buffer is freed under the kernel's hands;
//! a panic in any task ends this executor, and is reported by `Pool::join`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use glommio::timer::Timer;
use glommio::{Latency, Shares, SharesManager, TaskQueueHandle};

use crate::env::{Category, CategoryShares};

use super::durability::DurableWrite;
use super::guard::{Guarded, Pulse, Slot, dropped};
use super::pool::{Counters, PoolShared};

/// How long an ending executor waits for I/O under way.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// Times an ending executor lets its ring be polled.
const LAST_POLLS: u32 = 3;
/// Turns an ending executor gives its tasks to disappear.
const LAST_TURNS: u32 = 1_000;

/// One executor, seen from itself.
pub(super) struct Local {
    queues: [TaskQueueHandle; Category::ALL.len()],
    /// Read by the scheduler now and then.
    shares: Rc<Cell<CategoryShares>>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) shared: Arc<PoolShared>,
    random: Cell<u64>,
    tasks: RefCell<BTreeMap<u64, (Slot, Waker)>>,
    task_count: Cell<u64>,
    closing: Cell<bool>,
    in_flight: Cell<usize>,
    failure: RefCell<Option<String>>,
    ended: Cell<bool>,
    end_waker: RefCell<Option<Waker>>,
    /// Per device: the faster durable write, known once its first file was opened here.
    pub(super) devices: RefCell<BTreeMap<u64, DurableWrite>>,
}

/// The share of one queue, as the scheduler asks for it: four times a second.
struct Part {
    shares: Rc<Cell<CategoryShares>>,
    category: Category,
}

impl SharesManager for Part {
    fn shares(&self) -> usize {
        self.shares.get().of(self.category)
    }
}

/// Held while an I/O is under way.
pub(super) struct InFlight(Rc<Local>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}

impl Local {
    /// The executor of this thread. Only once per executor.
    pub(super) fn new(
        shares: &CategoryShares,
        pulse: Arc<Pulse>,
        shared: Arc<PoolShared>,
        seed: u64,
    ) -> Rc<Local> {
        let shares = Rc::new(Cell::new(*shares));
        let queue = |category: Category| {
            let part = Part {
                shares: shares.clone(),
                category,
            };
            let shares = Shares::Dynamic(Rc::new(part));
            let name = format!("{category:?}");
            glommio::executor().create_task_queue(shares, Latency::NotImportant, &name)
        };
        Rc::new(Local {
            queues: Category::ALL.map(queue),
            shares,
            pulse,
            shared,
            random: Cell::new(seed),
            tasks: RefCell::default(),
            task_count: Cell::new(0),
            closing: Cell::new(false),
            in_flight: Cell::new(0),
            failure: RefCell::new(None),
            ended: Cell::new(false),
            end_waker: RefCell::new(None),
            devices: RefCell::default(),
        })
    }

    pub(super) fn spawn(
        self: &Rc<Local>,
        category: Category,
        future: impl Future<Output = ()> + 'static,
    ) {
        let future: Pin<Box<dyn Future<Output = ()>>> = Box::pin(future);
        if self.closing.get() {
            return drop(future);
        }
        let id = self.task_count.get();
        self.task_count.set(id + 1);
        let slot = Rc::new(RefCell::new(Some(future)));
        let local = self.clone();
        let on_end = move |panic| local.task_ended(id, panic);
        let task = Guarded::new(slot.clone(), self.pulse.clone(), on_end);
        self.tasks.borrow_mut().insert(id, (slot, task.waker()));
        let queue = self.queues[category as usize];
        let spawned = glommio::spawn_local_into(task, queue);
        spawned
            .expect("the queues live as long as the executor")
            .detach();
    }

    pub(super) fn set_shares(&self, shares: CategoryShares) {
        self.shares.set(shares);
    }

    /// What the scheduler reckons with.
    #[cfg(test)]
    pub(super) fn share_of(&self, category: Category) -> usize {
        let stats = glommio::executor().task_queue_stats(self.queues[category as usize]);
        let stats = stats.expect("the queues live as long as the executor");
        stats.current_shares()
    }

    fn task_ended(&self, id: u64, panic: Option<String>) {
        let task = self.tasks.borrow_mut().remove(&id);
        drop(task);
        if let Some(message) = panic {
            tracing::error!(message, "a task of the engine panicked");
            self.failure.borrow_mut().get_or_insert(message);
            self.end();
        }
    }

    /// Lets `ended` return.
    pub(super) fn end(&self) {
        self.ended.set(true);
        if let Some(waker) = self.end_waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Waits for `end`, or for a panic in any task.
    pub(super) async fn ended(&self) {
        poll_fn(|cx| {
            if self.ended.get() {
                return Poll::Ready(());
            }
            *self.end_waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Refuses new work, waits for I/O under way, then drops every task.
    pub(super) async fn close(&self) {
        self.closing.set(true);
        let started = Instant::now();
        while self.in_flight.get() > 0 && started.elapsed() < DRAIN_MAX {
            Timer::new(Duration::from_micros(200)).await;
        }
        let tasks: Vec<(Slot, Waker)> = self.tasks.borrow().values().cloned().collect();
        for (slot, waker) in tasks {
            let future = slot.borrow_mut().take();
            if let Some(message) = future.and_then(dropped) {
                self.failure.borrow_mut().get_or_insert(message);
            }
            waker.wake();
        }
        for _ in 0..LAST_TURNS {
            if self.tasks.borrow().is_empty() {
                break;
            }
            glommio::executor().yield_task_queue_now().await;
        }
        // Dropped files are closed through the ring, which takes requests only when it is polled.
        for _ in 0..LAST_POLLS {
            Timer::new(Duration::from_micros(100)).await;
        }
    }

    pub(super) fn take_failure(&self) -> Option<String> {
        self.failure.borrow_mut().take()
    }

    pub(super) fn begin_io(self: &Rc<Local>) -> io::Result<InFlight> {
        if self.closing.get() {
            let text = "could not do I/O: the executor is ending";
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, text));
        }
        self.in_flight.set(self.in_flight.get() + 1);
        Ok(InFlight(self.clone()))
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// SplitMix64: fast, and nothing that must be unguessable is made of it.
    pub(super) fn random_u64(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}
