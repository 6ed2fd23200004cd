//! Programs of modules, by the SHA-256 of their bytes.
//!
//! Relies on the file system for renames that are atomic. What must stay true: a file under its hash
//! has that hash; when trust roots are given, nothing is run that none of them has signed; bytes of a
//! half upload are never seen under a hash.

#[cfg(test)]
mod tests;

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};
use ring::signature::{ED25519, UnparsedPublicKey};

use rama_net::certificates::hexadecimal;

/// Length of a hash in hexadecimal.
const HASH_LETTERS: usize = 64;

/// Length of a signature.
const SIGNATURE_BYTES: usize = 64;

/// Why a program cannot be stored or used.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// What should name a program does not.
    #[error("could not take {name:?} for the SHA-256 of a program: it needs 64 hexadecimal digits")]
    Name {
        /// What was given.
        name: String,
    },
    /// Other bytes came than were announced.
    #[error("could not take a program as {wanted}: its bytes have SHA-256 {found}; send it again")]
    Hash {
        /// Announced.
        wanted: String,
        /// What the bytes have.
        found: String,
    },
    /// Nobody who is trusted has signed it.
    #[error(
        "could not trust program {name}: {why}; sign it with a key whose public half is in \
         supervisor.trust_roots of rama.toml"
    )]
    Untrusted {
        /// Its hash.
        name: String,
        /// What is missing.
        why: &'static str,
    },
    /// What should be a signature is none.
    #[error("could not read the signature of program {name}: it needs 128 hexadecimal digits")]
    Signature {
        /// The program's hash.
        name: String,
    },
    /// A trust root is no key.
    #[error("could not read the trust root {text:?}: it needs 64 hexadecimal digits (Ed25519)")]
    TrustRoot {
        /// What was given.
        text: String,
    },
    /// The disk refused.
    #[error("could not {attempt} {}", path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Public keys of those who may sign programs.
#[derive(Clone, Debug, Default)]
pub struct TrustRoots(Vec<[u8; 32]>);

impl TrustRoots {
    /// Reads keys from hexadecimal. None: every program is trusted.
    ///
    /// # Errors
    /// `TrustRoot` for what is no key.
    pub fn parse<'a>(
        texts: impl IntoIterator<Item = &'a str>,
    ) -> Result<TrustRoots, ArtifactError> {
        let key = |text: &str| {
            let wrong = || ArtifactError::TrustRoot {
                text: text.to_owned(),
            };
            let bytes = from_hexadecimal(text).ok_or_else(wrong)?;
            bytes.try_into().map_err(|_| wrong())
        };
        texts
            .into_iter()
            .map(key)
            .collect::<Result<_, _>>()
            .map(TrustRoots)
    }

    /// Whether a root has signed the hash (its 64 letters) with this signature.
    fn trust(&self, name: &str, signature: Option<&[u8]>) -> Result<(), ArtifactError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let untrusted = |why| {
            Err(ArtifactError::Untrusted {
                name: name.to_owned(),
                why,
            })
        };
        let Some(signature) = signature else {
            return untrusted("it is not signed");
        };
        let signed = |root: &[u8; 32]| {
            let key = UnparsedPublicKey::new(&ED25519, root);
            key.verify(name.as_bytes(), signature).is_ok()
        };
        if self.0.iter().any(signed) {
            return Ok(());
        }
        untrusted("no trusted key has signed it")
    }
}

/// A directory of programs.
#[derive(Clone, Debug)]
pub struct Artifacts {
    dir: PathBuf,
    roots: TrustRoots,
}

impl Artifacts {
    /// Opens or makes the directory, and clears away what earlier uploads left behind.
    ///
    /// # Errors
    /// `Io`.
    pub fn open(dir: &Path, roots: TrustRoots) -> Result<Artifacts, ArtifactError> {
        let partial = dir.join("partial");
        fs::create_dir_all(&partial).map_err(io_error("make", &partial))?;
        let entries = fs::read_dir(&partial).map_err(io_error("read", &partial))?;
        for entry in entries.flatten() {
            let path = entry.path();
            fs::remove_file(&path).map_err(io_error("remove", &path))?;
        }
        let dir = dir.to_owned();
        Ok(Artifacts { dir, roots })
    }

    /// The directory, to be served.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a program is, when it is here.
    ///
    /// # Errors
    /// `Name` when it cannot be one.
    pub fn find(&self, name: &str) -> Result<Option<PathBuf>, ArtifactError> {
        let path = self.path(name)?;
        Ok(path.is_file().then_some(path))
    }

