//! What a simulated world is like: latencies, faults, budgets.
//!
//! Relies on nothing. Each class of fault has its own switch, so that a test can ask for exactly
//! the misfortune it is about. Power cuts and kills are not here: the test calls them.

use std::collections::BTreeSet;
use std::time::Duration;

/// The shortest and the longest time something takes; short ones are more frequent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// At least this long.
    pub min: Duration,
    /// At most this long.
    pub max: Duration,
}

impl Latency {
    /// A range in microseconds.
    pub const fn micros(min: u64, max: u64) -> Latency {
        Latency {
            min: Duration::from_micros(min),
            max: Duration::from_micros(max),
        }
    }
}

/// Properties of a simulated world. [`SimConfig::default`] is a healthy machine whose disk loses
/// and tears what was not flushed when its power is cut; [`Faults::all`] adds failing I/O.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Which misfortunes happen by themselves.
    pub faults: Faults,
    /// Faults have numbers from 1, in the order in which the seed plans them. Only these happen;
    /// `None`, the default, is all. What a fault left out would have changed is not as it was, so
    /// that later numbers may then be other faults.
    pub only_faults: Option<BTreeSet<u32>>,
    /// Whether a panic prints the seed and the notes. Default true.
    pub tells: bool,
    /// Time of a read or of mapping a file.
    pub read: Latency,
    /// Time of a write that is not flushed.
    pub write: Latency,
    /// Time of a flush, and of a durable write.
    pub flush: Latency,
    /// Time of opening, renaming, removing, listing.
    pub names: Latency,
    /// Time a message is under way. Messages of one executor on one channel never overtake.
    pub message: Latency,
    /// How late a timer may fire.
    pub timer_lateness_max: Duration,
    /// The longest virtual time one poll of a task takes.
    pub poll_max: Duration,
    /// Virtual time after which a run is declared stuck.
    pub time_budget: Duration,
    /// Polls in a row without any I/O, message or timer after which a run is declared stuck.
    pub livelock_polls: u64,
}

impl Default for SimConfig {
    fn default() -> SimConfig {
        SimConfig {
            faults: Faults::crash_only(),
            only_faults: None,
            tells: true,
            read: Latency::micros(10, 150),
            write: Latency::micros(10, 200),
            flush: Latency::micros(50, 1_000),
            names: Latency::micros(5, 300),
            message: Latency::micros(0, 20),
            timer_lateness_max: Duration::from_micros(100),
            poll_max: Duration::from_micros(1),
            time_budget: Duration::from_secs(24 * 3600),
            livelock_polls: 5_000_000,
        }
    }
}

impl SimConfig {
    /// The default world with other faults.
    pub fn with_faults(faults: Faults) -> SimConfig {
        SimConfig {
            faults,
            ..SimConfig::default()
        }
    }
}

/// The classes of fault, each with its own switch. Numbers are chances per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// A power cut loses unflushed writes (a random subset of them).
    pub lost_writes: bool,
    /// A power cut tears unflushed writes at 512-byte sectors; without it whole writes, newest
    /// first, are lost.
    pub torn_writes: bool,
    /// A power cut loses creations, renames and removals whose directory was not synced.
    pub lost_names: bool,
    /// Chance that a read or map fails.
    pub read_error: u32,
    /// Chance that a write fails; its range then holds any mixture of old and new sectors.
    pub write_error: u32,
    /// Chance that a flush fails; what it should have flushed may then never become durable,
    /// whatever a later flush says.
    pub flush_error: u32,
    /// Chance that opening, renaming, removing or syncing a directory fails.
    pub name_error: u32,
    /// Chance that a write finds the disk full. For up to 50 ms everything that needs room fails
    /// then (`StorageFull`): creating files, and writes that make one longer.
    pub disk_full: u32,
    /// Chance that a write reports success and stands at another place of its file: what was there
    /// is gone, and where it should stand is what was there before. Never part of a named set: one
    /// copy of the data cannot survive it, only notice it.
    pub misdirected_write: u32,
    /// Chance that one I/O takes a hundred times as long.
    pub slow_io: u32,
    /// Chance that a message takes a thousand times as long.
    pub slow_message: u32,
    /// Chance, at each poll, that the executor stands still for up to 10 ms.
    pub stall: u32,
    /// The wall clock of a process jumps by up to a second when it restarts.
    pub clock_jumps: bool,
}

impl Faults {
    /// No faults: even a power cut loses nothing. For tests of everything else.
    pub const fn none() -> Faults {
        Faults {
            lost_writes: false,
            torn_writes: false,
            lost_names: false,
            read_error: 0,
            write_error: 0,
            flush_error: 0,
            name_error: 0,
            disk_full: 0,
            misdirected_write: 0,
            slow_io: 0,
            slow_message: 0,
            stall: 0,
            clock_jumps: false,
        }
    }

    /// What a sound machine does when its power is cut, and uneven speed. No I/O errors.
    pub const fn crash_only() -> Faults {
        Faults {
            lost_writes: true,
            torn_writes: true,
            lost_names: true,
            slow_io: 1_000,
            slow_message: 100,
            stall: 100,
            clock_jumps: true,
            ..Faults::none()
        }
    }

    /// Everything that one copy of the data survives: also reads, writes, flushes and name
    /// operations that fail, and a disk that is full for a while.
    pub const fn all() -> Faults {
        Faults {
            read_error: 500,
            write_error: 500,
            flush_error: 1_000,
            name_error: 500,
            disk_full: 500,
            ..Faults::crash_only()
        }
    }

    /// The same without what ends a process whose disk fails: I/O errors, a full disk, writes in
    /// the wrong place. Power cuts still lose and tear what was not flushed.
    pub const fn without_errors(self) -> Faults {
        Faults {
            read_error: 0,
            write_error: 0,
            flush_error: 0,
            name_error: 0,
            disk_full: 0,
            misdirected_write: 0,
            ..self
        }
    }
}
