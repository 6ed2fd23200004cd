//! Ranges with all their options, lists that are spliced, loops that change what they iterate, and how
//! often each verb reads.

use std::collections::BTreeMap;

use crate::failure::guard;
use crate::schema::{List, Map, Root, Set, Untracked};
use crate::test_pstate::TestPState;

/// N-10…N-14: every combination of bounds and amounts, on a nested map, on a set and on the top-level
/// map of a partition, read locally and by a client, against an ordered map.
#[test]
fn ranges_with_every_option_agree_with_an_ordered_map() {
    use std::ops::Bound::{self, Excluded, Included, Unbounded};
    let keys = [1u64, 2, 3, 5, 7];
    let model: BTreeMap<u64, u64> = keys.iter().map(|key| (*key, key * 10)).collect();
    let nested = TestPState::<Map<u64, Map<u64, u64>>>::new();
    let loose = TestPState::<Map<u64, Map<u64, u64, Untracked>>>::new();
    let sets = TestPState::<Map<u64, Set<u64>>>::new();
    let top = TestPState::<Map<u64, u64>>::new();
    for (key, value) in &model {
        nested.local().key(&0).key(key).set(nested.task(), *value);
        loose.local().key(&0).key(key).set(loose.task(), *value);
        sets.local().key(&0).insert(sets.task(), key);
        top.local().key(key).set(top.task(), *value);
    }
    const TOP: crate::pstate::PState<Map<u64, u64>> = crate::pstate::PState::named("$$top");
    let bounds = |key| [Unbounded, Included(key), Excluded(key)];
    let mut ranges: Vec<(Bound<u64>, Bound<u64>)> = Vec::new();
    for from in 0..9 {
        for to in [from, from + 1, from + 4, u64::MAX] {
            let ends = bounds(to);
            ranges.extend(
                bounds(from)
                    .iter()
                    .flat_map(|lo| ends.iter().map(|hi| (*lo, *hi))),
            );
        }
    }
    for range in ranges {
        let wanted: Vec<(u64, u64)> = model
            .iter()
            .filter(|(key, _)| std::ops::RangeBounds::contains(&range, *key))
            .map(|(key, value)| (*key, *value))
            .collect();
        let just_keys: Vec<u64> = wanted.iter().map(|(key, _)| *key).collect();
        let (n, t) = (nested.local().key(&0), nested.task());
        assert_eq!(n.range(range).entries(t), wanted, "{range:?}");
        assert_eq!(n.range(range).len(t), wanted.len() as u64, "{range:?}");
        let l = loose.local().key(&0).range(range);
        assert_eq!(l.entries(loose.task()), wanted, "{range:?}");
        let elements = sets.local().key(&0).range(range).elements(sets.task());
        assert_eq!(elements, just_keys, "{range:?}");
        assert_eq!(
            top.local().range(range).entries(top.task()),
            wanted,
            "{range:?}"
        );
        let selected = top.select(TOP.range(range)).expect("selects");
        assert_eq!(selected, wanted, "{range:?}");
        for amount in 0..4 {
            let first: Vec<_> = wanted.iter().take(amount).copied().collect();
            let last = wanted[wanted.len().saturating_sub(amount)..].to_vec();
            let (at, amount) = (n.range(range), amount as u64);
            assert_eq!(at.clone().first_n(amount).entries(t), first, "{range:?}");
            assert_eq!(at.clone().last_n(amount).entries(t), last, "{range:?}");
            let mut back = last.clone();
            back.reverse();
            assert_eq!(at.last_n(amount).descending().entries(t), back, "{range:?}");
            let selected = top.select(TOP.range(range).last_n(amount));
            assert_eq!(selected.expect("selects"), last, "{range:?}");
        }
    }
}

