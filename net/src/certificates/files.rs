//! Certificates and keys as files.
//!
//! Relies on the file system's rename. What must stay true: a private key is never readable by
//! others, not even for a moment, and never used when it is.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::CertificateError;

/// Mode of a private key.
pub(super) const PRIVATE: u32 = 0o600;
/// Mode of a certificate.
pub(super) const PUBLIC: u32 = 0o644;
/// Longest file that is read: a hundred certificates.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// Creates `dir` and its parents for the owner alone; leaves an existing one as it is.
pub(super) fn make_private_dir(dir: &Path) -> Result<(), CertificateError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(failed("create the directory", dir))
}

/// Replaces `path` atomically and durably.
pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CertificateError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&new)
        .and_then(|mut file| {
            // The mode above is cut by the umask and ignored for a file that is left over.
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written.map_err(failed("write", path))?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = dir.unwrap_or(Path::new("."));
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(failed("sync the directory of", path))
}

/// The text of a private key, refused when others may read it. The group may where root owns the
/// file: that is how packages and Kubernetes hand keys to daemons that are not root.
pub(crate) fn read_private(path: &Path) -> Result<String, CertificateError> {
    let file = File::open(path).map_err(failed("read", path))?;
    let metadata = file.metadata().map_err(failed("read", path))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if exposed(mode, metadata.uid()) {
        return Err(CertificateError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    text(file, path)
}

pub(super) fn exposed(mode: u32, owner: u32) -> bool {
    let others = match owner {
        0 => 0o037,
        _ => 0o077,
    };
    mode & others != 0
}

/// The text of a certificate file.
pub(crate) fn read_public(path: &Path) -> Result<String, CertificateError> {
    text(File::open(path).map_err(failed("read", path))?, path)
}

fn text(file: File, path: &Path) -> Result<String, CertificateError> {
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
    read.map_err(failed("read", path))?;
    Ok(text)
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> CertificateError {
    let path = path.to_owned();
    move |source| CertificateError::File { verb, path, source }
}
