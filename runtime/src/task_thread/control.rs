//! Commands to a task thread: pause, resume, other options, drain, stop.
//!
//! Relies on the log for what must outlive a restart: that a stream topology is paused is a key on
//! every task, as the pause of a microbatch topology is part of its ledger. What must stay true: a
//! pause is answered when it is durable and nothing of the topology runs on this thread (M-15); a
//! topology that is paused on one task, by policy or since before a restart, is paused on all.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use futures_channel::oneshot;
use rama_core::microbatch::CoordinatorInput;
use rama_io::{Category, Env};
use rama_storage::lsm::WriteBatch;
use rama_storage::{Entry, Op};
use rama_wire::{Index, SpaceId};

use super::Thread;
use crate::error::{Error, Result};
use crate::message::{Control, Message, Reply};
use crate::microbatch_driver::CoordinatorEvent;
use crate::migrating;
use crate::stream_driver::Streaming;
use crate::system_keys;
use crate::topology_def::TopologyKind;
use crate::tuning::{TopologyTuning, Tuning};

pub(super) fn on_control<E: Env>(thread: &Rc<Thread<E>>, control: Control) {
    match control {
        Control::Pause { topology, reply } => match &thread.coordinators[usize::from(topology)] {
            Some(coordinator) => coordinator.events.push(CoordinatorEvent::Pause(reply)),
            None => pause(thread, topology, reply),
        },
        Control::Resume { topology, reply } => match &thread.coordinators[usize::from(topology)] {
            Some(coordinator) => coordinator.events.push(CoordinatorEvent::Resume(reply)),
            None => resume(thread, topology, reply),
        },
        Control::Tune { tuning, reply } => {
            tune(thread, tuning);
            // Who set it without waiting has dropped the other half.
            let _ = reply.send(Ok(()));
        }
        Control::Measure { reply } => {
            migrating::measure(thread);
            // Who asked may be gone.
            let _ = reply.send(Ok(()));
        }
        Control::Drain { reply } => drain(thread, reply),
        Control::Stop { reply } => stop(thread, reply),
    }
}

/// Other options hold from now on: every loop that has limits of its own is told.
fn tune<E: Env>(thread: &Thread<E>, tuning: Arc<Tuning>) {
    let before = thread.tuning.replace(tuning.clone());
    if before.shares != tuning.shares {
        thread.env.set_shares(tuning.shares);
    }
    migrating::set_paces(thread, &tuning);
    for task in &thread.tasks {
        for stream in task.streams.iter().flatten() {
            stream.tune(thread, &tuning);
        }
    }
    for coordinator in thread.coordinators.iter().flatten() {
        let found = &tuning.topologies[usize::from(coordinator.topology)];
        if let TopologyTuning::Microbatch { limits, portions } = found.clone() {
            let input = CoordinatorInput::Limits { limits, portions };
            coordinator.events.push(CoordinatorEvent::Input(input));
        }
    }
}

/// A stream on this thread paused: when no operator asked for it, its policy did, and all follow.
pub(crate) fn pause_by_policy<E: Env>(thread: &Rc<Thread<E>>, topology: u16) {
    if !thread.is_paused(topology) && !thread.draining.get() {
        pause(thread, topology, oneshot::channel().0);
        for (index, peer) in thread.peers.iter().enumerate() {
            if index as u32 != thread.index {
                let reply = oneshot::channel().0;
                // A thread that is gone is told at the next launch.
                let _ = peer.post(Message::Control(Control::Pause { topology, reply }));
            }
        }
    }
}

/// Reads which streams are paused. Before any of them boots. A crash may have come between two
/// threads: the launcher compares what they found.
pub(super) fn recover_pauses<E: Env>(thread: &Rc<Thread<E>>) -> Result<()> {
    for (topology, found) in thread.layout.topologies.iter().enumerate() {
        if found.kind != TopologyKind::Stream {
            continue;
        }
        let key = system_keys::paused(found.slot);
        for task in &thread.tasks {
            let decode = |_: &[u8]| Ok::<(), &str>(());
            if thread.system_value(task.id, &key, decode)?.is_some() {
                thread.set_paused(topology as u16, true);
            }
        }
    }
    Ok(())
}

