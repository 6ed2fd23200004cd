//! Outages of a cluster of real processes under load, and the books of a bank while processes die.
//!
//! Relies on the built programs `rama`, `word_count` and `bank`, with the feature `etcd`. Reading order:
//! `apart` and `network` (where it runs), `world` (the cluster), `typed` and `asker` (clients), `load` and
//! `books` (what they do, and what must be true of it), `outages`, `transfers` and `nemesis`. What must stay true: no
//! duration decides anything; seeds are printed; long runs are the same code with larger numbers
//! (`RAMA_OUTAGE_SECONDS`, `RAMA_KILLS_SECONDS`, `RAMA_SEED`).

mod apart;
mod asker;
mod books;
mod figures;
mod load;
mod nemesis;
mod network;
mod outages;
mod service;
mod transfers;
mod typed;
mod world;

use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use bank::Bank;
use rama_tests::history::Outcome;
use rama_tests::random::Random;
use word_count::WordCount;

use apart::apart;
use asker::Refusals;
use figures::Figures;
use load::{Client, Load};
use outages::Outage;
use transfers::Clients;
use typed::Typed;
use world::{BEYOND_LEASE, PATIENCE, World};

const MODULE: &str = "WordCount";

/// How long all is well before the first outage and after each.
const CALM: Duration = Duration::from_secs(2);

/// How long processes die, with each number of workers.
const KILLING: Duration = Duration::from_secs(16);
/// Parts of it, with a look at the books after each.
const ROUNDS: u64 = 2;

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|error| panic!("{name} is {text:?}: {error}")),
    )
}

#[test]
fn no_outage_loses_what_was_acknowledged_and_each_ends_by_itself() {
    apart(
        "no_outage_loses_what_was_acknowledged_and_each_ends_by_itself",
        |ground| {
            let mut world = World::start(ground);
            world.launch("word_count", MODULE, 2);
            let typed = Typed::open(&world, &WordCount);
            let (client, figures) = (client(&world, &typed), Arc::new(Figures::new()));
            let load = load(&world, &client, &figures);
            let kept = kept("outage");
            is_well(&world, &client, &load);
            the_command_line_works(&world, &load);
            figures.is_over(Duration::ZERO);
            std::thread::sleep(CALM);
            let held = setting("RAMA_OUTAGE_SECONDS").map(Duration::from_secs);
            for outage in outages::all(held.unwrap_or(BEYOND_LEASE)) {
                suffer(&mut world, outage, &client, &load, &figures);
            }
            let histories = world.runtime().block_on(load.stop());
            println!("\n{}", figures.table());
            books::check(&world, &client.module, &histories, &kept);
            drop((client, typed));
            world.destroy(MODULE);
        },
    );
}

#[test]
fn what_clients_see_over_two_and_three_workers_is_right_while_processes_die() {
    apart(
        "what_clients_see_over_two_and_three_workers_is_right_while_processes_die",
        |ground| {
            let seed = setting("RAMA_SEED").unwrap_or_else(|| UNIX_EPOCH.elapsed().map_or(1, now));
            println!("RAMA_SEED={seed}");
            let mut world = World::start(ground);
            for workers in [2, 3] {
                world.launch("bank", "Bank", workers);
                world.launch("word_count", MODULE, workers);
                println!("over {workers} workers:");
                are_right(&mut world, seed ^ (u64::from(workers) << 48));
                world.destroy("Bank");
                world.destroy(MODULE);
            }
        },
    );
}

/// A number that is another one each time.
fn now(since: Duration) -> u64 {
    since.as_millis() as u64
}

/// Clients of both modules while processes die, in rounds; the books of the bank are right after each.
fn are_right(world: &mut World, seed: u64) {
    let each = setting("RAMA_KILLS_SECONDS").map_or(KILLING, Duration::from_secs);
    let bank = Typed::open(world, &Bank);
    let clients = Clients::new(world, bank.module());
    let typed = Typed::open(world, &WordCount);
    let (client, figures) = (client(world, &typed), Arc::new(Figures::new()));
    let load = load(world, &client, &figures);
    for round in 0..ROUNDS {
        let runtime = world.runtime().handle().clone();
        clients.transfer(&runtime, (round, seed), || {
            let random = Random(seed ^ round);
            nemesis::kills(world, &["Bank", MODULE], random, each / ROUNDS as u32);
        });
        clients.check(world, &kept("kills"));
    }
    let histories = world.runtime().block_on(load.stop());
    books::check(world, &client.module, &histories, &kept("kills"));
    print!("{}", client.refusals.take());
}

fn client(world: &World, typed: &Typed) -> Client {
    Client {
        module: typed.module(),
        asker: world.client(),
        supervisors: world.supervisor_addresses(),
        refusals: Refusals::default(),
    }
}

fn load(world: &World, client: &Client, figures: &Arc<Figures>) -> Load {
    let _inside = world.runtime().enter();
    Load::start(client, figures)
}

/// Where histories are kept for who looks at them later.
fn kept(name: &str) -> std::path::PathBuf {
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&dir).expect("a directory");
    dir
}

/// What the README shows, with certificates, from another machine.
fn the_command_line_works(world: &World, load: &Load) {
    let (appends, line) = (&load.histories.appends, load.histories.line("typed"));
    let called = appends.call(load::HTTP, line.clone());
    world.rama_ok(&["append", "WordCount/lines", &format!("\"{line}\"")]);
    appends.returned(called, Outcome::Ok(None));
    let counted = world.rama_ok(&["select", "WordCount/counts", "[\"typed\"]", "--one"]);
    let counted: u64 = counted.trim().parse().expect("a count");
    assert!(counted > 0, "an acknowledged append is read back");
}

/// One outage, until all is well again.
fn suffer(world: &mut World, outage: Outage, client: &Client, load: &Load, figures: &Figures) {
    if let Err(reason) = outage.is_possible(world) {
        println!("{}: not here: {reason}", outage.name());
        return;
    }
    figures.begins(&outage.name());
    let lifted = outage.happens(world, MODULE);
    world.until("what was hit is another one", || (lifted.renewed)(world));
    is_well(world, client, load);
    let recovered = lifted.at.elapsed();
    figures.is_over(recovered);
    println!(
        "{}: well again after {:.1} s",
        outage.name(),
        recovered.as_secs_f64()
    );
    print!("{}", client.refusals.take());
    std::thread::sleep(CALM);
}

/// Waits until the module runs and serves everyone.
fn is_well(world: &World, client: &Client, load: &Load) {
    let end = Instant::now() + PATIENCE;
    loop {
        world.until("the module runs", || world.is_well(MODULE));
        if world.runtime().block_on(load.is_served(client)) {
            return;
        }
        assert!(Instant::now() < end, "the module runs and does not serve");
        std::thread::sleep(Duration::from_millis(100));
    }
}
