//! The engine under seeded faults, by modules that any author could have written.

mod answers;
mod random;
mod routes;
mod smaller;

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::testing::{
    Bank, COUNTS, DEPOSITS, EXACT, FUNDS, JOBS, Jobs, LINES, LOG, POISON, TICKED, TICKED_EXACT,
    TOUCHES, TRANSFERS, UNLUCKY, Words,
};
use crate::{AckLevel, ErrorKind};

const ACCOUNTS: u64 = 6;

/// What a run of the bank did: deposits that were acknowledged and that may have happened.
#[derive(Default)]
struct Books {
    sure: BTreeMap<u64, u64>,
    maybe: BTreeMap<u64, u64>,
    records: u64,
    unknown: u64,
}

async fn run_bank(cluster: &SimulatedCluster, rounds: u64) -> Books {
    let mut books = Books::default();
    let (deposits, transfers) = (cluster.depot(DEPOSITS), cluster.depot(TRANSFERS));
    for round in 0..rounds {
        let user = cluster.random_u64() % ACCOUNTS;
        let deposited = deposits
            .append_with(&(user, 100), AckLevel::AppendAck)
            .await;
        let to = cluster.random_u64() % ACCOUNTS;
        let moved = transfers
            .append_with(&(user, to, 7), AckLevel::AppendAck)
            .await;
        match &deposited {
            Ok(_) => *books.sure.entry(user).or_default() += 1,
            Err(error) if error.kind() == ErrorKind::Unknown => {
                *books.maybe.entry(user).or_default() += 1;
            }
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Storage),
                "{error:#}"
            ),
        }
        for outcome in [deposited.err(), moved.err()] {
            match outcome.map(|error| error.kind()) {
                None => books.records += 1,
                Some(ErrorKind::Unknown) => books.unknown += 1,
                Some(_) => cluster.sleep(Duration::from_millis(5)).await,
            }
        }
        if round % 8 == 0 {
            cluster
                .sleep(Duration::from_millis(cluster.random_u64() % 40))
                .await;
        }
    }
    books
}

/// Spec T-1 and F-9: what a failing seed prints are the faults and what the engine made of them.
#[test]
fn a_run_remembers_its_last_events() {
    let simulation = Simulation::seed(3).faults(Faults {
        power_cuts: 1,
        ..Faults::none()
    });
    let run = simulation.run(Bank { fails_one_in: 2 }, |cluster| async move {
        cluster.calm().await;
        let mut events = cluster.events();
        let transfers = cluster.depot(TRANSFERS);
        for user in 0..8 {
            let append = transfers.append_with(&(user, user + 1, 7), AckLevel::AppendAck);
            append.await.unwrap();
        }
        settle(&cluster, "Bank", "bank").await;
        events.extend(cluster.events());
        events
    });
    let told: Vec<_> = run.value.into_iter().map(|(_, event)| event).collect();
    let tells = |text: &str| told.iter().any(|event| event.contains(text));
    assert!(tells("power cut"), "{told:?}");
    assert!(tells("microbatch committed topology=bank"), "{told:?}");
    assert!(
        tells("event failed module=Bank") && tells("bad luck"),
        "{told:?}"
    );
}

/// Waits until nothing is left to do, then compares every account.
async fn check_bank(cluster: &SimulatedCluster, books: &Books) {
    cluster.calm().await;
    settle(cluster, "Bank", "bank").await;
    let status = cluster.status();
    let topology = &status.modules[0].topologies[0];
    assert!(
        topology.processed >= books.records,
        "an acknowledged append is missing"
    );
    assert!(
        topology.processed <= books.records + books.unknown,
        "an append happened twice"
    );
    let (funds, touches) = (cluster.pstate(FUNDS), cluster.pstate(TOUCHES));
    let (mut total, mut deposits) = (0, 0);
    for user in 0..ACCOUNTS {
        let touched = touches
            .select(TOUCHES.key(&user))
            .await
            .unwrap()
            .unwrap_or(0);
        let sure = books.sure.get(&user).copied().unwrap_or(0);
        let maybe = books.maybe.get(&user).copied().unwrap_or(0);
        assert!(
            touched >= sure,
            "account {user} lost an acknowledged deposit"
        );
        assert!(
            touched <= sure + maybe,
            "account {user} has a deposit too many"
        );
        deposits += touched;
        total += funds.select(FUNDS.key(&user)).await.unwrap().unwrap_or(0);
    }
    assert_eq!(total, 100 * deposits as i64, "money was made or lost");
}

