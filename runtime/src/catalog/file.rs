//! The catalog's file: one header line with length and hash, then JSON, padded to whole blocks.
//!
//! Relies on `Env` for create, durable write, rename and directory sync. What must stay true: the
//! file is replaced as a whole, so that a power cut leaves the old catalog or the new one; bytes
//! whose hash differs are reported as corrupt and never used.

use std::path::Path;

use rama_io::{Env, File, Open};
use xxhash_rust::xxh3::xxh3_64;

use super::Catalog;
use crate::error::{Error, ErrorKind, Result};

const NAME: &str = "catalog";
const NEW_NAME: &str = "catalog.new";
const MAGIC: &str = "rama-catalog 1";

/// Reads the catalog of `dir`, or `None` when the directory has none yet.
pub(crate) async fn load<E: Env>(env: &E, dir: &Path) -> Result<Option<Catalog>> {
    let storage = |what: &'static str| {
        let path = dir.join(NAME);
        move |source: std::io::Error| {
            Error::new(
                ErrorKind::Storage,
                format!("could not {what} {}", path.display()),
            )
            .caused_by(source)
        }
    };
    env.make_dir(dir)
        .await
        .map_err(storage("create the directory of"))?;
    let names = env.list(dir).await.map_err(storage("look for"))?;
    if !names.iter().any(|name| name == NAME) {
        return Ok(None);
    }
    let path = dir.join(NAME);
    let file = env
        .open(&path, Open::Existing)
        .await
        .map_err(storage("open"))?;
    let len = file.len().await.map_err(storage("measure"))?;
    let bytes = file.read(0, len as usize).await.map_err(storage("read"))?;
    decode(&bytes).map(Some).map_err(|text| {
        Error::new(
            ErrorKind::Corrupt,
            format!("{}: {text}; restore a backup", path.display()),
        )
    })
}

/// Replaces the catalog of `dir`; durable when this returns.
pub(crate) async fn store<E: Env>(env: &E, dir: &Path, catalog: &Catalog) -> Result<()> {
    let bytes = encode(catalog)?;
    replace(env, dir, &bytes).await.map_err(|source| {
        let text = format!("could not write {}", dir.join(NAME).display());
        Error::new(ErrorKind::Storage, text).caused_by(source)
    })
}

async fn replace<E: Env>(env: &E, dir: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let (new, name) = (dir.join(NEW_NAME), dir.join(NAME));
    if env.list(dir).await?.iter().any(|name| name == NEW_NAME) {
        env.remove(&new).await?;
    }
    let file = env.open(&new, Open::Create).await?;
    let mut buffer = file.buffer(bytes.len().next_multiple_of(E::File::ALIGN));
    buffer[..bytes.len()].copy_from_slice(bytes);
    buffer[bytes.len()..].fill(b' ');
    file.write_durable(0, buffer).await?;
    env.rename(&new, &name).await?;
    env.sync_dir(dir).await
}

pub(super) fn encode(catalog: &Catalog) -> Result<Vec<u8>> {
    let json = serde_json::to_vec_pretty(catalog)
        .map_err(|source| Error::invalid("could not encode the catalog").caused_by(source))?;
    let mut bytes = format!("{MAGIC} {} {:016x}\n", json.len(), xxh3_64(&json)).into_bytes();
    bytes.extend_from_slice(&json);
    Ok(bytes)
}

pub(super) fn decode(bytes: &[u8]) -> Result<Catalog, String> {
    let line_end = bytes
        .iter()
        .position(|&b| b == b'\n')
        .ok_or("no header line")?;
    let line = std::str::from_utf8(&bytes[..line_end]).map_err(|_| "header is not text")?;
    let rest = line
        .strip_prefix(MAGIC)
        .ok_or_else(|| format!("unknown header {line:?}"))?;
    let mut words = rest.split_whitespace();
    let len: usize = words
        .next()
        .and_then(|w| w.parse().ok())
        .ok_or("no length")?;
    let hash = words
        .next()
        .and_then(|w| u64::from_str_radix(w, 16).ok())
        .ok_or("no hash")?;
    let start = line_end + 1;
    let end = start.checked_add(len).ok_or("length is absurd")?;
    let json = bytes
        .get(start..end)
        .ok_or("shorter than its header says")?;
    let found = xxh3_64(json);
    if found != hash {
        return Err(format!(
            "hash at offset {start}: expected {hash:016x}, found {found:016x}"
        ));
    }
    serde_json::from_slice(json).map_err(|error| format!("not a catalog: {error}"))
}
