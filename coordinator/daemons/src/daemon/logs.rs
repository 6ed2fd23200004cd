//! The log of a worker, over the API of its supervisor.
//!
//! Relies on the files of `machine`. What must stay true: a log of any length is read in bounded pieces.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path as Names, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rama_api::paths;
use rama_gateway::refusal::{Code, Refusal};
use serde::Deserialize;
use uuid::Uuid;

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

/// The route of logs below a directory.
pub(super) fn router(dir: PathBuf) -> Router {
    Router::new()
        .route(paths::WORKER_LOG, get(log))
        .with_state(dir)
}

async fn log(
    State(dir): State<PathBuf>,
    Names((instance, worker)): Names<(Uuid, u32)>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Refusal> {
    let path = find(&dir, instance, worker)?;
    let lines = wanted.lines.unwrap_or(200);
    let (text, mut end) = tail(&path, lines)?;
    if wanted.follow.is_none() {
        return Ok(text.into_response());
    }
    let pieces = async_stream::stream! {
        yield Ok::<_, std::io::Error>(Bytes::from(text));
        loop {
            tokio::time::sleep(LOOK).await;
            match since(&path, end) {
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

fn tail(path: &Path, lines: usize) -> Result<(Vec<u8>, u64), Refusal> {
    let length = std::fs::metadata(path).map(|metadata| metadata.len());
    let length = length.map_err(|error| unreadable(path, &error))?;
    let bytes = since(path, length.saturating_sub(TAIL_BYTES_MAX));
    let bytes = bytes.map_err(|error| unreadable(path, &error))?;
    let mut starts: Vec<usize> = std::iter::once(0)
        .chain(
            bytes
                .iter()
                .enumerate()
                .filter(|(_, byte)| **byte == b'\n')
                .map(|(at, _)| at + 1),
        )
        .filter(|start| *start < bytes.len())
        .collect();
    let from = starts
        .split_off(starts.len().saturating_sub(lines))
        .first()
        .copied();
    let end = length.max(length.saturating_sub(TAIL_BYTES_MAX) + bytes.len() as u64);
    Ok((bytes[from.unwrap_or(bytes.len())..].to_vec(), end))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_log_are_found_and_what_comes_after() {
        let dir = tempfile::tempdir().unwrap();
        let id = Uuid::from_u128(7);
        let path = dir.path().join(format!("M-{id}-2.log"));
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(find(dir.path(), id, 2).unwrap(), path);
        assert!(find(dir.path(), id, 3).is_err());
        let (text, end) = tail(&path, 2).unwrap();
        assert_eq!(text, b"two\nthree\n");
        assert_eq!(tail(&path, 100).unwrap().0, b"one\ntwo\nthree\n");
        assert_eq!(tail(&path, 0).unwrap().0, b"");
        std::fs::write(&path, "one\ntwo\nthree\nfour\n").unwrap();
        assert_eq!(since(&path, end).unwrap(), b"four\n");
    }
}
