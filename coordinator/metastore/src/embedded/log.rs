//! The file of an embedded metastore: an append log, rewritten when it is mostly history.
//!
//! Relies on fdatasync, and on a rename being atomic. Layout: the magic, then records of a length
//! (u32), a CRC-32C of length and payload (u32), and an rkyv payload, little-endian. What must stay
//! true: a record is answered only after it is flushed; a torn last record is cut off; a bad record
//! with a good one after it is corruption and is named, never skipped; the first failed write ends
//! writing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crc_fast::{CrcAlgorithm, Digest};
use rkyv::rancor;

use super::state::{Change, State};
use crate::error::Error;
use crate::lease::LeaseId;
use crate::limits::TXN_BYTES_MAX;
use crate::store::Versioned;

const MAGIC: &[u8; 16] = b"rama metastore 1";
const HEADER_BYTES: usize = 8;
/// A transaction with its framing; deletes of a prefix may name many keys.
const RECORD_BYTES_MAX: usize = 64 * TXN_BYTES_MAX;
/// How much of a copy goes into one record.
const COPY_BYTES: usize = TXN_BYTES_MAX;
/// Smaller files are not rewritten.
const COMPACT_BYTES_MIN: u64 = 1 << 20;
/// Rewritten when it is so many times as large as its last copy.
const COMPACT_GROWTH: u64 = 4;

/// What the file holds.
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
enum Record {
    /// Part of a copy of the whole state.
    Copy(Vec<CopiedEntry>),
    /// The end of a copy, with its revision.
    CopyEnd(u64),
    /// What one transaction wrote.
    Change(Change),
}

/// A key in a copy.
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct CopiedEntry {
    key: String,
    value: Vec<u8>,
    revision: u64,
    create: u64,
    lease: Option<i64>,
}

/// The open file.
pub struct Log {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_copied: u64,
    failed: Option<String>,
}

impl Log {
    /// Opens or makes the file and plays it into the state.
    pub fn open(path: &Path, state: &mut State) -> Result<Log, Error> {
        let failed = |cause: &io::Error| Error::io(format!("open {}", path.display()), cause);
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(cause) => return Err(failed(&cause)),
        };
        // A file shorter than its magic was being made when the machine stopped.
        if bytes.len() < MAGIC.len() && MAGIC.starts_with(&bytes) {
            return Log::create(path, state);
        }
        let end = replay(path, &bytes, state)?;
        let mut options = File::options();
        let file = options
            .append(true)
            .open(path)
            .map_err(|cause| failed(&cause))?;
        if end < bytes.len() {
            tracing::warn!(path = %path.display(), offset = end, "cut a torn record off");
            let cut = file.set_len(end as u64).and_then(|()| file.sync_all());
            cut.map_err(|cause| failed(&cause))?;
        }
        Ok(Log {
            path: path.into(),
            file,
            bytes: end as u64,
            bytes_copied: 0,
            failed: None,
        })
    }

    fn create(path: &Path, state: &State) -> Result<Log, Error> {
        let attempt = || format!("create {}", path.display());
        let (file, bytes) = write_copy(path, state).map_err(|e| Error::io(attempt(), &e))?;
        Ok(Log {
            path: path.into(),
            file,
            bytes,
            bytes_copied: bytes,
            failed: None,
        })
    }

    /// Makes a change durable.
    pub fn append(&mut self, change: &Change) -> Result<(), Error> {
        self.refuse_after_failure()?;
        let record = encode(&Record::Change(change.clone()));
        let written = record.and_then(|record| {
            self.file.write_all(&record)?;
            self.file.sync_data()?;
            Ok(record.len() as u64)
        });
        match written {
            Ok(bytes) => {
                self.bytes += bytes;
                Ok(())
            }
            Err(cause) => Err(self.fail(&cause)),
        }
    }

    /// Whether most of the file is history.
    pub fn wants_compaction(&self) -> bool {
        let limit = COMPACT_BYTES_MIN.max(self.bytes_copied * COMPACT_GROWTH);
        self.bytes > limit
    }

    /// Replaces the file by a copy of the state.
    pub fn compact(&mut self, state: &State) -> Result<(), Error> {
        self.refuse_after_failure()?;
        match write_copy(&self.path, state) {
            Ok((file, bytes)) => {
                self.file = file;
                self.bytes = bytes;
                self.bytes_copied = bytes;
                Ok(())
            }
            // It is not known which of the two files has the name.
            Err(cause) => Err(self.fail(&cause)),
        }
    }

    fn fail(&mut self, cause: &io::Error) -> Error {
        let text = cause.to_string();
        tracing::error!(path = %self.path.display(), error = text, "the metastore stops writing");
        self.failed = Some(text);
        Error::io(format!("write {}", self.path.display()), cause)
    }

    fn refuse_after_failure(&self) -> Result<(), Error> {
        match &self.failed {
            None => Ok(()),
            Some(cause) => Err(Error::Io {
                attempt: format!("write {} after a failed write", self.path.display()),
                cause: format!("{cause}; start the process again when the disk works"),
            }),
        }
    }
}