/// N-13: removing a range, whole or limited, keeps the size right for one scan and one header; N-13
/// and P-18: other elements in its place.
#[test]
fn a_range_is_removed_or_replaced_at_once() {
    let state = TestPState::<Map<u64, Map<u64, u64>>>::new();
    let (map, task) = (state.local().key(&0), state.task());
    map.replace(task, (0..100).map(|key| (key, key)));
    let (reads, writes) = (state.reads(), state.writes());
    map.range(10..90).remove(task);
    assert_eq!((state.reads() - reads, state.writes() - writes), (2, 2));
    assert_eq!(map.len(task), 20);
    map.range(5..).first_n(2).remove(task);
    map.last_n(3).remove(task);
    assert_eq!(map.len(task), 15);
    assert_eq!(map.keys(task).len(), 15);
    map.range(..5).replace(task, [(2, 22), (50, 55)]);
    assert_eq!((map.len(task), map.first_n(2).keys(task)), (12, vec![2, 7]));
    map.range(90..)
        .rewrite(task, |key, value| (key % 2 == 0).then_some(value + 1));
    assert_eq!(
        map.range(90..).entries(task),
        [(90, 91), (92, 93), (94, 95), (96, 97)]
    );
    map.rename(task, &2, &3);
    map.rename(task, &4, &5);
    assert_eq!(
        (map.key(&2).get(task), map.key(&3).get(task)),
        (None, Some(22))
    );
    assert_eq!(map.len(task), map.keys(task).len() as u64);
    map.range(1000..).remove(task);
    map.range(..).remove(task);
    assert_eq!(map.len(task), 0);
    assert!(state.local().contains(task, &0), "P-19: empty, not absent");

    let top = TestPState::<Map<u64, u64>>::new();
    top.local()
        .root()
        .replace(top.task(), (0..100).map(|key| (key, key)));
    let reads = top.reads();
    top.local().range(10..).remove(top.task());
    assert_eq!(
        top.reads(),
        reads,
        "N-10, N-13: the top level counts nothing"
    );
    assert_eq!(top.local().len(top.task()), 10);

    let sets = TestPState::<Map<u64, Set<u64>>>::new();
    let set = sets.local().key(&0);
    set.replace(sets.task(), [4, 2, 4, 9]);
    set.range(3..).remove(sets.task());
    assert_eq!(
        (set.elements(sets.task()), set.len(sets.task())),
        (vec![2], 1)
    );
}

/// P-13: prepend, insert and remove anywhere, sublists with others in their place; against a vector.
#[test]
fn a_list_is_spliced_like_a_vector() {
    let state = TestPState::<Map<u64, Map<u64, List<u64>>>>::new();
    let (list, task) = (state.local().key(&1).key(&2), state.task());
    let mut model: Vec<u64> = Vec::new();
    for (from, to, count) in [
        (0, 0, 3),
        (1, 2, 4),
        (0, 3, 2),
        (5, 5, 1),
        (2, 6, 0),
        (0, 1, 1),
        (1, 2, 0),
        (0, 9, 5),
    ] {
        let values: Vec<u64> = (0..count).map(|n| n * 100 + from as u64).collect();
        list.splice(task, from as u64..to as u64, values.clone());
        let end = to.min(model.len());
        model.splice(from..end, values);
        assert_eq!(list.values(task), model, "{from}..{to}");
        assert_eq!(list.len(task), model.len() as u64, "{from}..{to}");
    }
    list.prepend(task, 7);
    list.insert_at(task, 6, 8);
    assert_eq!(list.remove_at(task, 1), Some(0));
    assert_eq!(list.remove_at(task, 99), None);
    assert_eq!(list.values(task), [7, 100, 200, 300, 400, 8]);
    assert!(guard(|| list.insert_at(task, 7, 1)).is_err());
    list.replace(task, [1]);
    assert_eq!((list.values(task), list.len(task)), (vec![1], 1));
    assert_eq!(state.local().key(&1).len(task), 1);
    assert_eq!(state.entry_count(), 3, "two headers and an element");
}

/// P-20, as Mastodon does it: the loop deletes the entries it walks, and at last the structure above
/// them, while further selects are open.
#[test]
fn a_loop_may_delete_the_parents_of_what_it_iterates() {
    let state = TestPState::<Map<u64, Map<u64, Set<u64>>>>::new();
    let (top, task) = (state.local(), state.task());
    for n in 0..30 {
        top.key(&1).key(&(n % 3)).insert(task, &n);
    }
    let mut seen = Vec::new();
    for outer in top.key(&1).keys(task) {
        for element in top.key(&1).key(&outer).all().elements(task) {
            top.key(&1).key(&outer).remove(task, &element);
            seen.push(element);
            if seen.len() == 4 {
                top.remove(task, &1);
                assert_eq!(state.entry_count(), 0);
            }
        }
    }
    seen.sort();
    assert_eq!(seen.len(), 10, "the set that was open was seen to its end");
    assert_eq!(seen, (0..30).step_by(3).collect::<Vec<u64>>());
}

