//! What lies in the files of a group, read without opening it.
//!
//! Relies on the decoders that opening uses, and on plain reads: nothing is written, locked, mapped
//! or repaired, so it is safe on any directory; on one in use, or copied while in use, what was
//! being written shows as a torn end or as a leftover. What must stay true: every file is reported,
//! damage names file and offset and never ends the walk, and no length is believed before it is
//! compared with the file's.

mod segment;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rama_wire::entry::BadEntry;

use crate::error::{Error, Result};
use crate::options::Identity;
use crate::{lsm, superblock};

/// Directories are searched this deep for groups.
const DEPTH_MAX: usize = 8;

/// Longer files are none of ours: positions in segments have 32 bits, tables end at 64 MiB and one
/// entry.
const FILE_BYTES_MAX: u64 = 3 << 30;

/// One group's directory.
#[derive(Clone, Debug)]
pub struct GroupReport {
    /// Where it is.
    pub dir: PathBuf,
    /// Whose it is, if the superblock can be read.
    pub identity: Option<Identity>,
    /// Its files, by path.
    pub files: Vec<FileReport>,
}

/// One file.
#[derive(Clone, Debug)]
pub struct FileReport {
    /// Where it is.
    pub path: PathBuf,
    /// What its name says it is: superblock, segment, manifest, table, scratch (rows that a running
    /// batch keeps for itself) or other.
    pub kind: &'static str,
    /// What is known of it in one word, such as sealed, open, empty, torn, whole, leftover.
    pub state: &'static str,
    /// Its length.
    pub bytes: u64,
    /// What it holds.
    pub facts: BTreeMap<&'static str, u64>,
    /// What is wrong with it.
    pub damage: Vec<Damage>,
}

/// A place that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where in the file.
    pub offset: u64,
    /// What was expected and what is there.
    pub what: String,
}

impl GroupReport {
    /// Places that are not what they should be.
    pub fn damage_count(&self) -> usize {
        self.files.iter().map(|file| file.damage.len()).sum()
    }
}

impl FileReport {
    pub(crate) fn new(path: &Path, kind: &'static str, bytes: u64) -> FileReport {
        FileReport {
            path: path.to_owned(),
            kind,
            state: "whole",
            bytes,
            facts: BTreeMap::new(),
            damage: Vec::new(),
        }
    }

    /// Takes note of a damaged place.
    pub(crate) fn damaged(&mut self, offset: u64, what: impl ToString) {
        self.state = "damaged";
        let what = what.to_string();
        self.damage.push(Damage { offset, what });
    }

    fn bad(&mut self, offset: u64, bad: &BadEntry) {
        let (what, expected, found) = bad.facts();
        self.damaged(
            offset,
            format!("{what}: expected {expected}, found {found}"),
        );
    }
}

/// Every group in `dir` or below it, by path.
///
/// # Errors
/// [`Error::Io`] when a directory or file cannot be read. Damage is no error: it is reported.
pub fn inspect(dir: &Path) -> Result<Vec<GroupReport>> {
    let mut groups = Vec::new();
    visit(dir, DEPTH_MAX, &mut groups)?;
    Ok(groups)
}

fn visit(dir: &Path, depth: usize, groups: &mut Vec<GroupReport>) -> Result<()> {
    let children = children(dir)?;
    let is_group = |path: &PathBuf| {
        let named = |name: &str| path.file_name().is_some_and(|found| found == name);
        named(superblock::NAME) || named("log") && path.is_dir()
    };
    if children.iter().any(is_group) {
        groups.push(group(dir)?);
        return Ok(());
    }
    for child in children {
        if depth > 0 && child.is_dir() && !child.is_symlink() {
            visit(&child, depth - 1, groups)?;
        }
    }
    Ok(())
}

fn group(dir: &Path) -> Result<GroupReport> {
    let (mut identity, mut files) = (None, Vec::new());
    let path = dir.join(superblock::NAME);
    match path.exists() {
        true => {
            let bytes = read(&path)?;
            let mut report = FileReport::new(&path, "superblock", bytes.len() as u64);
            let (owner, damage) = superblock::read_copies(&bytes);
            damage.iter().for_each(|(at, bad)| report.bad(*at, bad));
            identity = owner;
            files.push(report);
        }
        false => {
            let mut report = FileReport::new(&path, "superblock", 0);
            report.damaged(0, "missing beside a log");
            files.push(report);
        }
    }
    for child in children(dir)? {
        let name = child.file_name().unwrap_or_default().to_string_lossy();
        if name == "log" {
            segment::inspect(&child, identity, &mut files)?;
        } else if let Some(partition) = name.strip_prefix("store-") {
            let cluster = identity.map(|identity| identity.cluster);
            let owner = cluster.zip(partition.parse().ok());
            let owner = owner.map(|(cluster, partition)| lsm::Identity { cluster, partition });
            lsm::inspect::inspect(&child, owner, &mut files)?;
        } else if name == lsm::scratch::DIR {
            for file in &self::children(&child)? {
                let mut report = other(file)?;
                report.kind = "scratch";
                files.push(report);
            }
        } else if name != superblock::NAME {
            files.push(other(&child)?);
        }
    }
    Ok(GroupReport {
        dir: dir.to_owned(),
        identity,
        files,
    })
}

/// A file that nothing names.
pub(crate) fn other(path: &Path) -> Result<FileReport> {
    let found = fs::symlink_metadata(path).map_err(failed("look at", path))?;
    let mut report = FileReport::new(path, "other", found.len());
    report.state = "leftover";
    Ok(report)
}

/// What is in a directory, sorted.
pub(crate) fn children(dir: &Path) -> Result<Vec<PathBuf>> {
    let list = || {
        let entries = fs::read_dir(dir)?.map(|entry| Ok(entry?.path()));
        entries.collect::<io::Result<Vec<_>>>()
    };
    let mut children = list().map_err(failed("list", dir))?;
    children.sort();
    Ok(children)
}

/// The whole content of a file that can be one of ours.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let len = fs::metadata(path).map_err(failed("look at", path))?.len();
    if len > FILE_BYTES_MAX {
        let text = format!("{len} bytes are more than any file of a group has");
        return Err(failed("read", path)(io::Error::other(text)));
    }
    fs::read(path).map_err(failed("read", path))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |error| Error::io(what, &path, error)
}

#[cfg(test)]
mod tests;
