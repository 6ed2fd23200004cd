//! Every bound of the engine that is not an option, named once.
//!
//! Relies on `rama_core::options` for the others. What is in flight is always bounded: a queue without an entry here has a
//! producer that waits for its consumer.

use std::time::Duration;

/// Appends of clients that one task may hold between acceptance and acknowledgment. More are
/// refused at once as unavailable: nothing was done (D-22).
pub const PENDING_APPENDS_PER_TASK_MAX: usize = 64 * 1024;

/// Appends of a program that leave together at the latest, whatever its delay (D-18), and their bytes.
pub const GATHERED_RECORDS_MAX: usize = 1024;
/// See [`GATHERED_RECORDS_MAX`].
pub const GATHERED_BYTES_MAX: usize = 256 * 1024;

/// Bytes of one encoded record.
pub const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes that the events of one batch or microbatch may append to the depots of a task. They are
/// part of one log entry.
pub const APPENDS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Records of an external depot that are taken at once.
pub const EXTERNAL_FETCH_MAX: usize = 4096;
/// Records taken from outside on a task that a topology has not processed, before no more are taken.
pub const EXTERNAL_BACKLOG_MAX: u64 = 64 * 1024;

/// Bytes of the name by which a mirror is known to the module it reads from.
pub const MIRROR_NAME_BYTES_MAX: usize = 1024;

/// Bytes of records that one run of a source stage may take.
pub const SOURCE_SLICE_BYTES: usize = 256 * 1024;

/// How long a module that stops waits for its streams to finish what they run. What is not done
/// then is done again after the start, as after a crash.
pub const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Requests that the client loop answers before it yields.
pub const CLIENT_SLICE: usize = 64;

/// Selects of more than one page that a task thread has under way; each holds a snapshot and what it
/// found. What comes then is answered in one event.
pub const PAGED_SELECTS_MAX: usize = 32;

/// Elements of a value that is followed by proxies (P-39).
pub const PROXY_ROWS_MAX: u64 = 100_000;

/// Bytes of a value that is followed by proxies.
pub const PROXY_BYTES_MAX: u64 = 32 << 20;

/// Changes that wait for one proxy of a program outside, and bytes of changes that wait for any, as
/// long as there is more than one.
pub const PROXY_WAITING_MAX: usize = 1024;
/// See [`PROXY_WAITING_MAX`].
pub const PROXY_WAITING_BYTES_MAX: usize = 1 << 20;

/// Readers of one path that a commit tells itself; more are told a moment later.
pub const PROXIES_TOLD_AT_ONCE: usize = 64;

/// Readers that are told before others have their turn.
pub const PROXIES_SLICE: usize = 1024;

/// Messages that the inbox loop sorts before it yields.
pub const INBOX_SLICE: usize = 256;

/// Bytes of a failure's text that a dead letter keeps.
pub const DEAD_LETTER_TEXT_BYTES_MAX: usize = 4096;

/// Dead letters that one request lists.
pub const DEAD_LETTERS_PAGE: usize = 256;

/// Bytes of their records after which a page of dead letters ends.
pub const DEAD_LETTERS_PAGE_BYTES: usize = 1024 * 1024;

/// Bytes of their records after which dead letters of one decision go on in another log entry.
pub const DEAD_LETTERS_ENTRY_BYTES: usize = 16 * 1024 * 1024;

/// Records that one depot read may return, and their bytes (D-27).
pub const DEPOT_READ_RECORDS_MAX: u64 = 10_000;
/// Bytes that one depot read may return.
pub const DEPOT_READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Tasks of one module: a power of two (O-3).
pub const TASKS_MAX: u32 = 1 << 14;

const _: () = assert!(TASKS_MAX.is_power_of_two());
const _: () = assert!(RECORD_BYTES_MAX < u32::MAX as usize);
const _: () = assert!(2 * APPENDS_BYTES_MAX < rama_wire::entry::PAYLOAD_BYTES_MAX);

/// What a query answers, at most.
pub(crate) const QUERY_RESULT_BYTES: usize = 64 << 20;