/// The no-read fast paths of §2.5, and what each verb reads at most: counted, at an untracked level
/// (nothing above counts) and at a tracked one.
#[test]
fn verbs_read_no_more_than_they_need() {
    fn reads<S: Root>(state: &TestPState<S>, act: impl FnOnce()) -> u64 {
        let before = state.reads();
        act();
        state.reads() - before
    }
    let loose = TestPState::<Map<u64, Map<u64, u64, Untracked>>>::new();
    let (map, task) = (loose.local().key(&1), loose.task());
    assert_eq!(
        reads(&loose, || map.key(&1).set(task, 1)),
        0,
        "key, termVal"
    );
    assert_eq!(
        reads(&loose, || map.key(&1).remove(task)),
        0,
        "key, termVoid"
    );
    assert_eq!(
        reads(&loose, || map.range(2..).remove(task)),
        0,
        "range, termVal null"
    );
    assert_eq!(
        reads(&loose, || map.clear(task)),
        0,
        "the structure's elements"
    );
    assert_eq!(reads(&loose, || loose.local().remove(task, &1)), 0, "P-17");
    assert_eq!(reads(&loose, || map.key(&1).update(task, |_| 1)), 1, "term");
    assert_eq!(reads(&loose, || assert!(map.contains(task, &1))), 1);
    assert_eq!(reads(&loose, || assert!(!map.key(&9).exists(task))), 1);
    assert_eq!(
        reads(&loose, || drop(map.range(0..9).entries(task))),
        1,
        "N-10: one seek"
    );
    assert_eq!(reads(&loose, || drop(map.last_n(1).keys(task))), 1);

    let sets = TestPState::<Map<u64, Set<u64, Untracked>>>::new();
    let (set, task) = (sets.local().key(&1), sets.task());
    assert_eq!(
        reads(&sets, || set.insert(task, &1)),
        0,
        "voidSetElem, termVal"
    );
    assert_eq!(
        reads(&sets, || set.remove(task, &1)),
        0,
        "setElem, termVoid"
    );
    assert_eq!(reads(&sets, || assert!(!set.contains(task, &1))), 1);

    let tracked = TestPState::<Map<u64, Map<u64, u64>>>::new();
    let (map, task) = (tracked.local().key(&1), tracked.task());
    assert_eq!(
        reads(&tracked, || map.key(&1).set(task, 1)),
        2,
        "is it new, and the size"
    );
    assert_eq!(
        reads(&tracked, || map.key(&1).set(task, 2)),
        1,
        "P-14: one extra read"
    );
    assert_eq!(reads(&tracked, || map.key(&1).update(task, |_| 3)), 1);
    assert_eq!(reads(&tracked, || map.key(&7).remove(task)), 1);
    assert_eq!(reads(&tracked, || map.key(&1).remove(task)), 2);
    assert_eq!(
        reads(&tracked, || assert_eq!(map.len(task), 0)),
        1,
        "P-14: O(1)"
    );
    assert_eq!(
        reads(&tracked, || tracked.local().remove(task, &1)),
        0,
        "P-17"
    );

    let lists = TestPState::<Map<u64, List<u64>>>::new();
    let (list, task) = (lists.local().key(&1), lists.task());
    list.replace(task, 0..50);
    assert_eq!(reads(&lists, || list.append(task, 1)), 1, "its length");
    assert_eq!(
        reads(&lists, || assert_eq!(list.at(7).get(task), Some(7))),
        1
    );
    assert_eq!(reads(&lists, || drop(list.range(7..9).values(task))), 1);
    assert_eq!(reads(&lists, || assert_eq!(list.len(task), 51)), 1);
}
