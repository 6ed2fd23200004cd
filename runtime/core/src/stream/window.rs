//! The records between the checkpointable progress and the next to be pushed, one slot each.
//!
//! Relies on offsets being dense. Knows states and counts, decides nothing. What must stay true:
//! the first slot is never done (it would have left), and the counts equal what a recount gives.

use std::collections::VecDeque;

use crate::stream::TreeId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// Its tree runs: XOR of what is outstanding.
    Running {
        generation: u32,
        pending: u64,
    },
    /// It failed and waits for its retry.
    Waiting,
    /// It is on its way to the dead letters.
    GivenUp,
    Done,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    base: u64,
    slots: VecDeque<Slot>,
    unfinished: usize,
    running: usize,
}

impl Window {
    pub(super) fn new(base: u64) -> Window {
        Window {
            base,
            ..Window::default()
        }
    }

    /// Every record before this is done.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// The next record to push.
    pub(super) fn next(&self) -> u64 {
        self.base + self.slots.len() as u64
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Slots that are not done.
    pub(super) fn unfinished(&self) -> usize {
        self.unfinished
    }

    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// The slots in order of offset, from the first that is not done.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.slots.iter().copied()
    }

    pub(super) fn get(&self, offset: u64) -> Option<Slot> {
        let index = usize::try_from(offset.checked_sub(self.base)?).ok()?;
        self.slots.get(index).copied()
    }

    /// The offset a tree belongs to, when it is the slot's current attempt.
    pub(super) fn find(&self, tree: TreeId) -> Option<u64> {
        let ahead = (tree.0 as u32).wrapping_sub(self.base as u32);
        let offset = self.base + u64::from(ahead);
        match self.get(offset) {
            Some(Slot::Running { generation, .. }) if generation == tree.generation() => {
                Some(offset)
            }
            _ => None,
        }
    }

    /// The records whose trees run, ascending.
    pub(super) fn running_offsets(&self) -> Vec<u64> {
        let slots = (self.base..).zip(&self.slots);
        slots
            .filter(|(_, slot)| matches!(slot, Slot::Running { .. }))
            .map(|(offset, _)| offset)
            .collect()
    }

    pub(super) fn push(&mut self, slot: Slot) {
        self.count(slot, 1);
        self.slots.push_back(slot);
        self.trim();
    }

    pub(super) fn set(&mut self, offset: u64, slot: Slot) {
        let index = (offset - self.base) as usize;
        let before = std::mem::replace(&mut self.slots[index], slot);
        self.count(before, -1);
        self.count(slot, 1);
        self.trim();
    }

    /// XORs into a running slot; answers what is outstanding.
    pub(super) fn xor(&mut self, offset: u64, xor: u64) -> u64 {
        match &mut self.slots[(offset - self.base) as usize] {
            Slot::Running { pending, .. } => {
                *pending ^= xor;
                *pending
            }
            other => panic!("record {offset} does not run: {other:?}"),
        }
    }

    /// Forgets `offset` and everything after it; answers the slots, in order of offset.
    pub(super) fn rewind(&mut self, offset: u64) -> Vec<Slot> {
        let index = (offset - self.base) as usize;
        let gone: Vec<Slot> = self.slots.drain(index..).collect();
        for slot in &gone {
            self.count(*slot, -1);
        }
        gone
    }

    /// Recounts everything; for tests, it walks the window.
    #[cfg(test)]
    pub(super) fn recount(&self) {
        let unfinished = self
            .slots
            .iter()
            .filter(|slot| **slot != Slot::Done)
            .count();
        let runs = |slot: &&Slot| matches!(slot, Slot::Running { .. });
        assert_eq!(self.unfinished, unfinished);
        assert_eq!(self.running, self.slots.iter().filter(runs).count());
        assert_ne!(self.slots.front(), Some(&Slot::Done));
    }

    fn count(&mut self, slot: Slot, by: isize) {
        if slot != Slot::Done {
            self.unfinished = self.unfinished.wrapping_add_signed(by);
        }
        if matches!(slot, Slot::Running { .. }) {
            self.running = self.running.wrapping_add_signed(by);
        }
    }

    fn trim(&mut self) {
        while self.slots.front() == Some(&Slot::Done) {
            self.slots.pop_front();
            self.base += 1;
        }
    }
}
