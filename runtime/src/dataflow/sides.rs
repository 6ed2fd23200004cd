//! The values of both sides of a join while they wait: in memory, and on disk when they are many.
//!
//! Relies on `rows` for where they wait. What must stay true: every pair of the same key is named once, a
//! value without partners once without one; however often one key occurs, of the values on disk no more
//! than two blocks are in memory, and an event names no more than so many pairs.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use rama_wire::{Key, Record};

use crate::gather::{Left, RELEASED_ROWS};
use crate::rows::{self, Memory, Packed, Waiting, behind, row_key, split_row_key};

/// The sides, as the end of the keys of their rows says.
pub(super) const LEFT: u8 = 0;
pub(super) const RIGHT: u8 = 1;

/// So many values of a side are read from disk at once. Few in tests, which are to need several.
const BLOCK_ROWS: usize = if cfg!(test) { 3 } else { 4096 };

/// What a slot has in memory, by encoded key.
pub(super) struct Sides<Q, L, R> {
    groups: BTreeMap<Vec<u8>, (Q, Vec<L>, Vec<R>)>,
    count: usize,
    /// The key whose pairs come out.
    walk: Option<Walk<Q, L, R>>,
}

impl<Q, L, R> Default for Sides<Q, L, R> {
    fn default() -> Sides<Q, L, R> {
        Sides {
            groups: BTreeMap::new(),
            count: 0,
            walk: None,
        }
    }
}

impl<Q: Key, L, R> Sides<Q, L, R> {
    pub(super) fn keep_left(&mut self, key: Q, value: L) {
        self.group(key).1.push(value);
    }

    pub(super) fn keep_right(&mut self, key: Q, value: R) {
        self.group(key).2.push(value);
    }

    fn group(&mut self, key: Q) -> &mut (Q, Vec<L>, Vec<R>) {
        self.count += 1;
        let group = self.groups.entry(key.key_bytes());
        group.or_insert_with(|| (key, Vec::new(), Vec::new()))
    }
}

impl<Q: Key, L: Record, R: Record> Memory for Sides<Q, L, R> {
    fn count(&self) -> usize {
        self.count
    }

    fn weigh(&self) -> usize {
        fn side<T: Record>(values: &[T]) -> usize {
            rows::weigh(values.len(), values.iter(), |value| rows::weight_of(*value))
        }
        let groups = self.groups.iter();
        rows::weigh(self.groups.len(), groups, |(key, (_, left, right))| {
            key.len() + size_of::<Q>() + side(left) + side(right)
        })
    }

    fn pack(&mut self, run: u32) -> Packed {
        fn side<T: Record>(
            (key, side): (&[u8], u8),
            run: u32,
            values: Vec<T>,
        ) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + use<T> {
            let key = [key, &[side]].concat();
            let values = values.into_iter().zip(0..);
            values.map(move |(value, place)| (row_key(&key, run, place), value.to_bytes()))
        }
        self.count = 0;
        let groups = std::mem::take(&mut self.groups).into_iter();
        Box::new(groups.flat_map(move |(key, (_, left, right))| {
            side((&key, LEFT), run, left).chain(side((&key, RIGHT), run, right))
        }))
    }
}

/// Values of one side of one key, from some place on.
struct Block<T> {
    values: Vec<T>,
    /// Where those begin that are not in memory.
    next: Option<Vec<u8>>,
}

/// The pairs of one key: for each value of the left side all of the right.
struct Walk<Q, L, R> {
    key: Q,
    encoded: Vec<u8>,
    left: Block<L>,
    right: Block<R>,
    /// The place of the next pair in both blocks.
    at: (usize, usize),
    /// Whether the block of the right side is not its first.
    further: bool,
}

/// Names some of the pairs, and what has no partner; whether there are more.
pub(super) fn let_go<Q: Key, L: Record, R: Record>(
    waiting: &mut Waiting<Sides<Q, L, R>>,
    each: &mut dyn FnMut(&Q, Option<&L>, Option<&R>),
) -> Left {
    let mut walk = waiting.memory.walk.take();
    for _ in 0..RELEASED_ROWS {
        let Some(mut here) = walk.take().or_else(|| begin(waiting)) else {
            return Left::Nothing;
        };
        let (left, right) = here.at;
        let (left, right) = (here.left.values.get(left), here.right.values.get(right));
        each(&here.key, left, right);
        walk = here.step(waiting).then_some(here);
    }
    waiting.memory.walk = walk;
    Left::More
}

/// The next key.
fn begin<Q: Key, L: Record, R: Record>(
    waiting: &mut Waiting<Sides<Q, L, R>>,
) -> Option<Walk<Q, L, R>> {
    let whole = |key, encoded, left, right| Walk {
        key,
        encoded,
        left,
        right,
        at: (0, 0),
        further: false,
    };
    if !waiting.is_on_disk() {
        let (encoded, (key, left, right)) = waiting.memory.groups.pop_first()?;
        let (left, right) = (Block::whole(left), Block::whole(right));
        return Some(whole(key, encoded, left, right));
    }
    let mut found = None;
    waiting.scan(waiting.next(), &mut |row, _| {
        let (key, _run) = split_row_key(row);
        let (key, [_side]) = rows::split_end(key);
        found = Some(key.to_vec());
        ControlFlow::Break(())
    });
    let encoded = found?;
    waiting.go_on_at(behind(&side_of(&encoded, RIGHT)));
    let left = Block::read(waiting, &encoded, LEFT, None);
    let right = Block::read(waiting, &encoded, RIGHT, None);
    Some(whole(rows::decoded_key(&encoded), encoded, left, right))
}

fn side_of(key: &[u8], side: u8) -> Vec<u8> {
    [key, &[side]].concat()
}

impl<T: Record> Block<T> {
    fn whole(values: Vec<T>) -> Block<T> {
        let next = None;
        Block { values, next }
    }

    /// Reads a block of a side, its first or the one at `from`.
    fn read<M: Memory>(
        waiting: &Waiting<M>,
        key: &[u8],
        side: u8,
        from: Option<Vec<u8>>,
    ) -> Block<T> {
        let side = side_of(key, side);
        let (mut values, mut next) = (Vec::new(), None);
        let from = from.unwrap_or_else(|| row_key(&side, 0, 0));
        waiting.scan(&from, &mut |row, value| {
            if split_row_key(row).0 != side {
                return ControlFlow::Break(());
            }
            if values.len() == BLOCK_ROWS {
                next = Some(row.to_vec());
                return ControlFlow::Break(());
            }
            values.push(rows::decoded(value));
            ControlFlow::Continue(())
        });
        Block { values, next }
    }
}

impl<Q: Key, L: Record, R: Record> Walk<Q, L, R> {
    /// Goes on to the next pair; whether there is one.
    fn step<M: Memory>(&mut self, waiting: &Waiting<M>) -> bool {
        self.at.1 += 1;
        if self.at.1 < self.right.values.len() {
            return true;
        }
        self.at.1 = 0;
        if let Some(next) = self.right.next.take() {
            self.right = Block::read(waiting, &self.encoded, RIGHT, Some(next));
            self.further = true;
            return true;
        }
        self.at.0 += 1;
        if self.at.0 >= self.left.values.len() {
            let Some(next) = self.left.next.take() else {
                return false;
            };
            self.left = Block::read(waiting, &self.encoded, LEFT, Some(next));
            self.at.0 = 0;
        }
        if std::mem::take(&mut self.further) {
            self.right = Block::read(waiting, &self.encoded, RIGHT, None);
        }
        true
    }
}

#[cfg(test)]
mod tests;
