//! `kill -9` of `rama dev --example bank` at random moments under load: nothing acknowledged is
//! lost, no sum is ever wrong, restart is quick.
//!
//! Relies on the HTTP API alone, so it sees what a user sees. Every transfer carries a unique id;
//! an acknowledged one must be found afterwards, one without an answer may be there or not, once.
//! Exit code 1 names the first broken promise. The seed is printed; figures go to stdout.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bank::{Bank, TRANSFERS, Transfer};
use clap::Parser;
use rama::prelude::*;
use rama_tests::dev_server::DevServer;
use rama_tests::http::{CallError, Http};
use rama_tests::random::Random;
use serde_json::{Value, json};

const USERS: u64 = 64;
const DEPOSIT_CENTS: i64 = 1_000_000;
const LOAD_THREADS: u64 = 4;
/// Users of ballast transfers stand apart, so that checks need not read the ballast.
const BALLAST_FIRST_USER: u64 = 1_000_000;
const BALLAST_BATCH: u64 = 5_000;
/// The shape that `rama dev` is given, so that the directory can be filled without it.
const TASKS: u32 = 4;
const THREADS: u32 = 2;

/// Kills a bank with `kill -9` at random moments and checks its books after every restart.
#[derive(Parser)]
struct Arguments {
    /// How many times to kill.
    #[arg(long, default_value_t = 50)]
    kills: u32,
    /// Fill the data directory to this size before the first kill.
    #[arg(long, default_value_t = 0)]
    state_mb: u64,
    /// Seed of the random moments; printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Directory for the data; a temporary one by default.
    #[arg(long)]
    dir: Option<std::path::PathBuf>,
}

/// A transfer that was sent: what is needed to look it up.
struct Sent {
    id: String,
    from: u64,
}

/// What one load thread saw in one round.
#[derive(Default)]
struct Seen {
    acknowledged: Vec<Sent>,
    unknown: Vec<Sent>,
}

fn transfer(random: &mut Random, id: &str) -> (u64, Value) {
    let from = random.below(USERS);
    let to = random.below(USERS);
    // Some are larger than any balance, so that refused transfers are exercised too.
    let cents = if random.below(20) == 0 {
        1_000_000_000
    } else {
        1 + random.below(500) as i64
    };
    (
        from,
        json!({"id": id, "from": from, "to": to, "cents": cents}),
    )
}

fn load(address: &str, seed: u64, prefix: &str, stop: &AtomicBool) -> Seen {
    let http = Http::new(address);
    let mut random = Random(seed);
    let mut seen = Seen::default();
    let mut number = 0u64;
    while !stop.load(Ordering::Relaxed) {
        let id = format!("{prefix}-{number}");
        number += 1;
        let (from, data) = transfer(&mut random, &id);
        let body = json!({"data": data, "ackLevel": "appendAck"});
        match http.post("/rest/Bank/depot/transfers/append", &body) {
            Ok(_) => seen.acknowledged.push(Sent { id, from }),
            Err(CallError::Unknown(_)) => seen.unknown.push(Sent { id, from }),
            Err(CallError::Refused(status, text)) => {
                // A server that is going down may refuse; nothing is promised for this one.
                if status < 500 {
                    panic!("append of {id} was refused with {status}: {text}");
                }
                seen.unknown.push(Sent { id, from });
            }
        }
    }
    seen
}

fn round(server: DevServer, seed: u64, number: u32, run_for: Duration) -> Seen {
    let stop = AtomicBool::new(false);
    let address = server.address().to_string();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..LOAD_THREADS)
            .map(|thread| {
                let (address, stop) = (&address, &stop);
                let seed = seed ^ (u64::from(number) << 8) ^ thread;
                let prefix = format!("k{number}-t{thread}");
                scope.spawn(move || load(address, seed, &prefix, stop))
            })
            .collect();
        std::thread::park_timeout(run_for);
        server.kill();
        stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for thread in threads {
            let seen = thread.join().expect("a load thread does not panic");
            all.acknowledged.extend(seen.acknowledged);
            all.unknown.extend(seen.unknown);
        }
        all
    })
}

fn select_one(http: &Http, pstate: &str, path: Value) -> Result<Value, String> {
    http.post(&format!("/rest/Bank/pstate/{pstate}/selectOne"), &path)
        .map_err(|error| format!("could not read {pstate} at {path}: {error:?}"))
}

