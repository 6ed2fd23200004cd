//! A copy takes over what fits and nothing else.

use super::*;
use crate::plan::Plan;

fn followed() -> Replica {
    Replica::of(&Footprint::of(&Plan::Get { key: vec![1] }))
}

fn whole(value: &[u8]) -> Update {
    Update::Whole {
        why: Whole::Resync,
        checksum: row_hash(b"", value),
        answer: plan::answer(&[(Vec::new(), value.to_vec())]),
    }
}

fn changed(value: &[u8], checksum: u64) -> Update {
    let changes = vec![(Vec::new(), Some(value.to_vec()))];
    Update::Changes { checksum, changes }
}

/// P-43: an update whose checksum does not fit leaves the copy as it was.
#[test]
fn a_wrong_checksum_changes_nothing() {
    let mut replica = followed();
    assert_eq!(replica.apply(&whole(b"one")), Ok(Applied::Resync));
    let before = replica.answer();
    let error = replica.apply(&changed(b"two", 5)).unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
    assert_eq!(replica.answer(), before);
    let right = row_hash(b"", b"two");
    assert!(replica.apply(&changed(b"two", right)).is_ok());
    let mut wrong = whole(b"three");
    if let Update::Whole { checksum, .. } = &mut wrong {
        *checksum += 1;
    }
    assert!(replica.apply(&wrong).is_err());
    assert_eq!(replica.checksum(), right);
}

#[test]
fn changes_of_a_value_that_was_never_told_are_refused() {
    let mut replica = followed();
    let sum = row_hash(b"", b"one");
    assert!(replica.apply(&changed(b"one", sum)).is_err());
}

#[test]
fn rows_that_make_no_sense_are_refused() {
    let mut replica = followed();
    let answer = b"no rows".to_vec();
    let update = Update::Whole {
        why: Whole::Resync,
        checksum: 0,
        answer,
    };
    assert!(replica.apply(&update).is_err());
    let twice = plan::answer(&[(vec![1], vec![1]), (vec![1], vec![2])]);
    let update = Update::Whole {
        why: Whole::Resync,
        checksum: 0,
        answer: twice,
    };
    assert!(replica.apply(&update).is_err());
}

#[test]
fn a_change_to_the_same_value_is_none() {
    let mut replica = followed();
    replica.apply(&whole(b"one")).unwrap();
    let same = changed(b"one", replica.checksum());
    assert_eq!(replica.apply(&same), Ok(Applied::Nothing));
}
