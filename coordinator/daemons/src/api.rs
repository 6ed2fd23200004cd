//! The conductor's API: `rama-api` over HTTP and over QUIC requests.
//!
//! Relies on snapshots for everything that is read and on the conductor's loop for everything that is
//! decided; options and pauses are written here, because nobody decides about them. Reading order:
//! `modules`, `operations`, `cluster`, `options`, `changes`, `artifacts`, `routes`. What must stay true: a change is
//! answered after it is stored; every error is a problem+json.

mod artifacts;
mod changes;
mod cluster;
mod modules;
mod operations;
mod options;
pub(crate) mod routes;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter};
use rama_api::endpoints::Id;
use rama_gateway::refusal::{Code, Refusal};
use rama_metastore::{Metastore, Space};
use rama_planner::ids::ModuleName;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::artifacts::Artifacts;
use crate::conductor::{Conductor, ConductorError};
use crate::routes::answered_by;
use crate::snapshot::{Snapshot, Snapshots};

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

/// What answers a line of the table at a conductor, but `/rest`.
pub(crate) fn handler<M: Metastore>(
    api: &Arc<Api<M>>,
    id: Id,
    on: MethodFilter,
) -> Option<MethodRouter> {
    let (api, artifacts) = (api.clone(), api.artifacts.clone());
    Some(match id {
        Id::Cluster => answered_by(on, cluster::cluster::<M>, api),
        Id::Supervisors => answered_by(on, cluster::supervisors::<M>, api),
        Id::Modules => answered_by(on, modules::list::<M>, api),
        Id::Deploy => answered_by(on, modules::deploy::<M>, api),
        Id::Module => answered_by(on, modules::status::<M>, api),
        Id::Destroy => answered_by(on, modules::destroy::<M>, api),
        Id::Instance => answered_by(on, modules::instance::<M>, api),
        Id::TaskGroups => answered_by(on, modules::task_groups::<M>, api),
        Id::Routes => answered_by(on, routes::routes::<M>, api),
        Id::Options => answered_by(on, options::list::<M>, api),
        Id::SetOption => answered_by(on, options::set::<M>, api),
        Id::UnsetOption => answered_by(on, options::unset::<M>, api),
        Id::ModuleLog => answered_by(on, changes::log::<M>, api),
        Id::Pause => answered_by(on, changes::pause::<M>, api),
        Id::Resume => answered_by(on, changes::resume::<M>, api),
        Id::Operations => answered_by(on, operations::list::<M>, api),
        Id::Operation => answered_by(on, operations::one::<M>, api),
        Id::Cancel => answered_by(on, operations::cancel::<M>, api),
        Id::Program => answered_by(on, artifacts::download, artifacts),
        Id::PutProgram => answered_by(on, artifacts::upload, artifacts),
        Id::Signature => answered_by(on, artifacts::signature, artifacts),
        Id::PutSignature => answered_by(on, artifacts::sign, artifacts),
        _ => return None,
    })
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
        ConductorError::Refused(Planned::UnknownModule { .. }) => Code::UnknownModule,
        ConductorError::NoOperation(_) => Code::NotFound,
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

/// There is no module of this name.
pub(crate) fn unknown_module(name: &ModuleName) -> Refusal {
    let text = format!("could not find module {name}: no module has this name");
    Refusal::new(Code::UnknownModule, text)
}

/// The host name of a node, as its supervisor registered it.
fn host_of(snapshot: &Snapshot, node: rama_planner::ids::NodeId) -> String {
    let supervisor = snapshot.view.supervisor(&node);
    supervisor.map_or_else(String::new, |seen| {
        seen.record.process.host_internal.clone()
    })
}
