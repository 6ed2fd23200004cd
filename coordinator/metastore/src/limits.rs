//! What is refused before it is sent or allocated.
//!
//! Relies on etcd's defaults: 1.5 MiB a request, 128 operations a transaction. What must stay true:
//! both implementations refuse the same sizes, so that what works in development works on a
//! cluster.

use std::time::Duration;

/// Longest key.
pub const KEY_BYTES_MAX: usize = 1024;
/// Largest value. Units are small: one key per worker, per group, per object.
pub const VALUE_BYTES_MAX: usize = 512 << 10;
/// Keys and values of one transaction together.
pub const TXN_BYTES_MAX: usize = 1 << 20;
/// Comparisons, or puts and deletes, of one transaction.
pub const TXN_OPS_MAX: usize = 100;
/// Shortest life of a lease without keep-alive; etcd counts in seconds.
pub const LEASE_TTL_MIN: Duration = Duration::from_secs(1);
/// Longest life of a lease without keep-alive.
pub const LEASE_TTL_MAX: Duration = Duration::from_secs(3600);

const _: () = assert!(VALUE_BYTES_MAX + KEY_BYTES_MAX <= TXN_BYTES_MAX);
const _: () = assert!(TXN_BYTES_MAX + TXN_OPS_MAX * KEY_BYTES_MAX < 3 << 19);
const _: () = assert!(TXN_OPS_MAX <= 128);
