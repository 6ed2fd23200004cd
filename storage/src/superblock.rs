//! The superblock: whose directory this is, in two copies.
//!
//! Relies on the `Env` seam. Written once, when the directory is made, under a temporary name and
//! renamed whole. What must stay true: a directory of another cluster, group or version is refused
//! before anything else in it is believed; one damaged copy does not lose the directory.
//!
//! ```text
//! copy (512, at 0 and 4096)  0 magic | 8 crc of 12..512 | 12 version | 16 cluster | 32 group
//! ```

use std::path::Path;

use rama_io::{Env, File, Open};
use rama_wire::entry::{BadEntry, crc32c};

use crate::bytes::{Fields, PutFields};
use crate::error::{Error, Result};
use crate::options::Identity;

/// The version of every file format of this crate.
pub const FORMAT_VERSION: u32 = 1;

pub(crate) const NAME: &str = "superblock";
const MAGIC: u64 = u64::from_le_bytes(*b"RamaGrup");
const COPY_BYTES: usize = 512;
const COPY_AT: [usize; 2] = [0, 4096];
const FILE_BYTES: usize = COPY_AT[1] + COPY_BYTES;

/// Verifies the superblock of `dir`, or writes one when the directory is `fresh`.
pub(crate) async fn claim<E: Env>(
    env: &E,
    dir: &Path,
    identity: Identity,
    fresh: bool,
) -> Result<()> {
    let path = dir.join(NAME);
    if fresh {
        return create(env, dir, &path, identity).await;
    }
    let bytes = read(env, &path).await?;
    verify(&path, &bytes, identity)
}

/// Whether `names`, the content of a directory, include a superblock.
pub(crate) fn among(names: &[String]) -> bool {
    names.iter().any(|name| name == NAME)
}

async fn create<E: Env>(env: &E, dir: &Path, path: &Path, identity: Identity) -> Result<()> {
    let fresh = dir.join(format!("{NAME}.new"));
    // The name may be left from a creation that was cut short.
    env.remove(&fresh).await.ok();
    let failed = |error| Error::io("create", path, error);
    let file = env.open(&fresh, Open::Create).await.map_err(failed)?;
    let mut buffer = file.buffer(FILE_BYTES);
    for at in COPY_AT {
        buffer[at..at + COPY_BYTES].copy_from_slice(&encode(identity));
    }
    file.write_durable(0, buffer).await.map_err(failed)?;
    env.rename(&fresh, path).await.map_err(failed)?;
    env.sync_dir(dir).await.map_err(failed)
}

async fn read<E: Env>(env: &E, path: &Path) -> Result<Vec<u8>> {
    let failed = |error| Error::io("read", path, error);
    let file = env.open(path, Open::Existing).await.map_err(failed)?;
    file.read(0, FILE_BYTES).await.map_err(failed)
}

/// Accepts the bytes when at least one copy is whole and names this identity and version.
pub(crate) fn verify(path: &Path, bytes: &[u8], identity: Identity) -> Result<()> {
    let mut first_bad = None;
    for at in COPY_AT {
        let copy = bytes.get(at..at + COPY_BYTES).unwrap_or_default();
        match decode(copy) {
            Ok((found, version)) => return matches(path, identity, found, version),
            Err(bad) => first_bad = first_bad.or(Some((at, bad))),
        }
    }
    let (at, bad) = first_bad.expect("every copy was bad");
    Err(Error::corrupt(path, at as u64, &bad))
}

/// Whose directory the bytes say it is, and each damaged copy with its place.
pub(crate) fn read_copies(bytes: &[u8]) -> (Option<Identity>, Vec<(u64, BadEntry)>) {
    let (mut owner, mut damage) = (None, Vec::new());
    for at in COPY_AT {
        let copy = bytes.get(at..at + COPY_BYTES).unwrap_or_default();
        match decode(copy) {
            Ok((found, _)) => owner = owner.or(Some(found)),
            Err(bad) => damage.push((at as u64, bad)),
        }
    }
    (owner, damage)
}

fn matches(path: &Path, expected: Identity, found: Identity, version: u32) -> Result<()> {
    let mismatch = |what, expected: String, found: String| Error::Mismatch {
        path: path.to_owned(),
        what,
        expected,
        found,
    };
    if version != FORMAT_VERSION {
        let (expected, found) = (FORMAT_VERSION.to_string(), version.to_string());
        return Err(mismatch("its format version", expected, found));
    }
    if found != expected {
        return Err(mismatch(
            "its owner",
            expected.to_string(),
            found.to_string(),
        ));
    }
    Ok(())
}

pub(crate) fn encode(identity: Identity) -> Vec<u8> {
    encode_block(MAGIC, identity, 0)
}

/// A block of 512 bytes that names its owner; segments begin with one too.
pub(crate) fn encode_block(magic: u64, identity: Identity, segment: u64) -> Vec<u8> {
    let mut block = Vec::with_capacity(COPY_BYTES);
    block.put_u64(magic);
    block.put_u32(0);
    block.put_u32(FORMAT_VERSION);
    block.put_u128(identity.cluster);
    block.put_u32(identity.group);
    block.put_u32(0);
    block.put_u64(segment);
    block.resize(COPY_BYTES, 0);
    let crc = crc32c(&block[12..]);
    block[8..12].copy_from_slice(&crc.to_le_bytes());
    block
}

fn decode(copy: &[u8]) -> Result<(Identity, u32), BadEntry> {
    let (identity, version, _) = decode_block("superblock", MAGIC, copy)?;
    Ok((identity, version))
}

/// Reads such a block: owner, format version, segment.
pub(crate) fn decode_block(
    what: &'static str,
    magic: u64,
    block: &[u8],
) -> Result<(Identity, u32, u64), BadEntry> {
    let mut fields = Fields::new(what, block);
    let found_magic = fields.u64()?;
    BadEntry::check(what, magic, found_magic)?;
    let crc = fields.u32()?;
    Fields::new(what, block).take(COPY_BYTES)?;
    let actual = crc32c(&block[12..COPY_BYTES]);
    BadEntry::check(what, u64::from(actual), u64::from(crc))?;
    let version = fields.u32()?;
    let cluster = fields.u128()?;
    let group = fields.u32()?;
    fields.u32()?;
    Ok((Identity { cluster, group }, version, fields.u64()?))
}

#[cfg(test)]
mod tests;
