//! Finding the modules that a worker's module uses, in other processes.
//!
//! Relies on a connection, which follows a module from when it is found. What must stay true: a module
//! that is not there yet, or runs other code than the worker can use, is asked for again for ever.

use std::time::Duration;

use futures_util::future::join_all;

use super::check::Uses;
use crate::cluster::Cluster;
use crate::definition::Definition;
use crate::remote_cluster::Code;

/// Until a module that was not found is asked for again.
const RETRY: Duration = Duration::from_secs(1);

impl Cluster {
    /// Finds the modules that `definition` uses objects of, by names and types alone, and follows them
    /// from then on. Completes when all are found; what is used of one that is not found waits for it.
    pub async fn follow_mirrors(&self, definition: &Definition) {
        let follow = async |module: String, uses: Vec<rama_core::mirrors::Use>| {
            let Some(connection) = self.connection() else {
                return;
            };
            loop {
                let (module, uses) = (module.clone(), uses.clone());
                let code = Code::Foreign { module, uses };
                let Err(error) = connection.follow(self, code).await else {
                    return;
                };
                tracing::warn!(
                    error = format!("{error:#}"),
                    "a module that is used is not there"
                );
                self.sleep(RETRY).await;
            }
        };
        let uses = Uses::of(definition).0.into_iter();
        join_all(uses.map(|(module, uses)| follow(module, uses))).await;
    }
}
