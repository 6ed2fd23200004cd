//! The guard against executors that park although tasks are runnable, and around every task.
//!
//! Relies on nothing of glommio but wakers. Its scheduler answers "idle" when it was preempted
//! before it ran anything, and then parks: for ever, if nothing wakes it. So every task is wrapped
//! in [`Guarded`], which counts tasks that were woken and not polled yet; a watchdog thread wakes
//! each executor with such tasks every [`TICK`] from outside. Without runnable tasks the watchdog
//! sleeps. What must stay true: a wake-up is counted before it is passed on, and a panic never
//! reaches glommio, which would take the executor down without a word.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

/// How long an executor may be parked with runnable tasks, about.
const TICK: Duration = Duration::from_millis(5);
/// Ticks without anything runnable after which the watchdog goes to sleep.
const QUIET_TICKS: u32 = 100;

/// A future that may be dropped while the task around it lives on.
pub(super) type Slot = Rc<RefCell<Option<Pin<Box<dyn Future<Output = ()>>>>>>;

/// What the watchdog sees of one executor.
pub(super) struct Pulse {
    /// Tasks that were woken, or just spawned, and have not been polled since.
    runnable: AtomicUsize,
    polls: AtomicU64,
    /// Wakes a task of the executor that does nothing.
    nudge: OnceLock<Waker>,
    stopped: AtomicBool,
    dog: Arc<Watchdog>,
}

/// State shared by the executors of one pool and their watchdog thread.
#[derive(Default)]
pub(super) struct Watchdog {
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
    /// How often an executor had runnable tasks and had polled none for a whole tick.
    stalls: AtomicU64,
    /// Off, for the test that shows what happens then.
    #[cfg(test)]
    pub(super) off: AtomicBool,
    /// How often an executor with runnable tasks was woken.
    #[cfg(test)]
    pub(super) nudges: AtomicU64,
}

