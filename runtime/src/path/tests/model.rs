//! Random operations on a nested PState against nested ordered maps, each read three ways: on the task,
//! as a client's plan, and from the model.

use std::collections::{BTreeMap, BTreeSet};

use crate::pstate::PState;
use crate::schema::{List, Map, Set, Untracked};
use crate::task::Task;
use crate::test_pstate::TestPState;

type Numbers = BTreeMap<String, BTreeMap<u8, u64>>;

const NUMBERS: PState<Map<String, Map<u8, u64>>> = PState::named("$$numbers");
const LOOSE: PState<Map<String, Map<u8, u64, Untracked>>> = PState::named("$$loose");
const SETS: PState<Map<u8, Map<u8, Set<String>>>> = PState::named("$$sets");
const LISTS: PState<Map<u8, List<List<u64>>>> = PState::named("$$lists");

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    /// Keys that are prefixes of each other and that touch the ends of the alphabet.
    fn text(&mut self) -> String {
        ["", "a", "ab", "b", "\0", "\u{1}a", "\u{10FFFF}"][self.below(7) as usize].to_owned()
    }

    fn small(&mut self) -> u8 {
        [0, 1, 2, 7, 254, 255][self.below(6) as usize]
    }
}

/// A map of maps, tracked and untracked, does what a map of maps does.
#[test]
fn maps_agree_with_the_model() {
    for seed in 0..60 {
        let (tracked, loose) = (TestPState::of(&NUMBERS, 0, 1), TestPState::of(&LOOSE, 0, 1));
        let mut model = Numbers::new();
        let mut random = Random(seed);
        for step in 0..120 {
            change_maps(&mut random, &tracked, &loose, &mut model);
            if step % 8 == 0 {
                check_maps(&mut random, &tracked, &loose, &model, seed);
            }
        }
    }
}

fn change_maps(
    random: &mut Random,
    tracked: &TestPState<Map<String, Map<u8, u64>>>,
    loose: &TestPState<Map<String, Map<u8, u64, Untracked>>>,
    model: &mut Numbers,
) {
    let (outer, inner, value) = (random.text(), random.small(), random.below(1000));
    let (t, l) = (tracked.local().key(&outer), loose.local().key(&outer));
    let (tt, lt) = (tracked.task(), loose.task());
    match random.below(6) {
        0 | 1 => {
            t.key(&inner).set(tt, value);
            l.key(&inner).set(lt, value);
            model.entry(outer).or_default().insert(inner, value);
        }
        2 => {
            t.key(&inner).update(tt, |n| n.unwrap_or(0) + value);
            l.key(&inner).modify(lt, |n| *n += value);
            *model.entry(outer).or_default().entry(inner).or_default() += value;
        }
        3 => {
            t.key(&inner).remove(tt);
            l.remove(lt, &inner);
            model.get_mut(&outer).and_then(|map| map.remove(&inner));
        }
        4 => {
            t.range(inner..).first_n(2).remove(tt);
            l.range(inner..).first_n(2).remove(lt);
            if let Some(map) = model.get_mut(&outer) {
                let gone: Vec<u8> = map.range(inner..).take(2).map(|(key, _)| *key).collect();
                map.retain(|key, _| !gone.contains(key));
            }
        }
        _ => {
            tracked.local().remove(tt, &outer);
            loose.local().remove(lt, &outer);
            model.remove(&outer);
        }
    }
}

fn check_maps(
    random: &mut Random,
    tracked: &TestPState<Map<String, Map<u8, u64>>>,
    loose: &TestPState<Map<String, Map<u8, u64, Untracked>>>,
    model: &Numbers,
    seed: u64,
) {
    let context = format!("seed {seed}");
    let present: Vec<String> = model.keys().cloned().collect();
    assert_eq!(tracked.local().keys(tracked.task()), present, "{context}");
    let keys = tracked.select(NUMBERS.routed_by(&0u8).all().select_keys());
    assert_eq!(keys.expect("selects"), present, "{context}");
    let mut back = present.clone();
    back.reverse();
    assert_eq!(
        tracked.local().all().descending().keys(tracked.task()),
        back,
        "{context}"
    );
    // Without headers an emptied map is absent.
    let filled = model
        .iter()
        .filter(|(_, map)| !map.is_empty())
        .map(|(key, _)| key.clone());
    assert_eq!(
        loose.local().keys(loose.task()),
        filled.collect::<Vec<_>>(),
        "{context}"
    );

    let outer = random.text();
    let empty = BTreeMap::new();
    let inner = model.get(&outer).unwrap_or(&empty);
    let (a, b) = (random.small(), random.small());
    let (lo, hi) = (a.min(b), a.max(b));
    let range: Vec<(u8, u64)> = inner.range(lo..=hi).map(|(k, v)| (*k, *v)).collect();
    let path = NUMBERS.key(&outer);
    let local = tracked.local().key(&outer);
    assert_eq!(
        local.range(lo..=hi).entries(tracked.task()),
        range,
        "{context}"
    );
    assert_eq!(
        tracked.select(path.range(lo..=hi)).expect("selects"),
        range,
        "{context}"
    );
    assert_eq!(local.len(tracked.task()), inner.len() as u64, "{context}");
    assert_eq!(
        tracked.select(path.select_len()),
        Ok(inner.len() as u64),
        "{context}"
    );
    assert_eq!(
        loose.local().key(&outer).len(loose.task()),
        inner.len() as u64,
        "{context}"
    );
    let loose_len = loose.select(LOOSE.key(&outer).select_len());
    assert_eq!(loose_len, Ok(inner.len() as u64), "{context}");
    assert_eq!(
        tracked.select(path.key(&a)),
        Ok(inner.get(&a).copied()),
        "{context}"
    );
    let has = tracked.select(NUMBERS.root().select_contains(&outer));
    assert_eq!(has, Ok(model.contains_key(&outer)), "{context}");
    let last = inner.iter().next_back().map(|(k, v)| (*k, *v));
    assert_eq!(local.last(tracked.task()), last, "{context}");
    let last_two: Vec<u64> = inner.values().rev().take(2).rev().copied().collect();
    let selected = tracked.select(path.last_n(2).select_values());
    assert_eq!(selected.expect("selects"), last_two, "{context}");
}

