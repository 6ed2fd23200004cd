//! From a JSON path and a schema to a plan.

use std::ops::Bound;

use serde_json::Value;

use super::range::{Call, Pick, Ranged, encode, ranged};
use super::value::{self, Step};
use super::{JsonSelect, PathError, Render, call};
use crate::access::Order;
use crate::path::{Span, bounds};
use crate::plan::{Functions, Plan, Scan, Take};
use crate::schema_desc::{KeyCodec, SchemaDesc, ValueCodec};

const ON_MAP: &str = "a key, [\"must\", k], [\"all\"], [\"mapKeys\"], [\"mapVals\"], [\"first\"], \
     [\"last\"], [\"sortedMapRange\", from, to], [\"sortedMapRangeFrom\", from, max], \
     [\"sortedMapRangeTo\", to, max], [\"sortedMapRangeFromStart\", n], \
     [\"sortedMapRangeToEnd\", n], [\"view\", \"size\"], [\"view\", \"contains\", k]";
const ON_NESTING_MAP: &str = "a key, [\"must\", k], [\"mapKeys\"], [\"view\", \"size\"], \
     [\"view\", \"contains\", k]";
const ON_SET: &str = "[\"setElem\", e], [\"all\"], [\"first\"], [\"last\"], \
     [\"sortedSetRange\", from, to], [\"sortedSetRangeFrom\", from, max], \
     [\"sortedSetRangeTo\", to, max], [\"sortedSetRangeFromStart\", n], \
     [\"sortedSetRangeToEnd\", n], [\"view\", \"size\"], [\"view\", \"contains\", e]";
const ON_LIST: &str = "an index, [\"nth\", i], [\"all\"], [\"first\"], [\"last\"], \
     [\"sublist\", from, to], [\"view\", \"size\"]";
const ON_NESTING_LIST: &str = "an index, [\"nth\", i], [\"view\", \"size\"]";
const ON_STRUCT: &str = "the name of a field";

/// Where the walk through the schema has come to.
struct Place<'a> {
    schema: &'a SchemaDesc,
    key: Vec<u8>,
    /// Whether the location here, if a structure, has a header.
    header: bool,
    /// Whether something along the way keeps a count.
    counted: bool,
    route: Option<Vec<u8>>,
    /// Whether the value here must be there.
    must: bool,
    /// Reads of the structures along the way that must be there.
    musts: Vec<Plan>,
}

/// A read that has been decided on; later steps may still narrow a range of a map.
pub(super) struct Read {
    pub(super) plan: Plan,
    pub(super) render: Render,
}

pub(super) fn compile(
    schema: &SchemaDesc,
    functions: &Functions,
    path: &Value,
) -> Result<JsonSelect, PathError> {
    let steps = path.as_array().ok_or_else(|| PathError::NotAList {
        found: path.to_string(),
    })?;
    let mut place = Place {
        schema,
        key: Vec::new(),
        header: false,
        counted: false,
        route: None,
        must: false,
        musts: Vec::new(),
    };
    let mut at = 0;
    if let Some(("pkey", [key])) = steps.first().and_then(value::named).as_ref().map(split) {
        place.route = Some(partition_key(schema, key)?);
        at = 1;
    }
    while let Some(step) = steps.get(at) {
        if matches!(place.schema, SchemaDesc::Value(_)) {
            break;
        }
        match place.step(at, step)? {
            None => at += 1,
            Some(mut read) => {
                at += 1;
                if let Some(next) = steps.get(at).and_then(|step| narrowed(&read, step)) {
                    read = next;
                    at += 1;
                }
                at += call::through(&mut read, &steps[at..], at, functions)?;
                return finish(place, read, &steps[at..], at);
            }
        }
    }
    let mut read = place.end()?;
    at += call::through(&mut read, &steps[at..], at, functions)?;
    finish(place, read, &steps[at..], at)
}

fn split<'a>(named: &'a (String, &'a [Value])) -> (&'a str, &'a [Value]) {
    (&named.0, named.1)
}

