//! What a task thread repeats, and gives up, when its link to one in another process changes.
//!
//! Relies on the machines: a coordinator takes a repeated `Ready` for an answer and a lost participant
//! for a failed attempt; a tracker retries a tree that failed without blame. What must stay true: what
//! only one message would have told is told again when a link comes up; what a broken link may have
//! lost is not waited for longer than needed.

use std::sync::Arc;

use rama_core::ids::TaskId;
use rama_core::microbatch::{
    CoordinatorInput, Failure, ParticipantInput, ToCoordinator, ToParticipant,
};
use rama_io::Env;

use super::Thread;
use crate::message::Message;
use crate::microbatch_driver::{self, CoordinatorEvent};
use crate::query_driver::QueryMessage;
use crate::remote::link::Lane;
use crate::stream_driver::{self, StreamMessage};

/// Handles a change of a link to thread `other`.
pub(super) fn on_link<E: Env>(thread: &Thread<E>, other: u32, lane: Lane, up: bool) {
    tracing::info!(
        module = %thread.layout.module,
        thread = thread.index,
        other,
        ?lane,
        up,
        "link to a task thread of another process"
    );
    match lane {
        Lane::Client => {}
        Lane::LowLatency if up => {}
        Lane::LowLatency => {
            fail_streams(thread, other);
            thread
                .queries
                .on_part_lost(&format!("the link to task thread {other} broke"));
        }
        Lane::FlexLatency => on_microbatch_link(thread, other, up),
    }
}

fn fail_streams<E: Env>(thread: &Thread<E>, other: u32) {
    retry_streams(thread, &format!("the link to task thread {other} broke"));
}

/// What a peer had to say of trees that began here may be lost.
pub(super) fn on_stream_news_lost<E: Env>(thread: &Thread<E>) {
    let text = "the link from another task thread was down";
    retry_streams(thread, text);
    thread.queries.on_part_lost(text);
}

/// Trees that may have had a part on another thread are tried again at once, instead of when they
/// time out. Nobody knows which, so all that are in work are. No record is to blame for it.
fn retry_streams<E: Env>(thread: &Thread<E>, text: &str) {
    for stream in thread
        .tasks
        .iter()
        .flat_map(|task| task.streams.iter().flatten())
    {
        stream.on_part_lost(thread, text);
    }
}

/// What could not be sent because the link to thread `other` is down: work that waits for it is told
/// now, not when it times out.
pub(super) fn on_unsent<E: Env>(thread: &Thread<E>, other: u32, message: Message) {
    let text: Arc<str> = format!("the link to task thread {other} is down").into();
    match message {
        Message::Stream {
            topology,
            message: StreamMessage::Hop { batch, .. },
            ..
        } => {
            let mut origins = Vec::new();
            batch.origins(&mut |origin| origins.push(origin));
            stream_driver::fail_trees(thread, topology, &origins, None, &text);
        }
        Message::Hop { topology, hop, .. } => {
            // Whoever carries the attempt out here says that it failed.
            let task = TaskId(thread.tasks[0].id);
            let failure = Failure {
                text: text.to_string(),
                origin: None,
            };
            let message = ToCoordinator::Failed {
                task,
                at: hop.at,
                failure,
                dropped: true,
            };
            thread.send(0, Message::ToCoordinator { topology, message });
        }
        Message::Query {
            query,
            invocation,
            message: QueryMessage::Hop { .. } | QueryMessage::Release { .. },
            ..
        } if thread.layout.thread_of(invocation.home) == thread.index => {
            thread.queries.lose((query, invocation), &text);
        }
        // Both sides repeat what the rest would have said when the link is up, and a home is told then
        // that news of its trees are lost.
        other => tracing::debug!(lane = ?Lane::of(&other), "a message is dropped with its link"),
    }
}

fn on_microbatch_link<E: Env>(thread: &Thread<E>, other: u32, up: bool) {
    let theirs = || (other..thread.layout.tasks).step_by(thread.layout.threads as usize);
    for coordinator in thread.coordinators.iter().flatten() {
        let topology = coordinator.topology;
        for task in theirs() {
            if up {
                // Its `Ready` may have been said into a broken link.
                let message = ToParticipant::Hello;
                thread.send(
                    task,
                    Message::ToParticipant {
                        topology,
                        task,
                        message,
                    },
                );
            } else {
                let task = TaskId(task);
                let input = CoordinatorInput::ParticipantLost { task };
                coordinator.events.push(CoordinatorEvent::Input(input));
            }
        }
    }
    if !up {
        fail_attempts(thread, other);
    } else if thread.layout.thread_of(0) == other {
        announce(thread);
    }
}

/// Hops and reports may be lost with the link. The coordinator hears of it now, or with the next `Ready`
/// when it is the one who cannot be reached.
fn fail_attempts<E: Env>(thread: &Thread<E>, other: u32) {
    let tasks = thread.tasks.iter();
    for participant in tasks.flat_map(|task| task.participants.iter().flatten()) {
        let text = format!("the link to task thread {other} broke");
        let lost = ParticipantInput::Lost { text };
        let event = microbatch_driver::Event::Input(lost);
        participant.events.push(event);
    }
}

/// Tells the coordinators, which are all on the thread of task 0, what they may have missed.
fn announce<E: Env>(thread: &Thread<E>) {
    for task in &thread.tasks {
        for participant in task.participants.iter().flatten() {
            let event = microbatch_driver::Event::Message(ToParticipant::Hello);
            participant.events.push(event);
        }
        for depot in 0..thread.layout.depots.len() {
            thread.mark_grown(task.id, depot as u16);
        }
    }
    crate::depot::announce_growth(thread);
}
