//! The names of one simulated disk: directories, files, and which of the changes are durable.
//!
//! Relies on `inode` for content. Creating, renaming and removing change the view of the running
//! process at once and the durable view when their directory is synced. A power cut applies a
//! prefix of the unsynced changes, or a random subset in order, whatever makes sense on the names
//! that are there. What must stay true: a rename is atomic – it never loses its file – and no
//! synced change is undone.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::config::Faults;
use super::inode::Inode;
use super::rng::Rng;

/// A file that several names and handles may share.
pub(super) type SharedInode = Arc<Mutex<Inode>>;

/// Locks a file; a panic elsewhere has already ended the run.
pub(super) fn lock(inode: &SharedInode) -> MutexGuard<'_, Inode> {
    inode.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
pub(super) struct Disk {
    dirs: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, SharedInode>,
    durable: BTreeMap<PathBuf, SharedInode>,
    /// Changes of names that are not durable, oldest first.
    journal: Vec<Change>,
    sequence: u64,
    /// Files the process has open; held weakly, they matter when it dies.
    opened: Vec<std::sync::Weak<Mutex<Inode>>>,
    inode_count: u64,
}

struct Change {
    sequence: u64,
    kind: Kind,
}

enum Kind {
    Create {
        path: PathBuf,
        inode: SharedInode,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        inode: SharedInode,
    },
    Remove {
        path: PathBuf,
        inode: SharedInode,
    },
}

impl Disk {
    pub(super) fn make_dir(&mut self, dir: &Path) {
        for dir in dir.ancestors().filter(|dir| !dir.as_os_str().is_empty()) {
            self.dirs.insert(dir.to_owned());
        }
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<SharedInode> {
        self.check_parent("create", path)?;
        if self.names.contains_key(path) || self.dirs.contains(path) {
            return Err(failed(io::ErrorKind::AlreadyExists, "create", path));
        }
        self.inode_count += 1;
        let inode = Arc::new(Mutex::new(Inode::new(self.inode_count)));
        self.names.insert(path.to_owned(), inode.clone());
        self.record(Kind::Create {
            path: path.to_owned(),
            inode: inode.clone(),
        });
        self.remember(&inode);
        Ok(inode)
    }

    pub(super) fn open(&mut self, path: &Path) -> io::Result<SharedInode> {
        let inode = self.find("open", path)?;
        self.remember(&inode);
        Ok(inode)
    }

    pub(super) fn find(&self, verb: &str, path: &Path) -> io::Result<SharedInode> {
        let inode = self.names.get(path).cloned();
        inode.ok_or_else(|| failed(io::ErrorKind::NotFound, verb, path))
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.check_parent("rename to", to)?;
        let inode = self.find("rename", from)?;
        if from == to {
            return Ok(());
        }
        self.names.remove(from);
        self.names.insert(to.to_owned(), inode.clone());
        self.record(Kind::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
            inode,
        });
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let inode = self.find("remove", path)?;
        self.names.remove(path);
        self.record(Kind::Remove {
            path: path.to_owned(),
            inode,
        });
        Ok(())
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        if !self.dirs.contains(dir) {
            return Err(failed(io::ErrorKind::NotFound, "list", dir));
        }
        let children = self
            .names
            .keys()
            .chain(&self.dirs)
            .filter(|p| p.parent() == Some(dir));
        let names = children.filter_map(|path| path.file_name());
        let mut names: Vec<String> = names.map(|n| n.to_string_lossy().into_owned()).collect();
        names.sort();
        Ok(names)
    }

    /// The age up to which a directory sync that begins now makes changes durable.
    pub(super) fn barrier(&self) -> u64 {
        self.sequence
    }

    pub(super) fn sync_dir(&mut self, dir: &Path, barrier: u64) -> io::Result<()> {
        if !self.dirs.contains(dir) {
            return Err(failed(io::ErrorKind::NotFound, "sync", dir));
        }
        for change in std::mem::take(&mut self.journal) {
            if change.sequence <= barrier && change.kind.touches(dir) {
                change.kind.force(&mut self.durable);
            } else {
                self.journal.push(change);
            }
        }
        Ok(())
    }

