//! Random paths into random values, selected and rewritten, against an interpreter that knows one
//! dynamic type and works by positions.
//!
//! `RAMA_SEEDS` says how many seeds are tried.

use std::collections::BTreeMap;

use crate::nav::{Edit, Nav, inside};
use crate::path::tests::random::{Random, seeds};

type List = Vec<i64>;
type Lists = BTreeMap<u8, List>;

/// One step, as data.
#[derive(Clone, Copy, Debug)]
enum Step {
    Key(u8),
    Must(u8),
    MapVals,
    Range(u8, u8),
    FirstN(usize),
    LastN(usize),
    SubMap(u8, u8),
    BothKeys(u8, u8),
    IfMust(u8, u8),
    OrDefault,
    Longer(usize),
    Nth(usize),
    Last,
    All,
    Sublist(usize, usize),
    FilteredList(i64),
    Runs(i64),
    SubselectOdd,
    Has(i64),
    Greater(i64),
}

/// What is done at each place.
#[derive(Clone, Copy, Debug)]
enum Term {
    Set(i64),
    Turn,
    Remove,
}

/// A path that is being built: where it has come to.
enum At {
    Lists(Nav<Lists, Lists>),
    List(Nav<Lists, List>),
    Number(Nav<Lists, i64>),
}

/// Any value of the three types.
#[derive(Clone, Debug, PartialEq)]
enum Any {
    Lists(Lists),
    List(List),
    Number(i64),
}

fn list(random: &mut Random) -> List {
    let len = random.below(5);
    (0..len).map(|_| random.below(7) as i64 - 2).collect()
}

fn lists(random: &mut Random) -> Lists {
    let len = random.below(5);
    (0..len)
        .map(|_| (random.below(6) as u8, list(random)))
        .collect()
}

fn step(at: &At, random: &mut Random) -> Step {
    let key = |random: &mut Random| random.below(6) as u8;
    let small = |random: &mut Random| random.below(4) as usize;
    let number = |random: &mut Random| random.below(7) as i64 - 2;
    match at {
        At::Lists(_) => match random.below(11) {
            0 => Step::Key(key(random)),
            1 => Step::Must(key(random)),
            2 | 3 => Step::MapVals,
            4 => Step::Range(key(random), key(random)),
            5 => Step::FirstN(small(random)),
            6 => Step::LastN(small(random)),
            7 => Step::SubMap(key(random), key(random)),
            8 => Step::BothKeys(key(random), key(random)),
            9 => Step::IfMust(key(random), key(random)),
            _ => Step::OrDefault,
        },
        At::List(_) => match random.below(10) {
            0 => Step::Nth(small(random)),
            1 => Step::Last,
            2 | 3 => Step::All,
            4 => Step::Sublist(small(random), small(random)),
            5 => Step::FilteredList(number(random)),
            6 => Step::Runs(number(random)),
            7 => Step::SubselectOdd,
            8 => Step::Has(number(random)),
            _ => Step::Longer(small(random)),
        },
        At::Number(_) => match random.below(2) {
            0 => Step::OrDefault,
            _ => Step::Greater(number(random)),
        },
    }
}