/// Waits until a topology has nothing left to do.
async fn settle(cluster: &SimulatedCluster, module: &str, topology: &str) {
    loop {
        let status = cluster.status();
        let module = status
            .modules
            .iter()
            .find(|found| found.name == module)
            .unwrap();
        let found = module
            .topologies
            .iter()
            .find(|found| found.name == topology)
            .unwrap();
        let depots: u64 = module.depots.iter().map(|depot| depot.records).sum();
        if found.lag == 0 && found.processed >= depots {
            return;
        }
        cluster.sleep(Duration::from_millis(20)).await;
    }
}

fn bank(simulation: Simulation) -> Simulated<()> {
    run_over(Bank::default(), simulation)
}

/// A bank whose attempts fail now and then, with messages that are sometimes very late.
fn unlucky_bank(simulation: Simulation, mut faults: Faults) -> Simulated<()> {
    faults.disk.slow_message = 100_000;
    let bank = Bank { fails_one_in: 12 };
    run_over(bank, simulation.threads(4).faults(faults))
}

fn run_over(bank: Bank, simulation: Simulation) -> Simulated<()> {
    simulation.run(bank, |cluster| async move {
        let books = run_bank(&cluster, 40).await;
        check_bank(&cluster, &books).await;
    })
}

/// `RAMA_SEEDS` asks for another number of runs.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let seeds = std::env::var("RAMA_SEEDS").ok();
    0..seeds.and_then(|seeds| seeds.parse().ok()).unwrap_or(count)
}

/// M-4, P-29, D-15: exactly once over all tasks, and nothing acknowledged is lost.
#[test]
fn transfers_survive_power_cuts() {
    for seed in seeds(1000) {
        bank(Simulation::seed(seed).faults(Faults::power_cuts()));
    }
}

/// M-4, P-29, D-15 on a machine whose disk also fails, runs full and is slow: what is poisoned is
/// started again, and nothing acknowledged is lost.
#[test]
fn transfers_survive_everything_one_machine_survives() {
    let mut restarts = 0;
    for seed in seeds(200) {
        restarts += bank(Simulation::seed(seed).faults(Faults::all())).restarts;
        restarts += bank(Simulation::seed(seed).faults(Faults::disk_errors())).restarts;
    }
    println!("{restarts} restarts after disk errors");
    assert!(
        restarts > 20,
        "only {restarts} restarts: the disks fail too rarely"
    );
}

/// A disk that writes to the wrong place is noticed or did no harm that can be seen; the only
/// silent loss is of the last entries of a log, which one copy cannot know of.
#[test]
fn misdirected_writes_end_in_a_named_error_or_harm_nothing() {
    let (mut refused, mut sound) = (0, 0);
    for seed in seeds(100) {
        let mut faults = Faults::power_cuts();
        faults.disk.misdirected_write = 10_000;
        let simulation = Simulation::seed(seed).faults(faults);
        let ended = simulation.try_run(Bank::default(), |cluster| async move {
            let books = run_bank(&cluster, 40).await;
            check_bank(&cluster, &books).await;
        });
        match ended {
            Ok(_) => sound += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "seed {seed}: {error:#}");
                assert!(format!("{error:#}").contains("corrupt"), "{error:#}");
                refused += 1;
            }
        }
    }
    println!("{refused} runs were refused, {sound} were sound");
    assert!(refused > 0 && sound > 0, "{refused} refused, {sound} sound");
}

/// M-4: what an abandoned attempt left on its way changes nothing.
#[test]
fn transfers_survive_failing_attempts_and_late_messages() {
    for seed in seeds(200) {
        unlucky_bank(Simulation::seed(seed), Faults::none());
        unlucky_bank(Simulation::seed(seed), Faults::power_cuts());
    }
}

/// M-4 over processes: what two machines say to each other is bytes, links break, and each machine
/// loses its power by itself.
#[test]
fn transfers_survive_power_cuts_and_broken_links_between_machines() {
    for seed in seeds(60) {
        let several = Simulation::seed(seed).threads(4);
        bank(several.clone().machines(2).faults(Faults::none()));
        bank(several.clone().machines(2).faults(Faults::all()));
        bank(several.machines(4).faults(Faults::all()));
    }
}

