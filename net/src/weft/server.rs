//! Serves the files of one directory.
//!
//! Relies on tokio's blocking threads for the disk, on `openat2` for resolution below the directory
//! without links. What must stay true: a peer holds a file and one portion of it here, no more; a
//! file's hash is remembered only as long as the file is unchanged to the eye of the kernel.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rama_wire::session::{WeftAnswer, WeftEnd, WeftFile, WeftRefusal, WeftRequest};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use tokio::sync::Semaphore;

use super::{Hash, Hasher, TokenBucket, check_path};
use crate::endpoint::Accepted;
use crate::error::StreamError;
use crate::limits::CHUNK_BYTES_MAX;
use crate::stream::MessageSender;

/// Bytes read at once.
const READ_BYTES: u64 = 1 << 20;
/// Transfers at once; further ones wait.
const TRANSFERS_MAX: usize = 16;
/// Hashes that are remembered.
const HASHES_MAX: usize = 4096;
/// A peer that takes nothing for so long is given up.
const STALL_MAX: Duration = Duration::from_secs(30);

/// Serves the files of one directory. Clones share it. Runs on tokio.
#[derive(Clone)]
pub struct FileServer(Arc<Inner>);

struct Inner {
    root: PathBuf,
    directory: File,
    started: Instant,
    rate: Option<Mutex<TokenBucket>>,
    transfers: Semaphore,
    hashes: Mutex<BTreeMap<Stamp, Hash>>,
}

/// What changes when a file does: device, inode, length, modification and change time.
type Stamp = (u64, u64, u64, i64, i64, i64, i64);

/// Why nothing is sent.
type Refusal = (WeftRefusal, String);

impl FileServer {
    /// Serves what lies below `root`, at most as fast as `rate` lets it.
    ///
    /// # Errors
    /// When the directory cannot be opened.
    pub fn new(root: &Path, rate: Option<TokenBucket>) -> io::Result<FileServer> {
        let directory = File::open(root)?;
        if !directory.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(FileServer(Arc::new(Inner {
            root: root.to_owned(),
            directory,
            started: Instant::now(),
            rate: rate.map(Mutex::new),
            transfers: Semaphore::new(TRANSFERS_MAX),
            hashes: Mutex::default(),
        })))
    }

    /// Serves one stream that was opened for a file.
    ///
    /// # Errors
    /// Why the stream ended before everything was sent; the peer knows, or is gone.
    pub async fn serve(&self, mut accepted: Accepted) -> Result<(), StreamError> {
        let permit = self.0.transfers.acquire().await;
        let _permit = permit.map_err(|_| StreamError::Abandoned)?;
        let request = accepted.receiver.recv().await?;
        let request = WeftRequest::decode(&request.unwrap_or_default());
        let found = match request {
            Ok(request) => self.find(request).await,
            Err(bad) => Err((WeftRefusal::Invalid, bad.to_string())),
        };
        let sender = accepted.sender;
        match found {
            Ok((file, announced, offset)) => {
                send(&sender, WeftAnswer::Found(announced).encode()).await?;
                self.send_range(&sender, file, offset, announced.length)
                    .await?;
            }
            Err((reason, text)) => {
                tracing::info!(peer = %accepted.peer.address, text, "file refused");
                send(&sender, WeftAnswer::Refused(reason, text).encode()).await?;
            }
        }
        sender.close().await
    }

    /// The file, what is announced of it, and where to begin.
    async fn find(&self, request: WeftRequest) -> Result<(Arc<File>, WeftFile, u64), Refusal> {
        let server = self.clone();
        let found = blocking(move || Ok(server.open(&request))).await;
        found.unwrap_or_else(|error| Err((WeftRefusal::Failed, error.to_string())))
    }

