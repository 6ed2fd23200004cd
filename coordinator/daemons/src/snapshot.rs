//! What a daemon knows, for its API: the newest moment of the metastore, shared.
//!
//! Relies on a follower of its own, so that questions never wait for a loop that decides. What must stay
//! true: a snapshot is one moment of one view, never half of two; it may be old, and never goes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rama_control::{Change, Follower};
use rama_core::options::Settings;
use rama_metastore::{Error, Metastore, Space};
use rama_planner::view::View;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a daemon knew at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Keys that machines look at.
    pub view: View,
    /// Dynamic options, by module.
    pub settings: BTreeMap<String, Settings>,
    /// Paused topologies, by module.
    pub paused: BTreeSet<(String, String)>,
}

/// The newest snapshot. The first one is empty, until the first listing.
pub type Snapshots = watch::Receiver<Arc<Snapshot>>;

/// Follows the metastore on the current runtime, for ever.
pub fn follow<M: Metastore>(store: &M, space: &Space) -> (Snapshots, JoinHandle<()>) {
    let (publish, snapshots) = watch::channel(Arc::default());
    let mut follower = Follower::new(store, space);
    let task = tokio::spawn(async move {
        loop {
            match follower.next().await {
                Ok(Change::Nothing) => {}
                Ok(Change::View | Change::Settings) => {
                    publish.send_replace(Arc::new(Snapshot {
                        view: follower.view().clone(),
                        settings: follower.all_settings().clone(),
                        paused: follower.all_paused().clone(),
                    }));
                }
                Err(Error::Closed { .. }) => return,
                Err(error) => tracing::warn!(%error, "the metastore cannot be followed"),
            }
        }
    });
    (snapshots, task)
}
