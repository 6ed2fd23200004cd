//! Tools of the store's tests: a naive model, a small random stream, comparisons.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use rama_wire::SpaceId;

use crate::lsm::{Order, Read, WriteBatch};

mod files;
mod model;
mod reshape;
mod speed;

/// A seeded random stream (splitmix64).
pub(crate) struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// A key from a small set, of several lengths, with shared prefixes and zero bytes.
    pub fn key(&mut self) -> Vec<u8> {
        let number = self.below(200);
        match number % 4 {
            0 => vec![number as u8],
            1 => format!("shared prefix {number:03}").into_bytes(),
            2 => format!("a much longer shared prefix, over thirty bytes {number}").into_bytes(),
            _ => vec![0; number as usize % 5],
        }
    }

    pub fn value(&mut self) -> Vec<u8> {
        let len = match self.below(10) {
            0 => 0,
            1 => self.below(3000),
            2 => 30 + self.below(3),
            _ => self.below(20),
        };
        let byte = self.next() as u8;
        vec![byte; len as usize]
    }
}

/// The state a store should have, as plain as can be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub map: BTreeMap<(SpaceId, Vec<u8>), Vec<u8>>,
}

/// One random write.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    Put(SpaceId, Vec<u8>, Vec<u8>),
    Delete(SpaceId, Vec<u8>),
    DeleteRange(SpaceId, Vec<u8>, Vec<u8>),
    Clear(SpaceId),
}

impl Write {
    pub fn random(rng: &mut Rng) -> Write {
        let space = SpaceId(rng.below(3) as u16 * 300);
        match rng.below(100) {
            0..60 => Write::Put(space, rng.key(), rng.value()),
            60..85 => Write::Delete(space, rng.key()),
            85..99 => Write::DeleteRange(space, rng.key(), rng.key()),
            _ => Write::Clear(space),
        }
    }

    pub fn add_to(&self, batch: &mut WriteBatch) {
        match self {
            Write::Put(space, key, value) => batch.put(*space, key, value),
            Write::Delete(space, key) => batch.delete(*space, key),
            Write::DeleteRange(space, lo, hi) => batch.delete_range(*space, lo, hi),
            Write::Clear(space) => batch.clear(*space),
        }
    }
}

impl Model {
    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::Put(space, key, value) => {
                self.map.insert((*space, key.clone()), value.clone());
            }
            Write::Delete(space, key) => {
                self.map.remove(&(*space, key.clone()));
            }
            Write::DeleteRange(space, lo, hi) => {
                self.map
                    .retain(|(s, key), _| s != space || key < lo || key >= hi);
            }
            Write::Clear(space) => self.map.retain(|(s, _), _| s != space),
        }
    }

    fn expected(
        &self,
        space: SpaceId,
        lo: &[u8],
        hi: Option<&[u8]>,
        order: Order,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut list: Vec<_> = self
            .map
            .iter()
            .filter(|((s, key), _)| {
                *s == space && &key[..] >= lo && hi.is_none_or(|hi| &key[..] < hi)
            })
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect();
        if order == Order::Descending {
            list.reverse();
        }
        list
    }

    /// Compares random point and range reads.
    pub fn check(&self, rng: &mut Rng, what: &str, read: &dyn Read, rounds: u64) {
        for _ in 0..rounds {
            let space = SpaceId(rng.below(3) as u16 * 300);
            let key = rng.key();
            let mut got = None;
            read.get(space, &key, &mut |value| {
                got = Some(value.map(<[u8]>::to_vec))
            })
            .unwrap();
            let expected = self.map.get(&(space, key.clone())).cloned();
            assert_eq!(got, Some(expected), "{what}: get {space} {key:?}");
            let order = [Order::Ascending, Order::Descending][rng.below(2) as usize];
            let lo = if rng.below(4) == 0 {
                Vec::new()
            } else {
                rng.key()
            };
            let hi = (rng.below(4) > 0).then(|| rng.key());
            let limit = if rng.below(3) == 0 {
                rng.below(5) as usize + 1
            } else {
                usize::MAX
            };
            let mut got = Vec::new();
            read.scan(space, &lo, hi.as_deref(), order, &mut |key, value| {
                got.push((key.to_vec(), value.to_vec()));
                if got.len() == limit {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })
            .unwrap();
            let mut expected = self.expected(space, &lo, hi.as_deref(), order);
            expected.truncate(limit);
            assert_eq!(
                got, expected,
                "{what}: scan {space} {lo:?} {hi:?} {order:?}"
            );
        }
    }

    /// Compares everything.
    pub fn check_all(&self, what: &str, read: &dyn Read) {
        for space in [0, 300, 600].map(SpaceId) {
            for order in [Order::Ascending, Order::Descending] {
                let mut got = Vec::new();
                read.scan(space, &[], None, order, &mut |key, value| {
                    got.push((key.to_vec(), value.to_vec()));
                    ControlFlow::Continue(())
                })
                .unwrap();
                let expected = self.expected(space, &[], None, order);
                assert_eq!(got, expected, "{what}: all of {space} {order:?}");
            }
        }
    }
}
