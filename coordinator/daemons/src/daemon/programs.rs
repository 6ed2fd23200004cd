//! Programs on their way to a supervisor, and who signed them.
//!
//! Relies on the conductor in office and, while that does not answer, on other supervisors, which
//! keep what they have run and serve it as files (WEFT). What must stay true: from whomever a program
//! comes, it is kept only under the hash of its bytes, and a signature only when a root has made it.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::Request;
use axum::response::Response;
use futures_util::stream::{Stream, StreamExt as _, unfold};
use rama_api::{Signature, paths};
use rama_gateway::chain;
use rama_gateway::problem::Problem;
use rama_net::certificates::hexadecimal;
use rama_net::weft::{Download, FileServer, WeftRequest};
use rama_net::{Dial, Endpoint, Role, Roles};
use rama_planner::ids::NodeId;
use rama_planner::records::Process;
use rama_planner::store::{Key, Value};

use super::DaemonError;
use crate::artifacts::Artifacts;
use crate::snapshot::Snapshots;

/// The longest answer about a signature.
const SIGNATURE_BYTES_MAX: usize = 64 << 10;

/// The programs of a daemon and their signatures, as files for the others.
pub(super) fn served(artifacts: &Artifacts) -> Result<FileServer, DaemonError> {
    let dir = artifacts.dir();
    FileServer::new(dir, None).map_err(|source| DaemonError::Dir {
        path: dir.to_owned(),
        source,
    })
}

/// Programs come from the conductor in office, or else from another node than `me`; and who signed
/// them.
pub(super) fn fetch(endpoint: Endpoint, snapshots: Snapshots, me: NodeId) -> crate::machine::Fetch {
    Arc::new(move |artifacts: Artifacts, name: String| {
        let (endpoint, snapshots) = (endpoint.clone(), snapshots.clone());
        Box::pin(async move {
            let asked = from_conductor(&endpoint, &snapshots, &artifacts, &name).await;
            let Err(first) = asked else { return Ok(()) };
            for (node, process) in others(&snapshots, me) {
                match from_node(&endpoint, (node, &process), &artifacts, &name).await {
                    Ok(()) => return Ok(()),
                    Err(reason) => {
                        tracing::info!(program = name, %node, reason, "not from there, either");
                    }
                }
            }
            Err(first)
        })
    })
}

async fn from_conductor(
    endpoint: &Endpoint,
    snapshots: &Snapshots,
    artifacts: &Artifacts,
    name: &str,
) -> Result<(), String> {
    let dial = conductor(snapshots).await?;
    if artifacts
        .find(name)
        .map_err(|error| chain(&error))?
        .is_none()
    {
        let answer = ask(endpoint, &dial, paths::ARTIFACT, name).await?;
        let pieces = answer.into_body().into_data_stream();
        let broken = |error| format!("the program broke off: {error}");
        take(artifacts, name, pieces.map(|piece| piece.map_err(broken))).await?;
    }
    if !artifacts.wants_signatures() {
        return Ok(());
    }
    let answer = ask(endpoint, &dial, paths::SIGNATURE, name).await?;
    let bytes = to_bytes(answer.into_body(), SIGNATURE_BYTES_MAX).await;
    let bytes = bytes.map_err(|error| format!("the signature broke off: {error}"))?;
    let signature: Signature = serde_json::from_slice(&bytes)
        .map_err(|error| format!("could not read the signature of {name}: {error}"))?;
    let signed = artifacts.sign(name, &signature.signature);
    signed.map_err(|error| chain(&error))
}

