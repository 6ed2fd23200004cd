//! `rama select`: reads a path of a PState.
//!
//! Relies on `POST …/select` and `…/selectOne`.

use serde_json::Value;

use super::{object_path, parse_json};
use crate::args::{Format, Select};
use crate::client::{Client, Effect};
use crate::error::Result;
use crate::output;

pub fn run(client: &Client, format: Format, args: &Select) -> Result<()> {
    let pstate = object_path(&args.pstate, "pstate")?;
    let path = parse_json(&args.path, "path")?;
    if args.one {
        let url = format!("{pstate}/selectOne");
        let (_, value): (_, Value) = client.post(&url, &path, Effect::Reads)?;
        return output::print(format, &value, || output::cell(&value));
    }
    let url = format!("{pstate}/select");
    let (_, results): (_, Vec<Value>) = client.post(&url, &path, Effect::Reads)?;
    if results.is_empty() && format == Format::Table {
        return Ok(());
    }
    output::print_list(format, &results, || output::results(&results))
}
