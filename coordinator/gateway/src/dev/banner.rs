//! What a server prints when it is ready: where it is, and what to type next.
//!
//! Relies on the module's manifest for names and on its schemas for example values. What must stay
//! true: every printed command works as it stands (a test runs them).

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::backend::Backend;

/// The text for a server that is ready.
pub async fn text(backend: &dyn Backend, url: &str, dir: &Path, took: Duration) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!(
        "rama {version} dev  ·  data {}  ·  ready in {:.2} s\nHTTP    {url}\n",
        dir.display(),
        took.as_secs_f64()
    );
    let status = backend.status().await.unwrap_or_default();
    for module in &status.modules {
        let (name, tasks, threads) = (&module.name, module.tasks, module.threads);
        // Writing into a String cannot fail.
        let _ = writeln!(text, "Module  {name}  {tasks} tasks on {threads} threads");
    }
    let tries: Vec<String> = backend
        .modules()
        .iter()
        .flat_map(|module| commands(backend, module))
        .collect();
    for (index, command) in tries.iter().enumerate() {
        let _ = writeln!(
            text,
            "{}{command}",
            if index == 0 { "Try     " } else { "        " }
        );
    }
    text.push_str("Stop with Ctrl-C (data kept).");
    text
}

/// One append, one select, one watch.
fn commands(backend: &dyn Backend, module: &str) -> Vec<String> {
    let Some(manifest) = backend.describe(module) else {
        return Vec::new();
    };
    let mut commands = Vec::new();
    if let Some((depot, schema)) = first(&manifest, "depots") {
        let record = quoted(&example(schema, "hello world"));
        commands.push(format!(
            "rama append {module}/{} {record}",
            depot.trim_start_matches('*')
        ));
    }
    if let Some((pstate, schema)) = first(&manifest, "pstates") {
        let path = quoted(&json!([example(schema, "hello")]));
        let target = format!("{module}/{}", pstate.trim_start_matches("$$"));
        commands.push(format!("rama select {target} {path} --one"));
        commands.push(format!("rama watch {target} {path}"));
    }
    commands.push(format!("rama status {module}"));
    commands
}

/// The first object of a kind that clients can use, with the schema of its record or key.
fn first<'a>(manifest: &'a Value, kind: &str) -> Option<(&'a str, &'a Value)> {
    let object = manifest[kind].as_array()?.first()?;
    Some((object["name"].as_str()?, &object["schema"]))
}

/// A word for a POSIX shell.
fn quoted(value: &Value) -> String {
    format!("'{}'", value.to_string().replace('\'', r"'\''"))
}

/// A value that a JSON schema accepts.
fn example(schema: &Value, text: &str) -> Value {
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    if let Some(value) = schema.get("const") {
        return value.clone();
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(first) = schema[choice]
            .as_array()
            .and_then(|choices| choices.first())
        {
            return example(first, text);
        }
    }
    match schema["type"].as_str() {
        Some("integer") => schema["minimum"]
            .as_i64()
            .filter(|least| *least > 1)
            .unwrap_or(1)
            .into(),
        Some("number") => json!(1.5),
        Some("boolean") => json!(true),
        Some("null") => Value::Null,
        Some("array") => array(schema, text),
        Some("object") => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            fields
                .map(|(name, field)| (name.clone(), example(field, text)))
                .collect()
        }
        _ if schema["format"] == json!("uuid") => json!("00000000-0000-4000-8000-000000000001"),
        _ => json!(text),
    }
}

fn array(schema: &Value, text: &str) -> Value {
    match schema["prefixItems"].as_array() {
        Some(items) => items.iter().map(|item| example(item, text)).collect(),
        None => json!([]),
    }
}
