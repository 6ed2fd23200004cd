//! The segments of a replog: footers, entries, and whether they chain.
//!
//! Relies on `replog`. Every entry of every segment is read and compared with its checksums, sealed
//! or not. What must stay true: a torn end of the last segment with entries is no damage, for nobody
//! was told that it is durable; the same anywhere else is.

use std::path::Path;

use rama_wire::Index;
use rama_wire::entry::{BadEntry, Header, Op, Ops, crc32c};

use super::{FileReport, children, other, read};
use crate::error::Result;
use crate::options::Identity;
use crate::replog::footer::{Directory, TRAILER_BYTES, Trailer};
use crate::replog::scan::{Found, Scan};
use crate::replog::segment::{Chain, HEADER_BLOCK_BYTES, id_of, read_header};

/// Reports every file of the directory.
pub(super) fn inspect(
    dir: &Path,
    owner: Option<Identity>,
    files: &mut Vec<FileReport>,
) -> Result<()> {
    let mut before: Option<(u64, Chain)> = None;
    // The last segment with entries may end with a torn write; it is known only at the end.
    let mut torn: Option<(usize, u64, BadEntry)> = None;
    for path in children(dir)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(id) = id_of(&name) else {
            files.push(other(&path)?);
            continue;
        };
        let bytes = read(&path)?;
        let mut report = FileReport::new(&path, "segment", bytes.len() as u64);
        check_header(&mut report, &bytes, owner, id);
        let known = before.as_ref().map(|(_, chain)| chain);
        let (chain, stop) = entries(&mut report, &bytes, id, known);
        if let Some((last, _)) = before.filter(|(last, _)| last + 1 != id) {
            report.damaged(0, format!("segment {} before it is missing", last + 1));
        }
        if chain.last_index > Index::ZERO {
            if let Some((at, offset, bad)) = torn.take() {
                files[at].bad(offset, &bad);
            }
            before = Some((id, chain));
            torn = stop.map(|(offset, bad)| (files.len(), offset, bad));
        } else {
            // Made ahead and not used yet.
            before = before.map(|(_, chain)| (id, chain));
        }
        files.push(report);
    }
    Ok(())
}

fn check_header(report: &mut FileReport, bytes: &[u8], owner: Option<Identity>, id: u64) {
    let block = bytes.get(..HEADER_BLOCK_BYTES as usize).unwrap_or_default();
    match read_header(block) {
        Err(bad) => report.bad(0, &bad),
        Ok((found, _)) if owner.is_some_and(|owner| owner != found) => {
            report.damaged(0, format!("it belongs to {found}"));
        }
        Ok((_, found)) if found != id => report.damaged(0, format!("it is segment {found}")),
        Ok(_) => {}
    }
}

/// Walks the entries. Answers the chain, and the torn end if there is one.
fn entries(
    report: &mut FileReport,
    bytes: &[u8],
    id: u64,
    before: Option<&Chain>,
) -> (Chain, Option<(u64, BadEntry)>) {
    let sealed = footer(report, bytes, id);
    let first = bytes.get(HEADER_BLOCK_BYTES as usize..).unwrap_or_default();
    let first = Header::decode(first).ok().map(|(header, _)| header);
    let (index, previous) = match (before, first) {
        (Some(chain), _) => (Some(chain.last_index.next()), chain.last_crc),
        (None, Some(header)) => (None, header.previous_crc),
        (None, None) => (None, 0),
    };
    // The footer is not a place for entries.
    let end = sealed.map_or(bytes.len(), |chain| chain.entries_end as usize);
    let region = bytes.get(..end).unwrap_or(bytes);
    let mut scan = Scan::new(region, id, index, previous, None);
    let stop = loop {
        match scan.next() {
            Ok(found) => count(report, &found),
            Err(stop) => break stop,
        }
    };
    let at = u64::from(stop.position);
    let tail = region.get(stop.position as usize..).unwrap_or_default();
    let clean = tail.iter().all(|byte| *byte == 0);
    let explained = scan.later_write(stop.position).is_none() && !scan.contradicts(stop.position);
    let chain = scan.chain;
    note(report, &chain);
    if let Some(footer) = sealed {
        if report.state != "damaged" {
            report.state = "sealed";
        }
        if chain.last_index != footer.last_index || chain.last_crc != footer.last_crc {
            report.bad(at, &stop.bad);
        }
        return (footer, None);
    }
    if !explained {
        report.bad(at, &stop.bad);
    } else if report.state != "damaged" {
        let empty = chain.last_index == Index::ZERO;
        report.state = match (clean, empty) {
            (true, true) => "empty",
            (true, false) => "open",
            (false, _) => "torn",
        };
    }
    (chain, (explained && !clean).then_some((at, stop.bad)))
}

/// The chain of a sealed segment, by its footer.
fn footer(report: &mut FileReport, bytes: &[u8], id: u64) -> Option<Chain> {
    let at = bytes.len().checked_sub(TRAILER_BYTES)?;
    let trailer = Trailer::decode(&bytes[at..], bytes.len() as u64).ok()?;
    if let Err(bad) = BadEntry::check("segment of the trailer", id, trailer.segment) {
        report.bad(at as u64, &bad);
    }
    let (start, index_at) = (trailer.directory_at as usize, trailer.index_at() as usize);
    let directory = bytes.get(start..index_at).unwrap_or_default();
    match Directory::decode(&trailer, directory, bytes.len() as u64) {
        Ok(directory) => {
            report.facts.insert("logs", directory.bounds.len() as u64);
        }
        Err(bad) => report.bad(start as u64, &bad),
    }
    let index = bytes.get(index_at..index_at + trailer.index_bytes as usize);
    let crc = u64::from(crc32c(index.unwrap_or_default()));
    if let Err(bad) = BadEntry::check("index crc", u64::from(trailer.index_crc), crc) {
        report.bad(index_at as u64, &bad);
    }
    Some(trailer.chain)
}

fn count(report: &mut FileReport, found: &Found<'_>) {
    let mut add = |what, count: u64| *report.facts.entry(what).or_default() += count;
    add("entries", 1);
    add("payload_bytes", found.payload.len() as u64);
    add(
        "writes",
        u64::from(found.header.position == found.header.write_start),
    );
    for (_, op) in Ops::new(found.payload).filter_map(|op| op.ok()) {
        match op {
            Op::Append { records, .. } => {
                add("appends", 1);
                add("records", records.len() as u64);
            }
            Op::Write { .. } => add("store_writes", 1),
            Op::Prepare { .. } => add("prepares", 1),
            Op::Commit { .. } => add("commits", 1),
            Op::Abort { .. } => add("aborts", 1),
            Op::Trim { .. } => add("trims", 1),
        }
    }
    if let Some(bad) = Ops::new(found.payload).find_map(|op| op.err()) {
        report.bad(u64::from(found.header.position), &bad);
    }
}

fn note(report: &mut FileReport, chain: &Chain) {
    if chain.last_index > Index::ZERO {
        report.facts.insert("first_index", chain.first_index.0);
        report.facts.insert("last_index", chain.last_index.0);
        report.facts.insert("epoch", chain.epoch);
    }
}