#[test]
fn the_same_seed_gives_the_same_execution() {
    for seed in [1, 2, 3] {
        let several = || Simulation::seed(seed).machines(2).faults(Faults::all());
        assert_eq!(bank(several()), bank(several()));
    }
    for seed in [1, 2, 3] {
        for faults in [Faults::power_cuts(), Faults::all()] {
            let run = || bank(Simulation::seed(seed).faults(faults));
            assert_eq!(run(), run());
        }
    }
    let hash = |seed| bank(Simulation::seed(seed)).trace_hash;
    assert_ne!(hash(1), hash(2));
}

/// 20.3: after an ACK append the stream's writes are visible, on every task they reached.
#[test]
fn an_acknowledged_line_can_be_read_at_once() {
    for seed in seeds(20) {
        Simulation::seed(seed).run(Words, |cluster| async move {
            cluster.calm().await;
            let (lines, counts) = (cluster.depot(LINES), cluster.pstate(COUNTS));
            for round in 1..=10 {
                let line = "to be or not to be".to_owned();
                let appended = lines.append(&line).await.unwrap();
                assert_eq!(appended.returns["count"], 18);
                let found = counts.select(COUNTS.key("be")).await.unwrap();
                assert_eq!(found, Some(2 * round));
            }
            settle(&cluster, "Words", "exact").await;
            let exact = cluster.pstate(EXACT).select(EXACT.key("to")).await.unwrap();
            assert_eq!(exact, Some(20));
        });
    }
}

/// S-11: a stream may count twice after a power cut, and never forgets what it acknowledged.
#[test]
fn acknowledged_lines_survive_power_cuts_of_a_stream() {
    for seed in seeds(50) {
        count_words(Simulation::seed(seed).faults(Faults::power_cuts()));
    }
}

/// S-11, S-4, D-15: the same when a tree has its parts on several machines.
#[test]
fn acknowledged_lines_survive_power_cuts_and_broken_links_between_machines() {
    for seed in seeds(50) {
        let several = Simulation::seed(seed).threads(4);
        count_words(several.clone().machines(2).faults(Faults::all()));
        count_words(several.machines(3).faults(Faults::all()));
    }
}

fn count_words(simulation: Simulation) {
    simulation.run(Words, |cluster| async move {
        let lines = cluster.depot(LINES);
        let (mut sure, mut unknown) = (0, 0);
        for _ in 0..40 {
            match lines
                .append(&"word".to_owned())
                .await
                .map_err(|error| error.kind())
            {
                Ok(_) => sure += 1,
                Err(ErrorKind::Unavailable) => {
                    cluster.sleep(Duration::from_millis(10)).await;
                }
                Err(_) => unknown += 1,
            }
        }
        cluster.calm().await;
        settle(&cluster, "Words", "exact").await;
        settle(&cluster, "Words", "count").await;
        let counted = cluster
            .pstate(COUNTS)
            .select(COUNTS.key("word"))
            .await
            .unwrap();
        assert!(
            counted.unwrap_or(0) >= sure,
            "an acknowledged line is not counted"
        );
        let exact = cluster
            .pstate(EXACT)
            .select(EXACT.key("word"))
            .await
            .unwrap();
        let exact = exact.unwrap_or(0);
        assert!(
            exact >= sure && exact <= sure + unknown,
            "{exact} of {sure}+{unknown}"
        );
    });
}

/// The poison record is given up after its retries, everything else is counted once.
#[test]
fn a_poison_record_becomes_a_dead_letter_and_can_be_dropped() {
    for seed in seeds(20) {
        Simulation::seed(seed)
            .faults(Faults::power_cuts())
            .run(Words, |cluster| async move {
                cluster.calm().await;
                let lines = cluster.depot(LINES);
                for line in ["a b", "c poison", "a"] {
                    let ack = AckLevel::AppendAck;
                    lines.append_with(&line.to_owned(), ack).await.unwrap();
                }
                settle(&cluster, "Words", "exact").await;
                let exact = cluster.pstate(EXACT);
                assert_eq!(exact.select(EXACT.key("a")).await.unwrap(), Some(2));
                assert_eq!(exact.select(EXACT.key("c")).await.unwrap(), None);
                let letters = cluster.dead_letters("Words").await.unwrap();
                assert_eq!(letters.len(), 1, "{letters:?}");
                assert_eq!(
                    (letters[0].topology.as_str(), letters[0].attempts),
                    ("exact", 2)
                );
                assert!(letters[0].error.contains("poisoned"), "{letters:?}");
                let ids = [letters[0].id.clone()];
                assert_eq!(cluster.drop_dead_letters("Words", &ids).await.unwrap(), 1);
                assert_eq!(cluster.drop_dead_letters("Words", &ids).await.unwrap(), 0);
                assert!(cluster.dead_letters("Words").await.unwrap().is_empty());
            });
    }
}

