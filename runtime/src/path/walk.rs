//! Walking the elements of a subindexed structure.
//!
//! An element is one entry when it is a value; otherwise it is all keys that start with its prefix,
//! and the walk goes from prefix to prefix, seeking over what lies below.

use std::ops::{Bound, ControlFlow};

use rama_wire::SpaceId;
use rama_wire::key::successor;

use crate::access::{Order, ReadAccess, Visit};

/// Entries below an element that are stepped over before a seek is cheaper.
const STEPS_BEFORE_SEEK: u32 = 8;

/// Which elements to visit, in which order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// First key, inclusive.
    pub(crate) lo: Vec<u8>,
    /// End, exclusive.
    pub(crate) hi: Option<Vec<u8>>,
    pub(crate) order: Order,
    pub(crate) limit: u64,
}

/// What the elements of a structure are.
pub(crate) enum Child<'a> {
    /// Values: one entry each.
    Value,
    /// Structures. The function gives the length of the encoded key at the front of its argument.
    Structure(&'a dyn Fn(&[u8]) -> Option<usize>),
}

/// The range of keys of a structure's elements between two encoded keys, or `None` when it is surely
/// empty. Without a lower bound it begins after the structure's header.
pub(crate) fn bounds(
    prefix: &[u8],
    lo: Bound<Vec<u8>>,
    hi: Bound<Vec<u8>>,
) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let lo = match lo {
        Bound::Unbounded => [prefix, &[0]].concat(),
        Bound::Included(key) => [prefix, &key].concat(),
        // Nothing follows a key that is all 0xFF.
        Bound::Excluded(key) => successor(&[prefix, &key].concat())?,
    };
    let hi = match hi {
        Bound::Unbounded => successor(prefix),
        Bound::Excluded(key) => Some([prefix, &key].concat()),
        Bound::Included(key) => successor(&[prefix, &key].concat()),
    };
    Some((lo, hi))
}

/// Calls `visit` with the encoded key and, for values, the bytes of each element in the span. The
/// keys start after `prefix_len` bytes. `Err` holds a key that makes no sense.
pub(crate) fn walk(
    read: &dyn ReadAccess,
    space: SpaceId,
    prefix_len: usize,
    span: &Span,
    child: &Child<'_>,
    visit: &mut Visit<'_>,
) -> Result<(), Vec<u8>> {
    if span.limit == 0 || span.hi.as_ref().is_some_and(|hi| *hi <= span.lo) {
        return Ok(());
    }
    match child {
        Child::Value => walk_values(read, space, prefix_len, span, visit),
        Child::Structure(measure) => {
            walk_structures(read, space, prefix_len, span.clone(), measure, visit)
        }
    }
}

fn walk_values(
    read: &dyn ReadAccess,
    space: SpaceId,
    prefix_len: usize,
    span: &Span,
    visit: &mut Visit<'_>,
) -> Result<(), Vec<u8>> {
    let mut left = span.limit;
    let mut bad = None;
    read.scan(
        space,
        &span.lo,
        span.hi.as_deref(),
        span.order,
        &mut |key, value| {
            let Some(element) = key.get(prefix_len..) else {
                bad = Some(key.to_vec());
                return ControlFlow::Break(());
            };
            left -= 1;
            visit(element, value)?;
            if left == 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        },
    );
    bad.map_or(Ok(()), Err)
}

fn walk_structures(
    read: &dyn ReadAccess,
    space: SpaceId,
    prefix_len: usize,
    mut span: Span,
    measure: &dyn Fn(&[u8]) -> Option<usize>,
    visit: &mut Visit<'_>,
) -> Result<(), Vec<u8>> {
    let mut element: Vec<u8> = Vec::new();
    loop {
        let (mut steps, mut seek, mut bad) = (0, false, None);
        read.scan(
            space,
            &span.lo,
            span.hi.as_deref(),
            span.order,
            &mut |key, _| {
                if !element.is_empty() && key.starts_with(&element) {
                    steps += 1;
                    seek = steps > STEPS_BEFORE_SEEK;
                    return if seek {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    };
                }
                let Some(len) = key.get(prefix_len..).and_then(measure) else {
                    bad = Some(key.to_vec());
                    return ControlFlow::Break(());
                };
                steps = 0;
                element.clear();
                element.extend_from_slice(&key[..prefix_len + len]);
                span.limit -= 1;
                visit(&element[prefix_len..], &[])?;
                if span.limit == 0 {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            },
        );
        if let Some(key) = bad {
            return Err(key);
        }
        if !seek {
            return Ok(());
        }
        match (span.order, successor(&element)) {
            (Order::Descending, _) => span.hi = Some(element.clone()),
            (Order::Ascending, Some(next)) => span.lo = next,
            (Order::Ascending, None) => return Ok(()),
        }
    }
}