fn finish(
    place: Place<'_>,
    read: Read,
    rest: &[Value],
    at: usize,
) -> Result<JsonSelect, PathError> {
    let steps = rest
        .iter()
        .enumerate()
        .map(|(index, step)| Step::parse(step, at + index))
        .collect::<Result<Vec<_>, _>>()?;
    let mut plans = place.musts;
    let musts = plans.len();
    let plan = if musts == 0 {
        read.plan
    } else {
        plans.push(read.plan);
        Plan::Several(plans)
    };
    Ok(JsonSelect {
        route: place.route,
        plan,
        musts,
        render: read.render,
        steps,
    })
}

/// The explicit partition key: of the top-level map's key type, or a string or an integer.
fn partition_key(schema: &SchemaDesc, key: &Value) -> Result<Vec<u8>, PathError> {
    let codec = match (schema, key) {
        (SchemaDesc::Map { key, .. }, _) => key.clone(),
        (_, Value::Number(_)) => KeyCodec::of::<i64>(),
        _ => KeyCodec::of::<String>(),
    };
    encode(&codec, key, 0)
}

/// `all`, `mapVals` and the like right after a range of a map: rows instead of one list.
fn narrowed(read: &Read, step: &Value) -> Option<Read> {
    let Plan::Scan(scan) = &read.plan else {
        return None;
    };
    let Render::Rows {
        key,
        value,
        whole: true,
    } = &read.render
    else {
        return None;
    };
    let pairs = key.is_some() && value.is_some();
    let (name, arguments) = value::named(step)?;
    let (take, key, value) = match (name.as_str(), arguments) {
        ("all", []) => (scan.take, key.clone(), value.clone()),
        ("mapvals", []) if pairs => (Take::Values, None, value.clone()),
        ("mapkeys", []) if pairs => (Take::Keys, key.clone(), None),
        ("view", [what]) if what == "size" => {
            let plan = Plan::Count(Scan {
                take: Take::Keys,
                ..scan.clone()
            });
            return Some(Read {
                plan,
                render: Render::Count,
            });
        }
        _ => return None,
    };
    let plan = Plan::Scan(Scan {
        take,
        ..scan.clone()
    });
    Some(Read {
        plan,
        render: Render::Rows {
            key,
            value,
            whole: false,
        },
    })
}

impl<'a> Place<'a> {
    /// Follows one step: deeper into the schema, or to a read.
    fn step(&mut self, at: usize, step: &Value) -> Result<Option<Read>, PathError> {
        let named = value::named(step);
        let (name, arguments) = match &named {
            Some((name, arguments)) => (name.as_str(), *arguments),
            None => ("key", std::slice::from_ref(step)),
        };
        let call = Call {
            at,
            step,
            name,
            arguments,
        };
        if name == "stay" {
            return Ok(None);
        }
        if matches!(name, "key" | "must" | "nth") && !arguments.is_empty() {
            for (index, key) in arguments.iter().enumerate() {
                if index > 0 && matches!(self.schema, SchemaDesc::Value(_)) {
                    return Err(call.wrong_arguments("one key; write further keys as steps"));
                }
                self.descend(at, step, key)?;
                if name == "must" {
                    self.require();
                }
            }
            return Ok(None);
        }
        let read = match self.schema {
            SchemaDesc::Map { key, value, .. } => self.read_map(&call, (key, value)),
            SchemaDesc::Set { key, .. } => self.read_set(&call, key),
            SchemaDesc::List { value } => self.read_list(&call, value),
            SchemaDesc::Struct { .. } | SchemaDesc::Value(_) => Ok(None),
        }?;
        read.map(Some).ok_or_else(|| self.not_allowed(at, step))
    }

    fn not_allowed(&self, step: usize, found: &Value) -> PathError {
        let allowed = match self.schema {
            SchemaDesc::Map { value, .. } if matches!(**value, SchemaDesc::Value(_)) => ON_MAP,
            SchemaDesc::Map { .. } => ON_NESTING_MAP,
            SchemaDesc::Set { .. } => ON_SET,
            SchemaDesc::List { value } if matches!(**value, SchemaDesc::Value(_)) => ON_LIST,
            SchemaDesc::List { .. } => ON_NESTING_LIST,
            SchemaDesc::Struct { .. } => ON_STRUCT,
            SchemaDesc::Value(_) => value::NAVIGATORS,
        };
        let (found, place) = (found.to_string(), self.schema.name());
        PathError::NotAllowed {
            step,
            found,
            place,
            allowed,
        }
    }

