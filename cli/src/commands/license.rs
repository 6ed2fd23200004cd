//! `rama license-info` and its like: what scripts for Rama ask.
//!
//! Relies on nothing, because nothing is needed.

use serde_json::json;

use crate::args::Format;
use crate::error::Result;
use crate::output;

const NOT_NEEDED: &str = "open source: no licence is needed";

pub fn run(format: Format) -> Result<()> {
    let answer = json!({"needed": false, "text": NOT_NEEDED});
    output::print(format, &answer, || NOT_NEEDED.to_owned())
}
