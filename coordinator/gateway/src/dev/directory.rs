//! The data directory of a server: its lock and its address file.
//!
//! Relies on `flock`, which the kernel releases with the process. What must stay true: the address
//! file is replaced whole, so that a reader never sees half a URL, and it is only a hint: a server
//! that was killed leaves it behind, and who reads it finds nobody there.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::Failure;

/// Name of the file that holds the server's address.
pub const ADDRESS_FILE: &str = "http";

const LOCK_FILE: &str = "lock";

/// A data directory that no other server uses.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Holds the lock for as long as it lives.
    _lock: File,
}

impl Directory {
    /// Creates the directory if need be and takes its lock.
    pub fn lock(path: &Path) -> Result<Directory, Failure> {
        let shown = path.display();
        let failed = |cause: io::Error| {
            let what = format!("could not use the data directory {shown}: {cause}");
            Failure::new(what, "choose one that can be written with --data-dir")
        };
        fs::create_dir_all(path).map_err(failed)?;
        let lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(LOCK_FILE))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(path, lock)),
            Err(TryLockError::Error(cause)) => return Err(failed(cause)),
        }
        write_owner(&lock).map_err(failed)?;
        Ok(Directory {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells commands in this place where the server is.
    pub fn announce(&self, url: &str) -> Result<(), Failure> {
        let fresh = self.path.join(format!("{ADDRESS_FILE}.new"));
        fs::write(&fresh, format!("{url}\n"))
            .and_then(|()| fs::rename(&fresh, self.path.join(ADDRESS_FILE)))
            .map_err(|cause| {
                let what = format!("could not write {}: {cause}", fresh.display());
                Failure::new(what, "is the disk full?")
            })
    }

    /// Takes the address back.
    pub fn withdraw(&self) {
        if let Err(error) = fs::remove_file(self.path.join(ADDRESS_FILE)) {
            tracing::warn!(%error, "could not remove the address file");
        }
    }
}

fn write_owner(mut lock: &File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

fn taken(path: &Path, mut lock: File) -> Failure {
    let mut owner = String::new();
    // The owner is only told for convenience.
    let _ = lock.read_to_string(&mut owner);
    let owner = match owner.trim() {
        "" => String::new(),
        id => format!(" (process {id})"),
    };
    let what = format!(
        "another server{owner} uses the data directory {}",
        path.display()
    );
    Failure::refused(what, "stop it, or choose another directory with --data-dir")
}
