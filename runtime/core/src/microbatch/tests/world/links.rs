//! Links between tasks that break and come again, with what was on its way.
//!
//! Relies on what the engine does then: both ends of a way to the coordinator's task greet each other
//! again, and the sending end of any way says that something may be lost.

use super::{FromTask, World};
use crate::ids::TaskId;
use crate::microbatch::{CoordinatorInput, ParticipantInput, ToParticipant};

impl World {
    /// A world in which nothing but links breaks, and a phase may take an hour.
    pub(in super::super) fn of_links(seed: u64) -> World {
        let mut world = World::new(seed);
        world.weather.crash_one_in = usize::MAX;
        world.weather.link_one_in = 25;
        world.patient = true;
        world.crash_coordinator();
        world.boot_coordinator();
        world
    }

    /// One way of one link, with all that is on it.
    pub(super) fn break_link(&mut self) -> Result<(), String> {
        let (from, to) = (
            self.random.below(self.tasks.len()),
            self.random.below(self.tasks.len()),
        );
        if from == to || self.tasks[from].participant.is_none() {
            return Ok(());
        }
        let text = format!("the link to task {to} broke");
        self.participate(from, ParticipantInput::Lost { text })?;
        self.hops[from][to].clear();
        // Task 0 has the coordinator.
        if to == 0 {
            let kept = |message: &FromTask| matches!(message, FromTask::Lost(_));
            self.from_tasks[from].retain(kept);
            self.participate(from, ParticipantInput::Message(ToParticipant::Hello))?;
        }
        if from == 0 && self.coordinator.is_some() {
            let task = TaskId(to as u32);
            self.coordinate(CoordinatorInput::ParticipantLost { task })?;
            self.to_tasks[to].clear();
            self.to_tasks[to].push_back(ToParticipant::Hello);
        }
        Ok(())
    }
}
