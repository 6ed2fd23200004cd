//! Simulated channels: messages take a seeded time and arrive in the order each executor sent them.
//!
//! Relies on `world` for time and for who is sending. Messages of *different* executors may arrive
//! in any order, even when one send happened before the other: only what spec O-9 promises is kept.
//! What must stay true: a message is dropped while nothing is locked.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use crate::env::{Receiver, Sender, Tick, Transport};

use super::world::{Action, Shared, World};

/// Creates the channels of one simulation.
#[derive(Clone)]
pub struct SimTransport(pub(super) Arc<Shared>);

impl Transport for SimTransport {
    type Sender<M: Send + 'static> = SimSender<M>;
    type Receiver<M: Send + 'static> = SimReceiver<M>;

    fn channel<M: Send + 'static>(&self) -> (SimSender<M>, SimReceiver<M>) {
        let mut world = self.0.world();
        world.channel_count += 1;
        let channel = Arc::new(Channel {
            id: world.channel_count,
            state: Mutex::default(),
        });
        drop(world);
        channel.state().sender_count = 1;
        let sender = SimSender {
            shared: self.0.clone(),
            channel: channel.clone(),
        };
        (sender, SimReceiver(channel))
    }
}

/// The sending half of a simulated channel.
pub struct SimSender<M> {
    shared: Arc<Shared>,
    channel: Arc<Channel<M>>,
}

/// The receiving half of a simulated channel.
pub struct SimReceiver<M>(Arc<Channel<M>>);

struct Channel<M> {
    id: u64,
    state: Mutex<State<M>>,
}

struct State<M> {
    /// Per sending executor: messages under way and when the last of them arrives.
    under_way: BTreeMap<u32, (Tick, VecDeque<M>)>,
    under_way_count: usize,
    arrived: VecDeque<M>,
    waker: Option<Waker>,
    sender_count: usize,
    receiver_gone: bool,
}

impl<M> Default for State<M> {
    fn default() -> State<M> {
        State {
            under_way: BTreeMap::new(),
            under_way_count: 0,
            arrived: VecDeque::new(),
            waker: None,
            sender_count: 0,
            receiver_gone: false,
        }
    }
}

impl<M> Channel<M> {
    fn state(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        let waker = self.state().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The oldest message that `executor` has under way arrives.
    fn deliver(&self, executor: u32, world: &mut World) {
        world.trace.fold(self.id << 32 | u64::from(executor));
        world.idle_polls = 0;
        {
            let mut state = self.state();
            let queue = state.under_way.get_mut(&executor);
            let Some(message) = queue.and_then(|(_, queue)| queue.pop_front()) else {
                return;
            };
            state.under_way_count -= 1;
            state.arrived.push_back(message);
        }
        self.wake();
    }
}

impl<M: Send + 'static> Sender<M> for SimSender<M> {
    fn send(&self, message: M) -> Result<(), M> {
        let mut world = self.shared.world();
        let sender = world.current;
        if !world.alive(sender) {
            return Err(message);
        }
        let mut state = self.channel.state();
        if state.receiver_gone {
            return Err(message);
        }
        let latency = world.config.message;
        let slow = world.config.faults.slow_message;
        let slow = world.message_rng.chance(slow)
            && world.strikes(format_args!("late message of executor {}", sender.executor));
        let factor = if slow { 1_000 } else { 1 };
        let delay = world.message_rng.between(latency.min, latency.max) * factor;
        let now = world.now;
        let (last, queue) = state.under_way.entry(sender.executor).or_default();
        *last = now.after(delay).max(*last);
        queue.push_back(message);
        let at = *last;
        state.under_way_count += 1;
        let channel = self.channel.clone();
        let deliver = move |world: &mut World| channel.deliver(sender.executor, world);
        world.at(at, Action::Effect(Box::new(deliver)));
        Ok(())
    }
}

impl<M> Clone for SimSender<M> {
    fn clone(&self) -> SimSender<M> {
        self.channel.state().sender_count += 1;
        SimSender {
            shared: self.shared.clone(),
            channel: self.channel.clone(),
        }
    }
}

impl<M> Drop for SimSender<M> {
    fn drop(&mut self) {
        let remaining = {
            let mut state = self.channel.state();
            state.sender_count -= 1;
            state.sender_count
        };
        if remaining == 0 {
            self.channel.wake();
        }
    }
}

impl<M: Send + 'static> Receiver<M> for SimReceiver<M> {
    async fn recv(&mut self) -> Option<M> {
        poll_fn(|cx| {
            let mut state = self.0.state();
            if let Some(message) = state.arrived.pop_front() {
                return Poll::Ready(Some(message));
            }
            if state.sender_count == 0 && state.under_way_count == 0 {
                return Poll::Ready(None);
            }
            state.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn try_recv(&mut self) -> Option<M> {
        self.0.state().arrived.pop_front()
    }
}

impl<M> Drop for SimReceiver<M> {
    fn drop(&mut self) {
        let unread = {
            let mut state = self.0.state();
            state.receiver_gone = true;
            state.under_way_count = 0;
            (
                std::mem::take(&mut state.under_way),
                std::mem::take(&mut state.arrived),
            )
        };
        drop(unread);
    }
}