/// The step as an author writes it.
fn extend(at: &At, step: Step) -> At {
    match (at, step) {
        (At::Lists(at), Step::Key(key)) => At::List(at.key(&key)),
        (At::Lists(at), Step::Must(key)) => At::List(at.must(&key)),
        (At::Lists(at), Step::MapVals) => At::List(at.map_vals()),
        (At::Lists(at), Step::Range(from, to)) => At::Lists(at.range(from..=to)),
        (At::Lists(at), Step::FirstN(n)) => At::Lists(at.first_n(n)),
        (At::Lists(at), Step::LastN(n)) => At::Lists(at.last_n(n)),
        (At::Lists(at), Step::SubMap(a, b)) => At::Lists(at.sub_map([a, b])),
        (At::Lists(at), Step::BothKeys(a, b)) => {
            let here = inside::<Lists>();
            At::List(at.multi_path([here.key(&a), here.key(&b)]))
        }
        (At::Lists(at), Step::IfMust(a, b)) => {
            let here = inside::<Lists>();
            At::List(at.if_else(&here.must(&a), &here.key(&a), &here.key(&b)))
        }
        (At::Lists(at), Step::OrDefault) => At::Lists(at.or_default()),
        (At::List(at), Step::Nth(index)) => At::Number(at.nth(index)),
        (At::List(at), Step::Last) => At::Number(at.last()),
        (At::List(at), Step::All) => At::Number(at.all()),
        (At::List(at), Step::Sublist(from, to)) => At::List(at.sublist(from..to)),
        (At::List(at), Step::FilteredList(n)) => {
            At::List(at.filtered_list(&inside::<i64>().filter(move |number| *number > n)))
        }
        (At::List(at), Step::Runs(n)) => At::List(at.continuous_subseqs(move |m| *m > n)),
        (At::List(at), Step::SubselectOdd) => {
            At::List(at.subselect(&inside::<List>().all().filter(|n| n % 2 != 0)))
        }
        (At::List(at), Step::Has(n)) => {
            At::List(at.selected(&inside::<List>().all().filter(move |m| *m == n)))
        }
        (At::List(at), Step::Longer(n)) => At::List(at.filter(move |list| list.len() > n)),
        (At::Number(at), Step::OrDefault) => At::Number(at.or_default()),
        (At::Number(at), Step::Greater(n)) => At::Number(at.filter(move |m| *m > n)),
        (_, step) => unreachable!("{step:?} was chosen for another type"),
    }
}

fn edit(at: &At, term: Term) -> Edit<Lists> {
    match (at, term) {
        (At::Lists(at), Term::Set(n)) => at.set(BTreeMap::from([(3, vec![n])])),
        (At::List(at), Term::Set(n)) => at.set(vec![n, n]),
        (At::Number(at), Term::Set(n)) => at.set(n),
        (At::Lists(at), Term::Turn) => at.modify(|lists| _ = lists.pop_first()),
        (At::List(at), Term::Turn) => at.modify(|list| list.reverse()),
        (At::Number(at), Term::Turn) => at.modify(|n| *n = 1 - *n),
        (At::Lists(at), Term::Remove) => at.remove(),
        (At::List(at), Term::Remove) => at.remove(),
        (At::Number(at), Term::Remove) => at.remove(),
    }
}

fn select(at: &At, value: Option<&Lists>) -> Vec<Any> {
    match at {
        At::Lists(at) => at.select_from(value).into_iter().map(Any::Lists).collect(),
        At::List(at) => at.select_from(value).into_iter().map(Any::List).collect(),
        At::Number(at) => at.select_from(value).into_iter().map(Any::Number).collect(),
    }
}

/// What a place becomes, in the interpreter.
type Then<'a> = dyn FnMut(Option<Any>) -> Option<Any> + 'a;

fn as_lists(value: Option<Any>) -> Option<Lists> {
    value.map(|value| match value {
        Any::Lists(lists) => lists,
        value => panic!("{value:?} is no map"),
    })
}

fn as_list(value: Option<Any>) -> Option<List> {
    value.map(|value| match value {
        Any::List(list) => list,
        value => panic!("{value:?} is no list"),
    })
}

/// Rewrites the lists under these keys, one after the other.
fn under(map: Option<Lists>, keys: &[u8], rest: &[Step], then: &mut Then<'_>) -> Option<Any> {
    let mut now = map;
    for key in keys {
        let old = now.as_ref().and_then(|map| map.get(key).cloned());
        match as_list(walk(rest, old.map(Any::List), then)) {
            Some(list) => _ = now.get_or_insert_default().insert(*key, list),
            None => _ = now.as_mut().map(|map| map.remove(key)),
        }
    }
    now.map(Any::Lists)
}

/// Rewrites the part of a map that has these keys.
fn part(map: Option<Lists>, keys: &[u8], rest: &[Step], then: &mut Then<'_>) -> Option<Any> {
    let mut others = map.clone().unwrap_or_default();
    let part: Lists = keys
        .iter()
        .filter_map(|key| others.remove_entry(key))
        .collect();
    let new = as_lists(walk(rest, Some(Any::Lists(part)), then));
    others.extend(new.unwrap_or_default());
    (map.is_some() || !others.is_empty()).then_some(Any::Lists(others))
}

