//! Writes a table: entries in ascending order in, one sealed file out.
//!
//! Relies on `Env` files. What must stay true: the final name appears only after the whole content
//! was flushed, and is durable before the table is used; what fails on the way leaves a `.new`
//! file that the next open of the store removes, and no file is ever written twice.

use std::path::PathBuf;

use rama_io::{Env, File, Open};
use rama_wire::SpaceId;
use rama_wire::entry::crc32c;

use crate::lsm::error::Error;
use crate::lsm::mutant::{Mutant, planted};
use crate::lsm::ranges::RangeSet;
use crate::lsm::store::Identity;
use crate::lsm::table::filter::FilterBuilder;
use crate::lsm::table::format::{
    DELETED, EDGE_BYTES, ENTRY_AT_MAX, FILE_ALIGN, GROUP_BYTES, Group, Meta, PAGE_BYTES, RangeMeta,
    Section, SpaceMeta, Superblock, Trailer, UNIT_BYTES, prefix,
};
use crate::lsm::table::hash::{SlotsBuilder, hash_key};
use crate::lsm::table::{Table, table_path};

/// Size of one write.
const WRITE_BYTES: usize = 1 << 20;
/// Index entries built between two turns of other work.
const HASHES_PER_TURN: usize = 16 << 10;

const _: () = assert!(WRITE_BYTES.is_multiple_of(PAGE_BYTES));

/// A table in the making.
pub(crate) struct Builder<E: Env> {
    env: E,
    dir: PathBuf,
    id: u64,
    identity: Identity,
    file: E::File,
    fresh: PathBuf,
    /// Bytes before `pending`.
    written: usize,
    pending: Vec<u8>,
    crcs: Vec<u32>,
    hashes: Vec<(u64, u32)>,
    spaces: Vec<SpaceMeta>,
    /// The first key of each group of the open space.
    group_keys: Vec<Vec<u8>>,
    last_key: Vec<u8>,
    /// Whether the table is to outlive the process, and to be looked into for single keys.
    lasting: bool,
}

impl<E: Env> Builder<E> {
    pub async fn create(
        env: &E,
        dir: &std::path::Path,
        id: u64,
        identity: Identity,
    ) -> Result<Builder<E>, Error> {
        let fresh = table_path(dir, id).with_extension("new");
        Builder::begin(env, dir, (id, identity), (fresh, true)).await
    }

    /// A table for this process alone, read from one key on: without index and filter of single keys,
    /// and not flushed.
    pub async fn passing(
        env: &E,
        dir: &std::path::Path,
        id: u64,
        identity: Identity,
    ) -> Result<Builder<E>, Error> {
        let file = table_path(dir, id);
        Builder::begin(env, dir, (id, identity), (file, false)).await
    }

    async fn begin(
        env: &E,
        dir: &std::path::Path,
        (id, identity): (u64, Identity),
        (fresh, lasting): (PathBuf, bool),
    ) -> Result<Builder<E>, Error> {
        assert_eq!(
            FILE_ALIGN % E::File::ALIGN,
            0,
            "a table file ends at a block"
        );
        let file = env
            .open(&fresh, Open::Create)
            .await
            .map_err(Error::io("create", &fresh))?;
        Ok(Builder {
            env: env.clone(),
            dir: dir.into(),
            id,
            identity,
            file,
            fresh,
            written: 0,
            pending: Superblock::encode(identity, id).to_vec(),
            crcs: Vec::new(),
            hashes: Vec::new(),
            spaces: Vec::new(),
            group_keys: Vec::new(),
            last_key: Vec::new(),
            lasting,
        })
    }

    fn position(&self) -> usize {
        self.written + self.pending.len()
    }

    /// True when it has no room for another entry, or more than `bytes`.
    pub fn is_full(&self, bytes: usize) -> bool {
        self.position() >= bytes.min(ENTRY_AT_MAX)
    }

    /// True when [`Builder::write`] is due.
    pub fn is_heavy(&self) -> bool {
        self.pending.len() >= WRITE_BYTES
    }

    /// Goes on to a space, which must lie behind the present one.
    pub fn open_space(&mut self, space: SpaceId, ranges: Option<&RangeSet>) {
        self.close_space();
        let begin = self.position() as u64;
        let owned = |bytes: &[u8]| bytes.to_vec();
        let ranges = ranges.into_iter().flat_map(RangeSet::iter);
        let ranges = ranges
            .map(|r| RangeMeta {
                lo: owned(r.lo),
                hi: r.hi.map(owned),
            })
            .collect();
        self.spaces.push(SpaceMeta {
            space: space.0,
            skip: 0,
            begin,
            end: begin,
            first_key: Vec::new(),
            last_key: Vec::new(),
            groups: Vec::new(),
            ranges,
        });
    }

