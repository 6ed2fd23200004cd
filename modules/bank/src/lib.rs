//! A bank: deposits, and transfers between accounts on different tasks, exactly once.
//!
//! Relies on one microbatch topology that owns all three PStates: the debit on one task and the
//! credit on another commit together or not at all. A transfer without funds changes no balance and
//! is recorded as failed on both sides.

use rama::prelude::*;

/// Money from outside.
#[rama::record]
pub struct Deposit {
    /// Whose account.
    pub user: u64,
    /// How much; never negative.
    pub cents: i64,
}

/// Money from one account to another.
#[rama::record]
pub struct Transfer {
    /// Chosen by the client; names the transfer in both histories.
    pub id: String,
    /// Who pays.
    pub from: u64,
    /// Who is paid.
    pub to: u64,
    /// How much; never negative.
    pub cents: i64,
}

/// A transfer as its payer sees it.
#[rama::record]
pub struct Outgoing {
    /// Who is paid.
    pub to: u64,
    /// How much.
    pub cents: i64,
    /// Whether there were funds.
    pub ok: bool,
}

/// A transfer as its payee sees it.
#[rama::record]
pub struct Incoming {
    /// Who pays.
    pub from: u64,
    /// How much.
    pub cents: i64,
    /// Whether there were funds.
    pub ok: bool,
}

/// Deposits, partitioned by account.
pub const DEPOSITS: Depot<Deposit> = Depot::named("*deposits");
/// Transfers, partitioned by payer.
pub const TRANSFERS: Depot<Transfer> = Depot::named("*transfers");
/// Account to balance.
pub const FUNDS: PState<Map<u64, i64>> = PState::named("$$funds");
/// Payer, then transfer id, to what was asked and whether it happened.
pub const OUTGOING: PState<Map<u64, Map<String, Outgoing>>> = PState::named("$$outgoing");
/// Payee, then transfer id.
pub const INCOMING: PState<Map<u64, Map<String, Incoming>>> = PState::named("$$incoming");

/// The module.
pub struct Bank;

impl Module for Bank {
    fn define(&self, m: &mut Setup) {
        m.depot(DEPOSITS, Partition::hash_by(|d: &Deposit| d.user));
        m.depot(TRANSFERS, Partition::hash_by(|t: &Transfer| t.from));

        let mut mb = m.microbatch("banking");
        let (funds, outgoing, incoming) =
            (mb.pstate(FUNDS), mb.pstate(OUTGOING), mb.pstate(INCOMING));

        mb.source(DEPOSITS).each(move |task, d| {
            funds
                .key(&d.user)
                .update(task, |f| f.unwrap_or(0) + d.cents);
        });

        mb.source(TRANSFERS)
            .map(move |task, t| {
                let balance = funds.key(&t.from).get(task).unwrap_or(0);
                let ok = t.cents >= 0 && balance >= t.cents;
                if ok {
                    funds.key(&t.from).set(task, balance - t.cents);
                }
                let entry = Outgoing {
                    to: t.to,
                    cents: t.cents,
                    ok,
                };
                outgoing.key(&t.from).key(&t.id).set(task, entry);
                (t, ok)
            })
            .hash_partition(|(t, _)| t.to)
            .each(move |task, (t, ok)| {
                if ok {
                    funds.key(&t.to).update(task, |f| f.unwrap_or(0) + t.cents);
                }
                let entry = Incoming {
                    from: t.from,
                    cents: t.cents,
                    ok,
                };
                incoming.key(&t.to).key(&t.id).set(task, entry);
            });
    }
}