/// Writes a copy beside the file, then gives it the file's name.
fn write_copy(path: &Path, state: &State) -> io::Result<(File, u64)> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let name = PathBuf::from(name);
    // A copy that was not finished may be there.
    match fs::remove_file(&name) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
        _ => {}
    }
    let mut file = File::options().append(true).create_new(true).open(&name)?;
    let mut bytes = MAGIC.len();
    file.write_all(MAGIC)?;
    let mut part = Vec::new();
    let mut part_bytes = 0;
    let mut write = |record: &Record| {
        let record = encode(record)?;
        bytes += record.len();
        file.write_all(&record)
    };
    for (key, stored) in state.entries() {
        let Versioned {
            value,
            revision,
            create,
        } = stored.versioned.clone();
        part_bytes += key.len() + value.len();
        part.push(CopiedEntry {
            key: key.clone(),
            value,
            revision,
            create,
            lease: stored.lease.map(|lease| lease.0),
        });
        if part_bytes >= COPY_BYTES {
            part_bytes = 0;
            write(&Record::Copy(std::mem::take(&mut part)))?;
        }
    }
    write(&Record::Copy(part))?;
    write(&Record::CopyEnd(state.revision()))?;
    file.sync_all()?;
    fs::rename(&name, path)?;
    // The name is durable with its directory.
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)?.sync_all()?;
    Ok((file, bytes as u64))
}

fn encode(record: &Record) -> io::Result<Vec<u8>> {
    let payload = rkyv::to_bytes::<rancor::Error>(record).map_err(io::Error::other)?;
    if payload.len() > RECORD_BYTES_MAX {
        return Err(io::Error::other(
            "a record over 64 MiB; delete fewer keys at a time",
        ));
    }
    let length = (payload.len() as u32).to_le_bytes();
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&checksum(&length, &payload).to_le_bytes());
    bytes.extend_from_slice(&payload);
    Ok(bytes)
}

fn checksum(length: &[u8], payload: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(length);
    digest.update(payload);
    digest.finalize() as u32
}

/// The record at an offset and the offset after it, if it is whole.
fn record_at(bytes: &[u8], offset: usize) -> Option<(Record, usize)> {
    let rest = bytes.get(offset..)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let payload = rest.get(..u32::from_le_bytes(*length) as usize)?;
    if payload.len() > RECORD_BYTES_MAX || checksum(length, payload) != u32::from_le_bytes(*sum) {
        return None;
    }
    let record = rkyv::from_bytes::<Record, rancor::Error>(payload).ok()?;
    Some((record, offset + HEADER_BYTES + payload.len()))
}

/// Plays a file into the state; answers where its last whole record ends.
fn replay(path: &Path, bytes: &[u8], state: &mut State) -> Result<usize, Error> {
    let corrupt = |offset: usize, found: &str| Error::Corrupt {
        path: path.into(),
        offset: offset as u64,
        found: found.into(),
    };
    if !bytes.starts_with(MAGIC) {
        return Err(corrupt(0, "not a metastore of this format"));
    }
    let mut offset = MAGIC.len();
    let mut copied = false;
    while let Some((record, next)) = record_at(bytes, offset) {
        match record {
            Record::Copy(entries) if !copied => entries.into_iter().for_each(|e| restore(state, e)),
            Record::CopyEnd(revision) if !copied => {
                state.restore_revision(revision);
                copied = true;
            }
            Record::Change(change) if copied && change.revision == state.revision() + 1 => {
                state.apply(change);
            }
            _ => {
                return Err(corrupt(
                    offset,
                    "a whole record that does not follow the one before",
                ));
            }
        }
        offset = next;
    }
    // A copy gets its name only when it is whole.
    if !copied {
        return Err(corrupt(
            offset,
            "the copy that a file begins with is not whole",
        ));
    }
    let whole_after = (offset + 1..bytes.len()).find(|at| record_at(bytes, *at).is_some());
    match whole_after {
        Some(at) => Err(corrupt(
            offset,
            &format!("a bad record, and a good one at {at}"),
        )),
        None => Ok(offset),
    }
}

fn restore(state: &mut State, entry: CopiedEntry) {
    let versioned = Versioned {
        value: entry.value,
        revision: entry.revision,
        create: entry.create,
    };
    state.restore(entry.key, versioned, entry.lease.map(LeaseId));
}
