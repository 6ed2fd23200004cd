//! The clock that daemons and workers give to their machines.
//!
//! Relies on CLOCK_BOOTTIME, which goes on while the machine is suspended: leases are measured with
//! it (reliability §2.2). What must stay true: it is read anew after every wait.

use std::time::Duration;

use rama_core::time::Now;
use rustix::time::{ClockId, clock_gettime};

/// The present.
#[must_use]
pub fn now() -> Now {
    let read = clock_gettime(ClockId::Boottime);
    let elapsed = Duration::new(read.tv_sec.unsigned_abs(), read.tv_nsec as u32);
    Now(0).after(elapsed)
}

/// Waits until a deadline; for ever without one.
pub async fn until(deadline: Option<Now>) {
    match deadline {
        Some(at) => tokio::time::sleep(at.since(now())).await,
        None => std::future::pending().await,
    }
}
