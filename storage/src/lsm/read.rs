//! What can be read like a store.
//!
//! Relies on nothing. Implemented by the store (current state), by a snapshot (state of a moment)
//! and used as the base of an overlay.

use std::ops::ControlFlow;

use rama_wire::SpaceId;

use crate::lsm::error::Error;

/// The direction of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From the smallest key up.
    Ascending,
    /// From the largest key down.
    Descending,
}

/// Called for each entry of a scan with its key and value; breaks to end the scan.
pub type Visit<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// Point and range reads. Everything is synchronous; callbacks get borrowed bytes.
///
/// A callback may read from the same store but must not write to it.
pub trait Read {
    /// Calls `with` exactly once with the value of `key`, or `None`.
    ///
    /// # Errors
    /// `Corrupt` when the bytes on disk fail their checksum; `with` is then not called.
    fn get(
        &self,
        space: SpaceId,
        key: &[u8],
        with: &mut dyn FnMut(Option<&[u8]>),
    ) -> Result<(), Error>;

    /// Visits the entries with `lo <= key < hi` (`None`: to the end of the space) in `order`,
    /// until `visit` breaks.
    ///
    /// # Errors
    /// `Corrupt` when the bytes on disk fail their checksum; entries visited before stay valid.
    fn scan(
        &self,
        space: SpaceId,
        lo: &[u8],
        hi: Option<&[u8]>,
        order: Order,
        visit: Visit<'_>,
    ) -> Result<(), Error>;
}
