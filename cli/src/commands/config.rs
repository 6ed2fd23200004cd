//! `rama config`: the settings in force, and a check of a file.
//!
//! Relies on `rama_gateway::config`, the same code that a server reads its settings with.

use std::path::Path;

use rama_gateway::config::{Error, Layers};
use serde_json::{Value, json};

use crate::args::{self, Format};
use crate::client::settings;
use crate::error::{Exit, Failure, Result};
use crate::output::{self, columns};

pub fn run(format: Format, command: &args::Config) -> Result<()> {
    match command {
        args::Config::Show { config } => show(format, config.as_deref()),
        args::Config::Check { file } => {
            Layers::default().file(file).map_err(failure)?;
            let shown = file.display().to_string();
            output::print(format, &json!({"file": shown, "ok": true}), || {
                format!("{shown}: ok")
            })
        }
    }
}

fn show(format: Format, file: Option<&Path>) -> Result<()> {
    let layers = settings(file)?;
    let entries: Vec<Value> = layers
        .entries()
        .map(|(key, value, origin)| {
            json!({"key": key, "value": value, "origin": origin.to_string()})
        })
        .collect();
    output::print_list(format, &entries, || {
        let rows = layers
            .entries()
            .map(|(key, value, origin)| vec![key.into(), value.to_string(), origin.to_string()]);
        columns(&["KEY", "VALUE", "ORIGIN"], rows)
    })
}

/// A bad setting as a failed command.
pub fn failure(error: Error) -> Failure {
    Failure::new(Exit::Usage, error.what, error.hint)
}
