//! Steps that call functions of the module, on the task (spec P-34).
//!
//! What must stay true: a function is called on stored values of the type it takes, before any step
//! that looks inside them.

use serde_json::Value;

use super::compile::Read;
use super::value::named;
use super::{PathError, Render};
use crate::plan::{Call, FunctionDef, Functions, Plan, Role};
use crate::schema_desc::ValueCodec;

/// Calls in the steps that follow a read become part of it. Answers how many there were.
pub(super) fn through(
    read: &mut Read,
    steps: &[Value],
    at: usize,
    functions: &Functions,
) -> Result<usize, PathError> {
    let mut calls = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let Some((role, name, argument)) = call_of(step) else {
            break;
        };
        let wrong = |cause: String| PathError::Function {
            step: at + index,
            cause,
        };
        let function = functions.named(name).map_err(|e| wrong(e.to_string()))?;
        let codec = values(&mut read.render).ok_or_else(|| {
            wrong(format!(
                "function {name} is called on values, which are not what the path has come to; \
                 put a key, [\"mapVals\"] or [\"all\"] of a list before it"
            ))
        })?;
        calls.push(call(role, function, codec, argument).map_err(wrong)?);
        match role {
            Role::View => *codec = function.output.clone(),
            Role::Filter => keep_absent_out(&mut read.render),
        }
    }
    let count = calls.len();
    if count > 0 {
        let plan = Box::new(std::mem::replace(&mut read.plan, Plan::Several(Vec::new())));
        read.plan = Plan::Through { plan, calls };
    }
    Ok(count)
}

/// `["filterPred", "name", argument]` or `["view", "name", argument]`.
fn call_of(step: &Value) -> Option<(Role, &str, Option<&Value>)> {
    let (navigator, arguments) = named(step)?;
    let (function, rest) = arguments.split_first()?;
    let (function, argument) = match rest {
        [] => (function.as_str()?, None),
        [argument] => (function.as_str()?, Some(argument)),
        _ => return None,
    };
    match (navigator.as_str(), function) {
        ("view", "size" | "contains" | "#__fOps.SIZE") => None,
        ("view", _) => Some((Role::View, function, argument)),
        ("filterpred" | "pred", _) => Some((Role::Filter, function, argument)),
        _ => None,
    }
}

/// What the rows show, if it is each a value and nothing else.
fn values(render: &mut Render) -> Option<&mut ValueCodec> {
    match render {
        Render::Value { codec, .. } => Some(codec),
        Render::Rows {
            key: None,
            value: Some(codec),
            whole: false,
        } => Some(codec),
        _ => None,
    }
}

/// What a filter leaves out is no result.
fn keep_absent_out(render: &mut Render) {
    if let Render::Value { must, .. } = render {
        *must = true;
    }
}

fn call(
    role: Role,
    function: &FunctionDef,
    codec: &ValueCodec,
    argument: Option<&Value>,
) -> Result<Call, String> {
    let (name, takes) = (&function.name, function.input.desc.name());
    let found = codec.desc.name();
    if takes != found {
        return Err(format!(
            "function {name} takes {takes}, and the values here are {found}"
        ));
    }
    if role == Role::Filter && !function.filters() {
        let answers = function.output.desc.name();
        return Err(format!(
            "function {name} answers {answers}, and a filter needs a bool; use it in a view"
        ));
    }
    let argument = argument.unwrap_or(&Value::Null);
    let argument = (function.argument.from_json)(argument).map_err(|error| {
        let takes = function.argument.desc.name();
        format!("function {name} takes an argument of type {takes}: {error}")
    })?;
    Ok(Call {
        role,
        name: name.clone(),
        fingerprint: function.fingerprint,
        argument,
    })
}
