//! Top users: who spent the most, exactly once, in order whenever it is read.
//!
//! Relies on one microbatch topology. Purchases of a user are summed where they are before the sum
//! travels to the user's task; of each batch only the totals that changed go on to the one list, on
//! task 0. What must stay true: totals only grow, so that nobody who is not on the list could come
//! back to it when another leaves (spec A-10): a purchase cannot be negative.

use rama::prelude::*;

/// Somebody bought something.
#[rama::record]
pub struct Purchase {
    /// Who.
    pub user: u64,
    /// For how much.
    pub cents: u32,
}

/// Purchases, partitioned by user.
pub const PURCHASES: Depot<Purchase> = Depot::named("*purchases");
/// User to the cents of all purchases.
pub const TOTALS: PState<Map<u64, u64>> = PState::named("$$totals");
/// Users and totals, the greatest total first.
pub const TOP: PState<Vec<(u64, u64)>> = PState::named("$$top").global();
/// Of the list only the users, made where the list is.
pub const USERS: Function<Vec<(u64, u64)>, Vec<u64>> = Function::named("users");

/// The module.
pub struct TopUsers {
    /// How many users are on the list.
    pub count: usize,
}

impl Module for TopUsers {
    fn define(&self, m: &mut Setup) {
        m.depot_by(PURCHASES, |purchase| &purchase.user);
        m.function(USERS, |top, ()| top.iter().map(|(user, _)| *user).collect());
        let mut mb = m.microbatch("top");
        let (totals, top, count) = (mb.pstate(TOTALS), mb.pstate(TOP), self.count);
        mb.source(PURCHASES)
            .group_by(|purchase| purchase.user)
            .agg_into(totals, |of| of.sum(|purchase| u64::from(purchase.cents)))
            .new_values()
            .global_partition()
            .agg_into(top, |of| {
                of.top(count, |(_, total)| *total).id(|(user, _)| *user)
            });
    }
}
