//! Which task is home to a key (spec R-13): one hash for depots, partitioners, PState routing and
//! clients.
//!
//! Relies on the key encoding being stable. What must stay true: the answer for given bytes and a
//! given number of tasks never changes, because it decides where data already on disk is looked
//! for. A golden test pins it.

use xxhash_rust::xxh3::xxh3_64;

/// The hash of an encoded key.
pub fn hash_of(key_bytes: &[u8]) -> u64 {
    xxh3_64(key_bytes)
}

/// The task that is home to an encoded key among `tasks` tasks. `tasks` must not be zero.
pub fn task_of(key_bytes: &[u8], tasks: u32) -> u32 {
    task_of_hash(hash_of(key_bytes), tasks)
}

/// The same for a key that was hashed before.
pub fn task_of_hash(hash: u64, tasks: u32) -> u32 {
    assert!(tasks > 0, "a module has at least one task");
    let tasks = u64::from(tasks);
    // Task counts are powers of two (spec O-3); a mask is the same remainder without a division.
    let task = if tasks.is_power_of_two() {
        hash & (tasks - 1)
    } else {
        hash % tasks
    };
    task as u32
}

#[cfg(test)]
mod tests;