/// Waits until the microbatch has processed everything appended.
fn settle(http: &Http) -> Result<(), String> {
    let started = Instant::now();
    loop {
        let status = http
            .get("/rest/status")
            .map_err(|e| format!("could not read status: {e:?}"))?;
        if progress(&status).is_some_and(|(appended, processed)| appended == processed) {
            return Ok(());
        }
        if started.elapsed() > Duration::from_secs(120) {
            return Err(format!("the topology did not catch up: {status}"));
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Records of all depots, and records whose effects are visible. Lag alone would not do: right
/// after a restart it counts only the partitions that the coordinator has heard of.
fn progress(status: &Value) -> Option<(u64, u64)> {
    let modules = status.get("modules")?.as_array()?;
    let bank = modules.iter().find(|module| module["name"] == "Bank")?;
    let sum = |objects: &str, field: &str| {
        let objects = bank.get(objects)?.as_array()?;
        objects
            .iter()
            .map(|object| object.get(field)?.as_u64())
            .sum::<Option<u64>>()
    };
    Some((sum("depots", "records")?, sum("topologies", "processed")?))
}

/// Sum of all balances, and the balance of each user.
fn funds(http: &Http) -> Result<BTreeMap<u64, i64>, String> {
    (0..USERS)
        .map(|user| {
            let value = select_one(http, "funds", json!([user]))?;
            Ok((user, value.as_i64().unwrap_or(0)))
        })
        .collect()
}

fn check_books(http: &Http, deposited: i64) -> Result<(), String> {
    settle(http)?;
    let funds = funds(http)?;
    let sum: i64 = funds.values().sum();
    if sum != deposited {
        return Err(format!(
            "the sum of funds is {sum}, deposited were {deposited}"
        ));
    }
    if let Some((user, cents)) = funds.iter().find(|(_, cents)| **cents < 0) {
        return Err(format!("user {user} has {cents} cents"));
    }
    Ok(())
}

fn check_acknowledged(http: &Http, seen: &Seen) -> Result<usize, String> {
    for sent in &seen.acknowledged {
        let found = select_one(http, "outgoing", json!([sent.from, sent.id]))?;
        if found.is_null() {
            return Err(format!("acknowledged transfer {} is lost", sent.id));
        }
    }
    let mut unknown_found = 0;
    for sent in &seen.unknown {
        if !select_one(http, "outgoing", json!([sent.from, sent.id]))?.is_null() {
            unknown_found += 1;
        }
    }
    Ok(unknown_found)
}

fn deposit(http: &Http) -> Result<i64, String> {
    for user in 0..USERS {
        let body = json!({"data": {"user": user, "cents": DEPOSIT_CENTS}, "ackLevel": "appendAck"});
        http.post("/rest/Bank/depot/deposits/append", &body)
            .map_err(|error| format!("could not deposit for user {user}: {error:?}"))?;
    }
    Ok(USERS as i64 * DEPOSIT_CENTS)
}

fn directory_mb(dir: &Path) -> u64 {
    let mut bytes = 0;
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(data) if data.is_dir() => folders.push(entry.path()),
                Ok(data) => bytes += data.len(),
                Err(_) => {}
            }
        }
    }
    bytes / 1_000_000
}

/// Appends transfers between ballast users, who have no funds, until the directory is large. Runs
/// in this process on the same directory, before the first server: HTTP would take minutes.
async fn fill(dir: &Path, target_mb: u64) -> Result<(), Box<dyn std::error::Error>> {
    let server = InProcessCluster::builder()
        .tasks(TASKS)
        .threads(THREADS)
        .dir(dir)
        .start()?;
    server.launch(Bank).await?;
    let depot = server.cluster().depot(TRANSFERS);
    let mut next = 0u64;
    while directory_mb(dir) < target_mb {
        let records: Vec<Transfer> = (next..next + BALLAST_BATCH)
            .map(|n| {
                let from = BALLAST_FIRST_USER + n % 100_000;
                Transfer {
                    id: format!("ballast-{n:012}"),
                    from,
                    to: from + 1,
                    cents: 5,
                }
            })
            .collect();
        next += BALLAST_BATCH;
        depot.append_many(&records, AckLevel::AppendAck).await?;
        if next.is_multiple_of(BALLAST_BATCH * 20) {
            server.wait_for_processed("Bank", "banking", next).await?;
            println!("filled: {next} transfers, {} MB on disk", directory_mb(dir));
        }
    }
    server.wait_for_processed("Bank", "banking", next).await?;
    server.shutdown().await?;
    Ok(())
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted
        .get((last as f64 * share).round() as usize)
        .copied()
        .unwrap_or(0.0)
}

fn run(arguments: &Arguments, seed: u64) -> Result<(), String> {
    let scratch = tempfile::tempdir().map_err(|e| format!("could not create a directory: {e}"))?;
    let dir = arguments
        .dir
        .clone()
        .unwrap_or_else(|| scratch.path().join("data"));
    std::fs::create_dir_all(&dir)
        .map_err(|e| format!("could not create {}: {e}", dir.display()))?;
    let mut random = Random(seed);
    if arguments.state_mb > 0 {
        rama::block_on(fill(&dir, arguments.state_mb))
            .map_err(|error| format!("could not fill {}: {error}", dir.display()))?;
    }
    let mut server = DevServer::start("bank", &dir);
    let deposited = deposit(&server.http())?;
    let (mut acknowledged, mut unknown, mut unknown_found) = (0, 0, 0);
    let mut ready = Vec::new();
    for number in 0..arguments.kills {
        let run_for = Duration::from_millis(20 + random.below(600));
        let seen = round(server, seed, number, run_for);
        server = DevServer::start("bank", &dir);
        ready.push(server.ready_after.as_secs_f64());
        let http = server.http();
        check_books(&http, deposited)?;
        unknown_found += check_acknowledged(&http, &seen)?;
        acknowledged += seen.acknowledged.len();
        unknown += seen.unknown.len();
        println!(
            "kill {:>3}: {} acknowledged, {} without an answer, ready again after {:.2} s",
            number + 1,
            seen.acknowledged.len(),
            seen.unknown.len(),
            server.ready_after.as_secs_f64()
        );
    }
    let state = directory_mb(&dir);
    let resident = server.resident_mib();
    if server.interrupt() != Some(0) {
        return Err("Ctrl-C did not end the server with exit code 0".into());
    }
    ready.sort_by(f64::total_cmp);
    println!(
        "{} kills, seed {seed}: {acknowledged} acknowledged appends, 0 lost; {unknown} without an \
         answer, {unknown_found} of them took place; sums exact after every restart.\n\
         state {state} MB, resident {resident} MiB; ready after p50 {:.2} s, p99 {:.2} s, max {:.2} s",
        arguments.kills,
        percentile(&ready, 0.5),
        percentile(&ready, 0.99),
        percentile(&ready, 1.0),
    );
    Ok(())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |since| since.as_nanos() as u64)
    });
    println!("seed {seed}");
    match run(&arguments, seed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error} (seed {seed})");
            ExitCode::from(1)
        }
    }
}
