//! Paths written as JSON, for HTTP and the command line: `["alice"]`, `["url", ["sortedMapRange",
//! 1, 9]]`.
//!
//! [`compile`] walks the schema as far as entries are stored separately and makes one plan of that;
//! what follows (navigation inside one value) runs on the answer, as JSON, by `value`. Names are
//! those of spec operations 8.2, in Java or Clojure spelling; a bare string, number or object is a
//! key.
//!
//! What must stay true: a path means the same here and as a typed path; an error names the step and
//! what is allowed in its place.

mod call;
mod compile;
mod part;
mod range;
mod value;

use std::sync::Arc;

use rama_wire::KeyError;
use serde_json::Value;

use crate::plan::{Functions, Plan, SelectError, rows};
use crate::proxy::footprint::{Footprint, Form};
use crate::proxy::{Following, Shape, with_keys};
use crate::schema_desc::{KeyCodec, SchemaDesc, ValueCodec};
use value::Step;

/// A path that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The path is not a list.
    #[error("a path is a JSON list of steps such as [\"key\"] or [[\"mapKeys\"]], not {found}")]
    NotAList {
        /// What it is.
        found: String,
    },
    /// A step does not fit where it stands.
    #[error("step {step} of the path, {found}, cannot be used on {place}; allowed here: {allowed}")]
    NotAllowed {
        /// Position of the step, from 0.
        step: usize,
        /// The step.
        found: String,
        /// The schema it was applied to.
        place: String,
        /// What would fit.
        allowed: &'static str,
    },
    /// A step lacks arguments or has wrong ones.
    #[error("step {step} of the path, {found}, has wrong arguments: {expected}")]
    Arguments {
        /// Position of the step, from 0.
        step: usize,
        /// The step.
        found: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A key has another type.
    #[error("step {step} of the path: {cause}")]
    Key {
        /// Position of the step, from 0.
        step: usize,
        /// What did not fit.
        cause: KeyError,
    },
    /// A struct has no such field.
    #[error("step {step} of the path: {place} has no field {found}; it has {fields}")]
    NoField {
        /// Position of the step, from 0.
        step: usize,
        /// The struct.
        place: String,
        /// The field asked for.
        found: String,
        /// Its fields.
        fields: String,
    },
    /// A function cannot be called where the path calls it.
    #[error("step {step} of the path: {cause}")]
    Function {
        /// Position of the step, from 0.
        step: usize,
        /// Why not.
        cause: String,
    },
    /// The path ends at a structure, which is never sent whole.
    #[error(
        "the path ends at {place}, which is subindexed and never sent whole; add {allowed} or the \
         key of an element"
    )]
    Whole {
        /// The schema at its end.
        place: String,
        /// What would make it a bounded read.
        allowed: &'static str,
    },
}

/// A compiled path: what to ask of which partition, and how to show the answer.
#[derive(Clone, Debug)]
pub struct JsonSelect {
    pub(crate) route: Option<Vec<u8>>,
    pub(crate) plan: Plan,
    /// How many of several plans ask whether something is there that must be; the last one reads.
    pub(crate) musts: usize,
    pub(crate) render: Render,
    pub(crate) steps: Vec<Step>,
}

/// How the rows of an answer become JSON.
#[derive(Clone, Debug)]
pub(crate) enum Render {
    /// One value. An absent one is null, or nothing when the path said `must`.
    Value { codec: ValueCodec, must: bool },
    /// A number.
    Count,
    /// Whether something is there.
    Flag,
    /// The element itself when it is there, otherwise nothing.
    Element(Value),
    /// Elements: keys, values, or pairs of both; each a result, or all in one list.
    Rows {
        key: Option<KeyCodec>,
        value: Option<ValueCodec>,
        whole: bool,
    },
}

/// Makes a plan of a path through a schema.
pub fn compile(schema: &SchemaDesc, path: &Value) -> Result<JsonSelect, PathError> {
    compile_with(schema, &Functions::default(), path)
}

/// The same of a module that registers functions: `["filterPred", "name"]` and `["view", "name"]`,
/// with an argument if they take one, right after the stored values they are called on.
pub fn compile_with(
    schema: &SchemaDesc,
    functions: &Functions,
    path: &Value,
) -> Result<JsonSelect, PathError> {
    compile::compile(schema, functions, path)
}

impl JsonSelect {
    /// The encoded key whose home has the data; `None` when the path does not begin with a key.
    pub fn route(&self) -> Option<&[u8]> {
        self.route.as_deref()
    }

