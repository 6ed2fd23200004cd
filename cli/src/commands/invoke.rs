//! `rama invoke`: runs a query topology.
//!
//! Relies on `POST …/query/…/invoke`.

use serde_json::Value;

use super::{object_path, parse_json};
use crate::args::{Format, Invoke};
use crate::client::{Client, Effect};
use crate::error::Result;
use crate::output;

pub fn run(client: &Client, format: Format, args: &Invoke) -> Result<()> {
    let query = object_path(&args.query, "query")?;
    let arguments = parse_json(&args.args, "arguments")?;
    let url = format!("{query}/invoke");
    let (_, result): (_, Value) = client.post(&url, &arguments, Effect::Reads)?;
    output::print(format, &result, || output::cell(&result))
}
