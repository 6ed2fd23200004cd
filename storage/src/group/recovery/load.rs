//! Reading the segments of a directory: footers where there are any, scans where there are none.
//!
//! Relies on `replog`. What must stay true: the segments that are returned chain without a gap
//! from the first to the last entry; a bad place is forgiven only at the very end of the log, and
//! only when no later device write was begun.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rama_io::{Env, File, Open};

use rama_wire::entry::{BadEntry, HEADER_BYTES, Header, Op, Ops};
use smallvec::SmallVec;

use crate::error::{Error, Result};
use crate::group::batch::{Effect, Pending};
use crate::lsm::WriteBatch;
use crate::options::{Identity, Mutant};
use crate::replog::footer::{Directory, LogBounds, TRAILER_BYTES, Trailer};
use crate::replog::scan::{Found, Scan, Stop};
use crate::replog::segment::{
    Body, Chain, Chunk, HEADER_BLOCK_BYTES, LogKey, Segment, id_of, path_of, verify_header,
};

/// One read of the disk.
const READ_BYTES: usize = 4 << 20;

/// All segments of a directory.
#[derive(Default)]
pub(super) struct Loaded {
    pub sealed: Vec<(Segment, BTreeMap<LogKey, LogBounds>)>,
    pub scanned: Vec<Scanned>,
    /// Segments at the end that hold no entry.
    pub empty: Vec<u64>,
    /// Bytes behind the last entry that are not zeros.
    pub cut_bytes: u64,
}

/// A segment without a footer.
pub(super) struct Scanned {
    pub segment: Segment,
    pub entries: Vec<Pending>,
    /// The chain at the last entry; the segment's own grows as entries are noted.
    chain: Chain,
    stop: Stop,
    /// The stop lies in the last write, which nobody was told is durable.
    torn: bool,
    begun: Option<Header>,
    /// Where the last write began.
    last_write: u32,
    cut_bytes: u64,
}

/// Step 3 of opening.
pub(super) async fn load<E: Env>(
    env: &E,
    log_dir: &Path,
    identity: Identity,
    mutant: Option<Mutant>,
) -> Result<Loaded> {
    let ids = segment_ids(env, log_dir).await?;
    let mut loaded = Loaded::default();
    let mut chain: Option<Chain> = None;
    for id in ids {
        let path = path_of(log_dir, id);
        let file = Reader::open(env, &path).await?;
        let block = file.read(0, HEADER_BLOCK_BYTES as usize).await?;
        verify_header(&path, &block, identity, id)?;
        if let Some(directory) = file.directory(id).await? {
            let segment = directory.segment;
            check_chain(&path, chain, &segment.chain, id)?;
            check_cut(&loaded, log_dir)?;
            chain = Some(segment.chain);
            // A sealed segment behind a scanned one: the scanned one is complete, sealing was
            // only interrupted. Later steps take segments in order, so it is scanned as well.
            if loaded.scanned.is_empty() {
                loaded.sealed.push((segment, directory.bounds));
                continue;
            }
        }
        let previous = match chain {
            Some(chain) => chain,
            None if id == 1 => Chain::default(),
            None => return Err(missing(log_dir, id - 1)),
        };
        let scanned = scan(&file, id, &previous, mutant).await?;
        if scanned.entries.is_empty() {
            if mutant != Some(Mutant::CutAnywhere) {
                check_begun(&loaded, log_dir, &scanned, &previous)?;
                scanned.check_torn(log_dir)?;
            }
            loaded.empty.push(id);
            continue;
        }
        check_cut(&loaded, log_dir)?;
        chain = Some(scanned.chain);
        loaded.scanned.push(scanned);
    }
    check_end(&loaded, log_dir, mutant)?;
    loaded.cut_bytes = loaded.scanned.last().map_or(0, |scanned| scanned.cut_bytes);
    Ok(loaded)
}

/// Writes again what can be read and may yet not be durable: the last footer, and the last write
/// of each segment without one. Their flush may have failed, or nobody waited for it, when the
/// last process died; and nothing is mapped yet.
pub(super) async fn rewrite_doubtful<E: Env>(
    env: &E,
    log_dir: &Path,
    loaded: &Loaded,
) -> Result<()> {
    let footer = loaded.sealed.last().map(|(segment, _)| {
        let from = segment.chain.entries_end;
        (segment.id, from, segment.file_bytes)
    });
    let writes = loaded.scanned.iter().map(|scanned| {
        let end = u64::from(scanned.segment.chain.entries_end);
        (scanned.segment.id, scanned.last_write, end)
    });
    for (id, from, end) in footer.into_iter().chain(writes) {
        let file = Reader::open(env, &path_of(log_dir, id)).await?;
        let from = u64::from(from);
        let bytes = file.read(from, (end - from) as usize).await?;
        let mut buffer = file.file.buffer(bytes.len());
        buffer.copy_from_slice(&bytes);
        let written = file.file.write_durable(from, buffer).await;
        written.map_err(|error| Error::io("rewrite the end of", &file.path, error))?;
    }
    Ok(())
}

