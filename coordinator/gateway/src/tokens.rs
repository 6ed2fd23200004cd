//! Bearer tokens: who may ask over HTTP, by a secret that only its holder has.
//!
//! Relies on the file that `rama tokens` writes (see `file`). A token is 256 random bits; the file holds
//! the SHA-256 of each, so that who reads it cannot ask. What must stay true: a file that others may
//! read is not used; a change of the file counts within a second, and one that cannot be read leaves
//! the former tokens in force; the time of a comparison tells nothing.

mod file;
#[cfg(test)]
mod tests;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rama_api::Scope;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

pub use file::{TokenError, TokenFile};

/// How often the file is looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What every token begins with, so that it is known for one wherever it turns up.
pub const PREFIX: &str = "rama_";

/// One token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Its name, for people and logs.
    pub name: String,
    /// SHA-256 of the token, in hexadecimal.
    pub sha256: String,
    /// What it is good for.
    pub scopes: Vec<Scope>,
    /// The only module that it is good for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// When it was made: milliseconds since 1970.
    pub created_ms: u64,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
}

/// What somebody was found to be allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who it is, such as `token ci` or `a client`.
    pub who: String,
    /// What for.
    pub scopes: Vec<Scope>,
    /// In which module alone.
    pub module: Option<String>,
    /// Whether it is a process of the cluster.
    pub process: bool,
}

/// The tokens of a file, as it is now. Clones share them.
#[derive(Clone, Debug)]
pub struct Tokens {
    file: Arc<TokenFile>,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug)]
struct Known {
    looked: Instant,
    stamp: Stamp,
    tokens: Vec<Token>,
}

/// What tells one content of a file from another without reading it.
type Stamp = Option<(u64, i64, i64, u64)>;

impl Tokens {
    /// Reads a file; one that is not there yet has no tokens.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn open(path: &Path) -> Result<Tokens, TokenError> {
        let file = TokenFile::new(path);
        let (stamp, tokens) = (stamp(path), file.read()?);
        if tokens.is_empty() {
            tracing::warn!(file = %path.display(), "no tokens: nobody is answered over HTTP");
        }
        let known = Known {
            looked: Instant::now(),
            stamp,
            tokens,
        };
        Ok(Tokens {
            file: Arc::new(file),
            known: Arc::new(Mutex::new(known)),
        })
    }

    /// What the holder of a token may do; none when there is no such token, or not any more.
    pub fn check(&self, secret: &str) -> Option<Grant> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.looked.elapsed() >= LOOK_EVERY {
            self.look(&mut known);
        }
        find(&known.tokens, secret, wall_ms())
    }

    fn look(&self, known: &mut Known) {
        known.looked = Instant::now();
        let stamp = stamp(self.file.path());
        if stamp == known.stamp {
            return;
        }
        match self.file.read() {
            Ok(tokens) => {
                tracing::info!(count = tokens.len(), "tokens read anew");
                known.stamp = stamp;
                known.tokens = tokens;
            }
            // The next look tries again.
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "new tokens not usable, former ones stay in force");
            }
        }
    }
}

/// Every token is compared, so that the time does not tell which one is close.
fn find(tokens: &[Token], secret: &str, now_ms: u64) -> Option<Grant> {
    let hash = hash(secret);
    let mut found = None;
    for token in tokens {
        let same: bool = token.sha256.as_bytes().ct_eq(hash.as_bytes()).into();
        let over = token.expires_ms.is_some_and(|end| end <= now_ms);
        if same && !over {
            found = Some(Grant {
                who: format!("token {}", token.name),
                scopes: token.scopes.clone(),
                module: token.module.clone(),
                process: false,
            });
        }
    }
    found
}

/// The SHA-256 of a token, in hexadecimal.
fn hash(secret: &str) -> String {
    hexadecimal(digest(&SHA256, secret.as_bytes()).as_ref())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    let (second, nanosecond) = (metadata.mtime(), metadata.mtime_nsec());
    Some((metadata.ino(), second, nanosecond, metadata.len()))
}

/// Milliseconds since 1970.
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
