//! The misfortunes of a simulated cluster, and what a module does about each.
//!
//! Relies on `rama_io::sim` for what disks do. What must stay true: everything in [`Faults::all`]
//! ends, and is survived without an operator.

use std::time::Duration;

use rama_io::sim;

/// Which faults a simulation has.
///
/// | fault | what happens | what the module does |
/// |---|---|---|
/// | power cut | unflushed writes are lost, or torn at 512 bytes | recovers |
/// | slow disk, late message, stalled thread | 100, 1000 times as long; 10 ms | waits |
/// | broken link | between machines; what is under way is lost | connects again |
/// | failed write, flush or name (EIO) | the log is poisoned | is started again, recovers |
/// | failed read | the request or event fails | tries again |
/// | full disk (ENOSPC) | as a failed write, for up to 50 ms | as there, until there is room |
/// | misdirected write | success is reported, the bytes stand elsewhere | ends, see below |
///
/// [`Faults::all`] is everything but the last, which no single copy survives: the module ends with
/// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when it reads what is wrong, which
/// [`try_run`](super::Simulation::try_run) gives. Over several machines disks do not fail yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// How often the power of each machine is cut; after that it stays up, so that every run ends.
    pub power_cuts: u32,
    /// The longest time between two cuts. The next one may hit the restart. A disk that has errors
    /// has them for one more such time after the last cut, and is sound from then on.
    pub power_cut_within: Duration,
    /// One frame in so many breaks the link between two machines that it is sent on, and is lost;
    /// 0 for never.
    pub link_breaks_one_in: u64,
    /// How a cut treats writes that were not flushed, and what else disks do.
    pub disk: sim::Faults,
}

impl Faults {
    /// Nothing fails. Scheduling and latencies are still random.
    pub fn none() -> Faults {
        let disk = sim::Faults::none();
        Faults {
            power_cuts: 0,
            power_cut_within: Duration::from_millis(200),
            link_breaks_one_in: 0,
            disk,
        }
    }

    /// Up to three power cuts, each losing and tearing what was not flushed.
    pub fn power_cuts() -> Faults {
        Faults {
            power_cuts: 3,
            disk: sim::Faults::crash_only(),
            ..Faults::none()
        }
    }

    /// A disk whose reads, writes, flushes and name operations fail now and then, and which is full
    /// for a while now and then, without power cuts.
    pub fn disk_errors() -> Faults {
        let disk = sim::Faults {
            read_error: 500,
            write_error: 2_000,
            flush_error: 3_000,
            name_error: 2_000,
            disk_full: 2_000,
            ..sim::Faults::crash_only()
        };
        Faults {
            disk,
            ..Faults::none()
        }
    }

    /// Everything that machines survive without an operator: power cuts, slow disks, failing and
    /// full disks on one, broken links between several.
    pub fn all() -> Faults {
        Faults {
            power_cuts: 3,
            link_breaks_one_in: 500,
            ..Faults::disk_errors()
        }
    }

    /// Whether a process may fail of its disk.
    pub(super) fn fails(&self) -> bool {
        self.disk != self.disk.without_errors()
    }
}
