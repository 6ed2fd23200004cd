//! `rama watch`: a line for the value at a path, and another after each change.
//!
//! Relies on the server-sent events of `…/watch`, which skip values rather than queue them.

use serde_json::Value;

use super::{object_path, parse_json};
use crate::args::{Format, Watch};
use crate::client::Client;
use crate::error::{Exit, Failure, Result};
use crate::output;

pub fn run(client: &Client, format: Format, args: &Watch) -> Result<()> {
    let url = format!("{}/watch", object_path(&args.pstate, "pstate")?);
    let path = parse_json(&args.path, "path")?;
    let mut left = args.count;
    if left == Some(0) {
        return Ok(());
    }
    client.follow(&url, &path, |event, data| {
        if event == "error" {
            let problem = serde_json::from_str(data).map_err(|cause| {
                let text = format!("could not read the server's error event: {cause}");
                Failure::new(Exit::Failed, text, "is the server of this version?")
            })?;
            return Err(Failure::from_problem(problem));
        }
        let value: Value = parse_json(data, "event")?;
        match format {
            Format::Table => output::line(&output::cell(&value))?,
            // A stream has no end, so that one document per line is the only JSON there is.
            Format::Json | Format::Jsonl => output::print(Format::Jsonl, &value, String::new)?,
        }
        left = left.map(|left| left - 1);
        Ok(left != Some(0))
    })
}
