//! Navigation inside one value, as JSON: the select side of spec chapter 3.

use std::cmp::Ordering;

use serde_json::Value;

use super::PathError;

/// What can be said about a plain value, for messages.
pub(super) const NAVIGATORS: &str = "a key, key, must, nth, first, last, all, mapVals, mapKeys, \
     mapKey, setElem, sublist, sortedMapRange, filterEqual, filterNotEqual, filterLessThan, \
     filterLessThanOrEqual, filterGreaterThan, filterGreaterThanOrEqual, filterSelected, \
     filterNotSelected, nullToVal, nullToList, view size, view contains, subselect, multiPath, \
     ifPath, stay, stop";

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
    Sublist(usize, usize),
    KeyRange(String, String),
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
    If {
        condition: Vec<Step>,
        then: Vec<Step>,
        otherwise: Option<Vec<Step>>,
    },
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
        "selected?" => "filterselected".to_owned(),
        "notselected?" => "filternotselected".to_owned(),
        "nil>val" => "nulltoval".to_owned(),
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
            ("sortedmaprange", [Value::String(from), Value::String(to)]) => {
                Step::KeyRange(from.clone(), to.clone())
            }
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
            ("ifpath", [condition, then, otherwise @ ..]) if otherwise.len() <= 1 => Step::If {
                condition: parse_path(condition, at)?,
                then: parse_path(then, at)?,
                otherwise: otherwise
                    .first()
                    .map(|path| parse_path(path, at))
                    .transpose()?,
            },
            ("stay", []) => Step::Stay,
            ("stop", []) => Step::Stop,
            (filter, [value]) => match comparison(filter) {
                Some(comparison) => Step::Filter(comparison, value.clone()),
                None => return Err(unknown(step, at)),
            },
            _ => return Err(unknown(step, at)),
        };
        Ok(parsed)
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

/// Calls `emit` for each value the path leads to, depth first (spec N-2).
pub(super) fn navigate(value: &Value, path: &[Step], emit: &mut dyn FnMut(Value)) {
    let Some((step, rest)) = path.split_first() else {
        return emit(value.clone());
    };
    let mut go = |next: &Value| navigate(next, rest, emit);
    match step {
        Step::Key(key) => go(lookup(value, key).unwrap_or(&Value::Null)),
        Step::Must(key) => {
            if let Some(found) = lookup(value, key) {
                go(found);
            }
        }
        Step::MapKey(key) => {
            if lookup(value, key).is_some() {
                go(key);
            }
        }
        Step::Element(element) | Step::Contains(element) => {
            let there = match value {
                Value::Array(elements) => elements.contains(element),
                _ => lookup(value, element).is_some(),
            };
            match step {
                Step::Contains(_) => go(&Value::from(there)),
                _ if there => go(element),
                _ => {}
            }
        }
        Step::First => elements(value).first().into_iter().for_each(go),
        Step::Last => elements(value).last().into_iter().for_each(go),
        Step::All => elements(value).iter().for_each(go),
        Step::MapValues => {
            value
                .as_object()
                .into_iter()
                .flat_map(|map| map.values())
                .for_each(go);
        }
        Step::MapKeys => {
            let keys = value.as_object().into_iter().flat_map(|map| map.keys());
            keys.for_each(|key| go(&Value::from(key.as_str())));
        }
        Step::Sublist(from, to) => {
            let list = elements(value);
            let (from, to) = ((*from).min(list.len()), (*to).min(list.len()));
            go(&Value::from(list[from..to.max(from)].to_vec()));
        }
        Step::KeyRange(from, to) => {
            let map = value.as_object().into_iter().flatten();
            let within = map.filter(|(key, _)| from <= *key && *key < to);
            let pairs = within.map(|(key, value)| (key.clone(), value.clone()));
            go(&Value::Object(pairs.collect()));
        }
        Step::Filter(comparison, other) => {
            if passes(*comparison, value, other) {
                go(value);
            }
        }
        Step::Selected { path, wanted } => {
            if selects(value, path) == *wanted {
                go(value);
            }
        }
        Step::NullTo(other) => go(if value.is_null() { other } else { value }),
        Step::Size => go(&Value::from(elements(value).len())),
        Step::Subselect(path) => {
            let mut found = Vec::new();
            navigate(value, path, &mut |value| found.push(value));
            go(&Value::Array(found));
        }
        Step::Multi(paths) => {
            paths
                .iter()
                .for_each(|path| navigate(value, path, &mut |found| go(&found)));
        }
        Step::If {
            condition,
            then,
            otherwise,
        } => {
            let path = if selects(value, condition) {
                Some(then)
            } else {
                otherwise.as_ref()
            };
            if let Some(path) = path {
                navigate(value, path, &mut |found| go(&found));
            }
        }
        Step::Stay => go(value),
        Step::Stop => {}
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
fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
        },
        _ => None,
    }
}