    fn open(&self, request: &WeftRequest) -> Result<(Arc<File>, WeftFile, u64), Refusal> {
        let path = &request.path;
        let invalid = |text: String| (WeftRefusal::Invalid, text);
        check_path(path).map_err(|rule| invalid(rule.to_owned()))?;
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                (WeftRefusal::NotFound, format!("there is no file {path}"))
            }
            _ => {
                let root = self.0.root.display();
                tracing::warn!(%root, path, %error, "could not read a file to be served");
                (
                    WeftRefusal::Failed,
                    format!("it could not be read: {error}"),
                )
            }
        };
        // A pipe would block while it is opened.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let below = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let opened = openat2(
            &self.0.directory,
            path.as_str(),
            flags,
            Mode::empty(),
            below,
        );
        let file = match opened {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::XDEV) => {
                return Err(invalid(format!("{path} leads through a link")));
            }
            Err(error) => return Err(failed(error.into())),
        };
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(invalid(format!("{path} is no file")));
        }
        let size = metadata.len();
        let hash = self.hash(&file, &metadata).map_err(failed)?;
        if request.hash.is_some_and(|wanted| wanted != hash) {
            return Err((WeftRefusal::Changed, format!("{path} has changed")));
        }
        let offset = request.offset;
        let rest = size
            .checked_sub(offset)
            .ok_or_else(|| invalid(format!("{path} has {size} bytes, {offset} is beyond")))?;
        let length = request.length.unwrap_or(rest).min(rest);
        Ok((Arc::new(file), WeftFile { size, hash, length }, offset))
    }

    fn hash(&self, file: &File, metadata: &Metadata) -> io::Result<Hash> {
        let stamp = stamp(metadata);
        let hashes = || self.0.hashes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = hashes().get(&stamp) {
            return Ok(*known);
        }
        let mut hasher = Hasher::new();
        let mut at = 0;
        loop {
            let bytes = read(file, at, READ_BYTES)?;
            if bytes.is_empty() {
                break;
            }
            at += bytes.len() as u64;
            hasher.update(&bytes);
        }
        let hash = hasher.finish();
        let mut hashes = hashes();
        if hashes.len() >= HASHES_MAX {
            hashes.pop_first();
        }
        hashes.insert(stamp, hash);
        Ok(hash)
    }

    async fn send_range(
        &self,
        sender: &MessageSender,
        file: Arc<File>,
        offset: u64,
        length: u64,
    ) -> Result<(), StreamError> {
        let (mut at, end, mut hasher) = (offset, offset + length, Hasher::new());
        while at < end {
            let (file, len) = (file.clone(), READ_BYTES.min(end - at));
            let portion = blocking(move || read(&file, at, len)).await;
            let mut portion = Bytes::from(portion.unwrap_or_default());
            if portion.is_empty() {
                // Cut short or unreadable: what was announced cannot be kept.
                return Err(StreamError::Abandoned);
            }
            at += portion.len() as u64;
            hasher.update(&portion);
            self.wait_for_rate(portion.len() as u64).await;
            while !portion.is_empty() {
                let message = portion.split_to(portion.len().min(CHUNK_BYTES_MAX));
                send(sender, message).await?;
            }
        }
        let hash = hasher.finish();
        send(sender, WeftEnd { hash }.encode()).await
    }

    async fn wait_for_rate(&self, bytes: u64) {
        let Some(rate) = &self.0.rate else {
            return;
        };
        let wait = {
            let mut rate = rate.lock().unwrap_or_else(PoisonError::into_inner);
            rate.take(self.0.started.elapsed(), bytes)
        };
        tokio::time::sleep(wait).await;
    }
}

async fn send(sender: &MessageSender, message: impl Into<Bytes>) -> Result<(), StreamError> {
    let sent = tokio::time::timeout(STALL_MAX, sender.send(message)).await;
    sent.unwrap_or(Err(StreamError::Abandoned))
}

fn stamp(metadata: &Metadata) -> Stamp {
    (
        metadata.dev(),
        metadata.ino(),
        metadata.len(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    )
}

/// Up to `len` bytes at `at`; none at the end of the file.
fn read(file: &File, at: u64, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Runs a call that blocks on a thread for such calls.
pub(super) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let joined = tokio::task::spawn_blocking(call).await;
    joined.unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
}
