//! Backups: the last one of a name, and the lock for removing old ones.
//!
//! Relies on serde.

use serde::{Deserialize, Serialize};

/// The last backup of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupLast {
    /// Names it at the provider.
    pub id: String,
    /// When it was complete.
    pub completed_ms: u64,
    /// How much it holds.
    pub bytes: u64,
}

/// Held while old backups are removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupLock {
    /// The conductor's incarnation.
    pub holder: u64,
    /// Since when.
    pub since_ms: u64,
}
