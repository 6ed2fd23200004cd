//! `rama inspect`: what lies in a data directory, and what of it is damaged.
//!
//! Relies on `rama_storage::inspect`, which reads and changes nothing. What must stay true: damage
//! ends with exit code 1, after everything was printed.

use std::path::Path;

use rama_storage::inspect::{FileReport, GroupReport, inspect};
use serde_json::{Value, json};

use crate::args::{Format, Inspect};
use crate::error::{Exit, Failure, Result};
use crate::output::{self, columns};

pub fn run(format: Format, args: &Inspect) -> Result<()> {
    let path = &args.path;
    let failed =
        |exit, text: String| Failure::new(exit, text, "name a data directory, such as .rama");
    if !path.is_dir() {
        let text = format!("{} is not a directory", path.display());
        return Err(failed(Exit::NotFound, text));
    }
    let groups = inspect(path).map_err(|error| failed(Exit::Failed, error.chain()))?;
    if groups.is_empty() {
        let text = format!("{} holds no data of a task group", path.display());
        return Err(failed(Exit::NotFound, text));
    }
    let documents: Vec<Value> = groups.iter().map(|group| document(path, group)).collect();
    output::print_list(format, &documents, || {
        let tables = groups.iter().map(|group| table(path, group));
        tables.collect::<Vec<_>>().join("\n\n")
    })?;
    match groups.iter().map(GroupReport::damage_count).sum::<usize>() {
        0 => Ok(()),
        count => Err(Failure::new(
            Exit::Failed,
            format!("{count} places in {} are damaged", path.display()),
            "restore the named files from a replica or a backup",
        )),
    }
}

/// A path as seen from the inspected directory.
fn within(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    match path.as_os_str().is_empty() {
        true => ".".to_owned(),
        false => path.display().to_string(),
    }
}

fn document(root: &Path, group: &GroupReport) -> Value {
    let file = |file: &FileReport| {
        let damage = file.damage.iter();
        let damage = damage.map(|damage| json!({"offset": damage.offset, "what": damage.what}));
        json!({
            "path": within(&group.dir, &file.path),
            "kind": file.kind,
            "state": file.state,
            "bytes": file.bytes,
            "facts": file.facts,
            "damage": damage.collect::<Vec<_>>(),
        })
    };
    json!({
        "dir": within(root, &group.dir),
        "cluster": group.identity.map(|identity| format!("{:032x}", identity.cluster)),
        "group": group.identity.map(|identity| identity.group),
        "files": group.files.iter().map(file).collect::<Vec<_>>(),
    })
}

fn table(root: &Path, group: &GroupReport) -> String {
    let whose = group
        .identity
        .map_or("of nobody known".to_owned(), |it| it.to_string());
    let rows = group.files.iter().map(|file| {
        let facts = file
            .facts
            .iter()
            .map(|(what, count)| format!("{what} {count}"));
        vec![
            within(&group.dir, &file.path),
            file.state.to_owned(),
            file.bytes.to_string(),
            facts.collect::<Vec<_>>().join(", "),
        ]
    });
    let mut text = format!("{}: {whose}\n", within(root, &group.dir));
    text.push_str(&columns(&["FILE", "STATE", "BYTES", "HOLDS"], rows));
    for file in &group.files {
        for damage in &file.damage {
            let path = within(root, &file.path);
            text.push_str(&format!(
                "\n{path} at byte {}: {}",
                damage.offset, damage.what
            ));
        }
    }
    text
}