async fn from_node(
    endpoint: &Endpoint,
    (node, process): (NodeId, &Process),
    artifacts: &Artifacts,
    name: &str,
) -> Result<(), String> {
    let dial = dial(process, Role::Supervisor, Some(node)).await?;
    let held = artifacts.find(name).map_err(|error| chain(&error))?;
    if held.is_none() {
        take(
            artifacts,
            name,
            file(endpoint, &dial, name.to_owned()).await?,
        )
        .await?;
    }
    if !artifacts.wants_signatures() {
        return Ok(());
    }
    let mut signature = Vec::new();
    let pieces = file(endpoint, &dial, format!("{name}.sig")).await?;
    let mut pieces = std::pin::pin!(pieces);
    while let Some(piece) = pieces.next().await {
        signature.extend_from_slice(&piece?);
        if signature.len() > SIGNATURE_BYTES_MAX {
            return Err(format!("the signature of {name} is too long"));
        }
    }
    let signed = artifacts.sign(name, &hexadecimal(&signature));
    signed.map_err(|error| chain(&error))
}

/// The bytes of a file of another daemon; nothing follows an error.
async fn file(
    endpoint: &Endpoint,
    dial: &Dial,
    path: String,
) -> Result<impl Stream<Item = Result<Bytes, String>> + use<>, String> {
    let request = WeftRequest {
        path,
        hash: None,
        offset: 0,
        length: None,
    };
    let download = Download::open(endpoint, dial, &request).await;
    let download = download.map_err(|error| chain(&error))?;
    Ok(unfold(Some(download), async |held| {
        let mut download = held?;
        match download.next().await {
            Ok(Some(bytes)) => Some((Ok(bytes), Some(download))),
            Ok(None) => None,
            Err(error) => Some((Err(chain(&error)), None)),
        }
    }))
}

async fn ask(endpoint: &Endpoint, dial: &Dial, path: &str, name: &str) -> Result<Response, String> {
    let request = Request::get(paths::fill(path, &[name])).body(Body::empty());
    let request = request.map_err(|error| error.to_string())?;
    let answer = rama_rpc::request(endpoint, dial, request).await;
    let answer =
        answer.map_err(|error| format!("could not ask the conductor: {}", chain(&error)))?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status();
    let bytes = to_bytes(answer.into_body(), SIGNATURE_BYTES_MAX).await;
    let problem = bytes
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Err(match problem {
        Some(Problem { detail, .. }) => format!("the conductor answered: {detail}"),
        None => format!("the conductor answered {status}"),
    })
}

/// Stores a program as it comes.
async fn take(
    artifacts: &Artifacts,
    name: &str,
    pieces: impl Stream<Item = Result<Bytes, String>>,
) -> Result<(), String> {
    let mut upload = artifacts.begin(name).map_err(|error| chain(&error))?;
    let mut pieces = std::pin::pin!(pieces);
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        upload = tokio::task::spawn_blocking(move || upload.write(&piece).map(|()| upload))
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| chain(&error))?;
    }
    let finished = tokio::task::spawn_blocking(move || upload.finish()).await;
    let finished = finished.map_err(|error| error.to_string())?;
    finished.map(|_| ()).map_err(|error| chain(&error))
}

async fn conductor(snapshots: &Snapshots) -> Result<Dial, String> {
    let snapshot = snapshots.borrow().clone();
    let Some(Value::Conductor(record)) = snapshot.view.value(&Key::Conductor) else {
        return Err("no conductor is in office".to_owned());
    };
    dial(&record.process, Role::Conductor, None).await
}

/// The supervisors that are registered, but this one.
fn others(snapshots: &Snapshots, me: NodeId) -> Vec<(NodeId, Process)> {
    let snapshot = snapshots.borrow().clone();
    let entries = snapshot.view.entries();
    let others = entries.filter_map(|(key, value)| match (key, value) {
        (Key::Supervisor(node), Value::Supervisor(record)) if *node != me => {
            Some((*node, record.process.clone()))
        }
        _ => None,
    });
    others.collect()
}

async fn dial(process: &Process, role: Role, node: Option<NodeId>) -> Result<Dial, String> {
    let host = (process.host_internal.as_str(), process.rpc_port);
    let found = tokio::net::lookup_host(host).await;
    let address = found
        .map_err(|error| format!("could not resolve {}: {error}", host.0))?
        .next();
    Ok(Dial {
        address: address.ok_or_else(|| format!("{} has no address", host.0))?,
        roles: Roles::of(&[role]),
        node: node.map(|node| node.0),
    })
}
