//! Who knows where modules run: what a connection to a cluster asks, and what it is answered.
//!
//! Relies on whoever implements it to reach the cluster's daemons. What must stay true: an answer is a
//! hint that workers check; numbers in it are checked here before anything is sized by them.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use rama_core::mirrors::Offers;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::limits;
use crate::remote::quic::Route;

/// Where a module runs, as its cluster says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routing {
    /// Grows with each change.
    pub revision: u64,
    /// The instance that takes appends and serves reads.
    pub instance: Uuid,
    /// Its tasks.
    pub tasks: u32,
    /// Its task threads; task `t` is on thread `t % threads`.
    pub threads: u32,
    /// [`crate::Definition::interface`] of the code that runs, once a worker has told it.
    pub interface: Option<u64>,
    /// What it has for other modules.
    pub offers: Offers,
    /// The threads that are led, with where.
    pub routes: BTreeMap<u32, Route>,
}

/// Asks the daemons of a cluster. All calls come from one thread, inside of a tokio runtime.
pub trait Directory: Send + Sync + 'static {
    /// Completes when somebody of the cluster answers.
    ///
    /// # Errors
    /// `Unavailable` when nobody does now; another kind when it makes no sense to try again, such as
    /// `Rejected` by a cluster of a version that this program does not speak.
    fn reach(&self) -> BoxFuture<'_, Result<()>>;

    /// The names of all modules that run, sorted.
    ///
    /// # Errors
    /// As of [`reach`](Directory::reach).
    fn modules(&self) -> BoxFuture<'_, Result<Vec<String>>>;

    /// Where `module` runs: now, or as soon as something is newer than the revision `after`. May
    /// answer earlier with what is known already.
    ///
    /// # Errors
    /// `NotFound` when no such module runs; with `after` 0 only after a while. `Unavailable` when
    /// nobody answers now.
    fn routing(&self, module: &str, after: Option<u64>) -> BoxFuture<'_, Result<Routing>>;
}

impl Routing {
    /// # Errors
    /// `Invalid` when its numbers make no sense.
    pub(crate) fn check(&self, module: &str) -> Result<()> {
        let (tasks, threads) = (self.tasks, self.threads);
        let sound = tasks.is_power_of_two() && tasks <= limits::TASKS_MAX;
        if !sound || threads == 0 || threads > tasks {
            return Err(Error::invalid(format!(
                "could not use the routes of module {module}: {threads} task threads for {tasks} \
                 tasks"
            )));
        }
        match self.routes.keys().find(|thread| **thread >= threads) {
            None => Ok(()),
            Some(thread) => Err(Error::invalid(format!(
                "could not use the routes of module {module}: it has no task thread {thread}"
            ))),
        }
    }
}
