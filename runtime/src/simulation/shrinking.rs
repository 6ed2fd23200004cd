//! Which of many faults a failure needs.
//!
//! Relies on nothing: a run is a function of the faults that may happen. What must stay true: what is
//! found was seen to fail, the number of runs is bounded, and the answer depends on the runs alone.

use std::collections::BTreeSet;

/// The numbers of faults.
pub(super) type Numbers = BTreeSet<u32>;

/// What a search has found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Faults with which the run fails.
    pub(super) needed: Numbers,
    /// Whether each of them is known to be needed: a run without it did not fail.
    pub(super) minimal: bool,
    /// How many runs it took.
    pub(super) runs: u32,
}

/// Leaves out faults of a run that fails with all of them, for as long as it still fails: first all,
/// then halves, then smaller parts, in the end single ones. `fails` runs with some of the faults and,
/// if that fails too, tells which of them have happened: a run that went another way has fewer.
pub(super) fn minimize(
    all: Numbers,
    runs_max: u32,
    mut fails: impl FnMut(&Numbers) -> Option<Numbers>,
) -> Found {
    let mut needed: Vec<u32> = all.into_iter().collect();
    let (mut runs, mut minimal) = (0, needed.is_empty());
    let mut part = needed.len();
    while !minimal && runs < runs_max {
        let mut removed = false;
        let mut begin = 0;
        while begin < needed.len() && runs < runs_max {
            let end = needed.len().min(begin + part);
            let others = needed[..begin].iter().chain(&needed[end..]);
            let fewer: Numbers = others.copied().collect();
            runs += 1;
            match fails(&fewer) {
                Some(happened) => {
                    removed = true;
                    needed = fewer.intersection(&happened).copied().collect();
                }
                None => begin = end,
            }
        }
        let all_tried = begin >= needed.len();
        minimal = needed.is_empty() || part == 1 && all_tried && !removed;
        part = (part / 2).clamp(1, needed.len().max(1));
    }
    Found {
        needed: needed.into_iter().collect(),
        minimal,
        runs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run that fails when all of `needed` may happen; faults above 100 happen only with fault 1.
    fn search(all: impl IntoIterator<Item = u32>, needed: &[u32], runs_max: u32) -> Found {
        minimize(all.into_iter().collect(), runs_max, |some| {
            let mut happened = some.clone();
            happened.retain(|number| *number <= 100 || some.contains(&1));
            let fails = needed.iter().all(|number| happened.contains(number));
            fails.then_some(happened)
        })
    }

    fn numbers(some: &[u32]) -> Numbers {
        some.iter().copied().collect()
    }

    #[test]
    fn what_a_failure_needs_is_found() {
        for needed in [
            &[][..],
            &[1],
            &[17],
            &[64],
            &[3, 9],
            &[1, 32, 33],
            &[1, 164],
        ] {
            let found = search((1..=64).chain(150..=170), needed, 300);
            assert_eq!(found.needed, numbers(needed), "{found:?}");
            assert!(found.minimal, "{found:?}");
        }
        for count in 1..=40 {
            for one in 1..=count {
                let found = search(1..=count, &[one], 64);
                assert_eq!((found.needed, found.minimal), (numbers(&[one]), true));
                assert!(found.runs <= 16, "{} runs for one of {count}", found.runs);
            }
        }
    }

    #[test]
    fn a_failure_without_faults_takes_no_run_and_one_that_needs_none_takes_one() {
        assert_eq!(search([], &[], 64).runs, 0);
        let found = search(1..=64, &[], 64);
        assert_eq!(
            (found.needed.len(), found.minimal, found.runs),
            (0, true, 1)
        );
    }

    #[test]
    fn a_search_that_ends_early_says_so_and_has_seen_what_it_tells_fail() {
        for runs_max in 0..40 {
            let found = search(1..=64, &[5, 23, 48], runs_max);
            assert!(found.runs <= runs_max);
            let still_fails = [5, 23, 48].iter().all(|one| found.needed.contains(one));
            assert!(still_fails, "{found:?}");
            assert!(!found.minimal || found.needed.len() == 3, "{found:?}");
        }
    }
}
