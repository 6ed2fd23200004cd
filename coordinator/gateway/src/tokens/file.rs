//! The file of tokens: TOML, one `[[token]]` for each, mode 0600.
//!
//! Relies on renames that are atomic and on a lock of the directory against two commands at once. What
//! must stay true: a secret is told once, to who makes it, and never stored; the file is for its
//! owner alone.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rama_api::Scope;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::{PREFIX, Token, hash, hexadecimal, wall_ms};

/// The longest file that is read: thousands of tokens.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The longest name.
const NAME_LETTERS_MAX: usize = 64;
const SECRET_BYTES: usize = 32;
const HASH_LETTERS: usize = 64;

const HEAD: &str =
    "# Tokens of this cluster's HTTP, without their secrets. `rama tokens` writes this.\n";

/// Why tokens cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A file operation.
    #[error("could not {verb} {}", path.display())]
    File {
        /// What was attempted.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others may read it.
    #[error("{} may be read by others (mode {mode:04o}): run `chmod 600 {}`", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It holds something else.
    #[error("{} is no file of tokens: {cause}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// There is one of that name.
    #[error("there is a token {0} already")]
    Exists(String),
    /// There is none.
    #[error("there is no token {0}")]
    Unknown(String),
    /// A name that is none.
    #[error("{0:?} is no name for a token: use up to 64 letters, digits, `-`, `_` and `.`")]
    Name(String),
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    #[serde(default)]
    token: Vec<Token>,
}

/// A file of tokens.
#[derive(Clone, Debug)]
pub struct TokenFile {
    path: PathBuf,
}

impl TokenFile {
    /// The file at a path, which may not be there yet.
    pub fn new(path: &Path) -> TokenFile {
        TokenFile {
            path: path.to_owned(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tokens in it; none when there is no file.
    ///
    /// # Errors
    /// It is not a file of tokens, or not for its owner alone.
    pub fn read(&self) -> Result<Vec<Token>, TokenError> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened.map_err(self.failed("read"))?,
        };
        let mode = file.metadata().map_err(self.failed("read"))?;
        let mode = mode.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            let path = self.path.clone();
            return Err(TokenError::Exposed { path, mode });
        }
        let mut text = String::new();
        let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
        read.map_err(self.failed("read"))?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(self.content(format!("it is longer than {FILE_BYTES_MAX} bytes")));
        }
        let stored: Stored =
            toml::from_str(&text).map_err(|error| self.content(error.message().to_owned()))?;
        for token in &stored.token {
            let digits = token.sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
            if token.sha256.len() != HASH_LETTERS || !digits {
                let cause = format!("the sha256 of token {} is none", token.name);
                return Err(self.content(cause));
            }
        }
        Ok(stored.token)
    }

    /// Makes a token; its secret is told here and nowhere else.
    ///
    /// # Errors
    /// There is one of that name, or the file cannot be changed.
    pub fn create(
        &self,
        name: &str,
        scopes: &[Scope],
        module: Option<&str>,
        expires_ms: Option<u64>,
    ) -> Result<(Token, String), TokenError> {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > NAME_LETTERS_MAX || !name.bytes().all(letter) {
            return Err(TokenError::Name(name.to_owned()));
        }
        let _lock = self.lock()?;
        let mut tokens = self.read()?;
        if tokens.iter().any(|token| token.name == name) {
            return Err(TokenError::Exists(name.to_owned()));
        }
        let mut bytes = [0; SECRET_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| {
            let none = io::Error::other("the system gave no random numbers");
            self.failed("make a token for")(none)
        })?;
        let secret = format!("{PREFIX}{}", hexadecimal(&bytes));
        let mut scopes = scopes.to_vec();
        scopes.sort_unstable();
        scopes.dedup();
        let token = Token {
            name: name.to_owned(),
            sha256: hash(&secret),
            scopes,
            module: module.map(str::to_owned),
            created_ms: wall_ms(),
            expires_ms,
        };
        tokens.push(token.clone());
        self.write(tokens)?;
        Ok((token, secret))
    }

    /// Takes a token back.
    ///
    /// # Errors
    /// There is none of that name, or the file cannot be changed.
    pub fn revoke(&self, name: &str) -> Result<Token, TokenError> {
        let _lock = self.lock()?;
        let mut tokens = self.read()?;
        let index = tokens.iter().position(|token| token.name == name);
        let index = index.ok_or_else(|| TokenError::Unknown(name.to_owned()))?;
        let revoked = tokens.remove(index);
        self.write(tokens)?;
        Ok(revoked)
    }

    fn dir(&self) -> &Path {
        let dir = self.path.parent();
        dir.filter(|dir| !dir.as_os_str().is_empty())
            .unwrap_or(Path::new("."))
    }

    /// One command at a time, until this is dropped.
    fn lock(&self) -> Result<File, TokenError> {
        let dir = File::open(self.dir()).map_err(self.failed("open the directory of"))?;
        dir.lock().map_err(self.failed("lock the directory of"))?;
        Ok(dir)
    }

    fn write(&self, token: Vec<Token>) -> Result<(), TokenError> {
        let text = toml::to_string(&Stored { token });
        let text = text.map_err(|error| self.content(error.to_string()))?;
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = self.path.with_file_name(name);
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .and_then(|mut file| {
                // What is left over of a crash keeps its mode.
                file.set_permissions(Permissions::from_mode(0o600))?;
                file.write_all(HEAD.as_bytes())?;
                file.write_all(text.as_bytes())?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&new, &self.path));
        written.map_err(self.failed("write"))?;
        let synced = File::open(self.dir()).and_then(|dir| dir.sync_all());
        synced.map_err(self.failed("write"))
    }

    fn failed(&self, verb: &'static str) -> impl FnOnce(io::Error) -> TokenError {
        let path = self.path.clone();
        move |source| TokenError::File { verb, path, source }
    }

    fn content(&self, cause: String) -> TokenError {
        let path = self.path.clone();
        TokenError::Content { path, cause }
    }
}
