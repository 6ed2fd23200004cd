//! What a daemon tells systemd of itself (sd_notify(3)): that it is ready, that it stops, that it lives.
//!
//! Relies on the variables that systemd sets; without them nothing is told, and a daemon works all the
//! same. What must stay true: signs of life come from the runtime that serves requests, so that one
//! that hangs is started again; workers never learn of the socket.

#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Tells how far the daemon is.
pub(super) fn tell(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(&socket, state) {
        tracing::debug!(%error, "nobody hears how far the daemon is");
    }
}

/// Tells that the daemon lives, for ever, as often as it was asked to.
pub(super) async fn watchdog() {
    let variable = |name| std::env::var(name).ok();
    let asked = interval(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"));
    let Some(interval) = asked else {
        return std::future::pending().await;
    };
    let mut turn = tokio::time::interval(interval);
    loop {
        turn.tick().await;
        tell("WATCHDOG=1");
    }
}

/// Half of what systemd waits, if it waits for this process.
fn interval(usec: Option<String>, pid: Option<String>) -> Option<Duration> {
    let other = |pid: String| pid != std::process::id().to_string();
    if pid.is_some_and(other) {
        return None;
    }
    let usec: u64 = usec?.parse().ok()?;
    (usec > 1).then(|| Duration::from_micros(usec / 2))
}

/// Sends to a socket of the file system, or to an abstract one (`@`).
fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let from = UnixDatagram::unbound()?;
    from.send_to_addr(state.as_bytes(), &address).map(drop)
}