/// Segments with entries must not follow one that was found empty.
fn check_cut(loaded: &Loaded, log_dir: &Path) -> Result<()> {
    let Some(id) = loaded.empty.first() else {
        return Ok(());
    };
    let bad = BadEntry::Field {
        what: "entries of a segment that is not the last",
        expected: 1,
        found: 0,
    };
    Err(Error::corrupt(
        &path_of(log_dir, *id),
        u64::from(HEADER_BLOCK_BYTES),
        &bad,
    ))
}

/// The bad place behind the last entry must be in the last device write.
fn check_end(loaded: &Loaded, log_dir: &Path, mutant: Option<Mutant>) -> Result<()> {
    let Some(last) = loaded
        .scanned
        .last()
        .filter(|_| mutant != Some(Mutant::CutAnywhere))
    else {
        return Ok(());
    };
    last.check_torn(log_dir)
}

impl Scanned {
    /// `Ok` when a torn last write explains where the scan stopped.
    fn check_torn(&self, log_dir: &Path) -> Result<()> {
        if self.torn {
            return Ok(());
        }
        let path = path_of(log_dir, self.segment.id);
        let position = u64::from(self.stop.position);
        Err(Error::corrupt(&path, position, &self.stop.bad))
    }
}

/// A sealed segment must follow the one before.
fn check_chain(path: &Path, before: Option<Chain>, chain: &Chain, id: u64) -> Result<()> {
    let corrupt = |bad: BadEntry| Error::corrupt(path, 0, &bad);
    let Some(before) = before else {
        // The first segment there is: earlier ones were removed.
        return match id {
            1 => BadEntry::check("first index", 1, chain.first_index.0).map_err(corrupt),
            _ => Ok(()),
        };
    };
    let (expected, found) = (before.last_index.next().0, chain.first_index.0);
    BadEntry::check("first index of the segment", expected, found).map_err(corrupt)?;
    let (expected, found) = (u64::from(before.last_crc), u64::from(chain.previous_crc));
    BadEntry::check("crc of the entry before the segment", expected, found).map_err(corrupt)
}

/// The segments by file name; they must be consecutive.
async fn segment_ids<E: Env>(env: &E, log_dir: &Path) -> Result<Vec<u64>> {
    let names = env.list(log_dir).await;
    let names = names.map_err(|error| Error::io("list", log_dir, error))?;
    let ids: Vec<u64> = names.iter().filter_map(|name| id_of(name)).collect();
    for pair in ids.windows(2) {
        if pair[1] != pair[0] + 1 {
            return Err(missing(log_dir, pair[0] + 1));
        }
    }
    Ok(ids)
}

fn missing(log_dir: &Path, id: u64) -> Error {
    Error::Mismatch {
        path: path_of(log_dir, id),
        what: "the segment",
        expected: "present".to_owned(),
        found: "missing".to_owned(),
    }
}

/// A write to a segment begins when everything before it is durable. So if one was begun in a
/// segment that holds no acceptable entry, the segment before must end without a torn write, and
/// with the entry that the begun one names.
fn check_begun(loaded: &Loaded, log_dir: &Path, empty: &Scanned, previous: &Chain) -> Result<()> {
    let Some(begun) = empty.begun else {
        return Ok(());
    };
    let before = path_of(log_dir, empty.segment.id.saturating_sub(1));
    let end = u64::from(previous.entries_end);
    let corrupt = |bad: BadEntry| Error::corrupt(&before, end, &bad);
    if let Some(last) = loaded.scanned.last().filter(|last| last.cut_bytes > 0) {
        return Err(corrupt(last.stop.bad.clone()));
    }
    if begun.position == HEADER_BLOCK_BYTES {
        let (expected, found) = (begun.index.0, previous.last_index.next().0);
        BadEntry::check("index after the last entry", expected, found).map_err(corrupt)?;
        let (expected, found) = (u64::from(begun.previous_crc), u64::from(previous.last_crc));
        BadEntry::check("crc of the last entry", expected, found).map_err(corrupt)?;
    }
    Ok(())
}

/// A segment file under inspection.
struct Reader<E: Env> {
    path: PathBuf,
    file: E::File,
    len: u64,
}

impl<E: Env> Reader<E> {
    async fn open(env: &E, path: &Path) -> Result<Reader<E>> {
        let failed = |error| Error::io("open", path, error);
        let file = env.open(path, Open::Existing).await.map_err(failed)?;
        let len = file.len().await.map_err(failed)?;
        let path = path.to_owned();
        Ok(Reader { path, file, len })
    }

    async fn read(&self, position: u64, len: usize) -> Result<Vec<u8>> {
        let read = self.file.read(position, len).await;
        read.map_err(|error| Error::io("read", &self.path, error))
    }

