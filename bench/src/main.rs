//! `rama-bench`: figures as ratios to the device, measured in the same run.
//!
//! Relies on the workloads, one file each. Reading order: `device` (the yardstick), `report` (the
//! shape of a result), then the workloads. Nothing here asserts a duration.

mod append;
mod batch_join;
mod cluster;
mod device;
mod environment;
mod fan_out;
mod loopback;
mod net;
mod open_loop;
mod point_read;
mod proxy;
mod query_fan_out;
mod ranks;
mod report;
mod select_client;
mod top_n;
mod windowed;
mod word_count;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, value_parser};

use crate::device::DeviceLimit;
use crate::environment::Environment;
use crate::fan_out::{Layout, Shape, USERS_MIN};
use crate::report::{Report, Row};

/// Measures this machine and Rama on it. Figures are printed beside what the device, or a loop over
/// memory, does in the same run; latency is void when other processes took more than ten percent of
/// the CPU. Counts and contents are compared after each run: a wrong one is an error.
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
  rama-bench fan-out --users 100000
  rama-bench fan-out --users 10000 --layout entries
  rama-bench query-fan-out --seconds 2
  rama-bench net --seconds 2
  rama-bench all --dir /var/lib/rama --json all.json

Exit codes: 0 done, 1 a workload failed, 2 wrong usage.";

#[derive(Subcommand, Clone, Copy)]
enum Workload {
    /// The raw limits of the device through io_uring: bandwidth, flush latency, 4 KiB reads.
    Device,
    /// Durable appends: one at a time, many in flight, in batches; closed and open loop.
    Append,
    /// The bundled book, many times over, into exactly-once and into streamed counts.
    WordCount {
        /// How many times the book is counted.
        #[arg(long, default_value_t = COPIES)]
        copies: usize,
    },
    /// Reads of single keys inside a topology.
    PointRead,
    /// Reads of single keys by clients.
    SelectClient,
    /// Social timelines: posts to the home timelines of 403 followers on the average, exactly once.
    FanOut {
        /// How many users there are; the most followed one has 22 % of them behind it.
        #[arg(long, default_value_t = USERS, value_parser = value_parser!(u32).range(USERS_MIN..))]
        users: u32,
        /// How timelines lie in PStates.
        #[arg(long, value_enum, default_value_t = LAYOUT)]
        layout: Layout,
    },
    /// Points into totals and the hundred greatest of them, and reads of that list meanwhile.
    TopN,
    /// A query that asks all of 1, 8 and 32 tasks and adds up their answers.
    QueryFanOut,
    /// Ten thousand followers of single keys, and writes at a fixed rate with and without them.
    Proxy,
    /// Views of pages into windows of a minute, an hour and a day, and reads of spans of time.
    WindowedAggregation,
    /// Two sides joined and counted in one microbatch, their rows in memory and on disk.
    BatchJoin,
    /// Messages over loopback: QUIC on tokio and on glommio beside plain TCP.
    Net,
    /// Everything above.
    All,
}

/// The book's copies in a run of everything.
const COPIES: usize = 20;
/// Users and their timelines in a run of everything.
const USERS: u32 = 50_000;
const LAYOUT: Layout = Layout::Pages;

/// Everything, in the order of the help, but for the device, which is always measured.
const ALL: [Workload; 11] = [
    Workload::Append,
    Workload::WordCount { copies: COPIES },
    Workload::PointRead,
    Workload::SelectClient,
    Workload::FanOut {
        users: USERS,
        layout: LAYOUT,
    },
    Workload::TopN,
    Workload::QueryFanOut,
    Workload::Proxy,
    Workload::WindowedAggregation,
    Workload::BatchJoin,
    Workload::Net,
];

impl Workload {
    fn name(self) -> &'static str {
        match self {
            Workload::Device => "device",
            Workload::Append => "append",
            Workload::WordCount { .. } => "word-count",
            Workload::PointRead => "point-read",
            Workload::SelectClient => "select-client",
            Workload::FanOut { .. } => "fan-out",
            Workload::TopN => "top-n",
            Workload::QueryFanOut => "query-fan-out",
            Workload::Proxy => "proxy",
            Workload::WindowedAggregation => "windowed-aggregation",
            Workload::BatchJoin => "batch-join",
            Workload::Net => "net",
            Workload::All => "all",
        }
    }

    fn measure(self, arguments: &Arguments, limit: &DeviceLimit) -> cluster::Outcome<Vec<Row>> {
        let (dir, seconds) = (&arguments.dir, arguments.seconds);
        match self {
            Workload::Device | Workload::All => Ok(Vec::new()),
            Workload::Append => append::measure(dir, seconds, limit),
            Workload::WordCount { copies } => word_count::measure(dir, copies, limit),
            Workload::PointRead => point_read::measure(dir, limit),
            Workload::SelectClient => select_client::measure(dir, seconds, limit),
            Workload::FanOut { users, layout } => {
                let mean = Shape::MEAN;
                let shape = Shape {
                    users,
                    mean,
                    layout,
                };
                fan_out::measure(dir, seconds, shape)
            }
            Workload::TopN => top_n::measure(dir, seconds, top_n::Shape::FULL),
            Workload::QueryFanOut => query_fan_out::measure(dir, seconds, query_fan_out::TASKS),
            Workload::Proxy => proxy::measure(dir, seconds, proxy::FOLLOWERS),
            Workload::WindowedAggregation => windowed::measure(dir, seconds, windowed::Shape::FULL),
            Workload::BatchJoin => batch_join::measure(dir, batch_join::Shape::FULL),
            Workload::Net => net::measure(seconds),
        }
    }
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
    let one = [arguments.workload];
    let workloads: &[Workload] = match arguments.workload {
        Workload::All => &ALL,
        _ => &one,
    };
    for workload in workloads {
        bar.set_message(workload.name());
        rows.extend(workload.measure(arguments, &limit)?);
    }
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
