//! `net`: messages between two threads over loopback, through `rama-net` and through plain TCP.
//!
//! Relies on `ends` for the servers and clients. All ways are measured in turns, three times, and
//! the middle run is reported with its ratio to TCP in the same round. QUIC encrypts and TCP does
//! not. Throughput lines count the CPU of both ends; latency lines are open loop from the intended
//! moment, with a client that never sleeps, so their CPU means nothing.

mod ends;
#[cfg(test)]
mod tests;

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::cluster;
use crate::environment::CpuMeter;
use crate::report::Row;

use ends::{Ends, Outcome};

const ROUNDS: usize = 3;

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Plain TCP on tokio, written in portions of 64 KiB.
    Tcp,
    /// QUIC, tokio at both ends.
    Tokio,
    /// QUIC, a tokio client and a glommio server.
    Mixed,
    /// QUIC, glommio at both ends.
    Glommio,
}

impl Way {
    const ALL: [Way; 4] = [Way::Tcp, Way::Tokio, Way::Mixed, Way::Glommio];

    fn name(self) -> &'static str {
        match self {
            Way::Tcp => "plain TCP",
            Way::Tokio => "QUIC, tokio",
            Way::Mixed => "QUIC, tokio to glommio",
            Way::Glommio => "QUIC, glommio",
        }
    }
}

/// A size of messages and the rates they are sent at.
struct Load {
    bytes: usize,
    name: &'static str,
    /// Round trips a second in the latency lines.
    per_second: f64,
}

const LOADS: [Load; 2] = [
    Load {
        bytes: 100,
        name: "100 B",
        per_second: 5_000.0,
    },
    Load {
        bytes: 64 << 10,
        name: "64 KiB",
        per_second: 500.0,
    },
];

/// Measures every way with every load; `seconds` a line and round.
pub fn measure(seconds: f64) -> cluster::Outcome<Vec<Row>> {
    let measured = all(Duration::from_secs_f64(seconds));
    measured.map_err(|error| -> Box<dyn std::error::Error> { error })
}

fn all(duration: Duration) -> Outcome<Vec<Row>> {
    let ends = Way::ALL.into_iter().map(Ends::start);
    let ends = ends.collect::<Result<Vec<Ends>, _>>()?;
    let mut rows = Vec::new();
    for load in &LOADS {
        let mut rounds: [Vec<Row>; Way::ALL.len()] = Default::default();
        for _ in 0..ROUNDS {
            for (ends, rows) in ends.iter().zip(&mut rounds) {
                rows.push(throughput(ends, load, duration)?);
            }
        }
        rows.extend(middles(rounds, |row| row.per_second));
        let mut rounds: [Vec<Row>; Way::ALL.len()] = Default::default();
        for _ in 0..ROUNDS {
            for (ends, rows) in ends.iter().zip(&mut rounds) {
                rows.push(latency(ends, load, duration)?);
            }
        }
        rows.extend(middles(rounds, |row| {
            row.latency.map_or(0.0, |latency| latency.p50_us)
        }));
    }
    for ends in ends {
        ends.stop()?;
    }
    Ok(rows)
}

fn throughput(ends: &Ends, load: &Load, duration: Duration) -> Outcome<Row> {
    let meter = CpuMeter::start();
    let count = ends.flood(load.bytes, duration)?;
    let cpu = meter.stop();
    let bytes = count * load.bytes as u64;
    let name = format!(
        "net: {}, {}, one way ({:.2} CPU ns/B)",
        load.name,
        ends.way().name(),
        cpu.own_seconds * 1e9 / bytes.max(1) as f64
    );
    Ok(Row::new(name, count, cpu).payload(bytes))
}

fn latency(ends: &Ends, load: &Load, duration: Duration) -> Outcome<Row> {
    let meter = CpuMeter::start();
    let found: Histogram<u64> = ends.ping(load.bytes, load.per_second, duration)?;
    let cpu = meter.stop();
    let name = format!(
        "net: {}, {}, there and back, open loop at {:.0}/s",
        load.name,
        ends.way().name(),
        load.per_second
    );
    Ok(Row::new(name, found.len(), cpu).latency(&found))
}

/// The middle row of each way by `figure`, with its ratio to that of TCP, which is the first.
fn middles<const N: usize>(rounds: [Vec<Row>; N], figure: fn(&Row) -> f64) -> Vec<Row> {
    let middle = |mut rows: Vec<Row>| {
        rows.sort_by(|a, b| figure(a).total_cmp(&figure(b)));
        rows.swap_remove(rows.len() / 2)
    };
    let mut rows = rounds.map(middle).into_iter();
    let mut all: Vec<Row> = rows.next().into_iter().collect();
    let of_tcp = all.first().map_or(1.0, figure);
    all.extend(rows.map(|row| {
        let ratio = figure(&row) / of_tcp.max(1e-9);
        row.ratio(ratio, "plain TCP")
    }));
    all
}
