//! Navigation inside one value, as JSON: the select side of spec chapter 3.

use std::cmp::Ordering;

use serde_json::Value;

use super::PathError;
use super::part::Part;

/// What can be said about a plain value, for messages.
pub(super) const NAVIGATORS: &str = "a key, key, must, nth, first, last, all, mapVals, mapKeys, \
     mapKey, setElem, indexedVals, index, sublist, filteredList, subMap, subset, sortedMapRange, \
     sortedSetRange and their From, To, FromStart, ToEnd, filterEqual, filterNotEqual, \
     filterLessThan, filterLessThanOrEqual, filterGreaterThan, filterGreaterThanOrEqual, \
     filterSelected, filterNotSelected, nullToVal, nullToList, view size, view contains, \
     subselect, multiPath, ifPath, condPath, continueThenStay, collectOne, collect, putCollected, \
     dispenseCollected, stay, stop";

/// One navigator on a JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Key(Value),
    Must(Value),
    MapKey(Value),
    Element(Value),
    First,
    Last,
    All,
    MapValues,
    MapKeys,
    IndexedValues,
    Index(usize),
    Sublist(usize, usize),
    FilteredList(Vec<Step>),
    Part(Part),
    Filter(Comparison, Value),
    Selected {
        path: Vec<Step>,
        wanted: bool,
    },
    NullTo(Value),
    Size,
    Contains(Value),
    Subselect(Vec<Step>),
    Multi(Vec<Vec<Step>>),
    /// The path of the first condition that selects something.
    Cond(Vec<(Vec<Step>, Vec<Step>)>),
    ContinueThenStay(Vec<Step>),
    Collect {
        path: Vec<Step>,
        one: bool,
    },
    PutCollected(Value),
    Dispense,
    Stay,
    Stop,
}

/// How a filter compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// `["sortedMapRange", 1, 2]` as name and arguments; the name in lower case without dashes, so that
/// Java and Clojure spellings are one.
pub(super) fn named(step: &Value) -> Option<(String, &[Value])> {
    let (name, arguments) = step.as_array()?.split_first()?;
    let name = name.as_str()?.replace('-', "").to_lowercase();
    let name = match name.as_str() {
        "keypath" => "key".to_owned(),
        "nthpath" => "nth".to_owned(),
        "srange" => "sublist".to_owned(),
        "filterer" => "filteredlist".to_owned(),
        "selected?" => "filterselected".to_owned(),
        "notselected?" => "filternotselected".to_owned(),
        "nil>val" => "nulltoval".to_owned(),
        "putval" => "putcollected".to_owned(),
        "dispense" => "dispensecollected".to_owned(),
        _ => name,
    };
    Some((name, arguments))
}

impl Step {
    /// Understands one step of a path, `at` for messages.
    pub(super) fn parse(step: &Value, at: usize) -> Result<Step, PathError> {
        let Some((name, arguments)) = named(step) else {
            return Ok(Step::Key(step.clone()));
        };
        let paths = || -> Result<Vec<Vec<Step>>, PathError> {
            arguments.iter().map(|path| parse_path(path, at)).collect()
        };
        let whole = || -> Result<Vec<Step>, PathError> {
            arguments.iter().map(|step| Step::parse(step, at)).collect()
        };
        let parsed = match (name.as_str(), arguments) {
            ("key" | "nth", [key]) => Step::Key(key.clone()),
            ("key" | "nth", [_, ..]) => {
                Step::Multi(vec![arguments.iter().cloned().map(Step::Key).collect()])
            }
            ("must", [_, ..]) => {
                Step::Multi(vec![arguments.iter().cloned().map(Step::Must).collect()])
            }
            ("mapkey", [key]) => Step::MapKey(key.clone()),
            ("setelem", [element]) => Step::Element(element.clone()),
            ("first", []) => Step::First,
            ("last", []) => Step::Last,
            ("all", []) => Step::All,
            ("mapvals", []) => Step::MapValues,
            ("mapkeys", []) => Step::MapKeys,
            ("sublist", [from, to]) => Step::Sublist(index(from, step, at)?, index(to, step, at)?),
            ("indexedvals", []) => Step::IndexedValues,
            ("index", [at_index]) => Step::Index(index(at_index, step, at)?),
            ("filteredlist", _) => Step::FilteredList(whole()?),
            ("filterselected", _) => Step::Selected {
                path: whole()?,
                wanted: true,
            },
            ("filternotselected", _) => Step::Selected {
                path: whole()?,
                wanted: false,
            },
            ("nulltoval", [value]) => Step::NullTo(value.clone()),
            ("nulltolist" | "nulltoset", []) => Step::NullTo(Value::Array(Vec::new())),
            ("view", [what]) if what == "size" || what == "#__fOps.SIZE" => Step::Size,
            ("view", [what, key]) if what == "contains" => Step::Contains(key.clone()),
            ("subselect", _) => Step::Subselect(whole()?),
            ("multipath", _) => Step::Multi(paths()?),
            ("ifpath", [condition, then]) => {
                Step::Cond(vec![(parse_path(condition, at)?, parse_path(then, at)?)])
            }
            ("ifpath", [condition, then, otherwise]) => Step::Cond(vec![
                (parse_path(condition, at)?, parse_path(then, at)?),
                (Vec::new(), parse_path(otherwise, at)?),
            ]),
            ("condpath", [_, ..]) if arguments.len().is_multiple_of(2) => {
                let arms = arguments.chunks_exact(2);
                let arm = |arm: &[Value]| Ok((parse_path(&arm[0], at)?, parse_path(&arm[1], at)?));
                Step::Cond(arms.map(arm).collect::<Result<_, PathError>>()?)
            }
            ("continuethenstay", _) => Step::ContinueThenStay(whole()?),
            ("collectone" | "collect", _) => Step::Collect {
                path: whole()?,
                one: name == "collectone",
            },
            ("putcollected", [value]) => Step::PutCollected(value.clone()),
            ("dispensecollected", []) => Step::Dispense,
            ("stay", []) => Step::Stay,
            ("stop", []) => Step::Stop,
            _ => return Step::filter_or_part(&name, arguments, step, at),
        };
        Ok(parsed)
    }

