//! Modules that the engine's own tests run: a bank on microbatches, words on a stream.
//!
//! Relies on the author's API alone, as any module does.

pub(crate) mod workers;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crate::pstate::PState;
use crate::schema::Map;
use crate::{Depot, Module, Partition, Setup, SourceOptions, Task};

pub(crate) const DEPOSITS: Depot<(u64, i64)> = Depot::named("*deposits");
/// From, to, cents.
pub(crate) const TRANSFERS: Depot<(u64, u64, i64)> = Depot::named("*transfers");
pub(crate) const FUNDS: PState<Map<u64, i64>> = PState::named("$$funds");
/// How often an account was touched by a deposit.
pub(crate) const TOUCHES: PState<Map<u64, u64>> = PState::named("$$touches");

/// Transfers across tasks, exactly once; deposits come in through the same topology.
#[derive(Default)]
pub(crate) struct Bank {
    /// One event in so many fails, at random; 0 for never. Attempts then end while events of other
    /// tasks are still on their way.
    pub(crate) fails_one_in: u64,
}

impl Module for Bank {
    fn define(&self, m: &mut Setup) {
        let one_in = self.fails_one_in;
        let may_fail = move |task: &Task| {
            if one_in > 0 && task.random_u64().is_multiple_of(one_in) {
                task.fail("bad luck");
            }
        };
        let options = || {
            SourceOptions::new()
                .start_from_beginning()
                .retries(u32::MAX)
                .backoff(Duration::ZERO, Duration::ZERO)
        };
        m.depot(DEPOSITS, Partition::hash_by(|d: &(u64, i64)| d.0));
        m.depot(TRANSFERS, Partition::hash_by(|t: &(u64, u64, i64)| t.0));
        let mut bank = m.microbatch("bank");
        let (funds, touches) = (bank.pstate(FUNDS), bank.pstate(TOUCHES));
        bank.source_with(DEPOSITS, options())
            .each(move |task, (user, cents)| {
                funds.key(&user).update(task, |f| f.unwrap_or(0) + cents);
                touches.key(&user).update(task, |n| n.unwrap_or(0) + 1);
            });
        bank.source_with(TRANSFERS, options())
            .map(move |task, (from, to, cents)| {
                funds.key(&from).update(task, |f| f.unwrap_or(0) - cents);
                (to, cents)
            })
            .hash_partition(|(to, _)| to)
            .each(move |task, (to, cents)| {
                may_fail(task);
                funds.key(&to).update(task, |f| f.unwrap_or(0) + cents);
            });
    }
}

pub(crate) const LINES: Depot<String> = Depot::named("*lines");
pub(crate) const COUNTS: PState<Map<String, u64>> = PState::named("$$counts");
pub(crate) const EXACT: PState<Map<String, u64>> = PState::named("$$exact");

/// Words counted by a stream and, exactly, by a microbatch. The word `poison` fails.
pub(crate) struct Words;

impl Module for Words {
    fn define(&self, m: &mut Setup) {
        m.depot(LINES, Partition::random());
        let mut stream = m.stream("count");
        let counts = stream.pstate(COUNTS);
        let options = SourceOptions::new().start_from_beginning().retries(1);
        stream
            .source_with(LINES, options)
            .flat_map(|task, line| {
                task.ack_return(&(line.len() as u64));
                words(line)
            })
            .hash_partition(|word| word.clone())
            .each(move |task, word| counts.key(&word).update(task, |n| n.unwrap_or(0) + 1));
        let mut exact = m.microbatch("exact");
        let counts = exact.pstate(EXACT);
        let options = SourceOptions::new().start_from_beginning().retries(1);
        exact
            .source_with(LINES, options)
            .flat_map(|_, line| words(line))
            .hash_partition(|word| word.clone())
            .each(move |task, word| {
                if word == "poison" {
                    task.fail("poisoned");
                }
                counts.key(&word).update(task, |n| n.unwrap_or(0) + 1);
            });
    }
}

fn words(line: String) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// Key and value.
pub(crate) const JOBS: Depot<(u64, u64)> = Depot::named("*jobs");
pub(crate) const TICKS: Depot<()> = Depot::named("*ticks");
pub(crate) const LOG: PState<Map<u64, Vec<u64>>> = PState::named("$$log");
pub(crate) const TICKED: PState<Map<String, u64>> = PState::named("$$ticked").global();
pub(crate) const TICKED_EXACT: PState<Map<String, u64>> = PState::named("$$tickedExact").global();

/// Values that fail once.
pub(crate) const UNLUCKY: u64 = 7;
/// Values that always fail.
pub(crate) const POISON: u64 = 13;

/// Logs values per key on a stream, and counts ticks.
pub(crate) struct Jobs {
    pub(crate) all_after: bool,
}

impl Module for Jobs {
    fn define(&self, m: &mut Setup) {
        m.depot(JOBS, Partition::hash_by(|job: &(u64, u64)| job.0));
        m.tick_depot(TICKS, Duration::from_millis(100));
        let mut jobs = m.stream("jobs");
        let log = jobs.pstate(LOG);
        let options = SourceOptions::new()
            .start_from_beginning()
            .retries(2)
            .backoff(Duration::from_millis(5), Duration::from_millis(5));
        let options = match self.all_after {
            true => options.retry_all_after(),
            false => options,
        };
        let failed = AtomicBool::new(false);
        jobs.source_with(JOBS, options)
            .hash_partition(|(key, _)| key)
            .each(move |task, (key, value)| {
                log.key(&key).update(task, |found| {
                    let mut values = found.unwrap_or_default();
                    values.push(value);
                    values
                });
                if value == POISON || (value == UNLUCKY && !failed.swap(true, Relaxed)) {
                    task.fail(format!("value {value}"));
                }
            });
        let ticked = jobs.pstate(TICKED);
        jobs.source(TICKS)
            .each(move |task, ()| ticked.key("n").update(task, |n| n.unwrap_or(0) + 1));
        let mut exact = m.microbatch("exact");
        let ticked = exact.pstate(TICKED_EXACT);
        exact
            .source(TICKS)
            .each(move |task, ()| ticked.key("n").update(task, |n| n.unwrap_or(0) + 1));
    }
}

/// The first number whose home is a task.
pub(crate) fn key_of_task(task: u32, tasks: u32) -> u64 {
    let home = |key: &u64| rama_wire::hash::task_of(&rama_wire::Key::key_bytes(key), tasks) == task;
    let mut keys = 0..;
    keys.find(home).expect("every task is home to some number")
}
