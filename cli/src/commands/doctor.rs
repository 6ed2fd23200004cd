//! `rama doctor`: what this machine offers, with a remedy for each failure.
//!
//! Relies on `rama_io::probe`, the same checks that a starting cluster insists on.

use std::path::absolute;

use rama_io::probe::{self, Verdict};
use serde_json::{Value, json};

use crate::args::{Doctor, Format};
use crate::error::{Exit, Failure, Result};
use crate::output::{self, columns};

pub fn run(format: Format, args: &Doctor) -> Result<()> {
    // A relative path has no ancestors above its first part.
    let dir = absolute(&args.dir).unwrap_or_else(|_| args.dir.clone());
    let checks = probe::checks(&dir);
    let entries: Vec<Value> = checks
        .iter()
        .map(|check| {
            json!({
                "check": check.name,
                "verdict": word(check.verdict),
                "found": check.found,
                "remedy": check.remedy,
            })
        })
        .collect();
    output::print_list(format, &entries, || {
        let rows = checks.iter().map(|check| {
            let mark = match check.verdict {
                Verdict::Ok => "✓",
                Verdict::Warn => "!",
                Verdict::Fail => "✗",
            };
            vec![mark.to_owned(), check.name.to_owned(), check.found.clone()]
        });
        let mut text = columns(&["", "CHECK", "FOUND"], rows);
        for check in checks.iter().filter(|check| !check.remedy.is_empty()) {
            text.push_str(&format!("\n{}: {}", check.name, check.remedy));
        }
        text
    })?;
    match checks.iter().find(|check| check.verdict == Verdict::Fail) {
        Some(failed) => {
            let text = format!(
                "{} is not as a cluster needs it: {}",
                failed.name, failed.found
            );
            Err(Failure::new(Exit::Failed, text, failed.remedy.clone()))
        }
        None => Ok(()),
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Warn => "warn",
        Verdict::Fail => "fail",
    }
}
