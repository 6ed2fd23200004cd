//! What can go wrong in a store, and what the receiver can do about it.
//!
//! Relies on nothing. What must stay true: corruption names its place and both values, and is
//! never mixed up with an I/O error; nothing here is retried by this crate.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rama_wire::SpaceId;

use crate::lsm::batch::BatchError;

/// Bytes that are not what was written there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "corrupt bytes in {file:?} at {offset}: expected {expected}, found {found}; \
         restore this file from a replica or a backup"
)]
pub struct Corruption {
    /// The damaged file.
    pub file: PathBuf,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

/// Why a store could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The disk said no. After a failed write or flush the store takes no further maintenance.
    #[error("could not {action} {path:?}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Arc<io::Error>,
    },
    /// A file holds other bytes than were written.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// A write batch cannot be decoded.
    #[error("could not decode a write batch")]
    Batch(#[from] BatchError),
    /// The files belong to another store.
    #[error(
        "{path:?} belongs to {found}, not to {expected}: is the data directory or disk swapped?"
    )]
    Foreign {
        /// The file that says so.
        path: PathBuf,
        /// Who opened it.
        expected: String,
        /// Whose it is.
        found: String,
    },
    /// An earlier write or flush of this store failed; nothing more is flushed or compacted.
    #[error("the store in {path:?} is poisoned by an earlier failed write; reopen it")]
    Poisoned {
        /// The directory of the store.
        path: PathBuf,
    },
    /// The store is closing; what was to be written again waits for the next opening.
    #[error("the store in {path:?} is closing: tables are written again when it is open")]
    Stopped {
        /// The directory of the store.
        path: PathBuf,
    },
    /// The function of a migration could not make a new value of an old one.
    #[error(
        "migration {id:?} could not convert the value under key {key:02x?} of space {space}: \
         {cause}; correct its function"
    )]
    Migration {
        /// The migration.
        id: String,
        /// The PState.
        space: SpaceId,
        /// Where the value is.
        key: Vec<u8>,
        /// What went wrong.
        cause: String,
    },
    /// A migration is not declared any more and has not been through all values.
    #[error(
        "migration {id:?} of space {space} is not complete: {bytes_left} of {bytes} bytes have yet \
         to be written again; declare it again until it is complete"
    )]
    Unfinished {
        /// The migration.
        id: String,
        /// The PState.
        space: SpaceId,
        /// What is left.
        bytes_left: u64,
        /// Of how much.
        bytes: u64,
    },
}

impl Error {
    /// For `map_err` on a call of the environment.
    pub(crate) fn io(
        action: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::Io {
            action,
            path,
            source: Arc::new(source),
        }
    }
}