    fn filter_or_part(
        name: &str,
        arguments: &[Value],
        step: &Value,
        at: usize,
    ) -> Result<Step, PathError> {
        if let (Some(comparison), [value]) = (comparison(name), arguments) {
            return Ok(Step::Filter(comparison, value.clone()));
        }
        let part = Part::parse(name, arguments).map(Step::Part);
        part.ok_or_else(|| unknown(step, at))
    }
}

/// A path as an argument: a list of steps, one named step, or a key.
fn parse_path(path: &Value, at: usize) -> Result<Vec<Step>, PathError> {
    match path.as_array() {
        Some(steps) if named(path).is_none() => {
            steps.iter().map(|step| Step::parse(step, at)).collect()
        }
        _ => Ok(vec![Step::parse(path, at)?]),
    }
}

fn index(value: &Value, step: &Value, at: usize) -> Result<usize, PathError> {
    value
        .as_u64()
        .map(|index| index as usize)
        .ok_or_else(|| PathError::Arguments {
            step: at,
            found: step.to_string(),
            expected: "two indices",
        })
}

fn unknown(step: &Value, at: usize) -> PathError {
    PathError::NotAllowed {
        step: at,
        found: step.to_string(),
        place: "a value".to_owned(),
        allowed: NAVIGATORS,
    }
}

fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        "filterequal" | "pred=" => Comparison::Equal,
        "filternotequal" => Comparison::NotEqual,
        "filterlessthan" | "pred<" => Comparison::Less,
        "filterlessthanorequal" | "pred<=" => Comparison::LessOrEqual,
        "filtergreaterthan" | "pred>" => Comparison::Greater,
        "filtergreaterthanorequal" | "pred>=" => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

/// Calls `emit` for each value the path leads to, depth first (spec N-2); with what was collected
/// before it, as a list, if anything was (§3.8).
pub(super) fn navigate(value: &Value, path: &[Step], emit: &mut dyn FnMut(Value)) {
    walk(value, path, &[], &mut |collected, value| {
        emit(if collected.is_empty() {
            value
        } else {
            Value::Array([collected, &[value]].concat())
        });
    });
}

fn walk(value: &Value, path: &[Step], collected: &[Value], emit: &mut dyn FnMut(&[Value], Value)) {
    let Some((step, rest)) = path.split_first() else {
        return emit(collected, value.clone());
    };
    let added = match step {
        Step::Collect { path, one } => {
            let mut found = all(value, path);
            match (one, found.len()) {
                (true, 1) => found.pop(),
                (true, _) => return,
                (false, _) => Some(Value::Array(found)),
            }
        }
        Step::PutCollected(value) => Some(value.clone()),
        Step::Dispense => return walk(value, rest, &[], emit),
        step => {
            return step.each(value, &mut |next| walk(next, rest, collected, emit));
        }
    };
    let collected: Vec<Value> = collected.iter().cloned().chain(added).collect();
    walk(value, rest, &collected, emit);
}

/// Everything a path that is an argument leads to.
fn all(value: &Value, path: &[Step]) -> Vec<Value> {
    let mut found = Vec::new();
    navigate(value, path, &mut |value| found.push(value));
    found
}

