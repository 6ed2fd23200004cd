//! Which tables make up a store, and how far the replog is in them.
//!
//! Relies on atomic rename. What must stay true: a manifest names only tables whose names are
//! durable; it is written whole under another name, flushed, renamed and its directory synced
//! before anything acts on it; files it does not name are garbage, removed at open. A directory
//! with tables and without a manifest is refused: they were somebody's data.
//!
//! ```text
//! 0   head, 64 bytes: crc of 4..64 | version u32 | magic u64 | cluster u128 | partition u32
//!     | body crc u32 | body length u64 | zeros
//! 64  body, an rkyv archive, then zeros to a multiple of 4096
//! ```

use std::path::Path;

use rama_io::{Env, File, Open};
use rama_wire::entry::crc32c;
use rkyv::{Archive, Deserialize, Serialize};

use crate::group::RecordMigration;
use crate::lsm::error::{Corruption, Error};
use crate::lsm::migration::Migration;
use crate::lsm::store::Identity;

pub(crate) const NAME: &str = "MANIFEST";
const FRESH: &str = "MANIFEST.new";
const MAGIC: [u8; 8] = *b"RamaMani";
/// Version 1 had no marks.
const VERSION: u32 = 2;
const HEAD_BYTES: usize = 64;
const FILE_ALIGN: usize = 4096;

/// The state of a store on disk.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// Counts the switches.
    pub generation: u64,
    /// Everything up to this replog index is in the tables.
    pub persisted: u64,
    /// The next table gets this id or a larger one; ids are never used twice.
    pub next_table: u64,
    /// Runs from old to new, tables in key order.
    pub runs: Vec<Vec<u64>>,
    /// Where migrations begin, in the order in which they began.
    pub marks: Vec<Mark>,
    /// The same for the logs of the partition.
    pub log_marks: Vec<LogMark>,
}

/// Where a migration of records begins: from this offset on they are new.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogMark {
    pub log: u16,
    pub id: String,
    pub end: u64,
}

impl LogMark {
    pub fn names(&self, migration: &RecordMigration) -> bool {
        self.log == migration.log.0 && self.id == migration.id
    }
}

/// Where a migration begins: tables from this id on, and entries behind this index, are new.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub space: u16,
    pub id: String,
    pub first_table: u64,
    pub until: u64,
}

impl Mark {
    pub fn names(&self, migration: &Migration) -> bool {
        self.space == migration.space.0 && self.id == migration.id
    }
}

/// What version 1 says.
#[derive(Archive, Serialize, Deserialize)]
struct Unmarked {
    generation: u64,
    persisted: u64,
    next_table: u64,
    runs: Vec<Vec<u64>>,
}

impl From<Unmarked> for Manifest {
    fn from(old: Unmarked) -> Manifest {
        Manifest {
            generation: old.generation,
            persisted: old.persisted,
            next_table: old.next_table,
            runs: old.runs,
            marks: Vec::new(),
            log_marks: Vec::new(),
        }
    }
}

impl Manifest {
    /// Reads the manifest of `dir`, or makes the first one, and removes what it does not name.
    pub async fn open<E: Env>(env: &E, dir: &Path, identity: Identity) -> Result<Manifest, Error> {
        let names = env.list(dir).await.map_err(Error::io("list", dir))?;
        let is_table = |name: &&String| name.ends_with(".table");
        if !names.iter().any(|name| name == NAME) {
            if let Some(table) = names.iter().find(is_table) {
                let expected = format!("a manifest beside {table}");
                return Err(corrupt(&dir.join(NAME), 0, expected, "none").into());
            }
            let manifest = Manifest {
                next_table: 1,
                ..Manifest::default()
            };
            manifest.switch(env, dir, identity).await?;
            return Ok(manifest);
        }
        let path = dir.join(NAME);
        let bytes = read(env, &path).await?;
        let manifest = Manifest::decode(&path, &bytes, identity)?;
        for name in names
            .iter()
            .filter(|name| is_table(name) || name.ends_with(".new"))
        {
            let id = name
                .strip_suffix(".table")
                .and_then(|stem| stem.parse::<u64>().ok());
            let named = id.is_some_and(|id| manifest.runs.iter().flatten().any(|used| *used == id));
            if !named {
                let path = dir.join(name);
                env.remove(&path)
                    .await
                    .map_err(Error::io("remove", &path))?;
            }
        }
        Ok(manifest)
    }

