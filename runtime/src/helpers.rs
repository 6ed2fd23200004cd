//! What many modules need, built of nothing but PStates: ids, bounded and ordered collections, work
//! that waits for its time, windows of time.
//!
//! Each is declared on the topology that owns it, over PState constants of the module, so that its
//! clients read it as any other PState. All of it is `Copy` and works on the current task. What
//! must stay true: a helper knows only the author's API, so that it holds whatever that promises:
//! exactly once in a microbatch, at least once in a stream.

mod fixed_items;
mod keys;
mod linked_set;
mod scheduler;
mod unique_ids;
mod windows;

pub use fixed_items::{FixedItems, UniqueFixedItems};
pub use keys::keys_for_tasks;
pub use linked_set::LinkedSet;
pub use scheduler::{Due, Scheduler};
pub use unique_ids::UniqueIds;
pub use windows::windows;

#[cfg(test)]
mod tests;