/// A map of maps of sets: sizes agree at each level after any history.
#[test]
fn sets_agree_with_the_model() {
    for seed in 0..40 {
        let state = TestPState::of(&SETS, 0, 1);
        let task = state.task();
        let mut model: BTreeMap<u8, BTreeMap<u8, BTreeSet<String>>> = BTreeMap::new();
        let mut random = Random(seed);
        for _ in 0..150 {
            let (a, b, text) = (random.small(), random.small(), random.text());
            let set = state.local().key(&a).key(&b);
            match random.below(5) {
                0..3 => {
                    set.insert(task, &text);
                    model
                        .entry(a)
                        .or_default()
                        .entry(b)
                        .or_default()
                        .insert(text);
                }
                3 => {
                    set.remove(task, text.as_str());
                    let model_set = model.get_mut(&a).and_then(|map| map.get_mut(&b));
                    model_set.map(|set| set.remove(&text));
                }
                _ => {
                    state.local().key(&a).remove(task, &b);
                    model.get_mut(&a).map(|map| map.remove(&b));
                }
            }
            let empty = BTreeMap::new();
            let maps = model.get(&a).unwrap_or(&empty);
            assert_eq!(
                state.local().key(&a).len(task),
                maps.len() as u64,
                "seed {seed}"
            );
            let wanted: Vec<String> = maps.get(&b).into_iter().flatten().cloned().collect();
            assert_eq!(set.len(task), wanted.len() as u64, "seed {seed}");
            assert_eq!(set.elements(task), wanted, "seed {seed}");
            let selected = state.select(SETS.key(&a).key(&b).first_n(3));
            assert_eq!(
                selected.expect("selects"),
                wanted[..wanted.len().min(3)],
                "seed {seed}"
            );
        }
    }
}

/// Lists of lists: indices, lengths and ends.
#[test]
fn lists_agree_with_the_model() {
    for seed in 0..40 {
        let state = TestPState::of(&LISTS, 0, 1);
        let task = state.task();
        let mut model: Vec<Vec<u64>> = Vec::new();
        let mut random = Random(seed);
        let outer = state.local().key(&1);
        for _ in 0..150 {
            change_lists(&mut random, task, &outer, &mut model);
            assert_eq!(outer.len(task), model.len() as u64, "seed {seed}");
            let at = random.below(model.len() as u64 + 1);
            let wanted = model.get(at as usize).cloned().unwrap_or_default();
            assert_eq!(outer.at(at).values(task), wanted, "seed {seed}");
            let selected = state.select(LISTS.key(&1).at(at).last_n(2));
            let last_two = wanted[wanted.len().saturating_sub(2)..].to_vec();
            assert_eq!(selected.expect("selects"), last_two, "seed {seed}");
        }
    }
}

fn change_lists(
    random: &mut Random,
    task: &Task,
    outer: &crate::path::ListPath<List<u64>>,
    model: &mut Vec<Vec<u64>>,
) {
    let value = random.below(1000);
    let at = random.below(model.len() as u64 + 1);
    match random.below(6) {
        0 => {
            outer.next(task).append(task, value);
            model.push(vec![value]);
        }
        1 => {
            assert_eq!(outer.remove_last(task), model.pop().is_some());
        }
        2 if (at as usize) < model.len() => {
            assert_eq!(outer.at(at).pop(task), model[at as usize].pop());
        }
        3 if model.get(at as usize).is_some_and(|list| !list.is_empty()) => {
            outer.at(at).at(0).set(task, value);
            model[at as usize][0] = value;
        }
        _ => {
            outer.at(at).append(task, value);
            match model.get_mut(at as usize) {
                Some(list) => list.push(value),
                None => model.push(vec![value]),
            }
        }
    }
}
