//! `rama-bench`: figures as ratios to the device, measured in the same run.
//!
//! Relies on the workloads, one file each. Reading order: `device` (the yardstick), `report` (the
//! shape of a result), then the workloads. Nothing here asserts a duration.

mod append;
mod cluster;
mod device;
mod environment;
mod loopback;
mod net;
mod open_loop;
mod point_read;
mod proxy;
mod report;
mod select_client;
mod word_count;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::device::DeviceLimit;
use crate::environment::Environment;
use crate::report::{Report, Row};

/// Measures this machine and Rama on it. Every figure is printed with the device limit of the same
/// run; latency is void when other processes took more than ten percent of the CPU.
#[derive(Parser)]
#[command(name = "rama-bench", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    workload: Workload,
    /// Directory on the device to measure; scratch files are removed afterwards.
    #[arg(long, global = true, default_value = "/tmp")]
    dir: PathBuf,
    /// Seconds per measured line.
    #[arg(long, global = true, default_value_t = 5.0)]
    seconds: f64,
    /// Also write the report as JSON.
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  rama-bench device --dir /var/lib/rama
  rama-bench append --seconds 10 --json append.json
  rama-bench word-count --copies 80
  rama-bench net --seconds 2
  rama-bench all --dir /var/lib/rama --json all.json

Exit codes: 0 done, 1 a workload failed, 2 wrong usage.";

#[derive(Subcommand)]
enum Workload {
    /// The raw limits of the device through io_uring: bandwidth, flush latency, 4 KiB reads.
    Device,
    /// Durable appends: one at a time, many in flight, in batches; closed and open loop.
    Append,
    /// The bundled book, many times over, into exactly-once and into streamed counts.
    WordCount {
        /// How many times the book is counted.
        #[arg(long, default_value_t = 20)]
        copies: usize,
    },
    /// Reads of single keys inside a topology.
    PointRead,
    /// Reads of single keys by clients.
    SelectClient,
    /// Ten thousand followers of single keys, and writes at a fixed rate with and without them.
    Proxy,
    /// Messages over loopback: QUIC on tokio and on glommio beside plain TCP.
    Net,
    /// Everything above.
    All,
}

/// The book's copies in a run of everything.
const COPIES: usize = 20;

fn workload(
    arguments: &Arguments,
    limit: &DeviceLimit,
    bar: &indicatif::ProgressBar,
) -> cluster::Outcome<Vec<Row>> {
    let (dir, seconds) = (&arguments.dir, arguments.seconds);
    let mut rows = Vec::new();
    let all = matches!(arguments.workload, Workload::All);
    if all || matches!(arguments.workload, Workload::Append) {
        bar.set_message("append");
        rows.extend(append::measure(dir, seconds, limit)?);
    }
    if all || matches!(arguments.workload, Workload::WordCount { .. }) {
        bar.set_message("word-count");
        let copies = match arguments.workload {
            Workload::WordCount { copies } => copies,
            _ => COPIES,
        };
        rows.extend(word_count::measure(dir, copies, limit)?);
    }
    if all || matches!(arguments.workload, Workload::PointRead) {
        bar.set_message("point-read");
        rows.extend(point_read::measure(dir, limit)?);
    }
    if all || matches!(arguments.workload, Workload::SelectClient) {
        bar.set_message("select-client");
        rows.extend(select_client::measure(dir, seconds, limit)?);
    }
    if all || matches!(arguments.workload, Workload::Proxy) {
        bar.set_message("proxy");
        rows.extend(proxy::measure(dir, seconds)?);
    }
    if all {
        bar.set_message("net");
        rows.extend(net::measure(seconds)?);
    }
    Ok(rows)
}

fn run(arguments: &Arguments) -> cluster::Outcome<Report> {
    let environment = Environment::capture(&arguments.dir);
    let bar = indicatif::ProgressBar::new_spinner();
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    if matches!(arguments.workload, Workload::Net) {
        bar.set_message("net");
        let rows = net::measure(arguments.seconds)?;
        bar.finish_and_clear();
        return Ok(Report { environment, rows });
    }
    bar.set_message("device");
    let (limit, mut rows) = device::measure(&arguments.dir, arguments.seconds).map_err(|e| {
        format!(
            "could not measure the device under {}: {e}",
            arguments.dir.display()
        )
    })?;
    rows.extend(workload(arguments, &limit, &bar)?);
    bar.finish_and_clear();
    Ok(Report { environment, rows })
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let report = match run(&arguments) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(1);
        }
    };
    println!("{}", report.table());
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&report).unwrap_or_default();
        if let Err(error) = std::fs::write(path, text) {
            eprintln!("error: could not write {}: {error}", path.display());
            return ExitCode::from(1);
        }
    }
    ExitCode::SUCCESS
}