/// Rewrites the numbers at these positions of a list, as a list of their own (`whole`) or each.
fn positions(
    list: List,
    at: &[usize],
    whole: bool,
    rest: &[Step],
    then: &mut Then<'_>,
) -> Option<Any> {
    let mut places: Vec<Option<i64>> = list.into_iter().map(Some).collect();
    let chosen: List = at.iter().filter_map(|index| places[*index]).collect();
    let new: Vec<Option<i64>> = if whole {
        let new = as_list(walk(rest, Some(Any::List(chosen)), then));
        let new = new.unwrap_or_default().into_iter().map(Some);
        new.chain(std::iter::repeat(None)).take(at.len()).collect()
    } else {
        let one = |number| match walk(rest, Some(Any::Number(number)), then) {
            Some(Any::Number(number)) => Some(number),
            None => None,
            value => panic!("{value:?} is no number"),
        };
        chosen.into_iter().map(one).collect()
    };
    for (index, new) in at.iter().zip(new) {
        places[*index] = new;
    }
    Some(Any::List(places.into_iter().flatten().collect()))
}

/// Runs of positions, spliced by what each becomes; of one run at most, if `from` and `to` say so.
fn splice(
    list: Option<List>,
    runs: &[(usize, usize)],
    rest: &[Step],
    then: &mut Then<'_>,
) -> Option<Any> {
    let was = list.is_some();
    let list = list.unwrap_or_default();
    let news: Vec<List> = runs
        .iter()
        .map(|(from, to)| Any::List(list[*from..*to].to_vec()))
        .map(|run| as_list(walk(rest, Some(run), then)).unwrap_or_default())
        .collect();
    let mut now = list;
    for ((from, to), new) in runs.iter().zip(news).rev() {
        now.splice(from..to, new);
    }
    (was || !now.is_empty()).then_some(Any::List(now))
}

fn walk(steps: &[Step], value: Option<Any>, then: &mut Then<'_>) -> Option<Any> {
    let Some((step, rest)) = steps.split_first() else {
        return then(value);
    };
    match value {
        None => walk_absent(*step, rest, then),
        Some(Any::Lists(map)) => walk_map(*step, rest, map, then),
        Some(Any::List(list)) => walk_list(*step, rest, list, then),
        Some(Any::Number(number)) => match step {
            Step::Greater(n) if number <= *n => Some(Any::Number(number)),
            _ => walk(rest, Some(Any::Number(number)), then),
        },
    }
}

/// N-3: nothing is an empty collection; a step that needs an element leads nowhere.
fn walk_absent(step: Step, rest: &[Step], then: &mut Then<'_>) -> Option<Any> {
    match step {
        Step::Key(key) => under(None, &[key], rest, then),
        Step::BothKeys(a, b) => under(None, &[a, b], rest, then),
        Step::IfMust(_, b) => under(None, &[b], rest, then),
        Step::Range(..) | Step::FirstN(_) | Step::LastN(_) | Step::SubMap(..) => {
            part(None, &[], rest, then)
        }
        Step::Sublist(..) => splice(None, &[(0, 0)], rest, then),
        Step::SubselectOdd | Step::FilteredList(_) => {
            walk(rest, Some(Any::List(Vec::new())), then);
            None
        }
        // Only the whole value is ever absent where this step stands.
        Step::OrDefault => walk(rest, Some(Any::Lists(Lists::new())), then),
        _ => None,
    }
}

fn walk_map(step: Step, rest: &[Step], map: Lists, then: &mut Then<'_>) -> Option<Any> {
    let keys: Vec<u8> = map.keys().copied().collect();
    match step {
        Step::Key(key) => under(Some(map), &[key], rest, then),
        Step::Must(key) if keys.contains(&key) => under(Some(map), &[key], rest, then),
        Step::Must(_) => Some(Any::Lists(map)),
        Step::MapVals => under(Some(map), &keys, rest, then),
        Step::BothKeys(a, b) => under(Some(map), &[a, b], rest, then),
        Step::IfMust(a, b) => {
            let key = if keys.contains(&a) { a } else { b };
            under(Some(map), &[key], rest, then)
        }
        Step::Range(from, to) => {
            let within: Vec<u8> = keys
                .into_iter()
                .filter(|k| from <= *k && *k <= to)
                .collect();
            part(Some(map), &within, rest, then)
        }
        Step::FirstN(n) => part(Some(map), &keys[..n.min(keys.len())], rest, then),
        Step::LastN(n) => part(Some(map), &keys[keys.len().saturating_sub(n)..], rest, then),
        Step::SubMap(a, b) => part(Some(map), &[a, b], rest, then),
        _ => walk(rest, Some(Any::Lists(map)), then),
    }
}