    /// All files, by name.
    pub(super) fn files(&self) -> &BTreeMap<PathBuf, SharedInode> {
        &self.names
    }

    pub(super) fn kill(&mut self, rng: &mut Rng) {
        for inode in std::mem::take(&mut self.opened)
            .iter()
            .filter_map(|weak| weak.upgrade())
        {
            lock(&inode).kill(rng);
        }
    }

    pub(super) fn power_cut(&mut self, faults: &Faults, rng: &mut Rng) {
        let journal = std::mem::take(&mut self.journal);
        if faults.lost_names {
            let kept_prefix = rng.index(journal.len() + 1);
            let scattered = rng.below(2) == 0;
            for (index, change) in journal.into_iter().enumerate() {
                if if scattered {
                    rng.below(2) == 0
                } else {
                    index < kept_prefix
                } {
                    change.kind.apply(&mut self.durable);
                }
            }
            self.names = self.durable.clone();
        } else {
            self.durable = self.names.clone();
        }
        self.opened.clear();
        for inode in self.names.values() {
            lock(inode).power_cut(faults, rng);
        }
    }

    fn record(&mut self, kind: Kind) {
        self.sequence += 1;
        self.journal.push(Change {
            sequence: self.sequence,
            kind,
        });
    }

    fn remember(&mut self, inode: &SharedInode) {
        if self.opened.len() >= 64 && self.opened.len().is_power_of_two() {
            self.opened.retain(|weak| weak.strong_count() > 0);
        }
        if !self
            .opened
            .iter()
            .any(|weak| std::ptr::eq(weak.as_ptr(), Arc::as_ptr(inode)))
        {
            self.opened.push(Arc::downgrade(inode));
        }
    }

    fn check_parent(&self, verb: &str, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(dir) if self.dirs.contains(dir) => Ok(()),
            _ => Err(failed(io::ErrorKind::NotFound, verb, path)),
        }
    }
}

impl Kind {
    fn touches(&self, dir: &Path) -> bool {
        match self {
            Kind::Create { path, .. } | Kind::Remove { path, .. } => path.parent() == Some(dir),
            Kind::Rename { from, to, .. } => from.parent() == Some(dir) || to.parent() == Some(dir),
        }
    }

    /// Makes a synced change durable, whatever became of the changes it was built on.
    fn force(self, names: &mut BTreeMap<PathBuf, SharedInode>) {
        match self {
            Kind::Create { path, inode } => {
                if !holds(names, &inode) {
                    names.insert(path, inode);
                }
            }
            Kind::Rename { from, to, inode } => {
                remove_if(names, &from, &inode);
                names.insert(to, inode);
            }
            Kind::Remove { path, inode } => remove_if(names, &path, &inode),
        }
    }

    /// Applies an unsynced change that survived, if what it was built on survived too.
    fn apply(self, names: &mut BTreeMap<PathBuf, SharedInode>) {
        match self {
            Kind::Create { path, inode } => {
                if !holds(names, &inode) {
                    names.entry(path).or_insert(inode);
                }
            }
            Kind::Rename { from, to, inode } => {
                if names
                    .get(&from)
                    .is_some_and(|found| Arc::ptr_eq(found, &inode))
                {
                    names.remove(&from);
                    names.insert(to, inode);
                }
            }
            Kind::Remove { path, inode } => remove_if(names, &path, &inode),
        }
    }
}

/// True when a rename that became durable first has already given the file its name.
fn holds(names: &BTreeMap<PathBuf, SharedInode>, inode: &SharedInode) -> bool {
    names.values().any(|found| Arc::ptr_eq(found, inode))
}

fn remove_if(names: &mut BTreeMap<PathBuf, SharedInode>, path: &Path, inode: &SharedInode) {
    if names
        .get(path)
        .is_some_and(|found| Arc::ptr_eq(found, inode))
    {
        names.remove(path);
    }
}

fn failed(kind: io::ErrorKind, verb: &str, path: &Path) -> io::Error {
    io::Error::new(kind, format!("could not {verb} {}: {kind}", path.display()))
}