    /// What the path has come to must be there.
    fn require(&mut self) {
        if matches!(self.schema, SchemaDesc::Value(_)) {
            self.must = true;
            return;
        }
        self.musts.push(Plan::Exists {
            key: self.key.clone(),
            single: self.header,
        });
    }

    /// Goes to the element under a key, to the element at an index, or to a field.
    fn descend(&mut self, at: usize, step: &Value, key: &Value) -> Result<(), PathError> {
        let schema = match self.schema {
            SchemaDesc::Map {
                key: codec, value, ..
            } => {
                let bytes = encode(codec, key, at)?;
                if self.key.is_empty() && self.route.is_none() {
                    self.route = Some(bytes.clone());
                }
                self.key.extend(bytes);
                &**value
            }
            SchemaDesc::List { value } => {
                self.key.extend(encode(&KeyCodec::of::<u64>(), key, at)?);
                &**value
            }
            SchemaDesc::Struct { name, fields } => {
                let index = fields
                    .iter()
                    .position(|(field, _)| Some(*field) == key.as_str());
                let Some(index) = index else {
                    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
                    return Err(PathError::NoField {
                        step: at,
                        place: (*name).to_owned(),
                        found: key.to_string(),
                        fields: names.join(", "),
                    });
                };
                self.key.push(index as u8);
                &fields[index].1
            }
            SchemaDesc::Set { .. } | SchemaDesc::Value(_) => return Err(self.not_allowed(at, step)),
        };
        self.schema = schema;
        self.header = has_header(schema, self.counted);
        self.counted |= self.header;
        Ok(())
    }

    /// The read when the path ends here.
    fn end(&self) -> Result<Read, PathError> {
        let allowed = match self.schema {
            SchemaDesc::Value(codec) => {
                return Ok(Read {
                    plan: Plan::Get {
                        key: self.key.clone(),
                    },
                    render: Render::Value {
                        codec: codec.clone(),
                        must: self.must,
                    },
                });
            }
            SchemaDesc::Map { value, .. } if matches!(**value, SchemaDesc::Value(_)) => {
                "[\"sortedMapRangeFromStart\", 100], [\"mapKeys\"], [\"all\"]"
            }
            SchemaDesc::Map { .. } => "[\"mapKeys\"]",
            SchemaDesc::Set { .. } => "[\"sortedSetRangeFromStart\", 100], [\"all\"]",
            SchemaDesc::List { .. } => "[\"sublist\", 0, 100], [\"all\"]",
            SchemaDesc::Struct { .. } => "the name of a field",
        };
        Err(PathError::Whole {
            place: self.schema.name(),
            allowed,
        })
    }

    fn read_map(
        &self,
        call: &Call<'_>,
        (key, value): (&KeyCodec, &SchemaDesc),
    ) -> Result<Option<Read>, PathError> {
        let Call {
            at,
            name,
            arguments,
            ..
        } = *call;
        let leaf = match value {
            SchemaDesc::Value(codec) => Some(codec),
            _ => None,
        };
        if let ("view", [what, element]) = (name, arguments)
            && what == "contains"
        {
            return self
                .contains(at, element, key, value, Render::Flag)
                .map(Some);
        }
        let Some(range) = ranged(call, "sortedmaprange", key)? else {
            return Ok(None);
        };
        let structure = leaf.is_none().then(|| key.desc.shape());
        Ok(match (range, leaf) {
            (Ranged::Size, _) => Some(self.size(structure)),
            (Ranged::Keys(pick), _) => {
                Some(self.scan(pick, Take::Keys, Some(key), None, structure))
            }
            (Ranged::Values(pick), Some(leaf)) => {
                Some(self.scan(pick, Take::Values, None, Some(leaf), None))
            }
            (Ranged::Elements(pick), Some(leaf)) => {
                Some(self.scan(pick, Take::Entries, Some(key), Some(leaf), None))
            }
            (Ranged::Values(_) | Ranged::Elements(_), None) => None,
        })
    }