fn walk_list(step: Step, rest: &[Step], list: List, then: &mut Then<'_>) -> Option<Any> {
    let len = list.len();
    let where_ = |wanted: &dyn Fn(i64) -> bool| -> Vec<usize> {
        (0..len).filter(|index| wanted(list[*index])).collect()
    };
    match step {
        Step::Nth(index) if index < len => positions(list, &[index], false, rest, then),
        Step::Last if len > 0 => positions(list, &[len - 1], false, rest, then),
        Step::All => {
            let at = where_(&|_| true);
            positions(list, &at, false, rest, then)
        }
        Step::FilteredList(n) => {
            let at = where_(&|m| m > n);
            positions(list, &at, true, rest, then)
        }
        Step::SubselectOdd => {
            let at = where_(&|m| m % 2 != 0);
            positions(list, &at, true, rest, then)
        }
        Step::Sublist(from, to) => {
            let from = from.min(len);
            splice(Some(list), &[(from, to.clamp(from, len))], rest, then)
        }
        Step::Runs(n) => {
            let mut runs: Vec<(usize, usize)> = Vec::new();
            for index in where_(&|m| m > n) {
                match runs.last_mut() {
                    Some((_, end)) if *end == index => *end += 1,
                    _ => runs.push((index, index + 1)),
                }
            }
            splice(Some(list), &runs, rest, then)
        }
        Step::Has(n) if list.contains(&n) => walk(rest, Some(Any::List(list)), then),
        Step::Longer(n) if len > n => walk(rest, Some(Any::List(list)), then),
        Step::OrDefault => walk(rest, Some(Any::List(list)), then),
        _ => Some(Any::List(list)),
    }
}

fn end(term: Term, ends_in: &At, value: Option<Any>) -> Option<Any> {
    let value = value.or(match (ends_in, term) {
        (_, Term::Remove) => None,
        (At::Lists(_), _) => Some(Any::Lists(Lists::new())),
        (At::List(_), _) => Some(Any::List(List::new())),
        (At::Number(_), _) => Some(Any::Number(0)),
    })?;
    match (value, term) {
        (_, Term::Remove) => None,
        (Any::Lists(_), Term::Set(n)) => Some(Any::Lists(BTreeMap::from([(3, vec![n])]))),
        (Any::List(_), Term::Set(n)) => Some(Any::List(vec![n, n])),
        (Any::Number(_), Term::Set(n)) => Some(Any::Number(n)),
        (Any::Lists(mut lists), Term::Turn) => {
            lists.pop_first();
            Some(Any::Lists(lists))
        }
        (Any::List(list), Term::Turn) => Some(Any::List(list.into_iter().rev().collect())),
        (Any::Number(n), Term::Turn) => Some(Any::Number(1 - n)),
    }
}

/// Issue 4's generator for paths, inside a value: N-1 … N-7, N-10 … N-13.
#[test]
fn random_paths_into_random_values_agree_with_the_interpreter() {
    let mut found = 0;
    for seed in seeds(2000) {
        let mut random = Random::new(seed);
        for _ in 0..5 {
            let value = (random.below(8) > 0).then(|| lists(&mut random));
            let mut at = At::Lists(inside());
            let mut steps = Vec::new();
            for _ in 0..random.below(6) {
                let next = step(&at, &mut random);
                at = extend(&at, next);
                steps.push(next);
            }
            let context = format!("seed {seed}: {steps:?} into {value:?}");
            let mut wanted = Vec::new();
            walk(&steps, value.clone().map(Any::Lists), &mut |place| {
                wanted.extend(place.clone());
                place
            });
            found += wanted.len();
            assert_eq!(select(&at, value.as_ref()), wanted, "{context}");
            let term = match random.below(3) {
                0 => Term::Set(random.below(9) as i64),
                1 => Term::Turn,
                _ => Term::Remove,
            };
            let wanted = walk(&steps, value.clone().map(Any::Lists), &mut |place| {
                end(term, &at, place)
            });
            let changed = edit(&at, term).apply_to(value).map(Any::Lists);
            assert_eq!(changed, wanted, "{context}, then {term:?}");
        }
    }
    assert!(
        found > 1000,
        "only {found} values were found: the paths lead nowhere"
    );
}
