//! One shape for every result: a table for people, JSON for machines, percentiles from
//! hdrhistogram.
//!
//! Relies on `environment`. A result carries its ratio to a limit of the same run where it has one:
//! figures of different runs are not comparable on shared machines.

use comfy_table::{ContentArrangement, Table};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::environment::{CpuUse, Environment};

/// Latency percentiles in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Latency {
    /// Half of the operations took at most this.
    pub p50_us: f64,
    /// Ninety percent.
    pub p90_us: f64,
    /// Ninety-nine percent.
    pub p99_us: f64,
    /// One in a thousand took longer.
    pub p999_us: f64,
    /// The slowest.
    pub max_us: f64,
}

impl Latency {
    /// Reads a histogram of nanoseconds.
    pub fn of(histogram: &Histogram<u64>) -> Latency {
        let us = |q: f64| histogram.value_at_quantile(q) as f64 / 1000.0;
        Latency {
            p50_us: us(0.5),
            p90_us: us(0.9),
            p99_us: us(0.99),
            p999_us: us(0.999),
            max_us: histogram.max() as f64 / 1000.0,
        }
    }
}

/// A histogram of nanoseconds from 100 ns to 100 s at three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(100, 100_000_000_000, 3).expect("constant bounds are valid")
}

/// One measured line.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What ran, with its parameters.
    pub name: String,
    /// Operations done.
    pub operations: u64,
    /// Operations per second.
    pub per_second: f64,
    /// Megabytes (10^6) of payload per second, where that means something.
    pub mb_per_second: Option<f64>,
    /// Latency from the intended start, where measured.
    pub latency: Option<Latency>,
    /// CPU of the whole process per operation, in microseconds.
    pub cpu_us_per_operation: f64,
    /// Share of the machine others took.
    pub foreign_share: f64,
    /// Bytes written to the device per byte of payload.
    pub bytes_per_payload_byte: Option<f64>,
    /// This row against the device limit of the same run, and what that limit is.
    pub ratio: Option<(f64, String)>,
}

impl Row {
    /// A row from what every workload knows; the rest is filled in by builder calls.
    pub fn new(name: impl Into<String>, operations: u64, cpu: CpuUse) -> Row {
        Row {
            name: name.into(),
            operations,
            per_second: operations as f64 / cpu.seconds.max(1e-9),
            mb_per_second: None,
            latency: None,
            cpu_us_per_operation: cpu.own_seconds * 1e6 / operations.max(1) as f64,
            foreign_share: cpu.foreign_share,
            bytes_per_payload_byte: None,
            ratio: None,
        }
    }

    /// Adds percentiles.
    pub fn latency(mut self, histogram: &Histogram<u64>) -> Row {
        self.latency = Some(Latency::of(histogram));
        self
    }

    /// Adds payload bandwidth from the bytes moved in all.
    pub fn payload(mut self, bytes: u64) -> Row {
        self.mb_per_second =
            Some(bytes as f64 / 1e6 * self.per_second / self.operations.max(1) as f64);
        self
    }

    /// Adds write amplification.
    pub fn written(mut self, device_bytes: u64, payload_bytes: u64) -> Row {
        self.bytes_per_payload_byte = Some(device_bytes as f64 / payload_bytes.max(1) as f64);
        self
    }

    /// Adds the ratio to a limit of the same run.
    pub fn ratio(mut self, ratio: f64, to: impl Into<String>) -> Row {
        self.ratio = Some((ratio, to.into()));
        self
    }
}

/// A run: where it ran and what came out.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The machine.
    pub environment: Environment,
    /// The lines, in order of measurement.
    pub rows: Vec<Row>,
}

impl Report {
    /// The table for a terminal.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header([
            "workload",
            "per second",
            "MB/s",
            "p50 µs",
            "p99 µs",
            "p99.9 µs",
            "CPU µs/op",
            "B/B",
            "in the same run",
            "foreign CPU",
        ]);
        for row in &self.rows {
            let latency = |pick: fn(&Latency) -> f64| {
                row.latency
                    .as_ref()
                    .map_or("–".into(), |l| format!("{:.1}", pick(l)))
            };
            let foreign = row.foreign_share * 100.0;
            let void = if foreign > 10.0 {
                " (latency void)"
            } else {
                ""
            };
            table.add_row([
                row.name.clone(),
                grouped(row.per_second),
                row.mb_per_second.map_or("–".into(), |v| format!("{v:.1}")),
                latency(|l| l.p50_us),
                latency(|l| l.p99_us),
                latency(|l| l.p999_us),
                format!("{:.2}", row.cpu_us_per_operation),
                row.bytes_per_payload_byte
                    .map_or("–".into(), |v| format!("{v:.3}")),
                row.ratio
                    .as_ref()
                    .map_or("–".into(), |(v, to)| format!("{v:.2}× {to}")),
                format!("{foreign:.0} %{void}"),
            ]);
        }
        let e = &self.environment;
        format!(
            "{}, {} cores, {} MiB, Linux {}, {}, load {:.2}, {} build\n{table}",
            e.cpu, e.cores, e.memory_mib, e.kernel, e.file_system, e.load_average, e.profile
        )
    }
}

/// A number with thousands separated by spaces.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}