/// P-38 in small: a watch over a link shows the newest value, and a gone reader ends it.
#[test]
fn a_watch_follows_values_on_another_machine() {
    for seed in seeds(20) {
        let several = Simulation::seed(seed).threads(4).machines(2);
        several.run(Words, |cluster| async move {
            cluster.calm().await;
            let lines = cluster.depot(LINES);
            let mut watches = Vec::new();
            for word in ["a", "b", "c", "d"] {
                let mut watch = cluster.pstate(COUNTS).watch(COUNTS.key(word)).unwrap();
                assert_eq!(watch.next().await.unwrap().unwrap(), None);
                watches.push(watch);
            }
            for _ in 0..5 {
                lines.append(&"a b c d".to_owned()).await.unwrap();
            }
            for mut watch in watches {
                while watch.next().await.unwrap().unwrap() != Some(5) {}
            }
            lines.append(&"a b c d".to_owned()).await.unwrap();
            lines.append(&"a b c d".to_owned()).await.unwrap();
        });
    }
}

/// Pausing reaches the coordinator and every task, wherever they are, and so do dead letters.
#[test]
fn operators_reach_every_machine() {
    for seed in seeds(10) {
        let several = Simulation::seed(seed).threads(4).machines(4);
        several.run(Words, |cluster| async move {
            cluster.calm().await;
            let lines = cluster.depot(LINES);
            for topology in ["count", "exact"] {
                cluster.pause("Words", topology).await.unwrap();
            }
            let ack = AckLevel::AppendAck;
            for line in ["a b", "c poison", "a"] {
                lines.append_with(&line.to_owned(), ack).await.unwrap();
            }
            cluster.sleep(Duration::from_secs(2)).await;
            let exact = cluster.pstate(EXACT);
            assert_eq!(exact.select(EXACT.key("a")).await.unwrap(), None);
            for topology in ["count", "exact"] {
                cluster.resume("Words", topology).await.unwrap();
            }
            settle(&cluster, "Words", "exact").await;
            assert_eq!(exact.select(EXACT.key("a")).await.unwrap(), Some(2));
            let letters = cluster.dead_letters("Words").await.unwrap();
            assert_eq!(letters.len(), 1, "{letters:?}");
            let ids = [letters[0].id.clone()];
            assert_eq!(cluster.drop_dead_letters("Words", &ids).await.unwrap(), 1);
        });
    }
}

/// After the first failed flush nothing is acknowledged any more, and operators see it.
#[test]
fn a_failed_flush_ends_all_acknowledgments() {
    for seed in seeds(20) {
        Simulation::seed(seed).run(Bank::default(), |cluster| async move {
            cluster.calm().await;
            let deposits = cluster.depot(DEPOSITS);
            deposits.append(&(1, 1)).await.unwrap();
            assert_eq!(cluster.status().modules[0].state, "running");
            let broken = sim::Faults {
                write_error: 1_000_000,
                flush_error: 1_000_000,
                ..sim::Faults::none()
            };
            cluster.set_disk_faults(broken);
            let error = deposits.append(&(1, 1)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unknown, "{error:#}");
            assert_eq!(cluster.status().modules[0].state, "failed");
            cluster.set_disk_faults(sim::Faults::none());
            let error = deposits.append(&(1, 1)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Storage, "{error:#}");
            assert!(
                format!("{error:#}").contains("restart the cluster"),
                "{error:#}"
            );
        });
    }
}

fn jobs<F: Future<Output = ()>>(seed: u64, all_after: bool, test: impl Fn(SimulatedCluster) -> F) {
    let test = &test;
    Simulation::seed(seed).run(Jobs { all_after }, |cluster| async move {
        cluster.calm().await;
        test(cluster).await;
    });
}

async fn log_of(cluster: &SimulatedCluster, key: u64) -> Vec<u64> {
    let found = cluster.pstate(LOG).select(LOG.key(&key)).await.unwrap();
    found.unwrap_or_default()
}

/// D-20, S-11, S-12, S-23: the first attempt decides about the answer; the retry does the work, once.
#[test]
fn a_failed_first_attempt_fails_the_append_and_the_retry_succeeds() {
    for seed in seeds(20) {
        jobs(seed, false, |cluster| async move {
            let failed = cluster.depot(JOBS).append(&(1, UNLUCKY)).await.unwrap_err();
            assert_eq!(failed.kind(), ErrorKind::Failed);
            assert!(failed.to_string().contains("value 7"), "{failed}");
            settle(&cluster, "Jobs", "jobs").await;
            assert_eq!(log_of(&cluster, 1).await, [UNLUCKY]);
        });
    }
}

