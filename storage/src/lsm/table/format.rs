//! The layout of a table file: constants, superblock, meta block, trailer.
//!
//! Relies on rkyv for the meta block (checked access, little endian, unaligned). What must stay
//! true: the version changes when any byte changes its meaning; the golden file test pins it.
//!
//! ```text
//! 0         superblock, 64 bytes: crc of 4..64 | version u32 | magic u64 | cluster u128
//!           | partition u32 | zero u32 | table u64 | zeros
//! 64        entries, spaces and keys ascending, each at a multiple of 4:
//!           key length u16 | value length u32, ffffffff = deleted | key | value
//! ...       hash slots, u32: tag << 24 | place of an entry / 4; 0 = empty
//! ...       filter, blocks of 8 u32
//!           zeros to a multiple of 16 KiB; so far every 16 KiB page has a crc32c in the meta block
//! ...       meta block, an rkyv archive
//!           zeros, so that the file is a multiple of 4096
//! end - 64  trailer: crc of 4..64 | version u32 | magic u64 | file length u64 | meta at u64
//!           | meta length u64 | meta crc u32 | zeros
//! ```

use std::path::Path;

use rama_wire::entry::crc32c;
use rkyv::{Archive, Deserialize, Serialize};

use crate::lsm::error::{Corruption, Error};
use crate::lsm::store::Identity;

pub(crate) const VERSION: u32 = 1;
pub(crate) const PAGE_BYTES: usize = 16 << 10;
pub(crate) const UNIT_BYTES: usize = 4;
pub(crate) const ENTRY_HEAD_BYTES: usize = 6;
pub(crate) const DELETED: u32 = u32::MAX;
pub(crate) const EDGE_BYTES: usize = 64;
pub(crate) const FILE_ALIGN: usize = 4096;
/// An entry must begin below this, because a slot has 24 bits for its place.
pub(crate) const ENTRY_AT_MAX: usize = (1 << 24) * UNIT_BYTES;
/// The sparse index has an entry about every so many bytes.
pub(crate) const GROUP_BYTES: usize = 2048;

const SUPERBLOCK_MAGIC: [u8; 8] = *b"RamaTabl";
const TRAILER_MAGIC: [u8; 8] = *b"RamaTend";

/// A part of the paged bytes.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug)]
pub(crate) struct Section {
    pub at: u64,
    pub len: u64,
}

/// Everything about a table but its entries, slots and filter.
#[derive(Archive, Serialize, Deserialize, Debug)]
pub(crate) struct Meta {
    pub entry_count: u64,
    pub hash: Section,
    pub filter: Section,
    pub spaces: Vec<SpaceMeta>,
    /// The crc32c of every page.
    pub pages: Vec<u32>,
}

/// The entries and range deletes of one space.
#[derive(Archive, Serialize, Deserialize, Debug)]
pub(crate) struct SpaceMeta {
    pub space: u16,
    /// Length of the prefix that all keys share.
    pub skip: u32,
    pub begin: u64,
    pub end: u64,
    pub first_key: Vec<u8>,
    pub last_key: Vec<u8>,
    pub groups: Vec<Group>,
    pub ranges: Vec<RangeMeta>,
}

/// The begin of some entries: eight bytes of the first key behind the shared prefix, its place.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug)]
pub(crate) struct Group {
    pub prefix: u64,
    pub at: u32,
}

/// A range delete.
#[derive(Archive, Serialize, Deserialize, Debug)]
pub(crate) struct RangeMeta {
    pub lo: Vec<u8>,
    pub hi: Option<Vec<u8>>,
}

/// The first eight bytes as a number that orders like the bytes.
pub(crate) fn prefix(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = key.len().min(8);
    bytes[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(bytes)
}

/// The begin of the file.
pub(crate) struct Superblock;

impl Superblock {
    pub fn encode(identity: Identity, id: u64) -> [u8; EDGE_BYTES] {
        let mut bytes = [0; EDGE_BYTES];
        bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..16].copy_from_slice(&SUPERBLOCK_MAGIC);
        bytes[16..32].copy_from_slice(&identity.cluster.to_le_bytes());
        bytes[32..36].copy_from_slice(&identity.partition.to_le_bytes());
        bytes[40..48].copy_from_slice(&id.to_le_bytes());
        seal(bytes)
    }

    /// Whose table it is, and which.
    pub fn read(path: &Path, file: &[u8]) -> Result<(Identity, u64), Corruption> {
        let bytes = edge(path, file, 0, SUPERBLOCK_MAGIC)?;
        let (cluster, partition) = (u128_at(&bytes, 16), u32_at(&bytes, 32));
        let identity = Identity { cluster, partition };
        Ok((identity, u64_at(&bytes, 40)))
    }

    pub fn check(path: &Path, file: &[u8], identity: Identity, id: u64) -> Result<(), Error> {
        let found = edge(path, file, 0, SUPERBLOCK_MAGIC)?;
        let wanted = Superblock::encode(identity, id);
        if found == wanted {
            return Ok(());
        }
        let name = |bytes: &[u8; EDGE_BYTES]| {
            let (cluster, partition) = (u128_at(bytes, 16), u32_at(bytes, 32));
            format!(
                "table {} of partition {partition} of cluster {cluster:032x}",
                u64_at(bytes, 40)
            )
        };
        Err(Error::Foreign {
            path: path.into(),
            expected: name(&wanted),
            found: name(&found),
        })
    }
}

