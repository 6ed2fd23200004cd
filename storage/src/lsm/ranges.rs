//! The range deletes of one layer and space: disjoint intervals, merged where they touch.
//!
//! Relies on nothing. What must stay true: intervals are sorted, disjoint and not adjacent, so
//! that one look at the last interval that begins at or before a key decides about the key.

use std::collections::BTreeMap;
use std::ops::Bound;

/// A set of half-open key intervals; an upper bound of `None` means the end of the space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RangeSet {
    by_lo: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

/// One interval: `lo <= key < hi`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range<'a> {
    pub lo: &'a [u8],
    pub hi: Option<&'a [u8]>,
}

impl Range<'_> {
    fn contains(&self, key: &[u8]) -> bool {
        self.lo <= key && self.hi.is_none_or(|hi| key < hi)
    }
}

impl RangeSet {
    pub fn is_empty(&self) -> bool {
        self.by_lo.is_empty()
    }

    /// Adds an interval.
    pub fn add(&mut self, lo: &[u8], hi: Option<&[u8]>) {
        if hi.is_some_and(|hi| lo >= hi) {
            return;
        }
        let mut lo = lo.to_vec();
        let mut hi = hi.map(<[u8]>::to_vec);
        while let Some((found, end)) = self.touching(&lo, hi.as_deref()) {
            self.by_lo.remove(&found);
            lo = lo.min(found);
            hi = match (hi, end) {
                (Some(a), Some(b)) => Some(a.max(b)),
                _ => None,
            };
        }
        self.by_lo.insert(lo, hi);
    }

    /// The last interval that overlaps or touches `[lo, hi)`.
    fn touching(&self, lo: &[u8], hi: Option<&[u8]>) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        let upper = hi.map_or(Bound::Unbounded, Bound::Included);
        let (found, end) = self
            .by_lo
            .range::<[u8], _>((Bound::Unbounded, upper))
            .next_back()?;
        let touches = end.as_deref().is_none_or(|end| end >= lo);
        touches.then(|| (found.clone(), end.clone()))
    }

    /// The interval that contains `key`.
    #[inline]
    pub fn covering(&self, key: &[u8]) -> Option<Range<'_>> {
        if self.by_lo.is_empty() {
            return None;
        }
        let upto = (Bound::Unbounded, Bound::Included(key));
        let (lo, hi) = self.by_lo.range::<[u8], _>(upto).next_back()?;
        let range = Range {
            lo,
            hi: hi.as_deref(),
        };
        range.contains(key).then_some(range)
    }

    /// All intervals in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<'_>> {
        self.by_lo.iter().map(|(lo, hi)| Range {
            lo,
            hi: hi.as_deref(),
        })
    }

    /// Adds every interval of `other`.
    pub fn extend(&mut self, other: &RangeSet) {
        for range in other.iter() {
            self.add(range.lo, range.hi);
        }
    }

    /// Rough size in memory.
    pub fn bytes(&self) -> usize {
        self.by_lo.len() * 96
    }

    pub fn clear(&mut self) {
        self.by_lo.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every list of up to four intervals over a small alphabet against a bit set.
    #[test]
    fn intervals_cover_exactly_what_was_added() {
        let bounds: Vec<(u8, Option<u8>)> = (0..4)
            .flat_map(|lo| (lo..5).map(move |hi| (lo, (hi < 4).then_some(hi))))
            .collect();
        let count = bounds.len();
        for code in 0..count.pow(4) {
            let mut set = RangeSet::default();
            let mut model = [false; 5];
            let mut rest = code;
            for _ in 0..4 {
                let (lo, hi) = bounds[rest % count];
                rest /= count;
                set.add(&[lo], hi.as_ref().map(std::slice::from_ref));
                for key in lo..hi.unwrap_or(5) {
                    model[usize::from(key)] = true;
                }
            }
            for key in 0..5u8 {
                let covered = set.covering(&[key]).is_some();
                assert_eq!(
                    covered,
                    model[usize::from(key)],
                    "code {code} key {key} in {set:?}"
                );
            }
            let list: Vec<Range> = set.iter().collect();
            assert!(
                list.windows(2)
                    .all(|w| w[0].hi.is_some_and(|hi| hi < w[1].lo)),
                "{set:?}"
            );
        }
    }
}
