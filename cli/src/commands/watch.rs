//! `rama watch`: a line for the value at a path, and another after each change.
//!
//! Relies on the server-sent events of `…/watch`, which skip values rather than queue them and begin
//! with the current one. What must stay true: a value is printed when it differs from the one before,
//! also when a server went away and came back in between; stdout holds values only.

use std::time::Duration;

use serde_json::Value;

use super::{object_path, parse_json};
use crate::args::{Format, Watch};
use crate::client::Client;
use crate::error::{Exit, Failure, Result};
use crate::output;

/// Pause before the first attempt to reach a lost server again; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(250);

const PAUSE_MAX: Duration = Duration::from_secs(8);

pub fn run(format: Format, args: &Watch) -> Result<()> {
    let url = format!("{}/watch", object_path(&args.pstate, "pstate")?);
    let path = parse_json(&args.path, "path")?;
    if args.count == Some(0) {
        return Ok(());
    }
    let mut client = Client::new(&args.server)?;
    let mut watched = Watched {
        format,
        left: args.count,
        last: None,
        resuming: false,
    };
    let mut pause = PAUSE_MIN;
    loop {
        let seen = watched.last.is_some();
        let ended = client.follow(&url, &path, |event, data| {
            pause = PAUSE_MIN;
            watched.on_event(&client.place().to_string(), event, data)
        });
        let lost = match ended {
            Ok(()) => return Ok(()),
            // A server that was never there is more likely a mistake than an interruption.
            Err(lost) if lost.exit == Exit::Unreachable && watched.last.is_some() => lost,
            Err(failure) => return Err(failure),
        };
        if args.no_reconnect {
            return Err(lost);
        }
        if !watched.resuming || !seen {
            eprintln!("{}; waiting for it (Ctrl-C ends)", lost.text());
        }
        watched.resuming = true;
        client.pause(pause)?;
        pause = (pause * 2).min(PAUSE_MAX);
        // A server that starts again may be at another address.
        client.find_again()?;
    }
}

/// What was printed so far.
struct Watched {
    format: Format,
    left: Option<u64>,
    last: Option<Value>,
    /// The server was lost and has not sent a value since.
    resuming: bool,
}

impl Watched {
    /// Answers whether more is wanted.
    fn on_event(&mut self, url: &str, event: &str, data: &str) -> Result<bool> {
        if event == "error" {
            let problem = serde_json::from_str(data).map_err(|cause| {
                let text = format!("could not read the server's error event: {cause}");
                Failure::new(Exit::Failed, text, "is the server of this version?")
            })?;
            return Err(Failure::from_problem(problem));
        }
        let value: Value = parse_json(data, "event")?;
        let known = self.last.as_ref() == Some(&value);
        if std::mem::take(&mut self.resuming) {
            let how = if known {
                "the value is the same"
            } else {
                "the value is another"
            };
            eprintln!("resumed at {url}: {how}");
        }
        if known {
            return Ok(true);
        }
        match self.format {
            Format::Table => output::line(&output::cell(&value))?,
            // A stream has no end, so that one document per line is the only JSON there is.
            Format::Json | Format::Jsonl => output::print(Format::Jsonl, &value, String::new)?,
        }
        self.last = Some(value);
        self.left = self.left.map(|left| left - 1);
        Ok(self.left != Some(0))
    }
}
