//! What every metastore must do: one suite, run against each implementation.
//!
//! Relies on the ability alone; every case has its own prefix, so a shared store serves. What must
//! stay true: a case waits for conditions, never for a while, and every wait is bounded, so that a
//! store that hangs fails by name.

mod leases;
mod sizes;
mod txns;
mod watches;
mod writers;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::task::JoinSet;
use uuid::Uuid;

use crate::store::{Metastore, Versioned};
use crate::txn::{Txn, TxnOutcome};
use crate::watch::{Watch, WatchEvent};

pub use writers::{Checked, Observer, Writer, check, count};

/// No condition takes longer to come true than this.
const PATIENCE: Duration = Duration::from_secs(30);

type Case = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs every case: together, because most of them wait, and then what disturbs others.
///
/// # Panics
/// A case does not hold; its name is printed.
pub async fn run<M: Metastore>(store: &M) {
    let mut cases: Vec<(&str, Case)> = Vec::new();
    macro_rules! cases {
        ($($area:ident: $($case:ident)*;)*) => {
            $($(cases.push((
                stringify!($case),
                Box::pin($area::$case(store.clone(), prefix(stringify!($case)))),
            ));)*)*
        };
    }
    cases! {
        txns:
            a_txn_is_done_whole_or_not_at_all
            each_comparison_holds_and_refuses
            a_refusal_tells_what_was_found
            revisions_only_grow_and_mark_creation
            a_delete_of_nothing_takes_no_revision
            a_prefix_is_deleted_whole_and_alone
            a_big_prefix_is_listed_whole_in_order_at_one_revision
            values_are_any_bytes;
        sizes:
            what_is_too_large_is_refused_and_changes_nothing
            a_key_written_twice_in_a_txn_is_refused
            the_largest_txn_fits;
        watches:
            a_watch_begins_with_a_listing_then_follows
            a_watch_from_a_revision_sees_what_happened_since
            a_watch_sees_its_prefix_alone
            changes_come_in_order_without_gap_or_duplicate
            keys_of_one_txn_come_at_one_revision
            a_slow_watch_misses_nothing
            a_cancelled_wait_loses_nothing;
        leases:
            keys_die_with_a_lease_that_nobody_keeps
            a_lease_is_kept_alive_by_its_handle
            a_revoked_lease_takes_its_keys_and_tells_its_holder
            a_lease_that_is_gone_takes_no_keys
            a_key_put_without_its_lease_stays
            one_lease_carries_many_keys
            the_first_of_two_candidates_gets_the_key;
        writers:
            no_update_of_a_counter_is_lost;
    }
    let count = cases.len();
    let mut running = JoinSet::new();
    for (name, case) in cases {
        running.spawn(bounded(name, case));
    }
    while let Some(ended) = running.join_next().await {
        ended.expect("a case of the suite does not hold; its panic is above");
    }
    let last = "a_watch_is_relisted_where_history_was_compacted";
    let case = watches::a_watch_is_relisted_where_history_was_compacted;
    bounded(last, Box::pin(case(store.clone(), prefix(last)))).await;
    println!("metastore conformance: {} cases hold", count + 1);
}

/// A prefix that nothing else uses.
pub fn prefix(name: &str) -> String {
    format!("/conformance/{name}/{}/", Uuid::new_v4())
}

async fn bounded(name: &str, case: Case) {
    // The name goes first: a panic in the case ends the task.
    let ended = tokio::time::timeout(PATIENCE, case).await;
    assert!(ended.is_ok(), "{name}: did not end within {PATIENCE:?}");
}

/// Runs a transaction that must be done; answers its revision.
async fn done<M: Metastore>(store: &M, txn: Txn) -> u64 {
    match store.txn(txn.clone()).await {
        Ok(TxnOutcome::Done { revision }) => revision,
        other => panic!("{txn:?} was not done: {other:?}"),
    }
}

/// Runs a transaction that must be refused; answers what was found.
async fn refused<M: Metastore>(store: &M, txn: Txn) -> Vec<Option<Versioned>> {
    match store.txn(txn.clone()).await {
        Ok(TxnOutcome::Refused { found, .. }) => found,
        other => panic!("{txn:?} was not refused: {other:?}"),
    }
}

async fn text<M: Metastore>(store: &M, key: &str) -> Option<String> {
    let found = store.get(key).await.expect("the store answers");
    found.map(|found| String::from_utf8(found.value).expect("text"))
}

/// The next event; outages are not expected here.
async fn next(watch: &mut Watch) -> WatchEvent {
    watch.next().await.expect("the store can be followed")
}

/// The next event as `revision key=value`, or `revision -key`.
async fn seen(watch: &mut Watch) -> (u64, String) {
    let event = next(watch).await;
    let revision = event.revision();
    let text = match event {
        WatchEvent::Put(entry) => {
            let value = String::from_utf8(entry.versioned.value).expect("text");
            format!("{}={value}", entry.key)
        }
        WatchEvent::Delete { key, .. } => format!("-{key}"),
        WatchEvent::Relisted(listing) => format!("listed {}", listing.entries.len()),
    };
    (revision, text)
}
