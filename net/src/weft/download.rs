//! Fetches a file, or a range of one.
//!
//! Relies on the server for nothing but bytes: what arrives is measured and hashed here. What must
//! stay true: `fetch` gives a file its name only when all of it is there, verified and durable; a
//! part that is left over is used again only for the very same file.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rama_wire::session::{StreamHeader, WeftAnswer, WeftEnd, WeftFile, WeftRefusal, WeftRequest};

use super::server::blocking;
use super::{Hash, Hasher, WeftError};
use crate::certificates::hexadecimal;
use crate::endpoint::{Dial, Endpoint};
use crate::error::StreamError;
use crate::stream::MessageReceiver;

/// Bytes gathered for one write.
const WRITE_BYTES: usize = 1 << 20;

/// A range of a file that is arriving.
pub struct Download {
    path: String,
    file: WeftFile,
    received: u64,
    /// Taken when the end was verified.
    hasher: Option<Hasher>,
    receiver: MessageReceiver,
}

impl Download {
    /// Asks for a range.
    ///
    /// # Errors
    /// [`WeftError`]
    pub async fn open(
        endpoint: &Endpoint,
        dial: &Dial,
        request: &WeftRequest,
    ) -> Result<Download, WeftError> {
        let path = request.path.clone();
        let (sender, mut receiver) = endpoint.open(dial, &StreamHeader::Weft).await?;
        let lost = |source| WeftError::Stream {
            path: path.clone(),
            source,
        };
        sender.send(request.encode()).await.map_err(lost)?;
        let answer = receiver.recv().await.map_err(lost)?;
        let answer = answer.ok_or_else(|| lost(StreamError::Abandoned))?;
        let answer = WeftAnswer::decode(&answer).map_err(|source| WeftError::Record {
            path: path.clone(),
            source,
        })?;
        match answer {
            WeftAnswer::Refused(reason, text) => Err(WeftError::Refused { path, reason, text }),
            WeftAnswer::Found(file) => Ok(Download {
                path,
                file,
                received: 0,
                hasher: Some(Hasher::new()),
                receiver,
            }),
        }
    }

    /// What was announced.
    pub fn file(&self) -> WeftFile {
        self.file
    }

    /// The next bytes; `None` after the last, when the hash of the range was found right.
    ///
    /// # Errors
    /// [`WeftError`]
    pub async fn next(&mut self) -> Result<Option<Bytes>, WeftError> {
        let Some(hasher) = &mut self.hasher else {
            return Ok(None);
        };
        let message = self.receiver.recv().await;
        let message = message.and_then(|message| message.ok_or(StreamError::Abandoned));
        let message = message.map_err(|source| WeftError::Stream {
            path: self.path.clone(),
            source,
        })?;
        if self.received < self.file.length {
            self.received += message.len() as u64;
            if self.received > self.file.length {
                return Err(WeftError::Length {
                    path: self.path.clone(),
                    expected: self.file.length,
                    found: self.received,
                });
            }
            hasher.update(&message);
            return Ok(Some(message));
        }
        let end = WeftEnd::decode(&message).map_err(|source| WeftError::Record {
            path: self.path.clone(),
            source,
        })?;
        let found = self.hasher.take().map(Hasher::finish).unwrap_or_default();
        compare(&self.path, end.hash, found)?;
        Ok(None)
    }
}

fn compare(path: &str, expected: Hash, found: Hash) -> Result<(), WeftError> {
    if expected == found {
        return Ok(());
    }
    Err(WeftError::Corrupt {
        path: path.to_owned(),
        expected,
        found,
    })
}

/// Fetches a whole file to `destination`, on tokio. What an earlier try left of the same file, in
/// `<destination>.<hash>.part`, is not fetched again.
///
/// # Errors
/// [`WeftError`]. After [`WeftError::Stream`] and [`WeftError::Net`] another try goes on where this
/// one ended.
pub async fn fetch(
    endpoint: &Endpoint,
    dial: &Dial,
    path: &str,
    hash: Option<Hash>,
    destination: &Path,
) -> Result<WeftFile, WeftError> {
    let mut request = WeftRequest {
        path: path.to_owned(),
        hash,
        offset: 0,
        length: Some(0),
    };
    let expected = match hash {
        Some(hash) => hash,
        None => Download::open(endpoint, dial, &request).await?.file().hash,
    };
    let part = part_path(destination, expected);
    let opening = part.clone();
    let opened = blocking(move || Part::open(&opening)).await;
    let mut held = opened.map_err(failed("open", &part))?;
    request.hash = Some(expected);
    request.length = None;
    request.offset = held.length;
    let mut download = open_rest(endpoint, dial, &request, &part).await?;
    let mut arrived = true;
    while arrived {
        let mut portions = Vec::new();
        let mut gathered = 0;
        while gathered < WRITE_BYTES && arrived {
            match download.next().await {
                Ok(Some(bytes)) => {
                    gathered += bytes.len();
                    portions.push(bytes);
                }
                Ok(None) => arrived = false,
                Err(error) => {
                    // What came before the loss is worth keeping; the loss is what is told.
                    let _ = blocking(move || held.append(&portions)).await;
                    return Err(error);
                }
            }
        }
        let written = blocking(move || held.append(&portions)).await;
        held = written.map_err(failed("write", &part))?;
    }
    let found = held.hasher.clone().finish();
    if let Err(error) = compare(path, expected, found) {
        fs::remove_file(&part).map_err(failed("remove", &part))?;
        return Err(error);
    }
    let (from, to) = (part, destination.to_owned());
    let kept = blocking(move || held.keep(&from, &to)).await;
    kept.map_err(failed("keep", destination))?;
    Ok(download.file())
}

/// Asks for what is missing of a part.
async fn open_rest(
    endpoint: &Endpoint,
    dial: &Dial,
    request: &WeftRequest,
    part: &Path,
) -> Result<Download, WeftError> {
    let opened = Download::open(endpoint, dial, request).await;
    let useless = match &opened {
        Ok(_) => false,
        // A part longer than its file would be refused for ever.
        Err(WeftError::Refused { reason, .. }) => {
            request.offset == 0 || *reason == WeftRefusal::Invalid
        }
        Err(_) => request.offset == 0,
    };
    if useless {
        fs::remove_file(part).map_err(failed("remove", part))?;
    }
    opened
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WeftError + use<> {
    let path = path.to_owned();
    move |source| WeftError::File { verb, path, source }
}

/// Where the part of a file with this hash lies.
fn part_path(destination: &Path, hash: Hash) -> PathBuf {
    let mut name = destination.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", &hexadecimal(&hash)[..16]));
    destination.with_file_name(name)
}

/// What is there of a file.
struct Part {
    file: File,
    length: u64,
    hasher: Hasher,
}

impl Part {
    fn open(path: &Path) -> io::Result<Part> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        // Two that append to one part would spoil it for both.
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::new(
                ErrorKind::ResourceBusy,
                "the same file is being fetched to here already",
            ),
            TryLockError::Error(error) => error,
        })?;
        let (mut length, mut hasher) = (0, Hasher::new());
        let mut buffer = vec![0; WRITE_BYTES];
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                return Ok(Part {
                    file,
                    length,
                    hasher,
                });
            }
            length += count as u64;
            hasher.update(&buffer[..count]);
        }
    }

    fn append(mut self, portions: &[Bytes]) -> io::Result<Part> {
        for portion in portions {
            self.file.write_all(portion)?;
            self.length += portion.len() as u64;
            self.hasher.update(portion);
        }
        Ok(self)
    }

    fn keep(self, from: &Path, to: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(from, to)?;
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }
}