fn pause<E: Env>(thread: &Rc<Thread<E>>, topology: u16, reply: Reply<()>) {
    thread.set_paused(topology, true);
    let streams = streams(thread, topology);
    for stream in &streams {
        stream.set_paused(thread, true);
    }
    let stored = store(thread, topology, |key, batch| {
        batch.put(SpaceId::SYSTEM, key, b"");
    });
    answer(thread, stored, streams, reply);
}

fn resume<E: Env>(thread: &Rc<Thread<E>>, topology: u16, reply: Reply<()>) {
    thread.set_paused(topology, false);
    for stream in streams(thread, topology) {
        stream.set_paused(thread, false);
    }
    let stored = store(thread, topology, |key, batch| {
        batch.delete(SpaceId::SYSTEM, key);
    });
    answer(thread, stored, Vec::new(), reply);
}

/// Writes what `change` makes of a topology's key on every task, as one entry.
fn store<E: Env>(
    thread: &Thread<E>,
    topology: u16,
    change: impl Fn(&[u8], &mut WriteBatch),
) -> Result<Index> {
    let slot = thread.layout.topologies[usize::from(topology)].slot;
    let mut entry = Entry::new();
    for task in &thread.tasks {
        let mut batch = WriteBatch::new();
        change(&system_keys::paused(slot), &mut batch);
        let partition = task.id;
        entry.push(Op::Write { partition, batch });
    }
    Ok(thread.try_append(entry)?.index)
}

/// Answers when the entry is durable and the streams have settled.
fn answer<E: Env>(
    thread: &Rc<Thread<E>>,
    stored: Result<Index>,
    streams: Vec<Rc<Streaming<E>>>,
    reply: Reply<()>,
) {
    let told = thread.clone();
    thread.spawn(Category::LowLatency, async move {
        let durable = match stored {
            Ok(index) => told.commit.applied(index).await,
            Err(error) => Err(error),
        };
        for stream in streams.iter().filter(|_| durable.is_ok()) {
            // A stream that is gone drops the sender: nothing of it runs either.
            let _ = stream.settled().await;
        }
        let _ = reply.send(durable);
    });
}

fn streams<E: Env>(thread: &Thread<E>, topology: u16) -> Vec<Rc<Streaming<E>>> {
    let stream = |task: &super::TaskState<E>| task.streams[usize::from(topology)].clone();
    thread.tasks.iter().filter_map(stream).collect()
}

fn drain<E: Env>(thread: &Rc<Thread<E>>, reply: Reply<()>) {
    thread.draining.set(true);
    let all = thread.tasks.iter().flat_map(|task| task.streams.iter());
    let streams: Vec<_> = all.flatten().cloned().collect();
    for stream in &streams {
        stream.set_paused(thread, true);
    }
    thread.spawn(Category::LowLatency, async move {
        for stream in streams {
            let _ = stream.settled().await;
        }
        let _ = reply.send(Ok(()));
    });
}

/// Ends all loops, stores how far the streams are, then closes the log. Work in flight is dropped:
/// what was acknowledged is durable already, the rest is retried or unknown, exactly as after a
/// crash.
fn stop<E: Env>(thread: &Rc<Thread<E>>, reply: Reply<()>) {
    thread.waits.abort();
    thread.pulls.end();
    for handle in thread.loops.borrow_mut().drain(..) {
        handle.abort();
    }
    for task in &thread.tasks {
        for stream in task.streams.iter().flatten() {
            stream.note_progress(thread);
        }
        task.globals.close();
    }
    if thread.commit.poison().is_none() {
        thread.save_progress();
    }
    thread.commit.close();
    let group = thread.group.clone();
    thread.env.spawn(Category::Replication, async move {
        let _ = reply.send(group.close().await.map_err(Error::from));
    });
}

impl<E: Env> Thread<E> {
    /// The stream topologies that are paused.
    pub(super) fn paused_streams(&self) -> BTreeSet<u16> {
        let topologies = 0..self.paused.len() as u16;
        topologies.filter(|found| self.is_paused(*found)).collect()
    }

    /// Whether a stream topology is paused.
    pub(crate) fn is_paused(&self, topology: u16) -> bool {
        self.paused[usize::from(topology)].get()
    }

    fn set_paused(&self, topology: u16, paused: bool) {
        self.paused[usize::from(topology)].set(paused);
        self.metrics.set_paused(topology, paused);
    }
}
