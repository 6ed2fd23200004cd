//! Parts of a map or a set that is a value: those listed, those between two keys, those at an end.
//!
//! A map keeps its keys as text in JSON. What must stay true: keys that are numbers are compared as
//! numbers wherever the path says a number.

use std::cmp::Ordering;

use serde_json::Value;

use super::value::order;

/// Which elements of a map or set.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    /// `subMap`, `subset`.
    Listed(Vec<Value>),
    /// `sortedMapRange`, `sortedSetRange` and their kin.
    Range {
        /// The first, and whether it belongs to the range.
        from: Option<(Value, bool)>,
        /// The end, and whether it belongs to the range.
        to: Option<(Value, bool)>,
        limit: usize,
        /// Whether the limit counts from the end.
        last: bool,
    },
}

impl Part {
    /// The part that a navigator names, if it is one for parts.
    pub(super) fn parse(name: &str, arguments: &[Value]) -> Option<Part> {
        if matches!(name, "submap" | "subset") {
            return Some(Part::Listed(arguments.to_vec()));
        }
        let mut kinds = ["sortedmaprange", "sortedsetrange"].into_iter();
        let kind = kinds.find_map(|family| name.strip_prefix(family))?;
        let flag = |options: &[Value], name: &str, usual: bool| {
            let option = options.first().and_then(|options| options.get(name));
            option.and_then(Value::as_bool).unwrap_or(usual)
        };
        let limit = |options: &[Value]| {
            let option = options.first();
            let n = option.and_then(|o| o.as_u64().or_else(|| o.get("max-amt")?.as_u64()));
            n.map_or(usize::MAX, |n| n as usize)
        };
        let bound = |key: &Value, inclusive| (!key.is_null()).then(|| (key.clone(), inclusive));
        Some(match (kind, arguments) {
            ("", [from, to, options @ ..]) if options.len() <= 1 => Part::Range {
                from: bound(from, flag(options, "inclusive-start?", true)),
                to: bound(to, flag(options, "inclusive-end?", false)),
                limit: usize::MAX,
                last: false,
            },
            ("from", [from, options @ ..]) if options.len() <= 1 => Part::Range {
                from: bound(from, flag(options, "inclusive?", true)),
                to: None,
                limit: limit(options),
                last: false,
            },
            ("to", [to, options @ ..]) if options.len() <= 1 => Part::Range {
                from: None,
                to: bound(to, flag(options, "inclusive?", false)),
                limit: limit(options),
                last: true,
            },
            ("fromstart" | "toend", [n]) => Part::Range {
                from: None,
                to: None,
                limit: n.as_u64()? as usize,
                last: kind == "toend",
            },
            _ => return None,
        })
    }

    /// The part of a map as a map, of a set as a list; of nothing an empty list.
    pub(super) fn of(&self, value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let keys = map.keys().map(|key| Value::from(key.as_str())).collect();
                let keys = self.choose(keys).into_iter();
                let key = |key: Value| key.as_str().map(str::to_owned).unwrap_or_default();
                let entries = keys.map(key).map(|key| (key.clone(), map[&key].clone()));
                Value::Object(entries.collect())
            }
            Value::Array(elements) => Value::Array(self.choose(elements.clone())),
            _ => Value::Array(Vec::new()),
        }
    }

    fn choose(&self, mut keys: Vec<Value>) -> Vec<Value> {
        match self {
            Part::Listed(listed) => {
                keys.retain(|key| listed.iter().any(|one| compare(key, one).is_eq()));
            }
            Part::Range {
                from,
                to,
                limit,
                last,
            } => {
                let numbers = [from, to]
                    .into_iter()
                    .flatten()
                    .any(|(key, _)| key.is_number());
                if numbers {
                    keys.sort_by(|a, b| number(a).total_cmp(&number(b)));
                }
                keys.retain(|key| {
                    let side = |bound: &Option<(Value, bool)>, wanted: Ordering| {
                        bound.as_ref().is_none_or(|(bound, inclusive)| {
                            let found = compare(key, bound);
                            found == wanted || (*inclusive && found.is_eq())
                        })
                    };
                    side(from, Ordering::Greater) && side(to, Ordering::Less)
                });
                let gone = keys.len().saturating_sub(*limit);
                if *last {
                    keys.drain(..gone);
                } else {
                    keys.truncate(*limit);
                }
            }
        }
        keys
    }
}

/// A key, or an element, beside one that the path says.
fn compare(key: &Value, said: &Value) -> Ordering {
    match (key, said) {
        (Value::String(_), Value::Number(_)) => number(key).total_cmp(&number(said)),
        _ if key == said => Ordering::Equal,
        // What does not compare is on no side, and so in no range.
        _ => order(key, said).unwrap_or(Ordering::Equal),
    }
}

/// A key that is a number, as JSON has it.
fn number(key: &Value) -> f64 {
    let text = || key.as_str().and_then(|text| text.parse().ok());
    key.as_f64().or_else(text).unwrap_or(f64::NAN)
}