    /// Adds an entry of the open space; `None` is a delete. Keys ascend.
    pub fn add(&mut self, key: &[u8], value: Option<&[u8]>) {
        let at = self.position();
        let open = self
            .spaces
            .last_mut()
            .expect("a space is opened before its entries come");
        debug_assert!(
            open.groups.is_empty() || key > &self.last_key[..],
            "keys ascend"
        );
        let due = open
            .groups
            .last()
            .is_none_or(|group| at - group.at as usize >= GROUP_BYTES);
        if due {
            open.groups.push(Group {
                prefix: 0,
                at: at as u32,
            });
            self.group_keys.push(key.to_vec());
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        if self.lasting {
            let hash = hash_key(SpaceId(open.space), key);
            self.hashes.push((hash, at as u32));
        }
        let value_len = value.map_or(DELETED, |value| value.len() as u32);
        self.pending
            .extend_from_slice(&(key.len() as u16).to_le_bytes());
        self.pending.extend_from_slice(&value_len.to_le_bytes());
        self.pending.extend_from_slice(key);
        self.pending.extend_from_slice(value.unwrap_or_default());
        let padded = self.pending.len().next_multiple_of(UNIT_BYTES);
        self.pending.resize(padded, 0);
    }

    fn close_space(&mut self) {
        let end = self.position() as u64;
        let Some(open) = self.spaces.last_mut() else {
            return;
        };
        open.end = end;
        let Some(first) = self.group_keys.first() else {
            return;
        };
        let pairs = first.iter().zip(&self.last_key);
        let skip = pairs.take_while(|(a, b)| a == b).count();
        for (group, key) in open.groups.iter_mut().zip(&self.group_keys) {
            group.prefix = prefix(&key[skip..]);
        }
        open.skip = skip as u32;
        open.first_key = first.clone();
        open.last_key = self.last_key.clone();
        self.group_keys.clear();
    }

    /// Writes what is gathered, in whole writes.
    pub async fn write(&mut self) -> Result<(), Error> {
        while self.pending.len() >= WRITE_BYTES {
            self.write_front(WRITE_BYTES, true).await?;
        }
        Ok(())
    }

    async fn write_front(&mut self, len: usize, paged: bool) -> Result<(), Error> {
        let mut buffer = self.file.buffer(len);
        buffer.copy_from_slice(&self.pending[..len]);
        if paged {
            self.crcs
                .extend(self.pending[..len].chunks(PAGE_BYTES).map(crc32c));
        }
        self.pending.drain(..len);
        let at = self.written as u64;
        self.written += len;
        self.file
            .write(at, buffer)
            .await
            .map_err(Error::io("write", &self.fresh))
    }

    /// Seals the file and opens it.
    pub async fn finish(mut self) -> Result<Table, Error> {
        self.close_space();
        self.write().await?;
        let entry_count = self.hashes.len() as u64;
        let (hash, filter) = self.indexes().await;
        self.pending
            .resize(self.pending.len().next_multiple_of(PAGE_BYTES), 0);
        self.write().await?;
        if !self.pending.is_empty() {
            self.write_front(self.pending.len(), true).await?;
        }
        let pages = std::mem::take(&mut self.crcs);
        let spaces = std::mem::take(&mut self.spaces);
        self.append_meta(&Meta {
            entry_count,
            hash,
            filter,
            spaces,
            pages,
        });
        self.write_front(self.pending.len(), false).await?;
        if self.lasting && !planted(Mutant::ManifestBeforeFlush) {
            self.file
                .flush()
                .await
                .map_err(Error::io("flush", &self.fresh))?;
        }
        if self.lasting {
            let path = table_path(&self.dir, self.id);
            let renamed = self.env.rename(&self.fresh, &path).await;
            renamed.map_err(Error::io("rename", &self.fresh))?;
            let synced = self.env.sync_dir(&self.dir).await;
            synced.map_err(Error::io("sync", &self.dir))?;
        }
        Table::open(&self.env, &self.dir, self.id, self.identity).await
    }

    async fn indexes(&mut self) -> (Section, Section) {
        let hashes = std::mem::take(&mut self.hashes);
        let mut slots = SlotsBuilder::new(hashes.len());
        let mut filter = FilterBuilder::new(hashes.len());
        for turn in hashes.chunks(HASHES_PER_TURN) {
            for (hash, at) in turn {
                slots.insert(*hash, *at as usize);
                let other = planted(Mutant::FilterOtherHash);
                filter.insert(if other { hash.swap_bytes() } else { *hash });
            }
            self.env.yield_now().await;
        }
        let hash_at = self.position();
        slots.encode(&mut self.pending);
        let filter_at = self.position();
        filter.encode(&mut self.pending);
        let section = |at: usize, end: usize| Section {
            at: at as u64,
            len: (end - at) as u64,
        };
        (
            section(hash_at, filter_at),
            section(filter_at, self.position()),
        )
    }

    fn append_meta(&mut self, meta: &Meta) {
        let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(meta)
            .expect("a meta block is far below the archive limit of 2 GiB");
        let meta_at = self.position() as u64;
        let file_bytes = self.position() + bytes.len() + EDGE_BYTES;
        let file_bytes = file_bytes.next_multiple_of(FILE_ALIGN);
        let trailer = Trailer {
            meta_at,
            meta_len: bytes.len() as u64,
            meta_crc: crc32c(&bytes),
        };
        self.pending.extend_from_slice(&bytes);
        self.pending
            .resize(file_bytes - EDGE_BYTES - self.written, 0);
        self.pending
            .extend_from_slice(&trailer.encode(file_bytes as u64));
    }
}
