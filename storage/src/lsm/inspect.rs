//! The files of a store, read without opening it.
//!
//! Relies on `manifest` and `table`. Every page is compared with its checksum and every entry is
//! visited. What must stay true: nothing here changes a file; damage is reported and never ends the
//! walk.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::Result;
use crate::inspect::{FileReport, children, other, read};
use crate::lsm::error::{Corruption, Error};
use crate::lsm::manifest::{self, Manifest};
use crate::lsm::read::Order;
use crate::lsm::store::Identity;
use crate::lsm::table::{Cursor, Table, table_path};

/// Reports every file of the directory of a store.
pub(crate) fn inspect(
    dir: &Path,
    owner: Option<Identity>,
    files: &mut Vec<FileReport>,
) -> Result<()> {
    let path = dir.join(manifest::NAME);
    let mut report = FileReport::new(&path, "manifest", 0);
    let mut runs = BTreeMap::new();
    if !path.exists() {
        report.damaged(0, "missing");
    } else {
        let bytes = read(&path)?;
        report.bytes = bytes.len() as u64;
        match Manifest::parse(&path, &bytes) {
            Err(corruption) => damaged(&mut report, &corruption),
            Ok((found, manifest)) => {
                check_owner(&mut report, owner, found);
                runs = note_manifest(&mut report, dir, &manifest);
            }
        }
    }
    files.push(report);
    for path in children(dir)?.iter().filter(|found| **found != path) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let id = name.strip_suffix(".table");
        match id.and_then(|id| id.parse::<u64>().ok()) {
            Some(id) => files.push(table(path, id, owner, runs.get(&id))?),
            None => files.push(other(path)?),
        }
    }
    Ok(())
}

/// The run of each table the manifest names.
fn note_manifest(report: &mut FileReport, dir: &Path, manifest: &Manifest) -> BTreeMap<u64, u64> {
    report.facts.insert("generation", manifest.generation);
    report.facts.insert("persisted", manifest.persisted);
    report.facts.insert("runs", manifest.runs.len() as u64);
    let mut runs = BTreeMap::new();
    for (run, ids) in manifest.runs.iter().enumerate() {
        for id in ids {
            runs.insert(*id, run as u64);
            let path = table_path(dir, *id);
            if !path.exists() {
                report.damaged(0, format!("{} is named and missing", path.display()));
            }
        }
    }
    report.facts.insert("tables", runs.len() as u64);
    runs
}

fn table(path: &Path, id: u64, owner: Option<Identity>, run: Option<&u64>) -> Result<FileReport> {
    let bytes = read(path)?;
    let mut report = FileReport::new(path, "table", bytes.len() as u64);
    if run.is_none() {
        report.state = "leftover";
    }
    report.facts.extend(run.map(|run| ("run", *run)));
    match Table::whose(path, bytes) {
        Err(corruption) => damaged(&mut report, &corruption),
        Ok((found, whose, table)) => {
            check_owner(&mut report, owner, whose);
            if found != id {
                report.damaged(0, format!("it is table {found}"));
            }
            pages(&mut report, &table);
            if let Err(error) = entries(&mut report, &table) {
                match error {
                    // A damaged page is known by now.
                    Error::Corrupt(_) if !report.damage.is_empty() => {}
                    Error::Corrupt(corruption) => damaged(&mut report, &corruption),
                    error => report.damaged(0, error),
                }
            }
        }
    }
    Ok(report)
}

fn pages(report: &mut FileReport, table: &Table) {
    let mut page = 0;
    loop {
        match table.verify_page(page) {
            Ok(false) => break,
            Ok(true) => {}
            Err(corruption) => damaged(report, &corruption),
        }
        page += 1;
    }
    report.facts.insert("pages", page as u64);
}

fn entries(report: &mut FileReport, table: &Table) -> Result<(), Error> {
    let (mut values, mut deletes, mut ranges) = (0, 0, 0);
    for space in table.spaces() {
        ranges += space.ranges.len() as u64;
        let mut cursor = Cursor::new(table, space, &[], None)?;
        let mut last: Option<&[u8]> = None;
        while let Some((key, value)) = cursor.step(Order::Ascending)? {
            if last.is_some_and(|last| last >= key) {
                report.damaged(space.begin, format!("keys of space {} fall", space.space));
                break;
            }
            last = Some(key);
            match value {
                Some(_) => values += 1,
                None => deletes += 1,
            }
        }
    }
    let spaces = table.spaces().len() as u64;
    let facts = [("spaces", spaces), ("values", values), ("deletes", deletes)];
    report.facts.extend(facts);
    report.facts.insert("range_deletes", ranges);
    Ok(())
}

fn check_owner(report: &mut FileReport, owner: Option<Identity>, found: Identity) {
    if owner.is_some_and(|owner| owner != found) {
        let (partition, cluster) = (found.partition, found.cluster);
        let whose = format!("it belongs to partition {partition} of cluster {cluster:032x}");
        report.damaged(0, whose);
    }
}

fn damaged(report: &mut FileReport, corruption: &Corruption) {
    let (expected, found) = (&corruption.expected, &corruption.found);
    report.damaged(
        corruption.offset,
        format!("expected {expected}, found {found}"),
    );
}
