//! Progress of the stream sources of a task thread on its way into the log.
//!
//! Relies on the log being a prefix after a crash: what was handed to it later is durable later.
//! The write that finishes a record stores the progress past it in the same batch; progress that is
//! made elsewhere waits here for the thread's next entry, whatever that is for, or for the
//! tracker's checkpoint. What must stay true: what is stored for a source never goes back, so that
//! a restart never repeats a record that a durable write had passed.

use std::cell::{Cell, RefCell};

use rama_storage::lsm::WriteBatch;
use rama_wire::SpaceId;

/// The sources of one task thread, by their place.
#[derive(Default)]
pub(crate) struct Progress {
    places: RefCell<Vec<Place>>,
    dirty: Cell<bool>,
}

/// Whose progress it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) topology: u16,
    pub(crate) task: u32,
    pub(crate) source: usize,
}

/// Progress that the log has, and is durable when its entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    pub(crate) owner: Owner,
    pub(crate) progress: u64,
}

struct Place {
    owner: Owner,
    key: [u8; 5],
    first: u64,
    /// Every record before is done and its writes are durable.
    reached: u64,
    /// As last handed to the log.
    saved: u64,
}

impl Progress {
    /// Adds a source at boot; answers its place. `stored` is what the log has.
    pub(crate) fn add(&self, owner: Owner, key: [u8; 5], first: u64, stored: u64) -> usize {
        let mut places = self.places.borrow_mut();
        places.push(Place {
            owner,
            key,
            first,
            reached: stored,
            saved: stored,
        });
        places.len() - 1
    }

    /// A source has done every record before `progress`.
    pub(crate) fn reach(&self, place: usize, progress: u64) {
        let place = &mut self.places.borrow_mut()[place];
        place.reached = progress;
        if progress > place.saved {
            self.dirty.set(true);
        }
    }

    /// Adds `progress` to the writes that will have made it true; `false` when it is known.
    pub(crate) fn put_into(&self, place: usize, progress: u64, batch: &mut WriteBatch) -> bool {
        let place = &self.places.borrow()[place];
        let new = progress > place.saved;
        if new {
            place.put_into(progress, batch);
        }
        new
    }

    /// The log has taken what was put into a batch.
    pub(crate) fn on_saved(&self, place: usize, progress: u64) {
        let place = &mut self.places.borrow_mut()[place];
        place.saved = place.saved.max(progress);
    }

    /// Takes what the log does not have: a write for each task, and whom to tell.
    pub(crate) fn take(&self) -> Vec<(Saved, WriteBatch)> {
        if !self.dirty.replace(false) {
            return Vec::new();
        }
        let mut taken = Vec::new();
        for place in self.places.borrow_mut().iter_mut() {
            if place.reached > place.saved {
                place.saved = place.reached;
                let mut batch = WriteBatch::new();
                place.put_into(place.reached, &mut batch);
                let (owner, progress) = (place.owner, place.reached);
                taken.push((Saved { owner, progress }, batch));
            }
        }
        taken
    }
}

impl Place {
    fn put_into(&self, progress: u64, batch: &mut WriteBatch) {
        let first = self.first.min(progress);
        batch.put(SpaceId::SYSTEM, &self.key, &encode(progress, first));
    }
}

/// The stored form: where a source is and where it began.
pub(crate) fn encode(progress: u64, first: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&progress.to_le_bytes());
    bytes[8..].copy_from_slice(&first.to_le_bytes());
    bytes
}

/// Reads what [`encode`] wrote.
pub(crate) fn decode(bytes: &[u8]) -> Result<(u64, u64), &'static str> {
    let (progress, first) = bytes
        .split_first_chunk::<8>()
        .ok_or("progress is too short")?;
    let first: [u8; 8] = first
        .try_into()
        .map_err(|_| "progress has a wrong length")?;
    Ok((u64::from_le_bytes(*progress), u64::from_le_bytes(first)))
}

#[cfg(test)]
mod tests;
