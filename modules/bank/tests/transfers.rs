//! What a user of the module would check: money moves exactly once, is never made or lost, and
//! refused transfers are on record.
//!
//! Relies on an in-process cluster and on the simulator for crashes.

use bank::{
    Bank, DEPOSITS, Deposit, FUNDS, INCOMING, Incoming, OUTGOING, Outgoing, TRANSFERS, Transfer,
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
            .select_one(INCOMING.key(&charlie).key("t2"))
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

#[tokio::test]
async fn a_negative_transfer_moves_nothing() {
    let server = InProcessCluster::new(2, 1).expect("a cluster");
    server.launch(Bank).await.expect("launch");
    let cluster = server.cluster();
    cluster
        .depot(DEPOSITS)
        .append(&Deposit { user: 1, cents: 10 })
        .await
        .expect("deposit");
    cluster
        .depot(TRANSFERS)
        .append(&transfer("theft", 2, 1, -5))
        .await
        .expect("transfer");
    server
        .wait_for_processed("Bank", "banking", 2)
        .await
        .expect("processed");
    assert_eq!(balance(&cluster, 1).await, 10);
    assert_eq!(balance(&cluster, 2).await, 0);
}
