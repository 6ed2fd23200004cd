//! What a server prints when it is ready: where it is, and what to type next.
//!
//! Relies on the module's manifest for names and on its schemas for example values. What must stay
//! true: every printed command works as it stands (a test runs them).

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use rama_runtime::Cluster;

/// The text for a server that is ready.
pub fn text(cluster: &Cluster, url: &str, dir: &Path, took: Duration) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!(
        "rama {version} dev  ·  data {}  ·  ready in {:.2} s\nHTTP    {url}\n",
        dir.display(),
        took.as_secs_f64()
    );
    let status = cluster.status();
    for module in &status.modules {
        let (name, tasks, threads) = (&module.name, module.tasks, module.threads);
        // Writing into a String cannot fail.
        let _ = writeln!(text, "Module  {name}  {tasks} tasks on {threads} threads");
    }
    let tries: Vec<String> = cluster
        .modules_here()
        .iter()
        .flat_map(|module| commands(cluster, module))
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
fn commands(cluster: &Cluster, module: &str) -> Vec<String> {
    let Ok(definition) = cluster.definition(module) else {
        return Vec::new();
    };
    let manifest = definition.manifest();
    let mut commands = Vec::new();
    let depots = objects(&manifest, "depots");
    let open = |depot: &&Value| {
        depot["kind"] != json!("tick depot") && depot["partitioner"] != json!("disallow")
    };
    if let Some(depot) = depots.iter().find(open) {
        let record = quoted(&example(&depot["record"]["json"], "hello world"));
        let name = depot["name"].as_str().unwrap_or_default();
        commands.push(format!(
            "rama append {module}/{} {record}",
            name.trim_start_matches('*')
        ));
    }
    for pstate in objects(&manifest, "pstates") {
        let readable = pstate["private"] != json!(true);
        let Some((path, one)) = path(&pstate["schema"]).filter(|_| readable) else {
            continue;
        };
        let name = pstate["name"].as_str().unwrap_or_default();
        let target = format!(
            "{module}/{} {}",
            name.trim_start_matches("$$"),
            quoted(&path)
        );
        commands.push(format!(
            "rama select {target}{}",
            if one { " --one" } else { "" }
        ));
        if one {
            commands.push(format!("rama watch {target}"));
        }
        break;
    }
    commands.push(format!("rama status {module}"));
    commands
}

fn objects(manifest: &Value, kind: &str) -> Vec<Value> {
    manifest[kind].as_array().cloned().unwrap_or_default()
}

/// A path to look at, and whether it has exactly one result.
fn path(schema: &Value) -> Option<(Value, bool)> {
    let key = match schema["key"].as_str().or(schema["element"].as_str())? {
        "String" => json!("hello"),
        "bool" => json!(true),
        number if number.starts_with(['u', 'i']) => json!(1),
        _ => return None,
    };
    match schema["value"]["kind"].as_str() {
        Some("value") => Some((json!([key]), true)),
        Some("map" | "set" | "list") => Some((json!([key, ["all"]]), false)),
        _ => None,
    }
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
