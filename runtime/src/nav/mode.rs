//! What a path can do, known to the compiler (N-5): read, write, or both.
//!
//! Views end in something that is not stored, so nothing can be written there; the places before
//! and after the elements of a list hold nothing, so nothing can be read there.

/// Reads and writes.
pub struct Both;

/// Leads to something that is computed.
pub struct ReadOnly;

/// Leads to a place where nothing is yet.
pub struct WriteOnly;

/// A path that can be selected.
#[diagnostic::on_unimplemented(
    message = "this path leads to a place where nothing is yet, so it cannot be selected",
    label = "write only",
    note = "`before_elem`, `after_elem`, `before_index`, `beginning`, `end` and `new_elem` are places to write to: `.set(value)`"
)]
pub trait Reads: 'static {}

/// A path whose places can be rewritten.
#[diagnostic::on_unimplemented(
    message = "this path leads to something computed, so nothing can be written there",
    label = "read only",
    note = "`view` and `transformed` compute what they lead to; to write, end the path before them and compute in the closure of `update`"
)]
pub trait Writes: 'static {}

impl Reads for Both {}
impl Reads for ReadOnly {}
impl Writes for Both {}
impl Writes for WriteOnly {}

/// What a path in this mode can do when one in mode `L` follows.
#[diagnostic::on_unimplemented(
    message = "a path that only reads and a path that only writes cannot follow one another",
    label = "leads to nothing that could be read or written"
)]
pub trait Compose<L> {
    /// The mode of both together.
    type Mode;
}

impl<L> Compose<L> for Both {
    type Mode = L;
}

impl Compose<Both> for ReadOnly {
    type Mode = ReadOnly;
}

impl Compose<ReadOnly> for ReadOnly {
    type Mode = ReadOnly;
}

impl Compose<Both> for WriteOnly {
    type Mode = WriteOnly;
}

impl Compose<WriteOnly> for WriteOnly {
    type Mode = WriteOnly;
}
