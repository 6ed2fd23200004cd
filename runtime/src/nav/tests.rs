//! The paths of spec §17.1, each row as the table has it, and what the rules of chapter 3 add.

mod random;

use std::collections::{BTreeMap, BTreeSet};

use super::{Nav, inside};
use crate::failure::{EventFailure, guard};
use crate::field;
use crate::schema::Map;
use crate::test_pstate::TestPState;

type Lists<T> = BTreeMap<String, Vec<T>>;
type Numbers = BTreeMap<String, i64>;

fn lists<T: Clone>(entries: &[(&str, &[T])]) -> Lists<T> {
    let entries = entries.iter();
    let owned = entries.map(|(key, list)| ((*key).to_owned(), list.to_vec()));
    owned.collect()
}

fn numbers(entries: &[(&str, i64)]) -> Numbers {
    let entries = entries.iter();
    entries
        .map(|(key, value)| ((*key).to_owned(), *value))
        .collect()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// d = {a0:{a1:[9 3 6], b1:[0 8]}, b0:{c1:[x y]}}; the lists of the table hold two types, ours text.
fn d() -> BTreeMap<String, Lists<String>> {
    let a0 = [("a1", &["9", "3", "6"][..]), ("b1", &["0", "8"][..])];
    let text = |(key, list): (&str, &[&str])| (key.to_owned(), texts(list));
    BTreeMap::from([
        ("a0".to_owned(), a0.map(text).into()),
        ("b0".to_owned(), [("c1", &["x", "y"][..])].map(text).into()),
    ])
}

/// §17.1, the rows about d.
#[test]
fn selects_lead_to_elements_of_nested_values() {
    let at = inside::<BTreeMap<String, Lists<String>>>();
    // key a0, key a1, nth 1 → 3
    assert_eq!(at.key("a0").key("a1").nth(1).select(&d()), ["3"]);
    // key a0, mapVals, all → 9 3 6 0 8; … filterLessThan 7 → 3 6 0
    let all = at.key("a0").map_vals().all();
    assert_eq!(all.select(&d()), ["9", "3", "6", "0", "8"]);
    let small = all.filter(|text| text.as_str() < "7");
    assert_eq!(small.select(&d()), ["3", "6", "0"]);
    // key(b0,c1).first → x; key(z).first → nothing
    assert_eq!(at.key("b0").key("c1").first().select(&d()), ["x"]);
    assert_eq!(at.key("z").first().places(&d()), []);
    // key a0, all → [a1 [9 3 6]] and [b1 [0 8]]
    let entries = at.key("a0").all().select(&d());
    let wanted = [
        ("a1".to_owned(), texts(&["9", "3", "6"])),
        ("b1".to_owned(), texts(&["0", "8"])),
    ];
    assert_eq!(entries, wanted);
    // mapVals.filterPred(size=1).mapVals.all → x y
    let single = at.map_vals().filter(|map| map.len() == 1).map_vals().all();
    assert_eq!(single.select(&d()), ["x", "y"]);
    // mapVals.filterSelected(mapVals.all.filterEqual 8).key(a1).all → 9 3 6
    let eight = inside::<Lists<String>>()
        .map_vals()
        .all()
        .filter(|text| text == "8");
    let a1 = at.map_vals().selected(&eight).key("a1").all();
    assert_eq!(a1.select(&d()), ["9", "3", "6"]);
    let others = at.map_vals().not_selected(&eight).map_keys();
    assert_eq!(others.select(&d()), ["c1"]);
    // key(a0,a1).sublist(1,3) → [3 6]
    let sublist = at.key("a0").key("a1").sublist(1..3);
    assert_eq!(sublist.select(&d()), [texts(&["3", "6"])]);
}

/// §17.1: nullToVal, view, transformed. N-4: a change makes another value, the first one stays.
#[test]
fn views_compute_and_leave_the_value_alone() {
    let at = inside::<Numbers>();
    let one = numbers(&[("a", 1)]);
    // {a 1}: key a nullToVal xyz / key b nullToVal xyz → 1 / xyz
    assert_eq!(at.key("a").or(26).select(&one), [1]);
    assert_eq!(at.key("b").or(26).select(&one), [26]);
    assert_eq!(at.key("b").or_default().select(&one), [0]);
    // {a [1 5 10]}: key a nth 0 view INC → 2; view(size+10) → 13
    let a = lists(&[("a", &[1, 5, 10])]);
    let at = inside::<Lists<i64>>();
    assert_eq!(at.key("a").nth(0).view(|n| n + 1).select(&a), [2]);
    assert_eq!(at.key("a").view(|l| l.len() + 10).select(&a), [13]);
    // {a [1 5 10]}: key a transformed(nth 1 termVal "!") → [1 "!" 10], store unchanged
    let state = TestPState::<Map<u8, Lists<i64>>>::new();
    let (stored, task) = (state.local().key(&1), state.task());
    stored.set(task, a.clone());
    let shout = inside::<Vec<i64>>().nth(1).set(33);
    let shouted = stored.inside(|at| at.key("a").transformed(&shout));
    assert_eq!(shouted.select(task), [vec![1, 33, 10]]);
    assert_eq!(stored.get(task), Some(a));
}

/// §17.1: ifPath, and if-path with must and inc.
#[test]
fn branches_follow_what_their_condition_selects() {
    let a = lists(&[("a", &[1, 5, 10])]);
    let list = inside::<Vec<i64>>;
    let at = inside::<Lists<i64>>().key("a");
    // {a [1 5 10]}: ifPath(nth 0 = 1, nth 1, nth 2) → 5
    let first_is_one = list().nth(0).filter(|n| *n == 1);
    let chosen = at.if_else(&first_is_one, &list().nth(1), &list().nth(2));
    assert_eq!(chosen.select(&a), [5]);
    // ifPath(all = x, nth 1, nth 2) → 10
    let never = list().all().filter(|n| *n == 7);
    let chosen = at.if_else(&never, &list().nth(1), &list().nth(2));
    assert_eq!(chosen.select(&a), [10]);
    // ifPath(stop, stay).nth 0 → nothing
    let stopped = at.if_path(&list().stop::<()>(), &list()).nth(0);
    assert_eq!(stopped.places(&a), []);
    let arms = [(&never, &list().nth(0)), (&first_is_one, &list().last())]
        .map(|(condition, path)| (condition, path.clone()));
    let arms = arms.iter().map(|(condition, path)| (*condition, path));
    assert_eq!(at.cond_path(arms).select(&a), [10]);
    // if-path(must b, a inc, c inc) on {a 1 c 10} / {a 1 b 2 c 10} → {a 1 c 11} / {a 2 b 2 c 10}
    let map = inside::<Numbers>;
    let edit = map()
        .if_else(&map().must("b"), &map().key("a"), &map().key("c"))
        .update(|n| n.unwrap_or(0) + 1);
    let without = edit.apply(numbers(&[("a", 1), ("c", 10)]));
    assert_eq!(without, Some(numbers(&[("a", 1), ("c", 11)])));
    let with = edit.apply(numbers(&[("a", 1), ("b", 2), ("c", 10)]));
    assert_eq!(with, Some(numbers(&[("a", 2), ("b", 2), ("c", 10)])));
}

/// §17.1: multiPath, subselect. N-2: what is selected comes in the order in which it is reached.
#[test]
fn several_paths_and_sub_selections_keep_their_order() {
    let at = inside::<Numbers>();
    // {a 1 b 2 c 3}: multiPath(a,b) → 1 2
    let abc = numbers(&[("a", 1), ("b", 2), ("c", 3)]);
    let both = at.multi_path([at.key("a"), at.key("b")]);
    assert_eq!(both.select(&abc), [1, 2]);
    // N-6 and the sequence of a transform: the second sees what the first made.
    let twice = at.multi_path([at.key("a"), at.key("a")]);
    let edit = twice.update(|n| n.unwrap_or(0) * 2 + 1);
    assert_eq!(edit.apply(abc).expect("there")["a"], 7);
    // {a [1 2 3] b [4 5]}: mapVals.subselect(all odd) → [1 3] and [5]
    let odd = inside::<Vec<i64>>().all().filter(|n| n % 2 == 1);
    let odds = inside::<Lists<i64>>().map_vals().subselect(&odd);
    let value = lists(&[("a", &[1, 2, 3]), ("b", &[4, 5])]);
    assert_eq!(odds.select(&value), [vec![1, 3], vec![5]]);
    // subselect of nothing is an empty list
    assert_eq!(odds.select(&lists(&[("a", &[2])])), [Vec::<i64>::new()]);
    // subselect(all odd) sort on [5 4 1 2 3] → [1 4 3 2 5]
    let sort = inside::<Vec<i64>>().subselect(&odd).modify(|l| l.sort());
    assert_eq!(sort.apply(vec![5, 4, 1, 2, 3]), Some(vec![1, 4, 3, 2, 5]));
    // [[1 2 3 4][5 6 7][8 9 10]] subselect(all.all odd) reverse → [[9 2 7 4][5 6 3][8 1 10]]
    let at = inside::<Vec<Vec<i64>>>();
    let odd = at.all().all().filter(|n| n % 2 == 1);
    let reverse = at.subselect(&odd).modify(|list| list.reverse());
    let value = vec![vec![1, 2, 3, 4], vec![5, 6, 7], vec![8, 9, 10]];
    let wanted = vec![vec![9, 2, 7, 4], vec![5, 6, 3], vec![8, 1, 10]];
    assert_eq!(reverse.apply(value.clone()), Some(wanted));
    // §3.7: dropping elements removes.
    let keep_two = at.subselect(&odd).modify(|list| list.truncate(2));
    let wanted = vec![vec![1, 2, 3, 4], vec![6], vec![8, 10]];
    assert_eq!(keep_two.apply(value), Some(wanted));
}

/// §17.1 and §3.8: collected values come before each result; what is collected in an argument of
/// another step stays there.
#[test]
fn collected_values_come_with_each_result() {
    let at = inside::<Numbers>();
    let ab = numbers(&[("a", 1), ("b", 2)]);
    // {a 1 b 2}: collectOne(key b).key a → [2 1]
    let with_b = at.collect_one(&at.key("b")).key("a");
    assert_eq!(with_b.select(&ab), [(2, 1)]);
    // {a 1 b 2}: collect(mapKeys).multiPath(a,b).putCollected xyz.collectOne stay
    // → [[a b] xyz 1 1], [[a b] xyz 2 2]
    let path = at
        .collect(&at.map_keys())
        .multi_path([at.key("a"), at.key("b")])
        .put_collected("xyz")
        .collect_one(&inside());
    let keys = texts(&["a", "b"]);
    assert_eq!(
        path.select(&ab),
        [(keys.clone(), "xyz", 1, 1), (keys, "xyz", 2, 2)]
    );
    // term(fn) gets what was collected before the value
    let add = with_b.rewrite_with(|(b,), a| Some(a.unwrap_or(0) * 10 + b));
    assert_eq!(add.apply(ab.clone()), Some(numbers(&[("a", 12), ("b", 2)])));
    // isCollected, dispenseCollected, VAL
    assert_eq!(with_b.collected(|(b,)| *b > 2).select(&ab), []);
    assert_eq!(with_b.collected(|(b,)| *b == 2).dispense().select(&ab), [1]);
    let sums = with_b.view_collected(|(b,), a| Some(b + a?));
    assert_eq!(sums.select(&ab), [3]);
    assert_eq!(at.selected(&with_b).key("b").select(&ab), [2]);
}

/// §17.1: mapKey, setElem and must of what is absent; mapKey a → c; set-elem b → y.
#[test]
fn keys_and_elements_are_renamed_or_left_alone() {
    let at = inside::<Numbers>();
    // transform: {a 0 b 1} mapKey a → c: {c 0 b 1}
    let rename = at.map_key("a").set("c".to_owned());
    let renamed = rename.apply(numbers(&[("a", 0), ("b", 1)]));
    assert_eq!(renamed, Some(numbers(&[("c", 0), ("b", 1)])));
    // map-key absent, set-elem absent, must absent → no change / zero selections
    let one = numbers(&[("a", 1)]);
    assert_eq!(at.map_key("z").places(&one), []);
    assert_eq!(at.must("z").places(&one), []);
    assert_eq!(at.key("z").places(&one), [None], "P-36: key is a place");
    let z = at.map_key("z").set("y".to_owned());
    assert_eq!(z.apply(one.clone()), Some(one.clone()));
    assert_eq!(at.must("z").set(9).apply(one.clone()), Some(one.clone()));
    let set = BTreeSet::from(["a", "b", "c"].map(str::to_owned));
    let at_set = inside::<BTreeSet<String>>();
    assert_eq!(at_set.elem("z").places(&set), []);
    let z = at_set.elem("z").set("y".to_owned());
    assert_eq!(z.apply(set.clone()), Some(set.clone()));
    // set-elem b → y on #{a b c} → removes b, adds y
    let y = at_set.elem("b").set("y".to_owned());
    let wanted = BTreeSet::from(["a", "c", "y"].map(str::to_owned));
    assert_eq!(y.apply(set.clone()), Some(wanted));
    let upper = at_set
        .all()
        .update(|e| e.unwrap_or_default().to_uppercase());
    let wanted = BTreeSet::from(["A", "B", "C"].map(str::to_owned));
    assert_eq!(upper.apply(set), Some(wanted));
    // mapKeys: rename all; void removes
    let only_b = at.map_keys().rewrite(|key| key.filter(|key| key == "b"));
    let ab = numbers(&[("a", 1), ("b", 2)]);
    assert_eq!(only_b.apply(ab), Some(numbers(&[("b", 2)])));
}

/// §17.1: voidSetElem, afterElem, beforeElem, beforeIndex, each starting from nothing (N-3).
#[test]
fn new_elements_go_where_the_path_says() {
    // voidSetElem a, f, c on nil → {a} {a f} {a f c}
    let new = inside::<BTreeSet<char>>().new_elem();
    let mut set = None;
    for (element, wanted) in [('a', "a"), ('f', "af"), ('c', "acf")] {
        set = new.set(element).apply_to(set);
        assert_eq!(set, Some(wanted.chars().collect()));
    }
    // afterElem a,b,c; beforeElem d; beforeIndex(2) e → [a b c] → [d a b c] → [d a e b c]
    let at = inside::<Vec<char>>();
    let mut list = None;
    for element in ['a', 'b', 'c'] {
        list = at.after_elem().set(element).apply_to(list);
    }
    assert_eq!(list, Some(vec!['a', 'b', 'c']));
    list = at.before_elem().set('d').apply_to(list);
    assert_eq!(list, Some(vec!['d', 'a', 'b', 'c']));
    list = at.before_index(2).set('e').apply_to(list);
    assert_eq!(list, Some(vec!['d', 'a', 'e', 'b', 'c']));
    // §3.3: void inserts nothing; beginning and end splice.
    assert_eq!(at.after_elem().remove().apply_to(None), None);
    assert_eq!(new.remove().apply_to(None), None);
    let list = at.beginning().set(vec!['x', 'y']).apply(vec!['m']);
    let list = at.end().set(vec!['z']).apply_to(list);
    assert_eq!(list, Some(vec!['x', 'y', 'm', 'z']));
    let beyond = guard(|| at.before_index(5).set('q').apply(vec!['a']));
    let failed = beyond.expect_err("no such index").to_string();
    assert_eq!(
        failed,
        "an element was put before index 5 of a list with 1 elements; an element can be put at \
         an index up to the length"
    );
}

/// §17.1: sublist, filteredList and filterer, nth and key void.
#[test]
fn parts_of_lists_go_back_to_their_places() {
    let at = inside::<Vec<i64>>();
    // [a b c d e f] sublist(1,5) reverse → [a e d c b f]
    let reverse = at.sublist(1..5).modify(|part| part.reverse());
    let wanted = vec![0, 4, 3, 2, 1, 5];
    assert_eq!(reverse.apply(vec![0, 1, 2, 3, 4, 5]), Some(wanted));
    // [0 1 2 3 4 5] filteredList(even) reverse → [4 1 2 3 0 5]
    let even = inside::<i64>().filter(|n| n % 2 == 0);
    let reverse = at.filtered_list(&even).modify(|part| part.reverse());
    let wanted = vec![4, 1, 2, 3, 0, 5];
    assert_eq!(reverse.apply(vec![0, 1, 2, 3, 4, 5]), Some(wanted));
    // filterer odd reverse on [1 2 3 4 5] → [5 2 3 4 1]
    let odd = inside::<i64>().filter(|n| n % 2 == 1);
    let odds = at.filtered_list(&odd);
    let reverse = odds.modify(|part| part.reverse());
    assert_eq!(
        reverse.apply(vec![1, 2, 3, 4, 5]),
        Some(vec![5, 2, 3, 4, 1])
    );
    assert_eq!(odds.select(&vec![1, 2, 3]), [[1, 3]]);
    // a sublist may change its length; srange-dynamic; continuous-subseqs
    let shorter = at.sublist(1..=2).set(vec![7]);
    assert_eq!(shorter.apply(vec![1, 2, 3, 4]), Some(vec![1, 7, 4]));
    let tail = at.sublist_dynamic(|list| list.len() / 2, |_, from| from + 1);
    assert_eq!(tail.select(&vec![1, 2, 3, 4]), [vec![3]]);
    let runs = at.continuous_subseqs(|n| *n > 2);
    let value = vec![3, 4, 1, 5, 0, 6, 7];
    assert_eq!(runs.select(&value), [vec![3, 4], vec![5], vec![6, 7]]);
    let summed = runs.update(|run| vec![run.unwrap_or_default().iter().sum()]);
    assert_eq!(summed.apply(value), Some(vec![7, 1, 5, 0, 13]));
    // {a [1 2 3] b xyz}: a nth 1 void; b void → {a [1 3]}
    let at = inside::<Lists<i64>>();
    let value = lists(&[("a", &[1, 2, 3]), ("b", &[26])]);
    let value = at.key("a").nth(1).remove().apply(value);
    let value = at.key("b").remove().apply_to(value);
    assert_eq!(value, Some(lists(&[("a", &[1, 3])])));
}

/// §17.1: {a 1 b 2}: a term(PLUS,10); b term(v*10+20) → {a 11 b 40}
#[test]
fn terms_rewrite_what_they_find() {
    let at = inside::<Numbers>();
    let value = numbers(&[("a", 1), ("b", 2)]);
    let value = at.key("a").modify(|n| *n += 10).apply(value);
    let value = at
        .key("b")
        .update(|n| n.unwrap_or(0) * 10 + 20)
        .apply_to(value);
    assert_eq!(value, Some(numbers(&[("a", 11), ("b", 40)])));
}

/// §17.1: sorted {1 a 2 b 3 c 5 e 7 g}: range 2..5 / from 2 max 2 / to 7 max 2, and the SortedMapRange
/// module; N-11 an open start, N-12 what comes is sorted, N-13 nothing removes the range and another map
/// replaces it, N-14 bounds and amounts are values.
#[test]
fn ranges_of_sorted_values_are_collections() {
    let map: BTreeMap<i64, char> = [(1, 'a'), (2, 'b'), (3, 'c'), (5, 'e'), (7, 'g')].into();
    let at = inside::<BTreeMap<i64, char>>();
    let part = |keys: &[i64]| -> Vec<BTreeMap<i64, char>> {
        vec![keys.iter().map(|key| (*key, map[key])).collect()]
    };
    assert_eq!(at.range(2..5).select(&map), part(&[2, 3]));
    assert_eq!(at.range(2..).first_n(2).select(&map), part(&[2, 3]));
    assert_eq!(at.range(..7).last_n(2).select(&map), part(&[3, 5]));
    assert_eq!(at.range(..=7).last_n(1).select(&map), part(&[7]));
    assert_eq!(at.range(..2).select(&map), part(&[1]));
    let (from, to) = (5, 2);
    assert_eq!(at.range(from..to).select(&map), part(&[]));
    let from = (std::ops::Bound::Excluded(3), std::ops::Bound::Unbounded);
    assert_eq!(at.range(from).select(&map), part(&[5, 7]));
    let gone = at.range(2..6).remove().apply(map.clone());
    assert_eq!(gone, Some(BTreeMap::from([(1, 'a'), (7, 'g')])));
    let other = at.range(2..).set(BTreeMap::from([(9, 'i')]));
    let other = other.apply(map.clone());
    assert_eq!(other, Some(BTreeMap::from([(1, 'a'), (9, 'i')])));
    assert_eq!(at.range(2..).remove().apply_to(None), None, "N-3");
    assert_eq!(at.sub_map([3, 4]).select(&map), part(&[3]));
    // range 10..20, entries with value > 10 → [10 14][11 12][16 17]
    let map = BTreeMap::from([(9, 99), (10, 14), (11, 12), (15, 3), (16, 17), (20, 99)]);
    let large = inside::<BTreeMap<i64, i64>>()
        .range(10..20)
        .all()
        .filter(|(_, value)| *value > 10);
    assert_eq!(large.select(&map), [(10, 14), (11, 12), (16, 17)]);
    // sets alike; rangeFrom("", 5): the first five product ids alphabetically
    let set: BTreeSet<i64> = (0..10).collect();
    let at = inside::<BTreeSet<i64>>();
    let from = at.range(3..).first_n(2);
    assert_eq!(from.select(&set), [BTreeSet::from([3, 4])]);
    let rest = at.range(2..=8).remove().apply(set);
    assert_eq!(rest, Some(BTreeSet::from([0, 1, 9])));
    let ids = BTreeSet::from(["f", "b", "a", "d", "c", "e"].map(str::to_owned));
    let first = inside::<BTreeSet<String>>()
        .range(String::new()..)
        .first_n(5);
    let wanted = BTreeSet::from(["a", "b", "c", "d", "e"].map(str::to_owned));
    assert_eq!(first.select(&ids), [wanted]);
}

/// §3.2: the ends of collections and the halves of entries; indices that move elements.
#[test]
fn ends_entries_and_indices_are_places() {
    let ab = numbers(&[("a", 1), ("b", 2)]);
    let at = inside::<Numbers>();
    assert_eq!(at.first().first().select(&ab), ["a"]);
    assert_eq!(at.last().last().select(&ab), [2]);
    let all = at.all().last().modify(|n| *n += 1);
    assert_eq!(all.apply(ab.clone()), Some(numbers(&[("a", 2), ("b", 3)])));
    let gone = at.all().rewrite(|e| e.filter(|(_, n)| *n > 1));
    assert_eq!(gone.apply(ab), Some(numbers(&[("b", 2)])));
    let at = inside::<Vec<char>>();
    let abc = || vec!['a', 'b', 'c'];
    assert_eq!(at.index(3).places(&abc()), []);
    assert_eq!(at.index(0).set(2).apply(abc()), Some(vec!['b', 'c', 'a']));
    assert_eq!(at.index(2).set(0).apply(abc()), Some(vec!['c', 'a', 'b']));
    let pairs = at.indexed_vals();
    assert_eq!(pairs.select(&abc()), [(0, 'a'), (1, 'b'), (2, 'c')]);
    let to_front = pairs.update(|pair| match pair {
        Some((_, 'c')) => (0, 'C'),
        pair => pair.expect("an element"),
    });
    assert_eq!(to_front.apply(abc()), Some(vec!['C', 'a', 'b']));
    assert!(guard(|| at.index(0).set(9).apply(abc())).is_err());
    let set = BTreeSet::from([1, 2, 3]);
    let at = inside::<BTreeSet<i32>>();
    assert_eq!(at.last().remove().apply(set.clone()), Some([1, 2].into()));
    assert_eq!(at.first().select(&set), [1]);
    assert_eq!(at.subset([2, 9]).select(&set), [BTreeSet::from([2])]);
}

/// N-3: nothing is an empty collection; N-6: a rewrite that leads nowhere changes nothing.
#[test]
fn nothing_is_an_empty_collection() {
    let at = inside::<BTreeMap<String, Lists<i64>>>();
    let deep = at.key("a").key("b").after_elem().set(1).apply_to(None);
    assert_eq!(deep.expect("created")["a"]["b"], [1]);
    assert_eq!(at.key("a").key("b").all().remove().apply_to(None), None);
    assert_eq!(
        at.key("a").map_vals().select_from(None),
        [] as [Vec<i64>; 0]
    );
    let part = at.key("a").key("b").sublist(1..).select_from(None);
    assert_eq!(part, [Vec::<i64>::new()]);
    let emptied = at
        .key("a")
        .remove()
        .apply([("a".to_owned(), Lists::new())].into());
    assert_eq!(emptied, Some(BTreeMap::new()), "P-19: empty, not absent");
}

/// A pair of neighbours, wherever there are two: the custom navigator of §17.1.
struct Pair;

impl super::Navigator<Vec<i64>> for Pair {
    type Target = i64;

    fn select(
        &self,
        from: Option<&Vec<i64>>,
        next: &mut super::Next<'_, i64>,
    ) -> std::ops::ControlFlow<()> {
        match from.map(Vec::as_slice) {
            Some([a, b, ..]) => {
                next(Some(a))?;
                next(Some(b))
            }
            _ => std::ops::ControlFlow::Continue(()),
        }
    }

    fn transform(
        &self,
        from: Option<Vec<i64>>,
        next: &mut super::Rewrite<'_, i64>,
    ) -> Option<Vec<i64>> {
        let mut list = from?;
        if list.len() >= 2 {
            let rest = list.split_off(2);
            list = list.into_iter().filter_map(|n| next(Some(n))).collect();
            list.extend(rest);
        }
        Some(list)
    }
}

/// §17.1: custom pair navigator on [10 11 12] / [1] → 10 11 / nothing
#[test]
fn a_navigator_of_the_author_reads_and_writes() {
    let pair = inside::<Vec<i64>>().through(Pair);
    assert_eq!(pair.select(&vec![10, 11, 12]), [10, 11]);
    assert_eq!(pair.places(&vec![1]), []);
    let negated = pair.update(|n| -n.unwrap_or(0));
    assert_eq!(negated.apply(vec![10, 11, 12]), Some(vec![-10, -11, 12]));
    assert_eq!(pair.remove().apply(vec![1]), Some(vec![1]));
}

#[rama::record]
#[derive(Default)]
struct Order {
    lines: Vec<u64>,
    note: Option<String>,
}

/// Fields, options, and what must not be removed.
#[test]
fn fields_are_places_that_stay() {
    let at = inside::<Order>();
    let (lines, note) = (field!(Order, lines), field!(Order, note));
    let order = at.field(lines).after_elem().set(4).apply(Order::default());
    let order = at
        .field(note)
        .some()
        .set("gift".to_owned())
        .apply_to(order)
        .expect("there");
    assert_eq!(
        (order.lines.as_slice(), order.note.as_deref()),
        (&[4][..], Some("gift"))
    );
    assert_eq!(at.field(note).some().select(&order), ["gift"]);
    let order = at.field(note).some().remove().apply(order).expect("there");
    assert_eq!(
        order.note, None,
        "P-48d: the place stays, and holds nothing"
    );
    let failed = guard(|| at.field(lines).remove().apply(order)).expect_err("no struct without");
    assert!(matches!(&failed, EventFailure::Unsupported { message }
        if message.starts_with("field lines of ") && message.ends_with(".field(..).some()")));
    let from_nothing = at.or_default().field(lines).set(vec![1]).apply_to(None);
    assert_eq!(from_nothing.expect("created").lines, [1]);
}

/// A tree, and all of it from the leaves up.
#[derive(Clone, Debug, PartialEq)]
struct Tree(i64, Vec<Tree>);

/// §3.7: continue-then-stay visits what its path leads to and then the place.
#[test]
fn children_come_before_their_parents() {
    let tree = Tree(1, vec![Tree(2, vec![]), Tree(3, vec![])]);
    let children = inside::<Tree>().field(super::Field::new("1", |t: &Tree| &t.1, |t| &mut t.1));
    let up = inside::<Tree>().continue_then_stay(&children.all());
    assert_eq!(up.view(|tree| tree.0).select(&tree), [2, 3, 1]);
    let summed = up.modify_present(|tree| tree.0 += tree.1.iter().map(|t| t.0).sum::<i64>());
    assert_eq!(summed.apply(tree).expect("there").0, 6);
}

impl<T: Clone + 'static> Nav<Tree, T> {
    fn modify_present(&self, change: impl Fn(&mut T) + Send + Sync + 'static) -> super::Edit<Tree> {
        self.rewrite(move |place| {
            place.map(|mut value| {
                change(&mut value);
                value
            })
        })
    }
}

