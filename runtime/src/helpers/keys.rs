//! Keys for tests that want to know the task of each.
//!
//! Relies on the one hash of keys. What must stay true: the same call gives the same keys.

use rama_wire::{Key, hash};

/// One key for each of `tasks` tasks: that at place i is at home on task i (T-8). For tests.
///
/// ```
/// use rama_runtime::helpers::keys_for_tasks;
///
/// let keys = keys_for_tasks(4);
/// assert_eq!(keys, keys_for_tasks(4));
/// assert_eq!(keys.len(), 4);
/// ```
///
/// # Panics
/// When `tasks` is 0.
pub fn keys_for_tasks(tasks: u32) -> Vec<String> {
    assert!(tasks > 0, "a module has at least one task");
    let mut keys = vec![None; tasks as usize];
    let mut missing = tasks;
    let mut bytes = Vec::new();
    let mut number = 0_u64;
    while missing > 0 {
        let key = format!("key{number}");
        bytes.clear();
        key.encode_key(&mut bytes);
        let place = &mut keys[hash::task_of(&bytes, tasks) as usize];
        if place.is_none() {
            *place = Some(key);
            missing -= 1;
        }
        number += 1;
    }
    keys.into_iter().flatten().collect()
}
