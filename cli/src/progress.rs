//! Progress: a bar on a terminal, a few lines elsewhere, both on stderr.
//!
//! Relies on indicatif. What must stay true: a log file or a CI run never sees control characters.

use std::io::{IsTerminal, stderr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Lines are written each time another of so many parts is done.
const PARTS: u64 = 4;

const SPIN_EVERY: Duration = Duration::from_millis(100);

/// Work of a known size.
pub struct Progress {
    name: &'static str,
    unit: &'static str,
    total: u64,
    bar: Option<ProgressBar>,
    told: AtomicU64,
}

impl Progress {
    /// Starts with no line done.
    pub fn lines(name: &'static str, total: u64) -> Progress {
        Progress::new(name, "lines", total, "{pos}/{len} lines {per_sec}")
    }

    /// Starts with no byte done.
    pub fn bytes(name: &'static str, total: u64) -> Progress {
        Progress::new(
            name,
            "bytes",
            total,
            "{bytes}/{total_bytes} {bytes_per_sec}",
        )
    }

    fn new(name: &'static str, unit: &'static str, total: u64, shown: &str) -> Progress {
        let bar = terminal().then(|| {
            let style =
                ProgressStyle::with_template(&format!("{{prefix:>8}} [{{bar:40}}] {shown}"))
                    .expect("a fixed template");
            let bar = ProgressBar::new(total).with_style(style.progress_chars("=> "));
            bar.with_prefix(name)
        });
        Progress {
            name,
            unit,
            total,
            bar,
            told: AtomicU64::new(0),
        }
    }

    /// So much is done.
    pub fn set(&self, done: u64) {
        if let Some(bar) = &self.bar {
            return bar.set_position(done);
        }
        let part = (done * PARTS).checked_div(self.total).unwrap_or(PARTS);
        if self.told.fetch_max(part, Ordering::Relaxed) < part {
            eprintln!("{}: {done} of {} {}", self.name, self.total, self.unit);
        }
    }

    /// All is done.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }
}

/// Work whose size nobody knows: its steps are told.
pub struct Steps {
    name: String,
    spinner: Option<ProgressBar>,
    told: String,
}

impl Steps {
    /// Starts without a step.
    pub fn new(name: String) -> Steps {
        let spinner = terminal().then(|| {
            let spinner = ProgressBar::new_spinner().with_message(name.clone());
            spinner.enable_steady_tick(SPIN_EVERY);
            spinner
        });
        Steps {
            name,
            spinner,
            told: String::new(),
        }
    }

    /// It is so far. What was told already is not told again.
    pub fn at(&mut self, step: &str) {
        if self.told == step {
            return;
        }
        step.clone_into(&mut self.told);
        let text = format!("{}: {step}", self.name);
        match &self.spinner {
            Some(spinner) => spinner.set_message(text),
            None => eprintln!("{text}"),
        }
    }
}

impl Drop for Steps {
    // It is over, well or not; what came of it is told by others.
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

fn terminal() -> bool {
    let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
    stderr().is_terminal() && !dumb && std::env::var_os("CI").is_none()
}
