//! The navigators that pick some elements of a map, a set or a list by their order.

use std::ops::Bound;

use serde_json::Value;

use super::PathError;
use crate::schema_desc::KeyCodec;

/// One step of a path, taken apart.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) at: usize,
    pub(super) step: &'a Value,
    pub(super) name: &'a str,
    pub(super) arguments: &'a [Value],
}

impl Call<'_> {
    pub(super) fn wrong_arguments(&self, expected: &'static str) -> PathError {
        PathError::Arguments {
            step: self.at,
            found: self.step.to_string(),
            expected,
        }
    }
}

/// What a map's, set's or list's range navigator picks. `None`: not a navigator of that kind.
pub(super) fn ranged(
    call: &Call<'_>,
    family: &str,
    key: &KeyCodec,
) -> Result<Option<Ranged>, PathError> {
    let Call {
        at,
        name,
        arguments,
        ..
    } = *call;
    let everything = || Pick::each(Bound::Unbounded, Bound::Unbounded);
    let simple = match (name, arguments) {
        ("all", []) => Some(Ranged::Elements(everything())),
        ("mapkeys", []) => Some(Ranged::Keys(everything())),
        ("mapvals", []) => Some(Ranged::Values(everything())),
        ("first", []) => Some(Ranged::Elements(Pick {
            limit: 1,
            ..everything()
        })),
        ("last", []) => Some(Ranged::Elements(Pick {
            limit: 1,
            last: true,
            ..everything()
        })),
        ("view", [what]) if what == "size" || what == "#__fOps.SIZE" => Some(Ranged::Size),
        _ => None,
    };
    if simple.is_some() {
        return Ok(simple);
    }
    let Some(kind) = name.strip_prefix(family).filter(|_| !family.is_empty()) else {
        return Ok(None);
    };
    let wrong = |expected| Err(call.wrong_arguments(expected));
    let pick = match (kind, arguments) {
        ("", [from, to, options @ ..]) if options.len() <= 1 => {
            let start = flag(options, "inclusive-start?").unwrap_or(true);
            let end = flag(options, "inclusive-end?").unwrap_or(false);
            Pick::whole(bound(key, from, at, start)?, bound(key, to, at, end)?)
        }
        ("from", [from, options @ ..]) if options.len() <= 1 => {
            let start = flag(options, "inclusive?").unwrap_or(true);
            let pick = Pick::whole(bound(key, from, at, start)?, Bound::Unbounded);
            Pick {
                limit: limit(options),
                ..pick
            }
        }
        ("to", [to, options @ ..]) if options.len() <= 1 => {
            let end = flag(options, "inclusive?").unwrap_or(false);
            let pick = Pick::whole(Bound::Unbounded, bound(key, to, at, end)?);
            Pick {
                limit: limit(options),
                last: true,
                ..pick
            }
        }
        ("fromstart" | "toend", [n]) => match n.as_u64() {
            Some(n) => {
                let pick = Pick::whole(Bound::Unbounded, Bound::Unbounded);
                Pick {
                    limit: n,
                    last: kind == "toend",
                    ..pick
                }
            }
            None => return wrong("a number of elements"),
        },
        ("", _) => return wrong("from and to, and options"),
        ("from" | "to", _) => return wrong("a key, and a maximum or options"),
        ("fromstart" | "toend", _) => return wrong("a number of elements"),
        _ => return Ok(None),
    };
    Ok(Some(Ranged::Elements(pick)))
}

/// What a range navigator reads.
pub(super) enum Ranged {
    Size,
    Keys(Pick),
    Values(Pick),
    Elements(Pick),
}

/// Which elements, in terms of encoded keys.
pub(super) struct Pick {
    pub(super) lo: Bound<Vec<u8>>,
    pub(super) hi: Bound<Vec<u8>>,
    pub(super) limit: u64,
    /// The limit counts from the end.
    pub(super) last: bool,
    /// All in one list.
    pub(super) whole: bool,
}

impl Pick {
    pub(super) fn each(lo: Bound<Vec<u8>>, hi: Bound<Vec<u8>>) -> Pick {
        Pick {
            lo,
            hi,
            limit: u64::MAX,
            last: false,
            whole: false,
        }
    }

    pub(super) fn whole(lo: Bound<Vec<u8>>, hi: Bound<Vec<u8>>) -> Pick {
        Pick {
            whole: true,
            ..Pick::each(lo, hi)
        }
    }
}

/// A null bound means no bound (spec N-11), unless null is a key of the type.
fn bound(
    codec: &KeyCodec,
    key: &Value,
    at: usize,
    inclusive: bool,
) -> Result<Bound<Vec<u8>>, PathError> {
    match encode(codec, key, at) {
        Ok(bytes) if inclusive => Ok(Bound::Included(bytes)),
        Ok(bytes) => Ok(Bound::Excluded(bytes)),
        Err(_) if key.is_null() => Ok(Bound::Unbounded),
        Err(error) => Err(error),
    }
}

fn flag(options: &[Value], name: &str) -> Option<bool> {
    options.first()?.get(name)?.as_bool()
}

fn limit(options: &[Value]) -> u64 {
    let option = options.first();
    option
        .and_then(|option| option.as_u64().or_else(|| option.get("max-amt")?.as_u64()))
        .unwrap_or(u64::MAX)
}

/// The encoding of a key that a step names.
pub(super) fn encode(codec: &KeyCodec, key: &Value, step: usize) -> Result<Vec<u8>, PathError> {
    let mut bytes = Vec::new();
    (codec.from_json)(key, &mut bytes).map_err(|cause| PathError::Key { step, cause })?;
    Ok(bytes)
}