    /// The whole file.
    async fn read_all(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(self.len as usize);
        while (bytes.len() as u64) < self.len {
            let left = self.len - bytes.len() as u64;
            let part = self
                .read(bytes.len() as u64, READ_BYTES.min(left as usize))
                .await?;
            if part.is_empty() {
                break;
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }

    /// What the footer says; `None` when the segment has none.
    async fn directory(&self, id: u64) -> Result<Option<Directory>> {
        let Some(at) = self.len.checked_sub(TRAILER_BYTES as u64) else {
            return Ok(None);
        };
        let end = self.read(at, TRAILER_BYTES).await?;
        let Ok(trailer) = Trailer::decode(&end, self.len) else {
            return Ok(None);
        };
        let corrupt = |at: u64| move |bad: BadEntry| Error::corrupt(&self.path, at, &bad);
        BadEntry::check("segment of the trailer", id, trailer.segment).map_err(corrupt(at))?;
        let at = u64::from(trailer.directory_at);
        let bytes = self.read(at, trailer.directory_bytes as usize).await?;
        Directory::decode(&trailer, &bytes, self.len)
            .map(Some)
            .map_err(corrupt(at))
    }
}

async fn scan<E: Env>(
    file: &Reader<E>,
    id: u64,
    previous: &Chain,
    mutant: Option<Mutant>,
) -> Result<Scanned> {
    let mut bytes = file.read_all().await?;
    let mut segment = Segment::new(id, previous.last_crc);
    let first = Some(previous.last_index.next());
    let mut entries = Vec::new();
    let (stop, torn, begun, last_write, chain) = {
        let mut scan = Scan::new(&bytes, id, first, previous.last_crc, mutant);
        let stop = loop {
            match scan.next() {
                Err(stop) => break stop,
                Ok(found) => {
                    let effects = effects_of(&file.path, &found)?;
                    let index = found.header.index;
                    entries.push(Pending::recovered(index, id, found.crc, effects));
                }
            }
        };
        let at = stop.position;
        let torn = scan.later_write(at).is_none() && !scan.contradicts(at);
        (stop, torn, scan.any_write(), scan.last_write(), scan.chain)
    };
    let tail = bytes.get(chain.entries_end as usize..).unwrap_or_default();
    let cut_bytes = tail
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at as u64 + 1);
    bytes.truncate(chain.entries_end as usize);
    // Indices and crcs are noted entry by entry; epoch and end are those of the whole.
    segment.chain.epoch = chain.epoch;
    segment.chain.entries_end = chain.entries_end;
    segment.file_bytes = file.len;
    segment.body = Body::Tail(vec![Rc::new(Chunk { start: 0, bytes })]);
    Ok(Scanned {
        segment,
        entries,
        chain,
        stop,
        torn,
        begun,
        last_write,
        cut_bytes,
    })
}

/// What applying an entry does, read from its payload.
pub(super) fn effects_of(path: &Path, found: &Found<'_>) -> Result<SmallVec<[Effect; 1]>> {
    let at = found.header.position + HEADER_BYTES as u32;
    let corrupt = |bad: &BadEntry| Error::corrupt(path, u64::from(at), bad);
    let mut effects = SmallVec::new();
    for op in Ops::new(found.payload) {
        let (place, op) = op.map_err(|bad| corrupt(&bad))?;
        effects.push(effect_of(op, at + place as u32)?);
    }
    let (expected, found) = (u64::from(found.header.op_count), effects.len() as u64);
    BadEntry::check("op count", expected, found).map_err(|bad| corrupt(&bad))?;
    Ok(effects)
}

fn effect_of(op: Op<'_>, position: u32) -> Result<Effect> {
    Ok(match op {
        Op::Append {
            partition,
            log,
            time_ms,
            first_offset,
            records,
        } => Effect::Append {
            partition,
            log,
            time_ms,
            first: first_offset,
            count: records.len() as u32,
            position,
        },
        Op::Write { partition, batch } => Effect::Write {
            partition,
            batch: decode_batch(batch)?,
        },
        Op::Prepare {
            partition,
            slot,
            txn,
            attempt,
            batch,
        } => Effect::Prepare {
            key: (partition, slot, txn),
            attempt,
            batch: decode_batch(batch)?,
        },
        Op::Commit {
            partition,
            slot,
            txn,
        } => Effect::Commit {
            key: (partition, slot, txn),
        },
        Op::Abort {
            partition,
            slot,
            txn,
            attempt,
        } => Effect::Abort {
            key: (partition, slot, txn),
            attempt,
        },
        Op::Trim {
            partition,
            log,
            before,
        } => Effect::Trim {
            partition,
            log,
            before,
        },
    })
}

fn decode_batch(bytes: &[u8]) -> Result<WriteBatch> {
    WriteBatch::from_bytes(bytes).map_err(|error| Error::Store(error.into()))
}
