//! Who to follow: accounts that those whom one follows follow, the most often followed first.
//!
//! Relies on a stream for who follows whom, and on a microbatch that takes a few accounts of each task
//! with every tick, in the order of their ids and then from the beginning again, and writes new
//! suggestions for them. What must stay true: whom an account followed at its last turn is not suggested to
//! it, nor is itself; a tick is work for so many accounts of a task and no more; every account has its
//! turn again and again.

use std::ops::Bound;
use std::time::Duration;

use rama::prelude::*;

/// One account follows another.
#[rama::record]
pub struct Follow {
    /// Who follows.
    pub from: u64,
    /// Whom.
    pub to: u64,
}

/// Follows, partitioned by who follows.
pub const FOLLOWS: Depot<Follow> = Depot::named("*follows");
/// Takes the next accounts.
pub const TICKS: Depot<()> = Depot::named("*ticks");
/// Account to those whom it follows.
pub const FOLLOWED: PState<Map<u64, Set<u64>>> = PState::named("$$followed");
/// Account to those it might follow, best first.
pub const SUGGESTED: PState<Map<u64, Vec<u64>>> = PState::named("$$suggested");
/// The account of each task that was the last to have its turn.
pub const LAST: PState<u64> = PState::named("$$last").private();

/// The module.
#[derive(Clone, Copy)]
pub struct WhoToFollow {
    /// How many accounts are suggested to one.
    pub suggestions: usize,
    /// How many accounts of each task have their turn with a tick.
    pub accounts_per_tick: u64,
    /// For tests: they append the ticks.
    pub ticks_by_hand: bool,
}

impl Module for WhoToFollow {
    fn define(&self, m: &mut Setup) {
        let (suggestions, accounts_per_tick) = (self.suggestions, self.accounts_per_tick);
        m.depot_by(FOLLOWS, |follow| &follow.from);
        match self.ticks_by_hand {
            true => drop(m.depot(TICKS, Partition::random()).global()),
            false => m.tick_depot(TICKS, Duration::from_secs(30)),
        }
        let mut s = m.stream("follows");
        let followed = s.pstate(FOLLOWED);
        s.source(FOLLOWS)
            .each(move |task, f| followed.key(&f.from).insert(task, &f.to));
        let mut mb = m.microbatch("who-to-follow");
        let (suggested, last) = (mb.pstate(SUGGESTED), mb.pstate(LAST));
        // An account, with each of those whom another follows.
        let with = move |task: &Task, account: u64, other: u64| {
            let others = followed.key(&other).elements(task).into_iter();
            others.map(move |other| (account, other))
        };
        mb.source(TICKS)
            .all_partition()
            .flat_map(move |task, ()| {
                let after = last.get(task).map_or(Bound::Unbounded, Bound::Excluded);
                let next = followed
                    .range((after, Bound::Unbounded))
                    .first_n(accounts_per_tick);
                let accounts = next.keys(task);
                match accounts.last() {
                    Some(account) if accounts.len() as u64 == accounts_per_tick => {
                        last.set(task, *account)
                    }
                    _ => last.reset(task),
                }
                accounts
            })
            .inspect(move |task, account| suggested.remove(task, account))
            .flat_map(move |task, account| with(task, account, account))
            .hash_partition_by(|(_, other)| other)
            .flat_map(move |task, (account, other)| with(task, account, other))
            .group_by_at(|(account, _)| *account, |pair| *pair)
            .agg(|of| of.count())
            .filter(move |task, ((account, other), _)| {
                account != other && !followed.key(account).contains(task, other)
            })
            .group_by(|((account, _), _)| *account)
            .agg(|of| of.top(suggestions, |(_, count)| *count))
            .each(move |task, (account, best)| {
                let best = best.into_iter().map(|((_, other), _)| other).collect();
                suggested.key(&account).set(task, best);
            });
    }
}
