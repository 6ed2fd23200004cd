//! Values that follow changes: what a task tells about a path, and what a follower makes of it.
//!
//! Reading order: `footprint` (the keys a path depends on), `intervals` (which paths a write
//! concerns), `followed` (what a commit means to one path), `followers` (all of a task), `update`
//! (what is told, and its bytes), `slot` (the bounded queue in between), `replica` (the follower's
//! copy), `proxied` (what can be followed, and its diffs), `diff` and `processor` (for programs).
//! The handle is in `client::proxy`.
//!
//! What must stay true: how a topology writes does not depend on who follows (P-46); a follower's
//! value is what a select would have answered after some commit, and after the last commit it comes
//! to be the current one.

mod diff;
mod followed;
pub(crate) mod followers;
pub(crate) mod footprint;
mod intervals;
mod processor;
mod proxied;
pub(crate) mod replica;
pub(crate) mod slot;
pub(crate) mod update;

pub use diff::Diff;
pub use processor::{Handler, Processor};
pub use proxied::{Following, Proxied};

pub(crate) use proxied::{Shape, with_keys};
