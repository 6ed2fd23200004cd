//! The log of a worker, over the API of its supervisor.
//!
//! Relies on the files of `machine`. What must stay true: a log of any length is read in bounded pieces.

#[cfg(test)]
mod tests;

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path as Names, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter};
use rama_gateway::refusal::{Code, Refusal};
use serde::Deserialize;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::routes::answered_by;

/// Bytes of a log that are looked at for its last lines.
const TAIL_BYTES_MAX: u64 = 4 << 20;

/// Between two looks at a log that is followed.
const LOOK: Duration = Duration::from_millis(300);

/// `?lines=N&follow`
#[derive(Deserialize)]
struct Wanted {
    lines: Option<usize>,
    follow: Option<String>,
}

/// What answers with logs below a directory.
pub(super) fn handler(dir: &Path, on: MethodFilter) -> MethodRouter {
    answered_by(on, log, dir.to_owned())
}

async fn log(
    State(dir): State<PathBuf>,
    Names((instance, worker)): Names<(Uuid, u32)>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Refusal> {
    let lines = wanted.lines.unwrap_or(200);
    let look = move || {
        let path = find(&dir, instance, worker)?;
        tail(&path, lines).map(|(text, end)| (path, text, end))
    };
    // Megabytes from a disk: other requests do not wait for them.
    let looked = spawn_blocking(look).await;
    let looked = looked.map_err(|error| Refusal::new(Code::Storage, error.to_string()))?;
    let (path, text, mut end) = looked?;
    if wanted.follow.is_none() {
        return Ok(text.into_response());
    }
    let pieces = async_stream::stream! {
        yield Ok::<_, std::io::Error>(Bytes::from(text));
        loop {
            tokio::time::sleep(LOOK).await;
            let of = path.clone();
            let read = spawn_blocking(move || since(&of, end)).await;
            match read.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
                Ok(more) => {
                    end += more.len() as u64;
                    if !more.is_empty() {
                        yield Ok(Bytes::from(more));
                    }
                }
                Err(error) => {
                    yield Err(error);
                    return;
                }
            }
        }
    };
    Ok(Body::from_stream(pieces).into_response())
}

/// The log of a worker: its name begins with that of the module, which nobody needs to know.
fn find(dir: &Path, instance: Uuid, worker: u32) -> Result<PathBuf, Refusal> {
    let ending = format!("-{instance}-{worker}.log");
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let found = entries
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().ends_with(&ending));
    found.ok_or_else(|| {
        let text = format!("could not find a log of worker {worker} of instance {instance} here");
        Refusal::new(Code::NotFound, text).hint("ask the supervisor that runs it")
    })
}

/// The last lines of a log, and where it ends for now.
fn tail(path: &Path, lines: usize) -> Result<(Vec<u8>, u64), Refusal> {
    let length = std::fs::metadata(path).map(|metadata| metadata.len());
    let length = length.map_err(|error| unreadable(path, &error))?;
    let from = length.saturating_sub(TAIL_BYTES_MAX);
    let mut bytes = since(path, from).map_err(|error| unreadable(path, &error))?;
    let end = from + bytes.len() as u64;
    // The newline that ends the last line begins no other.
    let whole = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let newlines = whole
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| **byte == b'\n');
    let start = match lines.checked_sub(1) {
        None => bytes.len(),
        Some(before) => newlines.map(|(at, _)| at + 1).nth(before).unwrap_or(0),
    };
    Ok((bytes.split_off(start), end))
}

/// What stands behind an offset, at most so much at once.
fn since(path: &Path, from: u64) -> std::io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Refusal {
    let text = format!("could not read {}: {error}", path.display());
    Refusal::new(Code::Storage, text)
}
