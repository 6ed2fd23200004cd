//! `rama conf-value`: one setting, as commands and programs see it here.
//!
//! Relies on `rama_gateway::config`.

use serde_json::json;

use crate::args::{ConfValue, Format};
use crate::client::settings;
use crate::error::{Exit, Failure, Result};
use crate::output;

pub fn run(format: Format, args: &ConfValue) -> Result<()> {
    let layers = settings(args.config.as_deref())?;
    let (value, origin) = layers
        .entry(&args.name)
        .map_err(|error| Failure::new(Exit::NotFound, error.what, error.hint))?;
    let mut entry = json!({"key": args.name, "value": value});
    if args.origin {
        entry["origin"] = json!(origin.to_string());
    }
    output::print(format, &entry, || {
        let bare = output::cell(&entry["value"]);
        match args.origin {
            true => format!("{bare}  ({origin})"),
            false => bare,
        }
    })
}