    /// Begins to take a program in.
    ///
    /// # Errors
    /// `Name`, `Io`.
    pub fn begin(&self, name: &str) -> Result<Upload, ArtifactError> {
        let path = self.path(name)?;
        let partial = self.dir.join("partial");
        let number = std::process::id();
        // Two uploads of one program may run at once; the name of each is its own.
        for count in 0_u32.. {
            let part = partial.join(format!("{name}.{number}.{count}"));
            let file = File::options().write(true).create_new(true).open(&part);
            match file {
                Ok(file) => {
                    let hash = Context::new(&SHA256);
                    return Ok(Upload {
                        name: name.to_owned(),
                        path,
                        part,
                        file,
                        hash,
                        done: false,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(io_error("make", &part)(error)),
            }
        }
        unreachable!("numbers do not end before files do")
    }

    /// Stores who signed a program: 128 hexadecimal digits.
    ///
    /// # Errors
    /// `Signature` when it is none, `Untrusted` when it is no root's; `Io`.
    pub fn sign(&self, name: &str, signature: &str) -> Result<(), ArtifactError> {
        let bytes = from_hexadecimal(signature).filter(|bytes| bytes.len() == SIGNATURE_BYTES);
        let bytes = bytes.ok_or_else(|| ArtifactError::Signature {
            name: name.to_owned(),
        })?;
        self.roots.trust(name, Some(&bytes))?;
        let path = self.signature(name)?;
        let part = self.dir.join("partial").join(format!("{name}.sig"));
        fs::write(&part, bytes).map_err(io_error("write", &part))?;
        fs::rename(&part, &path).map_err(io_error("name", &path))
    }

    /// The signature of a program, if it has one.
    ///
    /// # Errors
    /// `Name`, `Io`.
    pub fn signed(&self, name: &str) -> Result<Option<String>, ArtifactError> {
        let path = self.signature(name)?;
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(hexadecimal(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    /// Whether a program may be run, going by its signature alone.
    ///
    /// # Errors
    /// `Untrusted`, `Name`.
    pub fn trusted(&self, name: &str) -> Result<(), ArtifactError> {
        let signature = fs::read(self.signature(name)?).ok();
        self.roots.trust(name, signature.as_deref())
    }

    /// Whether programs have to be signed.
    pub fn wants_signatures(&self) -> bool {
        !self.roots.0.is_empty()
    }

    /// Reads a program once more and says where it is: its hash is right and it may be run.
    ///
    /// # Errors
    /// `Hash` when it was changed, `Untrusted`, `Io`.
    pub fn verify(&self, name: &str) -> Result<PathBuf, ArtifactError> {
        let path = self.path(name)?;
        let found = hash_of(&path)?;
        if found != name {
            let wanted = name.to_owned();
            return Err(ArtifactError::Hash { wanted, found });
        }
        self.trusted(name)?;
        Ok(path)
    }

    /// Where the signature of a program is kept.
    ///
    /// # Errors
    /// `Name`.
    pub fn signature(&self, name: &str) -> Result<PathBuf, ArtifactError> {
        let mut path = self.path(name)?;
        path.set_extension("sig");
        Ok(path)
    }

    fn path(&self, name: &str) -> Result<PathBuf, ArtifactError> {
        let digit = |letter: u8| matches!(letter, b'0'..=b'9' | b'a'..=b'f');
        if name.len() != HASH_LETTERS || !name.bytes().all(digit) {
            let name = name.to_owned();
            return Err(ArtifactError::Name { name });
        }
        Ok(self.dir.join(name))
    }
}

/// A program on its way in. Dropping it forgets what came.
pub struct Upload {
    name: String,
    path: PathBuf,
    part: PathBuf,
    file: File,
    hash: Context,
    done: bool,
}

impl Upload {
    /// Takes more bytes.
    ///
    /// # Errors
    /// `Io`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), ArtifactError> {
        self.hash.update(bytes);
        let written = self.file.write_all(bytes);
        written.map_err(io_error("write", &self.part))
    }

    /// All bytes have come: the program is durable and can be run.
    ///
    /// # Errors
    /// `Hash` when they are others than announced; `Io`.
    pub fn finish(mut self) -> Result<PathBuf, ArtifactError> {
        let found = hexadecimal(self.hash.clone().finish().as_ref());
        if found != self.name {
            let wanted = self.name.clone();
            return Err(ArtifactError::Hash { wanted, found });
        }
        let durable = self
            .file
            .set_permissions(Permissions::from_mode(0o755))
            .and_then(|()| self.file.sync_all());
        durable.map_err(io_error("write", &self.part))?;
        fs::rename(&self.part, &self.path).map_err(io_error("name", &self.path))?;
        self.done = true;
        let dir = self.path.parent().unwrap_or(&self.path);
        let synced = File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(io_error("write", dir))?;
        Ok(self.path.clone())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.done
            && let Err(error) = fs::remove_file(&self.part)
        {
            tracing::warn!(path = %self.part.display(), %error, "half a program stays behind");
        }
    }
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// `Io`.
pub fn hash_of(path: &Path) -> Result<String, ArtifactError> {
    let failed = |source| io_error("read", path)(source);
    let mut file = File::open(path).map_err(failed)?;
    let mut hash = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(hexadecimal(hash.finish().as_ref())),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs
        .map(|pair| byte(pair).filter(|_| pair.len() == 2))
        .collect()
}

fn io_error(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ArtifactError {
    let path = path.to_owned();
    move |source| ArtifactError::Io {
        attempt,
        path,
        source,
    }
}
