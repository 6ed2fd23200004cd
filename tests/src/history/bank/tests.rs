//! Right books pass, each kind of wrong ones does not.

use super::*;

fn transfer(id: &str, from: u64, to: u64, cents: i64) -> Transfer {
    Transfer {
        id: id.into(),
        from,
        to,
        cents,
    }
}

/// 100 to each of two; `a` of 30 moved from 1 to 2, `b` of 900 back did not. `a` is there twice: its
/// client appended it again.
fn right() -> (Books, Vec<Transfer>) {
    let (a, b) = (transfer("a", 1, 2, 30), transfer("b", 2, 1, 900));
    let mut books = Books {
        deposits: BTreeMap::from([(1, 100), (2, 100)]),
        funds: BTreeMap::from([(1, 70), (2, 130)]),
        ..Books::default()
    };
    for (transfer, ok) in [(&a, true), (&b, false)] {
        let (from, to, cents) = (transfer.from, transfer.to, transfer.cents);
        let sent = books.outgoing.entry(from).or_default();
        sent.insert(transfer.id.clone(), Outgoing { to, cents, ok });
        let got = books.incoming.entry(to).or_default();
        got.insert((from, transfer.id.clone()), Incoming { from, cents, ok });
    }
    (books, vec![a.clone(), b, a])
}

fn spoilt(spoil: impl FnOnce(&mut Books, &mut Vec<Transfer>)) -> String {
    let (mut books, mut transfers) = right();
    spoil(&mut books, &mut transfers);
    let wrong = balances(&books, &transfers);
    assert!(!wrong.is_empty(), "{books:?}");
    wrong.join("; ")
}

#[test]
fn right_books_pass() {
    let (books, transfers) = right();
    assert_eq!(balances(&books, &transfers), Vec::<String>::new());
}

#[test]
fn money_that_is_made_lost_or_owed_is_named() {
    let made = spoilt(|books, _| {
        books.funds.insert(1, 71);
    });
    assert!(made.contains("201 is in the accounts"), "{made}");
    assert!(
        made.contains("account 1 holds 71 and its books say 70"),
        "{made}"
    );
    // The sum is right, and one of the two took nothing part in it.
    let moved = spoilt(|books, _| {
        books.funds.extend([(1, 230), (2, -30)]);
    });
    assert!(
        moved.contains("account 2 holds -30, and 200 is all"),
        "{moved}"
    );
}

#[test]
fn transfers_that_are_half_done_lost_or_invented_are_named() {
    let half = spoilt(|books, _| {
        let got = books.incoming.get_mut(&2).expect("it got one");
        got.get_mut(&(1, "a".into())).expect("from 1").ok = false;
    });
    assert!(half.contains("a of 1 is"), "{half}");
    let lost = spoilt(|_, transfers| transfers.push(transfer("c", 1, 2, 5)));
    assert!(lost.contains("c of 1 is in the depot"), "{lost}");
    let invented = spoilt(|_, transfers| {
        transfers.remove(1);
    });
    assert!(invented.contains("(2, \"b\") is booked"), "{invented}");
    let other = spoilt(|_, transfers| transfers[1].cents = 901);
    assert!(other.contains("b of 2 is"), "{other}");
}

#[test]
fn a_balance_is_between_nothing_and_all() {
    assert_eq!(is_possible(1, 0, 200), None);
    assert_eq!(is_possible(1, 200, 200), None);
    assert!(is_possible(1, 201, 200).is_some());
    assert!(is_possible(1, -1, 200).is_some());
}
