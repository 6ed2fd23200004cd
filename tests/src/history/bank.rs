//! The books of `bank` against its depots: W5.
//!
//! Relies on everything being read while nothing is on its way. What must stay true: the balances sum
//! to what was deposited; none is below zero; each transfer of the depot, once by payer and id, is in
//! the books of payer and payee with the same end; a balance is what came in less what went out. A
//! balance that is read while money is on its way is between zero and all there is.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use ::bank::{Incoming, Outgoing, Transfer};

/// What is known of the accounts, by account.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// What was deposited.
    pub deposits: BTreeMap<u64, i64>,
    /// Balances.
    pub funds: BTreeMap<u64, i64>,
    /// Transfers as their payers see them, by id.
    pub outgoing: BTreeMap<u64, BTreeMap<String, Outgoing>>,
    /// Transfers as their payees see them, by payer and id.
    pub incoming: BTreeMap<u64, BTreeMap<(u64, String), Incoming>>,
}

/// W5: the books are right, and are those of the depot's transfers.
pub fn balances(books: &Books, transfers: &[Transfer]) -> Vec<String> {
    let mut wrong = sums(books);
    let mut first: BTreeMap<(u64, &str), &Transfer> = BTreeMap::new();
    for transfer in transfers {
        first
            .entry((transfer.from, &transfer.id))
            .or_insert(transfer);
    }
    wrong.extend(
        first
            .values()
            .filter_map(|transfer| booked(books, transfer)),
    );
    let paid = books.outgoing.iter();
    let paid = paid.flat_map(|(from, sent)| sent.keys().map(move |id| (*from, id.as_str())));
    let got = books.incoming.values().flat_map(BTreeMap::keys);
    let got = got.map(|(from, id)| (*from, id.as_str()));
    let booked: BTreeSet<(u64, &str)> = paid.chain(got).collect();
    let strangers = booked.into_iter().filter(|name| !first.contains_key(name));
    wrong.extend(strangers.map(|name| format!("{name:?} is booked and not in the depot")));
    wrong
}

/// What is wrong with the sum and with each balance.
fn sums(books: &Books) -> Vec<String> {
    let mut wrong = Vec::new();
    let (in_all, deposited): (i64, i64) =
        (books.funds.values().sum(), books.deposits.values().sum());
    if in_all != deposited {
        wrong.push(format!(
            "{in_all} is in the accounts, and {deposited} was deposited"
        ));
    }
    for (account, balance) in &books.funds {
        let sent = books
            .outgoing
            .get(account)
            .into_iter()
            .flat_map(BTreeMap::values);
        let sent: i64 = sent.filter(|it| it.ok).map(|it| it.cents).sum();
        let got = books
            .incoming
            .get(account)
            .into_iter()
            .flat_map(BTreeMap::values);
        let got: i64 = got.filter(|it| it.ok).map(|it| it.cents).sum();
        let owed = books.deposits.get(account).unwrap_or(&0) + got - sent;
        if *balance != owed {
            wrong.push(format!(
                "account {account} holds {balance} and its books say {owed}"
            ));
        }
        wrong.extend(is_possible(*account, *balance, deposited));
    }
    wrong
}

/// What is wrong with the two entries of a transfer.
fn booked(books: &Books, transfer: &Transfer) -> Option<String> {
    let Transfer {
        id,
        from,
        to,
        cents,
    } = transfer;
    let sent = books.outgoing.get(from).and_then(|sent| sent.get(id));
    let name = (*from, id.clone());
    let got = books.incoming.get(to).and_then(|got| got.get(&name));
    let (Some(sent), Some(got)) = (sent, got) else {
        return Some(format!(
            "{id} of {from} is in the depot; payer: {sent:?}, payee: {got:?}"
        ));
    };
    let same = sent.ok == got.ok && (sent.to, sent.cents) == (*to, *cents);
    let same = same && (got.from, got.cents) == (*from, *cents);
    (!same).then(|| format!("{id} of {from} is {transfer:?}; payer: {sent:?}, payee: {got:?}"))
}

/// W5, at any time: what is wrong with one balance, when so much is in the bank.
pub fn is_possible(account: u64, balance: i64, in_all: i64) -> Option<String> {
    let wrong = format!("account {account} holds {balance}, and {in_all} is all there is");
    (!(0..=in_all).contains(&balance)).then_some(wrong)
}
