//! What appends went through in each outage: counts, latencies, and the time until all was well again.
//!
//! Relies on latencies being counted from the moment an append was due, so that one that had to wait
//! for its turn waited. What must stay true: nothing here decides whether a test passes.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use rama_tests::history::Outcome;

/// Three significant digits are more than these figures are worth.
const DIGITS: u8 = 3;
/// Ten minutes: longer than any append waits.
const LATENCY_US_MAX: u64 = 600_000_000;

/// Appends that were due in one part of a run.
struct Part {
    ok: u64,
    failed: u64,
    unknown: u64,
    latency_us: Histogram<u64>,
}

impl Part {
    fn new() -> Part {
        Part {
            ok: 0,
            failed: 0,
            unknown: 0,
            latency_us: Histogram::new_with_max(LATENCY_US_MAX, DIGITS).expect("bounds are right"),
        }
    }

    fn text(&self) -> String {
        let quantile = |q| self.latency_us.value_at_quantile(q) as f64 / 1e3;
        let (p50, p99) = (quantile(0.5), quantile(0.99));
        let Part {
            ok,
            failed,
            unknown,
            ..
        } = self;
        format!("{ok} | {failed} | {unknown} | {p50:.1} | {p99:.1}")
    }
}

/// One line of the table.
struct Row {
    name: String,
    recovered: Option<Duration>,
    during: Part,
    after: Part,
}

/// When an append was due.
#[derive(Clone, Copy)]
pub struct Due {
    row: usize,
    after: bool,
}

/// The table. The first line is what it is like before anything happens.
pub struct Figures(Mutex<Vec<Row>>);

impl Figures {
    /// Nothing has happened.
    pub fn new() -> Figures {
        let figures = Figures(Mutex::new(Vec::new()));
        figures.begins("nothing");
        figures
    }

    fn rows(&self) -> MutexGuard<'_, Vec<Row>> {
        // A count that is missing fails no test.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happens.
    pub fn begins(&self, name: &str) {
        self.rows().push(Row {
            name: name.to_owned(),
            recovered: None,
            during: Part::new(),
            after: Part::new(),
        });
    }

    /// All is well again, so long after what caused it was gone.
    pub fn is_over(&self, recovered: Duration) {
        if let Some(row) = self.rows().last_mut() {
            row.recovered = Some(recovered);
        }
    }

    /// The present.
    pub fn due(&self) -> Due {
        let rows = self.rows();
        Due {
            row: rows.len() - 1,
            after: rows.last().is_some_and(|row| row.recovered.is_some()),
        }
    }

    /// What became of an append, so long after it was due.
    pub fn append<A>(&self, due: Due, outcome: &Outcome<A>, took: Duration) {
        let mut rows = self.rows();
        let row = &mut rows[due.row];
        let part = if due.after {
            &mut row.after
        } else {
            &mut row.during
        };
        match outcome {
            Outcome::Ok(_) => {
                part.ok += 1;
                part.latency_us.saturating_record(took.as_micros() as u64);
            }
            Outcome::Failed => part.failed += 1,
            Outcome::Unknown => part.unknown += 1,
        }
    }

    /// For people. Latencies are those of acknowledged appends.
    pub fn table(&self) -> String {
        let mut text = String::from(
            "| what happens | well again after s | ok | failed | unknown | p50 ms | p99 ms \
             | then ok | failed | unknown | p50 ms | p99 ms |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        );
        for row in self.rows().iter() {
            let recovered = row.recovered.unwrap_or_default().as_secs_f64();
            let (during, after) = (row.during.text(), row.after.text());
            writeln!(
                text,
                "| {} | {recovered:.1} | {during} | {after} |",
                row.name
            )
            .expect("to a string");
        }
        text
    }
}
