//! Rows of a batch that wait on a task until all of them are there: in memory, and on disk when they are
//! many.
//!
//! Relies on the engine to look at them between two events, and to move them to a disk it brings along
//! (`spill`). What must stay true: rows come out once, in the order of their keys, wherever they
//! waited; once a row of a slot lies on disk, all of them do before the first comes out; what waits in
//! memory is weighed so seldom that it costs nothing beside the rows themselves.

use std::any::Any;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use rama_storage::lsm;
use rama_wire::{Key, Record};

use crate::failure::{EventFailure, raise};

/// Rows as they lie on disk: key and value, the keys ascending.
pub(crate) type Packed = Box<dyn Iterator<Item = (Vec<u8>, Vec<u8>)>>;

/// Sorted rows on a disk.
pub(crate) trait Disk {
    /// Adds rows, none of whose keys is there.
    fn add(&self, rows: Packed) -> LocalBoxFuture<'_, Result<(), lsm::Error>>;

    /// Visits the rows from the key `lo` on, until `visit` breaks.
    fn scan(&self, lo: &[u8], visit: lsm::Visit<'_>) -> Result<(), lsm::Error>;
}

/// What a kind of gathering has in memory.
pub(crate) trait Memory: Default + 'static {
    /// How many rows came in.
    fn count(&self) -> usize;

    /// About how many bytes they take.
    fn weigh(&self) -> usize;

    /// Takes them out for the disk, under keys that end with `run`, which no other rows have.
    fn pack(&mut self, run: u32) -> Packed;
}

/// The rows of a slot, as the engine sees them.
pub(crate) trait Rows: Any {
    /// Whether those in memory take as many bytes as they may.
    fn is_heavy(&mut self, budget: usize) -> bool;

    /// Whether some lie on disk and others in memory.
    fn is_parted(&self) -> bool;

    /// Takes those in memory out.
    fn pack(&mut self) -> Packed;

    /// Where they lie on disk, once they do.
    fn disk(&self) -> Option<Rc<dyn Disk>>;

    /// From now on they also lie there.
    fn lie_on(&mut self, disk: Rc<dyn Disk>);

    /// Itself, to be made what it is.
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

/// Rows are weighed when there are so many of them, and then whenever there are half as many more.
const WEIGHED_FIRST: usize = 32;
/// So many rows are weighed for all.
const SAMPLE: usize = 64;

/// Rows in memory and on disk.
pub(crate) struct Waiting<M> {
    pub(crate) memory: M,
    disk: Option<Rc<dyn Disk>>,
    /// How often rows went to disk.
    runs: u32,
    weighed_next: usize,
    /// The least key on disk that has not come out.
    next: Vec<u8>,
}

impl<M: Memory> Default for Waiting<M> {
    fn default() -> Waiting<M> {
        Waiting {
            memory: M::default(),
            disk: None,
            runs: 0,
            weighed_next: WEIGHED_FIRST,
            next: Vec::new(),
        }
    }
}

impl<M: Memory> Waiting<M> {
    /// Whether they lie on disk, in whole or in part.
    pub(crate) fn is_on_disk(&self) -> bool {
        self.disk.is_some()
    }

    /// The rows on disk from `lo` on. An event that cannot read them fails.
    pub(crate) fn scan(&self, lo: &[u8], visit: lsm::Visit<'_>) {
        let Some(disk) = &self.disk else { return };
        if let Err(error) = disk.scan(lo, visit) {
            raise(EventFailure::Storage {
                attempted: "read rows of a batch that lie on disk".to_owned(),
                cause: error.to_string(),
            });
        }
    }

    /// Where the rows begin that have not come out.
    pub(crate) fn next(&self) -> &[u8] {
        &self.next
    }

    /// What lies below `next` has come out.
    pub(crate) fn go_on_at(&mut self, next: Vec<u8>) {
        self.next = next;
    }
}

impl<M: Memory> Rows for Waiting<M> {
    fn is_heavy(&mut self, budget: usize) -> bool {
        let count = self.memory.count();
        if count < self.weighed_next {
            return false;
        }
        let heavy = self.memory.weigh() >= budget;
        self.weighed_next = match heavy {
            true => WEIGHED_FIRST,
            false => count + count / 2,
        };
        heavy
    }

    fn is_parted(&self) -> bool {
        self.is_on_disk() && self.memory.count() > 0
    }

    fn pack(&mut self) -> Packed {
        let run = self.runs;
        self.runs += 1;
        self.memory.pack(run)
    }

    fn disk(&self) -> Option<Rc<dyn Disk>> {
        self.disk.clone()
    }

    fn lie_on(&mut self, disk: Rc<dyn Disk>) {
        self.disk = Some(disk);
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// What so many things weigh together, by some of them.
pub(crate) fn weigh<T>(
    count: usize,
    things: impl Iterator<Item = T>,
    weigh: impl Fn(&T) -> usize,
) -> usize {
    let stride = count.div_ceil(SAMPLE).max(1);
    let (mut bytes, mut weighed) = (0, 0);
    for thing in things.step_by(stride) {
        bytes += weigh(&thing);
        weighed += 1;
    }
    bytes * count / weighed.max(1)
}

/// About how many bytes of memory a value takes: those of its archive lie where it does, the rest
/// beside it.
pub(crate) fn weight_of<T: Record>(value: &T) -> usize {
    size_of::<T>() + value.to_bytes().len()
}

/// A value that lay on disk. An event that cannot make it out fails.
pub(crate) fn decoded<T: Record>(bytes: &[u8]) -> T {
    T::decode(bytes).unwrap_or_else(|cause| undecodable(&cause))
}

/// A key that lay on disk. An event that cannot make it out fails.
pub(crate) fn decoded_key<K: Key>(bytes: &[u8]) -> K {
    K::from_key_bytes(bytes).unwrap_or_else(|cause| undecodable(&cause))
}

fn undecodable(cause: &dyn std::fmt::Display) -> ! {
    raise(EventFailure::Undecodable {
        pstate: "the rows of a batch".to_owned(),
        cause: cause.to_string(),
    })
}

/// A row's key on disk: in the order of `key`, then of arrival, which is that of the run and of the place
/// among the rows of the run that have the same key.
pub(crate) fn row_key(key: &[u8], run: u32, place: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(key.len() + 2 * size_of::<u32>());
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(&run.to_be_bytes());
    bytes.extend_from_slice(&place.to_be_bytes());
    bytes
}

/// What [`row_key`] made: key and run.
pub(crate) fn split_row_key(row: &[u8]) -> (&[u8], u32) {
    let (row, _place) = split_end::<4>(row);
    let (key, run) = split_end(row);
    (key, u32::from_be_bytes(run))
}

/// Bytes and the last of them. An event that finds too few fails.
pub(crate) fn split_end<const N: usize>(bytes: &[u8]) -> (&[u8], [u8; N]) {
    match bytes.split_last_chunk() {
        Some((bytes, end)) => (bytes, *end),
        None => undecodable(&format!("{} bytes, at least {N} were written", bytes.len())),
    }
}

/// The least key behind all rows of `key`.
pub(crate) fn behind(key: &[u8]) -> Vec<u8> {
    let mut bytes = row_key(key, u32::MAX, u32::MAX);
    bytes.push(0);
    bytes
}

#[cfg(test)]
pub(crate) mod tests;
