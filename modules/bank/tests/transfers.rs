//! What a user of the module would check: money moves exactly once, is never made or lost, and
//! refused transfers are on record.
//!
//! Relies on an in-process cluster and on the simulator for crashes.

use bank::{
    Bank, DEPOSITS, Deposit, FUNDS, INCOMING, Incoming, OUTGOING, Outgoing, REFUSED, TRANSFERS,
    Transfer,
};
use rama::prelude::*;

fn transfer(id: &str, from: u64, to: u64, cents: i64) -> Transfer {
    Transfer {
        id: id.into(),
        from,
        to,
        cents,
    }
}

async fn balance(cluster: &Cluster, user: u64) -> i64 {
    let path = FUNDS.key(&user);
    cluster
        .pstate(FUNDS)
        .select_one(path)
        .await
        .expect("select")
        .unwrap_or(0)
}

/// The values of the survey's BankTransfer (spec 16.2).
#[tokio::test]
async fn transfers_move_money_once_and_failed_ones_are_recorded() {
    for (tasks, threads) in [(1, 1), (2, 2), (8, 2)] {
        let server = InProcessCluster::new(tasks, threads).expect("a cluster");
        server.launch(Bank).await.expect("launch");
        let cluster = server.cluster();
        let (alice, bob, charlie) = (1, 2, 3);
        for (user, cents) in [(alice, 200), (bob, 100), (charlie, 100)] {
            let deposit = Deposit { user, cents };
            cluster
                .depot(DEPOSITS)
                .append(&deposit)
                .await
                .expect("deposit");
        }
        server
            .wait_for_processed("Bank", "banking", 3)
            .await
            .expect("processed");
        let transfers = [
            transfer("t1", alice, bob, 50),
            transfer("t2", alice, charlie, 160),
            transfer("t3", alice, charlie, 25),
            transfer("t4", charlie, bob, 10),
        ];
        for transfer in &transfers {
            cluster
                .depot(TRANSFERS)
                .append(transfer)
                .await
                .expect("transfer");
        }
        server
            .wait_for_processed("Bank", "banking", 7)
            .await
            .expect("processed");
        assert_eq!(balance(&cluster, alice).await, 125);
        assert_eq!(balance(&cluster, bob).await, 160);
        assert_eq!(balance(&cluster, charlie).await, 115);

        let outgoing = cluster.pstate(OUTGOING);
        let of_alice = outgoing
            .select(OUTGOING.key(&alice).all())
            .await
            .expect("select");
        let expected = [
            ("t1", bob, 50, true),
            ("t2", charlie, 160, false),
            ("t3", charlie, 25, true),
        ]
        .map(|(id, to, cents, ok)| (id.to_string(), Outgoing { to, cents, ok }));
        assert_eq!(of_alice, expected);
        let incoming = cluster.pstate(INCOMING);
        let refused = incoming
            .select_one(INCOMING.key(&charlie).key(&(alice, "t2".to_owned())))
            .await
            .expect("select");
        assert_eq!(
            refused,
            Some(Incoming {
                from: alice,
                cents: 160,
                ok: false
            })
        );
    }
}

/// Runs the records through a new bank and waits until all of them took effect.
async fn bank_of(deposits: &[Deposit], transfers: &[Transfer]) -> InProcessCluster {
    let server = InProcessCluster::new(4, 2).expect("a cluster");
    server.launch(Bank).await.expect("launch");
    let cluster = server.cluster();
    let (ack, mut done) = (AckLevel::AppendAck, deposits.len() as u64);
    let appended = cluster.depot(DEPOSITS).append_many(deposits, ack).await;
    appended.expect("deposits");
    let processed = server.wait_for_processed("Bank", "banking", done).await;
    processed.expect("processed");
    for transfer in transfers {
        let appended = cluster.depot(TRANSFERS).append_with(transfer, ack).await;
        appended.expect("transfer");
        done += 1;
        let processed = server.wait_for_processed("Bank", "banking", done).await;
        processed.expect("processed");
    }
    server
}

