//! Spans of time cut into windows of several sizes.
//!
//! Relies on each size being a multiple of the one before. What must stay true: the windows of a span do
//! not overlap, and together are the span.

use std::ops::Range;

/// The windows that make up a span, as few as there can be: large ones in the middle, small ones at its
/// ends, in the order of time. `sizes` are those there are, smallest first, in one unit with the
/// span; the answer has, for each run of windows of one size, the place of the size in `sizes` and the
/// numbers of the windows, where window n begins at n times its size. What is cut by the smallest size
/// counts whole.
///
/// For statistics that are kept in windows of several sizes, so that those of any span are a few range
/// reads.
///
/// ```
/// use rama_runtime::helpers::windows;
///
/// // Minutes, hours and days: from 5:58 to 20:03.
/// let found = windows(5 * 60 + 58..20 * 60 + 3, &[1, 60, 24 * 60]);
/// assert_eq!(found, [(0, 358..360), (1, 6..20), (0, 1200..1203)]);
/// ```
///
/// # Panics
/// When there is no size, or one is no multiple of the one before.
pub fn windows(span: Range<u64>, sizes: &[u64]) -> Vec<(usize, Range<u64>)> {
    assert!(
        sizes.iter().all(|size| *size > 0)
            && sizes.windows(2).all(|two| two[1].is_multiple_of(two[0])),
        "sizes of windows are multiples of each other, smallest first: {sizes:?}"
    );
    let smallest = *sizes.first().expect("windows have at least one size");
    let mut found = Vec::new();
    if !span.is_empty() {
        let first = span.start / smallest..span.end.div_ceil(smallest);
        cut(first, sizes, 0, &mut found);
        found.retain(|(_, numbers)| !numbers.is_empty());
    }
    found
}

/// Cuts windows of the size at a place into those of that size and larger ones.
fn cut(numbers: Range<u64>, sizes: &[u64], at: usize, found: &mut Vec<(usize, Range<u64>)>) {
    if let Some(larger) = sizes.get(at + 1) {
        let factor = larger / sizes[at];
        let middle = numbers.start.div_ceil(factor)..numbers.end / factor;
        if !middle.is_empty() {
            found.push((at, numbers.start..middle.start * factor));
            cut(middle.clone(), sizes, at + 1, found);
            found.push((at, middle.end * factor..numbers.end));
            return;
        }
    }
    found.push((at, numbers));
}

#[cfg(test)]
mod tests;