    /// Makes this the manifest of `dir`; when it answers `Ok` the switch is durable. After an
    /// error either the old or the new one may be found at the next open.
    pub async fn switch<E: Env>(
        &self,
        env: &E,
        dir: &Path,
        identity: Identity,
    ) -> Result<(), Error> {
        let fresh = dir.join(FRESH);
        // One may be left from a switch that was cut short; when there is none, this fails.
        env.remove(&fresh).await.ok();
        let file = env
            .open(&fresh, Open::Create)
            .await
            .map_err(Error::io("create", &fresh))?;
        let bytes = self.encode(identity);
        let mut buffer = file.buffer(bytes.len());
        buffer.copy_from_slice(&bytes);
        file.write_durable(0, buffer)
            .await
            .map_err(Error::io("write", &fresh))?;
        let path = dir.join(NAME);
        env.rename(&fresh, &path)
            .await
            .map_err(Error::io("rename", &fresh))?;
        env.sync_dir(dir).await.map_err(Error::io("sync", dir))
    }

    fn encode(&self, identity: Identity) -> Vec<u8> {
        let body = rkyv::to_bytes::<rkyv::rancor::Error>(self)
            .expect("a manifest is far below the archive limit of 2 GiB");
        let mut bytes = vec![0; HEAD_BYTES];
        bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..16].copy_from_slice(&MAGIC);
        bytes[16..32].copy_from_slice(&identity.cluster.to_le_bytes());
        bytes[32..36].copy_from_slice(&identity.partition.to_le_bytes());
        bytes[36..40].copy_from_slice(&crc32c(&body).to_le_bytes());
        bytes[40..48].copy_from_slice(&(body.len() as u64).to_le_bytes());
        let crc = crc32c(&bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes.resize(bytes.len().next_multiple_of(FILE_ALIGN), 0);
        bytes
    }

    fn decode(path: &Path, bytes: &[u8], identity: Identity) -> Result<Manifest, Error> {
        let (found, manifest) = Manifest::parse(path, bytes)?;
        if found != identity {
            let name =
                |id: Identity| format!("partition {} of cluster {:032x}", id.partition, id.cluster);
            let (expected, found) = (name(identity), name(found));
            return Err(Error::Foreign {
                path: path.into(),
                expected,
                found,
            });
        }
        Ok(manifest)
    }

    /// What a manifest says, and whose it is.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<(Identity, Manifest), Corruption> {
        let Some(head) = bytes.first_chunk::<HEAD_BYTES>() else {
            let found = format!("the end at {}", bytes.len());
            return Err(corrupt(path, 0, "64 bytes", found));
        };
        let u32_at =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let crc = crc32c(&head[4..]);
        if u32_at(0) != crc {
            let expected = format!("crc32c {:08x}", u32_at(0));
            return Err(corrupt(path, 0, expected, format!("{crc:08x}")));
        }
        let version = u32_at(4);
        if head[8..16] != MAGIC || !(1..=VERSION).contains(&version) {
            let expected = format!("magic {MAGIC:?} and format version 1 or {VERSION}");
            let found = format!("{:?} and {}", &head[8..16], u32_at(4));
            return Err(corrupt(path, 4, expected, found));
        }
        let mut cluster = [0; 16];
        cluster.copy_from_slice(&head[16..32]);
        let found = Identity {
            cluster: u128::from_le_bytes(cluster),
            partition: u32_at(32),
        };
        let body_len = u64::from(u32_at(40)) | u64::from(u32_at(44)) << 32;
        let body = usize::try_from(body_len)
            .ok()
            .and_then(|len| bytes[HEAD_BYTES..].get(..len));
        let Some(body) = body else {
            let (expected, found) = (format!("a body of {body_len} bytes"), "the end of the file");
            return Err(corrupt(path, HEAD_BYTES, expected, found));
        };
        let crc = crc32c(body);
        if crc != u32_at(36) {
            let expected = format!("body with crc32c {:08x}", u32_at(36));
            return Err(corrupt(path, HEAD_BYTES, expected, format!("{crc:08x}")));
        }
        let decoded = if version == 1 {
            rkyv::from_bytes::<Unmarked, rkyv::rancor::Error>(body).map(Manifest::from)
        } else {
            rkyv::from_bytes::<Manifest, rkyv::rancor::Error>(body)
        };
        let manifest =
            decoded.map_err(|error| corrupt(path, HEAD_BYTES, "a manifest", error.to_string()))?;
        Ok((found, manifest))
    }
}

fn corrupt(
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

async fn read<E: Env>(env: &E, path: &Path) -> Result<Vec<u8>, Error> {
    let file = env
        .open(path, Open::Existing)
        .await
        .map_err(Error::io("open", path))?;
    let len = file.len().await.map_err(Error::io("measure", path))?;
    file.read(0, len as usize)
        .await
        .map_err(Error::io("read", path))
}
