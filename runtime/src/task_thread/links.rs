//! What a task thread repeats, and gives up, when its link to one in another process changes.
//!
//! Relies on the machines: a coordinator takes a repeated `Ready` for an answer and a lost participant
//! for a failed attempt; a tracker retries a tree that failed without blame. What must stay true: what
//! only one message would have told is told again when a link comes up; what a broken link may have
//! lost is not waited for longer than needed.

use rama_core::ids::TaskId;
use rama_core::microbatch::{CoordinatorInput, ToParticipant};
use rama_io::Env;

use super::Thread;
use crate::message::Message;
use crate::microbatch_driver::{self, CoordinatorEvent};
use crate::remote::link::Lane;

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
        Lane::LowLatency => fail_streams(thread, other),
        Lane::FlexLatency => on_microbatch_link(thread, other, up),
    }
}

/// Trees that may have had a part on the other thread are tried again at once, instead of when they
/// time out. Nobody knows which, so all that are in work are.
fn fail_streams<E: Env>(thread: &Thread<E>, other: u32) {
    let text = format!("the link to task thread {other} broke");
    for stream in thread
        .tasks
        .iter()
        .flat_map(|task| task.streams.iter().flatten())
    {
        stream.on_part_lost(thread, &text);
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
    if up && thread.layout.thread_of(0) == other {
        announce(thread);
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