impl Step {
    /// Calls `go` for each value that this step leads to. Not for steps that collect.
    fn each(&self, value: &Value, go: &mut dyn FnMut(&Value)) {
        match self {
            Step::Key(key) => go(lookup(value, key).unwrap_or(&Value::Null)),
            Step::Must(key) => lookup(value, key).into_iter().for_each(go),
            Step::MapKey(key) if lookup(value, key).is_some() => go(key),
            Step::Element(element) if holds(value, element) => go(element),
            Step::MapKey(_) | Step::Element(_) | Step::Stop => {}
            Step::Contains(element) => go(&Value::from(holds(value, element))),
            Step::First => elements(value).first().into_iter().for_each(go),
            Step::Last => elements(value).last().into_iter().for_each(go),
            Step::All => elements(value).iter().for_each(go),
            Step::MapValues => {
                let map = value.as_object().into_iter();
                map.flat_map(|map| map.values()).for_each(go);
            }
            Step::MapKeys => {
                let keys = value.as_object().into_iter().flat_map(|map| map.keys());
                keys.for_each(|key| go(&Value::from(key.as_str())));
            }
            Step::IndexedValues => {
                let list = value.as_array().into_iter().flatten().enumerate();
                list.for_each(|(index, element)| go(&serde_json::json!([index, element])));
            }
            Step::Index(index) => {
                if value.as_array().is_some_and(|list| *index < list.len()) {
                    go(&Value::from(*index));
                }
            }
            Step::Sublist(from, to) => {
                let list = elements(value);
                let (from, to) = ((*from).min(list.len()), (*to).min(list.len()));
                go(&Value::from(list[from..to.max(from)].to_vec()));
            }
            Step::FilteredList(path) => {
                let list = elements(value).into_iter();
                go(&list.filter(|element| selects(element, path)).collect());
            }
            Step::Part(part) => go(&part.of(value)),
            Step::Filter(comparison, other) if passes(*comparison, value, other) => go(value),
            Step::Filter(..) => {}
            Step::Selected { path, wanted } if selects(value, path) == *wanted => go(value),
            Step::Selected { .. } => {}
            Step::NullTo(other) => go(if value.is_null() { other } else { value }),
            Step::Size => go(&Value::from(elements(value).len())),
            Step::Subselect(path) => go(&Value::Array(all(value, path))),
            Step::Multi(paths) => {
                let found = paths.iter().flat_map(|path| all(value, path));
                found.for_each(|found| go(&found));
            }
            Step::Cond(arms) => {
                let mut arms = arms.iter();
                let arm = arms.find(|(condition, _)| selects(value, condition));
                let found = arm.map(|(_, path)| all(value, path)).unwrap_or_default();
                found.iter().for_each(go);
            }
            Step::ContinueThenStay(path) => {
                all(value, path).iter().for_each(&mut *go);
                go(value);
            }
            Step::Stay => go(value),
            Step::Collect { .. } | Step::PutCollected(_) | Step::Dispense => {
                unreachable!("steps that collect are taken by walk")
            }
        }
    }
}

/// Whether a list has the element, or an object the key.
fn holds(value: &Value, element: &Value) -> bool {
    match value {
        Value::Array(elements) => elements.contains(element),
        _ => lookup(value, element).is_some(),
    }
}

fn selects(value: &Value, path: &[Step]) -> bool {
    let mut any = false;
    navigate(value, path, &mut |_| any = true);
    any
}

/// The value at a key of an object or at an index of a list.
fn lookup<'a>(value: &'a Value, key: &Value) -> Option<&'a Value> {
    match (value, key) {
        (Value::Object(map), Value::String(key)) => map.get(key),
        (Value::Object(map), other) => map.get(&other.to_string()),
        (Value::Array(list), index) => list.get(usize::try_from(index.as_u64()?).ok()?),
        _ => None,
    }
}

/// The elements of a list; of an object its `[key, value]` pairs; of anything else none.
fn elements(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(list) => list.clone(),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| Value::Array(vec![Value::from(key.as_str()), value.clone()]))
            .collect(),
        _ => Vec::new(),
    }
}

fn passes(comparison: Comparison, value: &Value, other: &Value) -> bool {
    match comparison {
        Comparison::Equal => order(value, other) == Some(Ordering::Equal) || value == other,
        Comparison::NotEqual => order(value, other) != Some(Ordering::Equal) && value != other,
        Comparison::Less => order(value, other) == Some(Ordering::Less),
        Comparison::LessOrEqual => order(value, other).is_some_and(Ordering::is_le),
        Comparison::Greater => order(value, other) == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => order(value, other).is_some_and(Ordering::is_ge),
    }
}

/// Numbers compare as numbers, strings as strings; other things do not compare.
pub(super) fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
        },
        _ => None,
    }
}
