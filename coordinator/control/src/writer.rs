//! Transactions of the planner, done.
//!
//! Relies on the metastore for three results. What must stay true: a transaction that was not sent, or
//! that was refused for want of permission, is `Refused`, after which the machine looks again; what may
//! have happened is `Unknown`.

use rama_metastore::{LeaseId, Metastore, Space, Txn as StoredTxn, TxnOutcome};
use rama_planner::store::{Compare, Put, Txn, Written};

use crate::codec;

/// Does a transaction; keys that die with the writer are put under `lease`.
pub async fn write(
    store: &impl Metastore,
    space: &Space,
    lease: Option<LeaseId>,
    txn: &Txn,
) -> Written {
    let Some(stored) = spell(space, lease, txn) else {
        tracing::error!("a leased key was to be written without a lease");
        return Written::Refused;
    };
    match store.txn(stored).await {
        Ok(TxnOutcome::Done { revision }) => Written::Done { revision },
        Ok(TxnOutcome::Refused { .. }) => Written::Refused,
        Ok(TxnOutcome::Unknown { cause }) => {
            tracing::warn!(cause, "it is not known whether a transaction was done");
            Written::Unknown
        }
        Err(error) => {
            tracing::warn!(%error, "a transaction was not done");
            Written::Refused
        }
    }
}

fn spell(space: &Space, lease: Option<LeaseId>, txn: &Txn) -> Option<StoredTxn> {
    let key = |key| space.key(&codec::stored_key(key));
    let mut stored = StoredTxn::new();
    for compare in &txn.compares {
        stored = match compare {
            Compare::Absent(absent) => stored.absent(key(absent)),
            Compare::Revision(at, revision) => stored.at_revision(key(at), *revision),
        };
    }
    for Put {
        key: at,
        value,
        leased,
    } in &txn.puts
    {
        let bytes = codec::bytes(value);
        stored = match leased {
            true => stored.put_leased(key(at), bytes, lease?),
            false => stored.put(key(at), bytes),
        };
    }
    for target in &txn.deletes {
        stored = match codec::scope(target) {
            Ok(one) => stored.delete(space.key(&one)),
            Err(scope) => stored.delete_prefix(space.prefix(&scope)),
        };
    }
    Some(stored)
}