/// P-9: whatever is changed inside a stored value costs one read, and one write if anything changed;
/// P-48b: conditional inserts and capped sets.
#[test]
fn a_stored_value_is_read_once_and_written_once() {
    let state = TestPState::<Map<u64, Lists<i64>>>::new();
    let (stored, task) = (state.local().key(&1), state.task());
    stored
        .inside(|at| at.key("a").end())
        .set(task, vec![1, 2, 3]);
    assert_eq!((state.reads(), state.writes()), (1, 1));
    let a = inside::<Lists<i64>>().key("a");
    let edits = [
        a.nth(0).remove(),
        a.all().modify(|n| *n *= 10),
        a.after_elem().set(5),
    ];
    stored.edit(task, &edits);
    assert_eq!((state.reads(), state.writes()), (2, 2));
    assert_eq!(stored.nav(&a.all()).select(task), [20, 30, 5]);
    stored.inside(|at| at.must("z").all()).remove(task);
    stored.edit(task, &[a.all().filter(|n| *n > 99).remove()]);
    assert_eq!(state.writes(), 2, "N-6: what leads nowhere writes nothing");
    // key(k).filterPred(IS_NULL)…: only if nothing is there
    let new = |n| stored.inside(|at| at.key("b").absent()).set(task, vec![n]);
    new(1);
    new(2);
    assert_eq!(stored.inside(|at| at.key("b").all()).get(task), Some(1));
    // filterPred(size<n).voidSetElem().termVal(x)
    let capped = |n| {
        stored
            .inside(|at| at.key("b").filter(|b| b.len() < 2).after_elem())
            .set(task, n)
    };
    capped(5);
    capped(6);
    assert_eq!(stored.inside(|at| at.key("b").all()).select(task), [1, 5]);
    stored.inside(|at| at).remove(task);
    assert_eq!(state.entry_count(), 0);
}