/// Whether the transfer is on record with the payer, and with the payee, and what both say.
async fn record_of(cluster: &Cluster, transfer: &Transfer) -> (Option<bool>, Option<bool>) {
    let out = OUTGOING.key(&transfer.from).key(&transfer.id);
    let name = (transfer.from, transfer.id.clone());
    let into = INCOMING.key(&transfer.to).key(&name);
    let (out, into) = (
        cluster
            .pstate(OUTGOING)
            .select_one(out)
            .await
            .expect("select"),
        cluster
            .pstate(INCOMING)
            .select_one(into)
            .await
            .expect("select"),
    );
    (out.map(|entry| entry.ok), into.map(|entry| entry.ok))
}

#[tokio::test]
async fn amounts_of_zero_or_less_are_refused_and_recorded() {
    let deposits = [10, 0, -3, i64::MIN].map(|cents| Deposit { user: 1, cents });
    let transfers = [-5, 0, i64::MIN].map(|cents| transfer(&format!("t{cents}"), 2, 1, cents));
    let server = bank_of(&deposits, &transfers).await;
    let cluster = server.cluster();
    assert_eq!(balance(&cluster, 1).await, 10);
    assert_eq!(balance(&cluster, 2).await, 0);
    let refused = cluster.pstate(REFUSED);
    let refused = refused.select(REFUSED.key(&1).all()).await.expect("select");
    assert_eq!(refused, [0, -3, i64::MIN]);
    for transfer in &transfers {
        let record = record_of(&cluster, transfer).await;
        assert_eq!(record, (Some(false), Some(false)), "{transfer:?}");
    }
}

#[tokio::test]
async fn a_balance_without_room_refuses_deposits_and_returns_transfers() {
    let deposits =
        [(1, i64::MAX - 5), (1, 6), (2, 20)].map(|(user, cents)| Deposit { user, cents });
    let transfers = [transfer("much", 2, 1, 6), transfer("fits", 2, 1, 5)];
    let server = bank_of(&deposits, &transfers).await;
    let cluster = server.cluster();
    assert_eq!(balance(&cluster, 1).await, i64::MAX);
    assert_eq!(
        balance(&cluster, 2).await,
        15,
        "what was returned is there again"
    );
    let refused = cluster.pstate(REFUSED);
    let refused = refused.select(REFUSED.key(&1).all()).await.expect("select");
    assert_eq!(refused, [6]);
    let [much, fits] = &transfers;
    assert_eq!(record_of(&cluster, much).await, (Some(false), Some(false)));
    assert_eq!(record_of(&cluster, fits).await, (Some(true), Some(true)));
}

#[tokio::test]
async fn one_id_of_a_payer_is_one_transfer() {
    let deposits = [(1, 100), (2, 100)].map(|(user, cents)| Deposit { user, cents });
    let transfers = [
        transfer("rent", 1, 3, 30),
        transfer("rent", 1, 3, 30),
        transfer("rent", 2, 3, 40),
    ];
    let server = bank_of(&deposits, &transfers).await;
    let cluster = server.cluster();
    let balances = [
        balance(&cluster, 1).await,
        balance(&cluster, 2).await,
        balance(&cluster, 3).await,
    ];
    assert_eq!(balances, [70, 60, 70]);
    for transfer in &transfers {
        assert_eq!(
            record_of(&cluster, transfer).await,
            (Some(true), Some(true))
        );
    }
}

#[tokio::test]
async fn a_transfer_to_oneself_changes_nothing_but_the_record() {
    let deposit = Deposit {
        user: 1,
        cents: i64::MAX,
    };
    let own = transfer("own", 1, 1, i64::MAX);
    let server = bank_of(&[deposit], std::slice::from_ref(&own)).await;
    let cluster = server.cluster();
    assert_eq!(balance(&cluster, 1).await, i64::MAX);
    assert_eq!(record_of(&cluster, &own).await, (Some(true), Some(true)));
}
