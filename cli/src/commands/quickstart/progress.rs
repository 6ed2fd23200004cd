//! Progress: a bar on a terminal, a few lines elsewhere, both on stderr.
//!
//! Relies on indicatif. What must stay true: a log file or a CI run never sees control characters.

use std::cell::Cell;
use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressStyle};

/// Lines are written each time another of so many parts is done.
const PARTS: u64 = 4;

/// Work of a known size.
pub struct Progress {
    name: &'static str,
    total: u64,
    bar: Option<ProgressBar>,
    told: Cell<u64>,
}

impl Progress {
    /// Starts with nothing done.
    pub fn new(name: &'static str, total: u64) -> Progress {
        let bar = terminal().then(|| {
            let style = "{prefix:>8} [{bar:40}] {pos}/{len} lines {per_sec}";
            let style = ProgressStyle::with_template(style).expect("a fixed template");
            let bar = ProgressBar::new(total).with_style(style.progress_chars("=> "));
            bar.with_prefix(name)
        });
        Progress {
            name,
            total,
            bar,
            told: Cell::new(0),
        }
    }

    /// So much is done.
    pub fn set(&self, done: u64) {
        if let Some(bar) = &self.bar {
            return bar.set_position(done);
        }
        let part = (done * PARTS).checked_div(self.total).unwrap_or(PARTS);
        if part > self.told.get() {
            self.told.set(part);
            eprintln!("{}: {done} of {} lines", self.name, self.total);
        }
    }

    /// All is done.
    pub fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish();
        }
    }
}

fn terminal() -> bool {
    let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
    stderr().is_terminal() && !dumb && std::env::var_os("CI").is_none()
}