    fn read_set(&self, call: &Call<'_>, key: &KeyCodec) -> Result<Option<Read>, PathError> {
        let Call {
            at,
            name,
            arguments,
            ..
        } = *call;
        let unit = SchemaDesc::Value(ValueCodec::of::<()>());
        match (name, arguments) {
            ("setelem", [element]) => {
                return self
                    .contains(at, element, key, &unit, Render::Element(element.clone()))
                    .map(Some);
            }
            ("view", [what, element]) if what == "contains" => {
                return self
                    .contains(at, element, key, &unit, Render::Flag)
                    .map(Some);
            }
            ("mapkeys" | "mapvals", _) => return Ok(None),
            _ => {}
        }
        Ok(match ranged(call, "sortedsetrange", key)? {
            Some(Ranged::Size) => Some(self.size(None)),
            Some(Ranged::Elements(pick)) => {
                Some(self.scan(pick, Take::Keys, Some(key), None, None))
            }
            _ => None,
        })
    }

    fn read_list(&self, call: &Call<'_>, value: &SchemaDesc) -> Result<Option<Read>, PathError> {
        let Call {
            at,
            name,
            arguments,
            ..
        } = *call;
        let index = KeyCodec::of::<u64>();
        if name == "view" && arguments == ["size"] {
            return Ok(Some(self.size(None)));
        }
        let SchemaDesc::Value(leaf) = value else {
            return Ok(None);
        };
        let range = match (name, arguments) {
            ("sublist", [from, to]) => {
                let lo = Bound::Included(encode(&index, from, at)?);
                let hi = Bound::Excluded(encode(&index, to, at)?);
                Some(Ranged::Elements(Pick::whole(lo, hi)))
            }
            ("all" | "first" | "last", _) => ranged(call, "", &index)?,
            _ => None,
        };
        Ok(match range {
            Some(Ranged::Elements(pick)) => {
                Some(self.scan(pick, Take::Values, None, Some(leaf), None))
            }
            _ => None,
        })
    }

    fn contains(
        &self,
        at: usize,
        element: &Value,
        key: &KeyCodec,
        schema: &SchemaDesc,
        render: Render,
    ) -> Result<Read, PathError> {
        let bytes = [self.key.clone(), encode(key, element, at)?].concat();
        let single = matches!(schema, SchemaDesc::Value(_)) || has_header(schema, self.counted);
        Ok(Read {
            plan: Plan::Exists { key: bytes, single },
            render,
        })
    }

    fn size(&self, structure: Option<rama_wire::KeyShape>) -> Read {
        let tracked = match self.schema {
            SchemaDesc::Map { tracked, .. } | SchemaDesc::Set { tracked, .. } => *tracked,
            _ => true,
        };
        if tracked && self.header {
            let plan = Plan::Len {
                key: self.key.clone(),
            };
            return Read {
                plan,
                render: Render::Count,
            };
        }
        let pick = Pick::each(Bound::Unbounded, Bound::Unbounded);
        match self.scan(pick, Take::Keys, None, None, structure).plan {
            Plan::Scan(scan) => Read {
                plan: Plan::Count(scan),
                render: Render::Count,
            },
            plan => Read {
                plan,
                render: Render::Count,
            },
        }
    }

    fn scan(
        &self,
        pick: Pick,
        take: Take,
        key: Option<&KeyCodec>,
        value: Option<&ValueCodec>,
        structure: Option<rama_wire::KeyShape>,
    ) -> Read {
        let bounds = bounds(&self.key, pick.lo, pick.hi);
        let limit = if bounds.is_some() { pick.limit } else { 0 };
        let (lo, hi) = bounds.unwrap_or_default();
        let order = if pick.last {
            Order::Descending
        } else {
            Order::Ascending
        };
        let plan = Plan::Scan(Scan {
            prefix_len: self.key.len() as u32,
            span: Span {
                lo,
                hi,
                order,
                limit,
            },
            reverse: pick.last,
            take,
            structure,
        });
        let (key, value) = (key.cloned(), value.cloned());
        Read {
            plan,
            render: Render::Rows {
                key,
                value,
                whole: pick.whole,
            },
        }
    }
}

/// See the key space in `schema`.
fn has_header(schema: &SchemaDesc, counted_above: bool) -> bool {
    match schema {
        SchemaDesc::Value(_) => false,
        SchemaDesc::List { .. } => true,
        SchemaDesc::Map { tracked, .. } | SchemaDesc::Set { tracked, .. } => {
            *tracked || counted_above
        }
        SchemaDesc::Struct { .. } => counted_above,
    }
}
