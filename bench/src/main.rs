//! `rama-bench`: figures as ratios to the device, measured in the same run.
//!
//! Relies on the workloads, one file each. Reading order: `device` (the yardstick), `report` (the
//! shape of a result), then the workloads. Nothing here asserts a duration.

mod device;
mod environment;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
  rama-bench device --seconds 10 --json device.json

Exit codes: 0 done, 1 a workload failed, 2 wrong usage.";

#[derive(Subcommand)]
enum Workload {
    /// The raw limits of the device through io_uring: bandwidth, flush latency, 4 KiB reads.
    Device,
}

fn run(arguments: &Arguments) -> Result<Report, Box<dyn std::error::Error>> {
    let environment = Environment::capture(&arguments.dir);
    let (_limit, mut rows): (_, Vec<Row>) = device::measure(&arguments.dir, arguments.seconds)
        .map_err(|e| format!("could not measure the device under {}: {e}", arguments.dir.display()))?;
    match arguments.workload {
        Workload::Device => {}
    }
    rows.shrink_to_fit();
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
