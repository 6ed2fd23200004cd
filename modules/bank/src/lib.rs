//! A bank: deposits, and transfers between accounts on different tasks, exactly once.
//!
//! Relies on one microbatch topology that owns all PStates: the debit on one task and the credit on
//! another commit together or not at all. What must stay true: a balance is never negative, and the
//! balances sum to the deposits that were taken. Whatever would break that changes no balance and is
//! recorded: a deposit among the account's refused ones, a transfer as failed on both sides. An
//! amount must be above zero and fit the balance it is added to; a transfer must have funds, and
//! one id of a payer is one transfer, so that a client may append it again.

use rama::prelude::*;

/// Money from outside.
#[rama::record]
pub struct Deposit {
    /// Whose account.
    pub user: u64,
    /// How much. Zero or less is refused, and so is what the balance has no room for.
    pub cents: i64,
}

/// Money from one account to another.
#[rama::record]
pub struct Transfer {
    /// Chosen by the client, once per intent; names the transfer in both histories. A second one
    /// with the id of an earlier one of the same payer does nothing.
    pub id: String,
    /// Who pays.
    pub from: u64,
    /// Who is paid.
    pub to: u64,
    /// How much. Zero or less is refused.
    pub cents: i64,
}

impl Transfer {
    fn outgoing(&self, ok: bool) -> Outgoing {
        let (to, cents) = (self.to, self.cents);
        Outgoing { to, cents, ok }
    }

    fn incoming(&self, ok: bool) -> Incoming {
        let (from, cents) = (self.from, self.cents);
        Incoming { from, cents, ok }
    }
}

/// A transfer as its payer sees it.
#[rama::record]
pub struct Outgoing {
    /// Who is paid.
    pub to: u64,
    /// How much.
    pub cents: i64,
    /// Whether the money moved.
    pub ok: bool,
}

/// A transfer as its payee sees it.
#[rama::record]
pub struct Incoming {
    /// Who pays.
    pub from: u64,
    /// How much.
    pub cents: i64,
    /// Whether the money moved.
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
/// Payee, then payer and transfer id: an id is the payer's own, others may use it too.
pub const INCOMING: PState<Map<u64, Map<(u64, String), Incoming>>> = PState::named("$$incoming");

/// Account to the amounts of the deposits it refused, oldest first.
pub const REFUSED: PState<Map<u64, List<i64>>> = PState::named("$$refused");

/// The module.
pub struct Bank;

/// The balance after `cents` came in; nothing if that is no amount or there is no room for it.
fn credited(balance: Option<i64>, cents: i64) -> Option<i64> {
    let balance = balance.unwrap_or(0);
    balance.checked_add(cents).filter(|_| cents > 0)
}

/// The balance after `cents` went out; nothing if that is no amount or there are no funds.
fn debited(balance: Option<i64>, cents: i64) -> Option<i64> {
    let balance = balance.unwrap_or(0);
    (cents > 0 && balance >= cents).then(|| balance - cents)
}

impl Module for Bank {
    fn define(&self, m: &mut Setup) {
        m.depot_by(DEPOSITS, |d| &d.user);
        m.depot_by(TRANSFERS, |t| &t.from);
        let mut mb = m.microbatch("banking");
        let (funds, outgoing, incoming) =
            (mb.pstate(FUNDS), mb.pstate(OUTGOING), mb.pstate(INCOMING));
        let refused = mb.pstate(REFUSED);
        mb.source(DEPOSITS).each(move |task, d| {
            let balance = funds.key(&d.user);
            match credited(balance.get(task), d.cents) {
                Some(credited) => balance.set(task, credited),
                None => refused.key(&d.user).append(task, d.cents),
            }
        });
        mb.source(TRANSFERS)
            .filter_map(move |task, t| {
                let history = outgoing.key(&t.from);
                if history.contains(task, &t.id) {
                    return None;
                }
                let balance = funds.key(&t.from);
                let debited = debited(balance.get(task), t.cents);
                history.key(&t.id).set(task, t.outgoing(debited.is_some()));
                if let Some(debited) = debited {
                    balance.set(task, debited);
                }
                Some((t, debited.is_some()))
            })
            .hash_partition_by(|(t, _)| &t.to)
            .filter_map(move |task, (t, paid)| {
                let balance = funds.key(&t.to);
                let credited = credited(balance.get(task), t.cents).filter(|_| paid);
                let history = incoming.key(&t.to).key(&(t.from, t.id.clone()));
                history.set(task, t.incoming(credited.is_some()));
                if let Some(credited) = credited {
                    balance.set(task, credited);
                }
                (paid && credited.is_none()).then_some(t)
            })
            // What the payee has no room for goes back, in the same microbatch.
            .hash_partition_by(|t| &t.from)
            .try_each(move |task, t| {
                let balance = funds.key(&t.from);
                let Some(returned) = credited(balance.get(task), t.cents) else {
                    return Err(format!("account {} has no room for a refund", t.from));
                };
                balance.set(task, returned);
                let history = outgoing.key(&t.from).key(&t.id);
                history.set(task, t.outgoing(false));
                Ok(())
            });
    }
}
