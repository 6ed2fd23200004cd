//! Ranges of keys, and which of them hold a key: what a write asks before it costs anything else.
//!
//! A search tree over the lower bounds whose nodes know the greatest upper bound below them, kept
//! in balance by priorities made of the ids (a treap). Relies on nothing. What must stay true:
//! adding, removing and asking take a number of steps that grows with the logarithm of the ranges,
//! plus one for each range found; the same ranges give the same tree.

use std::cmp::Ordering;

/// An upper bound, exclusive; `None` is beyond every key.
type End = Option<Vec<u8>>;

/// Whether a range that ends at `end` reaches beyond `key`.
fn reaches(end: &End, key: &[u8]) -> bool {
    end.as_deref().is_none_or(|end| end > key)
}

fn later(a: &End, b: &End) -> bool {
    match (a, b) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(a), Some(b)) => a > b,
    }
}

struct Node {
    lo: Vec<u8>,
    hi: End,
    id: u64,
    priority: u64,
    /// The greatest upper bound of this node and everything below it.
    furthest: End,
    left: Tree,
    right: Tree,
}

type Tree = Option<Box<Node>>;

/// A set of ranges `[lo, hi)` with distinct ids.
#[derive(Default)]
pub(crate) struct Intervals(Tree);

impl Intervals {
    /// Adds a range under an id that is not in the set.
    pub(crate) fn insert(&mut self, lo: &[u8], hi: Option<&[u8]>, id: u64) {
        let (below, above) = split(self.0.take(), (lo, id));
        let hi = hi.map(<[u8]>::to_vec);
        let node = Box::new(Node {
            lo: lo.to_vec(),
            furthest: hi.clone(),
            hi,
            id,
            priority: rama_core::ids::mix(id),
            left: None,
            right: None,
        });
        self.0 = merge(merge(below, Some(node)), above);
    }

    /// Takes a range out, which was added with this lower bound and id.
    pub(crate) fn remove(&mut self, lo: &[u8], id: u64) {
        let (below, rest) = split(self.0.take(), (lo, id));
        let (_, above) = split(rest, (lo, id + 1));
        self.0 = merge(below, above);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Names the ranges that hold `key`.
    pub(crate) fn holding(&self, key: &[u8], found: &mut dyn FnMut(u64)) {
        visit(&self.0, key, |lo| lo <= key, found);
    }

    /// Names the ranges that share a key with `[lo, hi)`, which is not empty.
    pub(crate) fn meeting(&self, lo: &[u8], hi: Option<&[u8]>, found: &mut dyn FnMut(u64)) {
        visit(&self.0, lo, |from| hi.is_none_or(|hi| from < hi), found);
    }
}

/// Visits what reaches beyond `key` and begins where `begins` says.
fn visit(
    tree: &Tree,
    key: &[u8],
    begins: impl Fn(&[u8]) -> bool + Copy,
    found: &mut dyn FnMut(u64),
) {
    let Some(node) = tree else { return };
    if !reaches(&node.furthest, key) {
        return;
    }
    visit(&node.left, key, begins, found);
    if !begins(&node.lo) {
        return;
    }
    if reaches(&node.hi, key) {
        found(node.id);
    }
    visit(&node.right, key, begins, found);
}

impl Node {
    fn order(&self, (lo, id): (&[u8], u64)) -> Ordering {
        self.lo.as_slice().cmp(lo).then(self.id.cmp(&id))
    }

    fn measure(&mut self) {
        let mut furthest = &self.hi;
        for child in [&self.left, &self.right].into_iter().flatten() {
            if later(&child.furthest, furthest) {
                furthest = &child.furthest;
            }
        }
        self.furthest = furthest.clone();
    }
}

/// What comes before a place, and the rest.
fn split(tree: Tree, at: (&[u8], u64)) -> (Tree, Tree) {
    let Some(mut node) = tree else {
        return (None, None);
    };
    if node.order(at) == Ordering::Less {
        let (below, above) = split(node.right.take(), at);
        node.right = below;
        node.measure();
        (Some(node), above)
    } else {
        let (below, above) = split(node.left.take(), at);
        node.left = above;
        node.measure();
        (below, Some(node))
    }
}

/// One tree of two, all of the first before all of the second.
fn merge(first: Tree, second: Tree) -> Tree {
    match (first, second) {
        (None, only) | (only, None) => only,
        (Some(mut first), Some(mut second)) => {
            if first.priority >= second.priority {
                first.right = merge(first.right.take(), Some(second));
                first.measure();
                Some(first)
            } else {
                second.left = merge(Some(first), second.left.take());
                second.measure();
                Some(second)
            }
        }
    }
}

#[cfg(test)]
mod tests;
