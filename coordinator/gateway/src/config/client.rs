//! Settings of programs that connect to a cluster, and where they and the commands find them.
//!
//! Relies on `config` for layers and origins. What must stay true: a program and the command line find
//! the same file from the same directory.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{FILE, FILE_VARIABLE};

/// Section `[client]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// Daemons that may be asked beside the conductor, `HOST:PORT` of QUIC with commas.
    pub addresses: String,
    /// Whether the program is inside of the cluster's network.
    pub use_internal_hostnames: bool,
    /// When a call is given up.
    pub deadline_ms: u64,
}

impl Default for Client {
    fn default() -> Client {
        Client {
            addresses: String::new(),
            use_internal_hostnames: false,
            deadline_ms: 30_000,
        }
    }
}

/// The file of the settings of whoever asks a cluster: the named one, that of `RAMA_CONFIG`,
/// `./rama.toml` or one in a directory above.
pub fn file(named: Option<&Path>) -> Option<PathBuf> {
    let named = named.map(Path::to_owned);
    let named = named.or_else(|| std::env::var_os(FILE_VARIABLE).map(PathBuf::from));
    named.or_else(|| above(Path::new(FILE)))
}

/// A file in this directory or one above.
pub fn above(name: &Path) -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let mut files = here.ancestors().map(|dir| dir.join(name));
    files.find(|path| path.is_file())
}
