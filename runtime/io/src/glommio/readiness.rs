//! Waiting until a descriptor that glommio did not open can be read or written.
//!
//! Relies on glommio's one-shot polls through the ring. A poll that is under way when its
//! [`Readiness`] is dropped is canceled; the kernel holds no buffer of ours for it. What must stay
//! true: readiness is a hint, so the call after it must not block; each task that waits has an
//! [`Interest`] of its own, for a shared one would wake only the last.

use std::io;
use std::os::fd::AsRawFd;
use std::task::{Context, Poll};

use glommio::io::{PollState, PollableFd};

use super::env::GlommioEnv;

/// A descriptor whose readiness can be waited for. Belongs to the executor it was made on.
pub struct Readiness<T: AsRawFd>(PollableFd<T>);

/// What one task waits for, in one direction.
#[derive(Debug, Default)]
pub struct Interest(PollState);

impl GlommioEnv {
    /// Watches a non-blocking descriptor on this executor.
    pub fn readiness<T: AsRawFd>(&self, descriptor: T) -> Readiness<T> {
        let descriptor = PollableFd::new(descriptor);
        Readiness(descriptor.expect("registering cannot fail on a running executor"))
    }
}

impl<T: AsRawFd> Readiness<T> {
    /// The descriptor.
    pub fn get_ref(&self) -> &T {
        self.0.get_ref()
    }

    /// Ready when there may be something to read, or an error to be told.
    pub fn poll_readable(
        &self,
        cx: &mut Context<'_>,
        interest: &mut Interest,
    ) -> Poll<io::Result<()>> {
        let ready = self.0.poll_readable(cx, &mut interest.0);
        ready.map_err(io::Error::from)
    }

    /// Ready when there may be room to write, or an error to be told.
    pub fn poll_writable(
        &self,
        cx: &mut Context<'_>,
        interest: &mut Interest,
    ) -> Poll<io::Result<()>> {
        let ready = self.0.poll_writable(cx, &mut interest.0);
        ready.map_err(io::Error::from)
    }
}