/// S-12, S-23, 20.6: all-after retries everything behind the failed record, which restores the order.
#[test]
fn all_after_restores_the_order_of_a_partition() {
    for seed in seeds(20) {
        jobs(seed, true, |cluster| async move {
            let records = [(1, 5), (1, UNLUCKY), (1, 8), (1, 9)];
            let ack = AckLevel::AppendAck;
            for record in records {
                cluster.depot(JOBS).append_with(&record, ack).await.unwrap();
            }
            settle(&cluster, "Jobs", "jobs").await;
            let log = log_of(&cluster, 1).await;
            assert!(log.ends_with(&[UNLUCKY, 8, 9]), "{log:?}");
        });
    }
}

/// S-9 and the policy: nothing of the poison stays, its neighbors are done, the letter waits.
#[test]
fn a_poison_record_of_a_stream_becomes_a_dead_letter_and_can_be_replayed() {
    for seed in seeds(20) {
        jobs(seed, false, |cluster| async move {
            let records = [(1, 1), (1, POISON), (1, 2)];
            let ack = AckLevel::AppendAck;
            cluster
                .depot(JOBS)
                .append_many(&records, ack)
                .await
                .unwrap();
            settle(&cluster, "Jobs", "jobs").await;
            let log = log_of(&cluster, 1).await;
            assert!(
                log.contains(&1) && log.contains(&2) && log.len() == 2,
                "{log:?}"
            );
            let letters = cluster.dead_letters("Jobs").await.unwrap();
            assert_eq!(letters.len(), 1, "{letters:?}");
            assert_eq!((letters[0].offset, letters[0].attempts), (1, 3));
            let ids = [letters[0].id.clone()];
            assert_eq!(cluster.replay_dead_letters("Jobs", &ids).await.unwrap(), 1);
            settle(&cluster, "Jobs", "jobs").await;
            let letters = cluster.dead_letters("Jobs").await.unwrap();
            assert_eq!((letters.len(), letters[0].offset), (1, 3));
        });
    }
}

/// D-8, D-9, D-10, D-11: ticks come at their interval, on task 0, to streams and microbatches.
#[test]
fn ticks_come_at_their_interval() {
    for seed in seeds(10) {
        jobs(seed, false, |cluster| async move {
            cluster.sleep(Duration::from_secs(5)).await;
            let (stream, exact) = (cluster.pstate(TICKED), cluster.pstate(TICKED_EXACT));
            let ticked = stream.select(TICKED.key("n")).await.unwrap().unwrap_or(0);
            assert!((45..=51).contains(&ticked), "{ticked} stream ticks");
            let ticked = exact
                .select(TICKED_EXACT.key("n"))
                .await
                .unwrap()
                .unwrap_or(0);
            assert!((40..=51).contains(&ticked), "{ticked} microbatch ticks");
        });
    }
}

/// M-15 for streams: a paused stream answers ACK appends at once and does the work later.
#[test]
fn a_paused_stream_says_so_and_goes_on_later() {
    for seed in seeds(10) {
        jobs(seed, false, |cluster| async move {
            cluster.pause("Jobs", "jobs").await.unwrap();
            let failed = cluster.depot(JOBS).append(&(4, 1)).await.unwrap_err();
            assert_eq!(failed.kind(), ErrorKind::Failed);
            assert!(failed.to_string().contains("paused"), "{failed}");
            assert_eq!(log_of(&cluster, 4).await, [0_u64; 0]);
            cluster.resume("Jobs", "jobs").await.unwrap();
            settle(&cluster, "Jobs", "jobs").await;
            assert_eq!(log_of(&cluster, 4).await, [1]);
        });
    }
}

/// Every mutant below the engine is seen by the bank.
#[test]
fn every_mutant_turns_the_bank_red() {
    use crate::mutants::Mutant;
    for mutant in Mutant::list() {
        let survives = |seed| {
            let simulation = || Simulation::seed(seed).mutant(Some(mutant));
            let run = || {
                bank(simulation().faults(Faults::power_cuts()));
                bank(simulation().faults(Faults::all()));
                unlucky_bank(simulation(), Faults::none());
            };
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_ok()
        };
        assert!(!(0..200).all(survives), "{mutant:?} survives");
    }
}