impl Watchdog {
    pub(super) fn stalls(&self) -> u64 {
        self.stalls.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn asleep(&self) -> bool {
        self.asleep.load(Ordering::SeqCst)
    }

    /// Watches until every executor has stopped.
    pub(super) fn watch(&self, pulses: &[Arc<Pulse>]) {
        let _ = self.thread.set(std::thread::current());
        let mut polls_seen = vec![0; pulses.len()];
        let mut quiet_ticks = 0;
        while pulses
            .iter()
            .any(|pulse| !pulse.stopped.load(Ordering::Acquire))
        {
            std::thread::park_timeout(TICK);
            let mut runnable = false;
            for (pulse, seen) in pulses.iter().zip(&mut polls_seen) {
                runnable |= self.check(pulse, seen);
            }
            quiet_ticks = if runnable { 0 } else { quiet_ticks + 1 };
            if quiet_ticks > QUIET_TICKS {
                self.sleep(pulses);
                quiet_ticks = 0;
            }
        }
    }

    fn check(&self, pulse: &Pulse, polls_seen: &mut u64) -> bool {
        if pulse.runnable.load(Ordering::SeqCst) == 0 || pulse.stopped.load(Ordering::Acquire) {
            return false;
        }
        let polls = pulse.polls.load(Ordering::Relaxed);
        if polls == *polls_seen {
            self.stalls.fetch_add(1, Ordering::Relaxed);
        }
        *polls_seen = polls;
        #[cfg(test)]
        if self.off.load(Ordering::SeqCst) {
            return true;
        }
        if let Some(nudge) = pulse.nudge.get() {
            nudge.wake_by_ref();
            #[cfg(test)]
            self.nudges.fetch_add(1, Ordering::SeqCst);
        }
        true
    }

    /// Sleeps until something becomes runnable or an executor stops.
    fn sleep(&self, pulses: &[Arc<Pulse>]) {
        self.asleep.store(true, Ordering::SeqCst);
        let busy = |pulse: &Arc<Pulse>| {
            pulse.runnable.load(Ordering::SeqCst) > 0 || pulse.stopped.load(Ordering::SeqCst)
        };
        while self.asleep.load(Ordering::SeqCst) && !pulses.iter().any(busy) {
            std::thread::park();
        }
        self.asleep.store(false, Ordering::SeqCst);
    }

    fn rouse(&self) {
        if self.asleep.load(Ordering::SeqCst)
            && self.asleep.swap(false, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}

impl Pulse {
    pub(super) fn new(dog: Arc<Watchdog>) -> Arc<Pulse> {
        Arc::new(Pulse {
            runnable: AtomicUsize::new(0),
            polls: AtomicU64::new(0),
            nudge: OnceLock::new(),
            stopped: AtomicBool::new(false),
            dog,
        })
    }

    #[cfg(test)]
    pub(super) fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn has_runnable(&self) -> bool {
        self.runnable.load(Ordering::SeqCst) > 0
    }

    fn add_runnable(&self) {
        if self.runnable.fetch_add(1, Ordering::SeqCst) == 0 {
            self.dog.rouse();
        }
    }

    fn sub_runnable(&self) {
        self.runnable.fetch_sub(1, Ordering::SeqCst);
    }

    /// The task that the watchdog wakes; ends when the executor stops.
    pub(super) fn nudged(self: Arc<Pulse>) -> impl Future<Output = ()> {
        std::future::poll_fn(move |cx| {
            let _ = self.nudge.set(cx.waker().clone());
            if self.stopped.load(Ordering::Relaxed) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.dog.rouse();
        if let Some(nudge) = self.nudge.get() {
            nudge.wake_by_ref();
        }
    }
}

/// Counts the wake-ups of one task.
struct Flag {
    woken: AtomicBool,
    /// glommio's own waker of the task; known since the first poll.
    task: OnceLock<Waker>,
    pulse: Arc<Pulse>,
}

impl Wake for Flag {
    fn wake(self: Arc<Flag>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Flag>) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.pulse.add_runnable();
            if let Some(task) = self.task.get() {
                task.wake_by_ref();
            }
        }
    }
}

/// A task: a future in a slot, whose wake-ups are counted and whose panics are caught.
pub(super) struct Guarded<F: FnOnce(Option<String>)> {
    slot: Slot,
    flag: Arc<Flag>,
    waker: Waker,
    /// Called once at the end, with the message of the panic if there was one.
    on_end: Option<F>,
}

impl<F: FnOnce(Option<String>) + Unpin> Guarded<F> {
    pub(super) fn new(slot: Slot, pulse: Arc<Pulse>, on_end: F) -> Guarded<F> {
        pulse.add_runnable();
        let flag = Arc::new(Flag {
            woken: AtomicBool::new(true),
            task: OnceLock::new(),
            pulse,
        });
        let waker = Waker::from(flag.clone());
        Guarded {
            slot,
            flag,
            waker,
            on_end: Some(on_end),
        }
    }

    /// Wakes the task; it ends at its next poll if its slot is empty by then.
    pub(super) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn end(&mut self, panic: Option<String>) -> Poll<()> {
        if let Some(on_end) = self.on_end.take() {
            on_end(panic);
        }
        Poll::Ready(())
    }
}

impl<F: FnOnce(Option<String>) + Unpin> Future for Guarded<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.flag.task.get_or_init(|| cx.waker().clone());
        let pulse = &self.flag.pulse;
        if self.flag.woken.swap(false, Ordering::AcqRel) {
            pulse.sub_runnable();
        }
        pulse
            .polls
            .store(pulse.polls.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let Some(mut future) = self.slot.borrow_mut().take() else {
            return self.end(None);
        };
        let waker = self.waker.clone();
        let poll = || future.as_mut().poll(&mut Context::from_waker(&waker));
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(Poll::Pending) => {
                *self.slot.borrow_mut() = Some(future);
                Poll::Pending
            }
            Ok(Poll::Ready(())) => {
                let message = dropped(future);
                self.end(message)
            }
            Err(panic) => {
                let message = message_of(&*panic);
                let _ = dropped(future);
                self.end(Some(message))
            }
        }
    }
}

impl<F: FnOnce(Option<String>)> Drop for Guarded<F> {
    fn drop(&mut self) {
        // Left woken for ever: nobody counts this task again.
        if self.flag.woken.swap(true, Ordering::AcqRel) {
            self.flag.pulse.sub_runnable();
        }
    }
}

/// Drops a future; the message if that panics.
pub(super) fn dropped(future: Pin<Box<dyn Future<Output = ()>>>) -> Option<String> {
    catch_unwind(AssertUnwindSafe(|| drop(future)))
        .err()
        .map(|panic| message_of(&*panic))
}

/// The text of a panic.
pub(super) fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".to_owned())
}