/// The end of the file: where the meta block is.
pub(crate) struct Trailer {
    pub meta_at: u64,
    pub meta_len: u64,
    pub meta_crc: u32,
}

impl Trailer {
    pub fn encode(&self, file_bytes: u64) -> [u8; EDGE_BYTES] {
        let mut bytes = [0; EDGE_BYTES];
        bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..16].copy_from_slice(&TRAILER_MAGIC);
        bytes[16..24].copy_from_slice(&file_bytes.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.meta_at.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.meta_len.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.meta_crc.to_le_bytes());
        seal(bytes)
    }

    pub fn read(path: &Path, file: &[u8]) -> Result<Trailer, Corruption> {
        let at = file.len().saturating_sub(EDGE_BYTES);
        let bytes = edge(path, file, at, TRAILER_MAGIC)?;
        if u64_at(&bytes, 16) != file.len() as u64 {
            let expected = format!("a file of {} bytes", u64_at(&bytes, 16));
            return Err(corrupt(path, at, expected, format!("{} bytes", file.len())));
        }
        let (meta_at, meta_len) = (u64_at(&bytes, 24), u64_at(&bytes, 32));
        Ok(Trailer {
            meta_at,
            meta_len,
            meta_crc: u32_at(&bytes, 40),
        })
    }

    /// The meta block, after its checksum and its structure were verified.
    pub fn meta(&self, path: &Path, file: &[u8]) -> Result<Meta, Corruption> {
        let at = self.meta_at as usize;
        let end = at.saturating_add(self.meta_len as usize);
        let Some(bytes) = file.get(at..end) else {
            return Err(corrupt(
                path,
                at,
                "a meta block inside the file",
                "one behind its end",
            ));
        };
        let crc = crc32c(bytes);
        if crc != self.meta_crc {
            let expected = format!("meta block with crc32c {:08x}", self.meta_crc);
            return Err(corrupt(path, at, expected, format!("{crc:08x}")));
        }
        let meta: Meta = rkyv::from_bytes::<Meta, rkyv::rancor::Error>(bytes)
            .map_err(|error| corrupt(path, at, "a meta block", error.to_string()))?;
        if meta.pages.len() * PAGE_BYTES != at {
            let expected = format!("{} pages before the meta block", at / PAGE_BYTES);
            return Err(corrupt(path, at, expected, meta.pages.len().to_string()));
        }
        Ok(meta)
    }
}

/// Names a damaged place.
pub(crate) fn corrupt(
    path: &Path,
    offset: usize,
    expected: impl Into<String>,
    found: impl Into<String>,
) -> Corruption {
    let (expected, found) = (expected.into(), found.into());
    Corruption {
        file: path.into(),
        offset: offset as u64,
        expected,
        found,
    }
}

/// Puts the checksum over the rest into the first four bytes.
fn seal(mut bytes: [u8; EDGE_BYTES]) -> [u8; EDGE_BYTES] {
    let crc = crc32c(&bytes[4..]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// A superblock or trailer whose checksum, magic and version hold.
fn edge(
    path: &Path,
    file: &[u8],
    at: usize,
    magic: [u8; 8],
) -> Result<[u8; EDGE_BYTES], Corruption> {
    let Some(bytes) = file
        .get(at..)
        .and_then(|rest| rest.first_chunk::<EDGE_BYTES>())
    else {
        return Err(corrupt(
            path,
            at,
            "64 bytes",
            format!("the end at {}", file.len()),
        ));
    };
    let crc = crc32c(&bytes[4..]);
    if u32_at(bytes, 0) != crc {
        let expected = format!("crc32c {:08x}", u32_at(bytes, 0));
        return Err(corrupt(path, at, expected, format!("{crc:08x}")));
    }
    if bytes[8..16] != magic {
        let (expected, found) = (format!("magic {magic:?}"), format!("{:?}", &bytes[8..16]));
        return Err(corrupt(path, at + 8, expected, found));
    }
    let version = u32_at(bytes, 4);
    if version != VERSION {
        let expected = format!("format version {VERSION}");
        return Err(corrupt(
            path,
            at + 4,
            expected,
            format!("version {version}"),
        ));
    }
    Ok(*bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(
        *bytes[at..]
            .first_chunk()
            .expect("the caller has a whole edge"),
    )
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(
        *bytes[at..]
            .first_chunk()
            .expect("the caller has a whole edge"),
    )
}

fn u128_at(bytes: &[u8], at: usize) -> u128 {
    u128::from_le_bytes(
        *bytes[at..]
            .first_chunk()
            .expect("the caller has a whole edge"),
    )
}
