//! The conductor as a process.
//!
//! Relies on [`crate::conductor`] for the office. What must stay true: reads are answered in office or
//! not; changes by the one in office alone.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rama_api::endpoints::Server;
use rama_metastore::{Metastore, Space};
use rama_net::Role;
use rama_planner::ids::Incarnation;
use rama_planner::place::Scheduler;
use rama_planner::records;

use super::{DaemonError, Identity, Listen, Sockets, life, process, programs};
use crate::api::{self, Api};
use crate::artifacts::{Artifacts, TrustRoots};
use crate::conductor::{Conductor, Start};
use crate::{rest, routes, snapshot};

/// What a conductor is started with.
#[derive(Clone, Debug)]
pub struct Settings<M> {
    /// Who it is.
    pub identity: Identity,
    /// Where it listens.
    pub listen: Listen,
    /// The metastore.
    pub store: M,
    /// Where in it the cluster is.
    pub space: Space,
    /// How long its lease is.
    pub lease: Duration,
    /// Where programs are kept.
    pub dir: PathBuf,
    /// How modules are placed.
    pub scheduler: Scheduler,
    /// Whose programs are taken.
    pub roots: TrustRoots,
}

/// Runs a conductor until `stopped`.
///
/// # Errors
/// It cannot start.
pub async fn run<M: Metastore>(
    settings: Settings<M>,
    stopped: impl Future<Output = ()> + Send,
) -> Result<(), DaemonError> {
    let Settings {
        identity,
        listen,
        store,
        space,
        lease,
        dir,
        scheduler,
        roots,
    } = settings;
    let life = life();
    let sockets = Sockets::bind(&identity, &listen, Role::Conductor, life).await?;
    let artifacts = Artifacts::open(&dir.join("conductor/artifacts"), roots)?;
    let files = programs::served(&artifacts)?;
    let (snapshots, following) = snapshot::follow(&store, &space);
    let start = Start {
        store: store.clone(),
        space: space.clone(),
        conductor: records::Conductor {
            incarnation: Incarnation(life),
            process: process(&listen, sockets.ports(&listen)),
        },
        scheduler,
        ttl: lease,
    };
    let (conductor, office) = Conductor::start(start);
    let api = Arc::new(Api {
        conductor,
        snapshots: snapshots.clone(),
        store,
        space,
        cluster: identity.cluster,
        artifacts,
    });
    let rest = sockets.rest(&identity, &listen, snapshots, None);
    let routes = routes::router(Server::Conductor, |endpoint, on| {
        api::handler(&api, endpoint.id, on).or_else(|| rest::handler(&rest, endpoint.id, on))
    });
    let (rpc, http) = sockets.ports(&listen);
    tracing::info!(rpc, http, host = listen.host_internal, "conductor started");
    sockets
        .serve(&identity, Server::Conductor, (routes, files), stopped)
        .await;
    following.abort();
    office.abort();
    Ok(())
}
