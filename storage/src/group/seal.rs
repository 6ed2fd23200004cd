//! Sealing complete segments, and mapping sealed ones.
//!
//! Relies on `replog::footer` and `replog::scan`. What must stay true: a segment is mapped only
//! when nothing will write it any more, and served from its map only after every byte was compared
//! with what was written, or passed its checksums.

use std::path::Path;

use rama_io::{Env, File, Mapping, Open};
use rama_wire::entry::{BadEntry, crc32c};

use super::Shared;
use crate::error::{Error, Result};
use crate::replog::footer::{Footer, TRAILER_BYTES, Trailer};
use crate::replog::scan::Scan;
use crate::replog::segment::{Body, OpIndex};

/// Bytes verified between two turns of other work.
const SLICE_BYTES: usize = 256 << 10;

/// Writes the footer of a complete segment, then serves it from its map.
pub(super) async fn seal<E: Env>(shared: &Shared<E>, id: u64) -> Result<()> {
    let (path, end, footer) = {
        let state = shared.state.borrow();
        let segment = &state.segments[&id];
        let footer = Footer::encode(segment, &state.bounds_at(id));
        (state.path_of(id), segment.chain.entries_end, footer)
    };
    let Footer { bytes, spans } = footer;
    let bytes_len = bytes.len() as u64;
    let written = write_footer(&shared.env, &path, u64::from(end), bytes).await;
    written.map_err(|error| shared.poison(&Error::io("seal", &path, error)))?;
    {
        let mut state = shared.state.borrow_mut();
        state.stats.segment_bytes += bytes_len;
        state.stats.sealed += 1;
        if let Some(segment) = state.segments.get_mut(&id) {
            segment.sealed = true;
            segment.file_bytes = u64::from(end) + bytes_len;
        }
    }
    let mapping = map(shared, &path).await?;
    compare(shared, id, &path, &mapping).await?;
    let mut state = shared.state.borrow_mut();
    let Some(segment) = state.segments.get_mut(&id) else {
        return Ok(());
    };
    segment.body = Body::Mapped(mapping);
    for (key, ops) in spans {
        segment.spans.entry(key).and_modify(|span| span.ops = ops);
    }
    Ok(())
}

async fn write_footer<E: Env>(
    env: &E,
    path: &Path,
    end: u64,
    bytes: Vec<u8>,
) -> std::io::Result<()> {
    let file = env.open(path, Open::Existing).await?;
    // Zeros written ahead, or a torn write, end here. Nobody has mapped the file.
    if file.len().await? != end {
        file.set_len(end).await?;
        file.flush().await?;
    }
    // The block with the trailer comes last, when all it vouches for is durable.
    let (body, trailer) = bytes.split_at(bytes.len() - <E::File as File>::ALIGN);
    for (at, part) in [(end, body), (end + body.len() as u64, trailer)] {
        if !part.is_empty() {
            let mut buffer = file.buffer(part.len());
            buffer.copy_from_slice(part);
            file.write_durable(at, buffer).await?;
        }
    }
    file.flush().await
}

async fn map<E: Env>(shared: &Shared<E>, path: &Path) -> Result<Mapping> {
    let mapped = shared.env.map(path).await;
    mapped.map_err(|error| Error::io("map", path, error))
}

/// The map must show what was written; else the device lies, and nothing it holds is believed.
async fn compare<E: Env>(
    shared: &Shared<E>,
    id: u64,
    path: &Path,
    mapping: &Mapping,
) -> Result<()> {
    let chunks = match shared.state.borrow().segments.get(&id).map(|s| &s.body) {
        Some(Body::Tail(chunks)) => chunks.clone(),
        _ => return Ok(()),
    };
    for chunk in chunks {
        let start = chunk.start as usize;
        for (slice, written) in chunk.bytes.chunks(SLICE_BYTES).enumerate() {
            let offset = start + slice * SLICE_BYTES;
            let read = mapping
                .get(offset..offset + written.len())
                .unwrap_or_default();
            if written != read {
                let bad = BadEntry::Field {
                    what: "crc of bytes read back",
                    expected: u64::from(crc32c(written)),
                    found: u64::from(crc32c(read)),
                };
                return Err(shared.poison(&Error::corrupt(path, offset as u64, &bad)));
            }
            shared.env.yield_now().await;
        }
    }
    Ok(())
}

/// Maps a cold segment and verifies all of it, in slices; then it serves reads.
pub(super) async fn warm<E: Env>(shared: &Shared<E>, id: u64) -> Result<Mapping> {
    let path = {
        let state = shared.state.borrow();
        match state.segments.get(&id).map(|segment| &segment.body) {
            Some(Body::Mapped(mapping)) => return Ok(mapping.clone()),
            _ => state.path_of(id),
        }
    };
    let mapping = map(shared, &path).await?;
    verify(shared, id, &path, &mapping).await?;
    if let Some(segment) = shared.state.borrow_mut().segments.get_mut(&id) {
        segment.body = Body::Mapped(mapping.clone());
    }
    Ok(mapping)
}

async fn verify<E: Env>(shared: &Shared<E>, id: u64, path: &Path, mapping: &Mapping) -> Result<()> {
    let trailer_at = mapping.len().saturating_sub(TRAILER_BYTES);
    let trailer = Trailer::decode(&mapping[trailer_at..], mapping.len() as u64)
        .map_err(|bad| Error::corrupt(path, trailer_at as u64, &bad))?;
    let index_at = trailer.index_at() as usize;
    let index = mapping.get(index_at..index_at + trailer.index_bytes as usize);
    let crc = u64::from(crc32c(index.unwrap_or_default()));
    BadEntry::check("index crc", u64::from(trailer.index_crc), crc)
        .map_err(|bad| Error::corrupt(path, index_at as u64, &bad))?;
    check_index_bounds(shared, id, mapping.len())
        .map_err(|bad| Error::corrupt(path, index_at as u64, &bad))?;
    let first = Some(trailer.chain.first_index);
    let (end, previous) = (
        trailer.chain.entries_end as usize,
        trailer.chain.previous_crc,
    );
    let entries = mapping.get(..end).unwrap_or_default();
    let mutant = shared.options.mutant;
    let mut scan = Scan::new(entries, id, first, previous, mutant);
    let mut turn_at = 0;
    while scan.chain.last_index < trailer.chain.last_index {
        let found = scan.next();
        found.map_err(|stop| Error::corrupt(path, u64::from(stop.position), &stop.bad))?;
        if scan.chain.entries_end as usize >= turn_at + SLICE_BYTES {
            turn_at = scan.chain.entries_end as usize;
            shared.env.yield_now().await;
        }
    }
    let (expected, found) = (trailer.chain.last_crc, scan.chain.last_crc);
    BadEntry::check(
        "crc of the last entry",
        u64::from(expected),
        u64::from(found),
    )
    .map_err(|bad| Error::corrupt(path, end as u64, &bad))
}

/// Every span's index must lie in the file.
fn check_index_bounds<E: Env>(
    shared: &Shared<E>,
    id: u64,
    file_bytes: usize,
) -> Result<(), BadEntry> {
    let state = shared.state.borrow();
    let Some(segment) = state.segments.get(&id) else {
        return Ok(());
    };
    for span in segment.spans.values() {
        if let OpIndex::Footer { at, count } = span.ops {
            let end = u64::from(at) + u64::from(count) * 8;
            if end > file_bytes as u64 {
                BadEntry::check("end of a log index", file_bytes as u64, end)?;
            }
        }
    }
    Ok(())
}