    /// What to evaluate there.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The navigated values (spec P-32), from what `plan::evaluate` answered.
    pub fn results(&self, answer: &[u8]) -> Result<Vec<Value>, SelectError> {
        let mut results = Vec::new();
        let several = if self.musts > 0 {
            rows(answer)?
        } else {
            Vec::new()
        };
        let (answer, asked) = match several.split_last() {
            Some(((_, answer), asked)) => (*answer, asked),
            None => (answer, &[][..]),
        };
        for (_, there) in asked {
            if !crate::plan::flag(there)? {
                return Ok(results);
            }
        }
        for value in self.render(answer)? {
            value::navigate(&value, &self.steps, &mut |value| results.push(value));
        }
        Ok(results)
    }

    fn render(&self, answer: &[u8]) -> Result<Vec<Value>, SelectError> {
        match &self.render {
            Render::Count => Ok(vec![Value::from(crate::plan::count(answer)?)]),
            Render::Flag => Ok(vec![Value::from(crate::plan::flag(answer)?)]),
            Render::Element(element) => {
                let there = crate::plan::flag(answer)?;
                Ok(there.then(|| element.clone()).into_iter().collect())
            }
            Render::Value { codec, must } => match rows(answer)?.first() {
                Some((_, value)) => Ok(vec![(codec.to_json)(value)?]),
                None if *must => Ok(Vec::new()),
                None => Ok(vec![Value::Null]),
            },
            Render::Rows { key, value, whole } => {
                let values = rows(answer)?
                    .into_iter()
                    .map(|row| render_row(key.as_ref(), value.as_ref(), row))
                    .collect::<Result<Vec<_>, _>>()?;
                Ok(if *whole {
                    vec![Value::Array(values)]
                } else {
                    values
                })
            }
        }
    }
}

/// A path whose one value is followed: what a proxy has to know of it.
pub(crate) fn following(
    select: JsonSelect,
    pstate: &str,
) -> Result<Following<Value, Value, Value>, SelectError> {
    let (shape, key, part) = match (&select.render, select.steps.is_empty()) {
        (Render::Rows { whole: false, .. }, _) => {
            return Err(SelectError::NotOne { count: 2 });
        }
        (Render::Rows { key, value, .. }, true) if is_of_rows(&select.plan) => {
            match (key.clone(), value.clone()) {
                (Some(key), Some(value)) => (Shape::Map, Some(key), Some(value)),
                (Some(key), None) => (Shape::Set, Some(key), None),
                (None, value) => (Shape::List, Some(KeyCodec::of::<u64>()), value),
            }
        }
        _ => (Shape::One, None, None),
    };
    let (plan, route) = (with_keys(&select.plan), select.route.clone());
    let select = Arc::new(select);
    let value = move |answer: &[u8]| {
        let mut results = select.results(answer)?;
        match results.len() {
            1 => Ok(results.remove(0)),
            count => Err(SelectError::NotOne { count }),
        }
    };
    let value: Arc<dyn Fn(&[u8]) -> Result<Value, SelectError> + Send + Sync> = Arc::new(value);
    let whole = value.clone();
    let read_key = move |bytes: &[u8]| render_row(key.as_ref(), None, (bytes, &[]));
    let read_part = move |bytes: &[u8]| match shape {
        Shape::One => whole(bytes),
        _ => render_row(None, part.as_ref(), (&[], bytes)),
    };
    Ok(Following {
        pstate: pstate.to_owned(),
        fault: None,
        route,
        plan,
        shape,
        value,
        key: Arc::new(read_key),
        part: Arc::new(read_part),
    })
}

/// Whether changes of what a plan reads are told element by element.
fn is_of_rows(plan: &Plan) -> bool {
    Footprint::of(&with_keys(plan)).value != Form::Answer
}

fn render_row(
    key: Option<&KeyCodec>,
    value: Option<&ValueCodec>,
    row: (&[u8], &[u8]),
) -> Result<Value, SelectError> {
    let key = match key {
        Some(codec) => {
            let mut bytes = row.0;
            let json = (codec.to_json)(&mut bytes)?;
            match bytes {
                [] => Some(json),
                rest => return Err(KeyError::Trailing { extra: rest.len() }.into()),
            }
        }
        None => None,
    };
    let value = value.map(|codec| (codec.to_json)(row.1)).transpose()?;
    Ok(match (key, value) {
        (Some(key), Some(value)) => Value::Array(vec![key, value]),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => Value::Null,
    })
}

#[cfg(test)]
mod tests;
