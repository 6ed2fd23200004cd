//! `rama conductor` and `rama supervisor`: the daemons of a cluster.
//!
//! Relies on `rama_coordinator::daemon`, which is there with the feature `etcd`. What must stay true:
//! what is said of settings names the key; a signal ends a daemon with exit code 0.

#[cfg(feature = "etcd")]
mod settings;

use crate::args::cluster::Daemon;
use crate::error::Result;
#[cfg(not(feature = "etcd"))]
use crate::error::{Exit, Failure};

#[cfg(feature = "etcd")]
pub fn conductor(args: &Daemon) -> Result<()> {
    settings::Daemons::load(args)?.conductor()
}

#[cfg(feature = "etcd")]
pub fn supervisor(args: &Daemon) -> Result<()> {
    settings::Daemons::load(args)?.supervisor()
}

#[cfg(not(feature = "etcd"))]
pub fn conductor(_: &Daemon) -> Result<()> {
    Err(without("conductor"))
}

#[cfg(not(feature = "etcd"))]
pub fn supervisor(_: &Daemon) -> Result<()> {
    Err(without("supervisor"))
}

#[cfg(not(feature = "etcd"))]
fn without(daemon: &str) -> Failure {
    let text = format!("could not run a {daemon}: this program was built without etcd");
    let hint = "build it with `cargo build --release -p rama-cli --features etcd`";
    Failure::new(Exit::Refused, text, hint)
}
