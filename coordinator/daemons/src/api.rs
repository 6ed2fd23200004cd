//! The conductor's API: `rama-api` over HTTP and over QUIC requests.
//!
//! Relies on snapshots for everything that is read and on the conductor's loop for everything that is
//! decided; options and pauses are written here, because nobody decides about them. Reading order:
//! `modules`, `operations`, `cluster`, `options`, `artifacts`, `routes`. What must stay true: a change is
//! answered after it is stored; every error is a problem+json.

mod artifacts;
mod cluster;
mod modules;
mod operations;
mod options;
pub(crate) mod routes;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use rama_api::paths;
use rama_gateway::refusal::{Code, Refusal};
use rama_metastore::{Metastore, Space};
use rama_planner::ids::ModuleName;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::artifacts::Artifacts;
use crate::conductor::{Conductor, ConductorError};
use crate::snapshot::{Snapshot, Snapshots};

/// The longest request that is no artifact.
const BODY_BYTES_MAX: usize = 1 << 20;

/// What the routes share.
#[derive(Clone, Debug)]
pub struct Api<M> {
    /// The conductor's loop.
    pub conductor: Conductor,
    /// What is known.
    pub snapshots: Snapshots,
    /// Where options and pauses are written.
    pub store: M,
    /// Its keys.
    pub space: Space,
    /// The cluster.
    pub cluster: Uuid,
    /// Programs.
    pub artifacts: Artifacts,
}

/// Every route of a conductor but `/rest`.
pub fn router<M: Metastore>(api: Api<M>) -> Router {
    Router::new()
        .route(paths::CLUSTER, get(cluster::cluster::<M>))
        .route(paths::SUPERVISORS, get(cluster::supervisors::<M>))
        .route(
            paths::MODULES,
            get(modules::list::<M>).post(modules::deploy::<M>),
        )
        .route(
            paths::MODULE,
            get(modules::status::<M>).delete(modules::destroy::<M>),
        )
        .route(paths::INSTANCE, get(modules::instance::<M>))
        .route(paths::TASK_GROUPS, get(modules::task_groups::<M>))
        .route(paths::ROUTES, get(routes::routes::<M>))
        .route(
            paths::OPTIONS,
            get(options::list::<M>)
                .put(options::set::<M>)
                .delete(options::unset::<M>),
        )
        .route(paths::PAUSE, post(options::pause::<M>))
        .route(paths::RESUME, post(options::resume::<M>))
        .route(paths::OPERATIONS, get(operations::list::<M>))
        .route(
            paths::OPERATION,
            get(operations::one::<M>).delete(operations::cancel::<M>),
        )
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .merge(artifacts::router(api.artifacts.clone()))
        .fallback(async || Refusal::new(Code::NotFound, "could not find a route for this path"))
        .method_not_allowed_fallback(async || {
            Refusal::new(Code::Method, "this path does not take this method")
        })
        .with_state(Arc::new(api))
}

impl<M> Api<M> {
    /// What is known now.
    fn now(&self) -> Arc<Snapshot> {
        self.snapshots.borrow().clone()
    }
}

pub(crate) type Answer = Result<Response, Refusal>;

/// An answer with a body.
pub(crate) fn json(status: StatusCode, body: &impl serde::Serialize) -> Answer {
    Ok((status, axum::Json(body)).into_response())
}

/// A body, whatever content type it claims.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        Refusal::new(
            Code::Invalid,
            format!("could not read the request body: {error}"),
        )
    })
}

pub(crate) fn module_name(name: &str) -> Result<ModuleName, Refusal> {
    ModuleName::new(name).map_err(|error| Refusal::new(Code::Invalid, error.to_string()))
}

/// What the conductor says, in the words of the API.
fn refused(error: &ConductorError) -> Refusal {
    use rama_planner::operation::Refusal as Planned;
    let code = match error {
        ConductorError::Refused(Planned::UnknownModule { .. }) | ConductorError::NoOperation(_) => {
            Code::NotFound
        }
        ConductorError::Refused(_) | ConductorError::NotCancelled { .. } => Code::Rejected,
        ConductorError::NotInOffice | ConductorError::Contended => Code::Unavailable,
        ConductorError::LostOffice => Code::Unknown,
    };
    let refusal = Refusal::new(code, error.to_string());
    match code {
        Code::Unavailable => refusal,
        _ => refusal.hint("see `rama modules` and `rama operations`"),
    }
}

/// The host name of a node, as its supervisor registered it.
fn host_of(snapshot: &Snapshot, node: rama_planner::ids::NodeId) -> String {
    let supervisor = snapshot.view.supervisor(&node);
    supervisor.map_or_else(String::new, |seen| {
        seen.record.process.host_internal.clone()
    })
}
