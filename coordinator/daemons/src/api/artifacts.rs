//! Programs, up and down.
//!
//! Relies on the store for hashes and for half uploads. What must stay true: bytes are written as they
//! come, off the threads that serve others; nothing is found under a hash before it is complete.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use rama_api::Signature;
use rama_gateway::bounded::{self, Whole};
use rama_gateway::chain;
use rama_gateway::refusal::{Code, Refusal};
use tokio::io::AsyncReadExt as _;

use super::{Answer, json, read};
use crate::artifacts::{ArtifactError, Artifacts};

/// Pieces of a program that is sent.
const PIECE_BYTES: usize = 256 << 10;

pub(super) async fn download(
    State(artifacts): State<Artifacts>,
    Path(name): Path<String>,
) -> Answer {
    let found = artifacts.find(&name).map_err(|error| refusal(&error))?;
    let path = found.ok_or_else(|| missing(&name))?;
    let opened = tokio::fs::File::open(&path).await;
    let mut file = opened.map_err(|error| Refusal::new(Code::Storage, error.to_string()))?;
    let length = file.metadata().await.map_or(0, |metadata| metadata.len());
    let body = Body::from_stream(async_stream::stream! {
        loop {
            let mut piece = vec![0; PIECE_BYTES];
            match file.read(&mut piece).await {
                Ok(0) => return,
                Ok(count) => {
                    piece.truncate(count);
                    yield Ok(piece);
                }
                Err(error) => {
                    yield Err(error);
                    return;
                }
            }
        }
    });
    let kind = (header::CONTENT_TYPE, "application/octet-stream".to_owned());
    let length = (header::CONTENT_LENGTH, length.to_string());
    let mut response = Response::new(body);
    for (name, value) in [kind, length] {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

pub(super) async fn upload(
    State(artifacts): State<Artifacts>,
    Path(name): Path<String>,
    body: Body,
) -> Answer {
    if artifacts
        .find(&name)
        .map_err(|error| refusal(&error))?
        .is_some()
    {
        // Who sends over HTTP/1 hears no answer before all of it is taken.
        let mut pieces = body.into_data_stream();
        while let Some(Ok(_)) = pieces.next().await {}
        return Ok(StatusCode::OK.into_response());
    }
    let mut upload = artifacts.begin(&name).map_err(|error| refusal(&error))?;
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| match bounded::broken(&error) {
            Some(bounds) => bounds.into(),
            None => Refusal::new(Code::Unavailable, format!("the upload broke off: {error}")),
        })?;
        // Writing may wait for the disk; other requests do not.
        upload = blocking(move || upload.write(&piece).map(|()| upload)).await?;
    }
    blocking(move || upload.finish()).await?;
    Ok(StatusCode::CREATED.into_response())
}

/// Who signed a program.
pub(super) async fn signature(
    State(artifacts): State<Artifacts>,
    Path(name): Path<String>,
) -> Answer {
    let found = artifacts.signed(&name).map_err(|error| refusal(&error))?;
    let signature = found.ok_or_else(|| {
        let text = format!("program {name} is not signed, or not here");
        Refusal::new(Code::NotFound, text).hint("`rama artifacts sign` signs it")
    })?;
    json(StatusCode::OK, &Signature { signature })
}

/// Stores who signed a program, which is here already.
pub(super) async fn sign(
    State(artifacts): State<Artifacts>,
    Path(name): Path<String>,
    Whole(body): Whole,
) -> Answer {
    let Signature { signature } = read(&body)?;
    let found = artifacts.find(&name).map_err(|error| refusal(&error))?;
    found.ok_or_else(|| missing(&name))?;
    blocking(move || artifacts.sign(&name, &signature)).await?;
    Ok(StatusCode::CREATED.into_response())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ArtifactError> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| refusal(&error)),
        Err(error) => Err(Refusal::new(Code::Storage, error.to_string())),
    }
}

fn missing(name: &str) -> Refusal {
    let text = format!("program {name} is not here");
    Refusal::new(Code::NotFound, text).hint("upload it with PUT")
}

/// What is answered when a program cannot be taken, given or trusted.
pub(super) fn refusal(error: &ArtifactError) -> Refusal {
    let code = match error {
        ArtifactError::Io { .. } => Code::Storage,
        ArtifactError::Untrusted { .. } => Code::Rejected,
        ArtifactError::Name { .. }
        | ArtifactError::Hash { .. }
        | ArtifactError::Signature { .. }
        | ArtifactError::TrustRoot { .. } => Code::Invalid,
    };
    Refusal::new(code, chain(error))
}
