//! Tests of the ledger's bytes: they come back, they are pinned, and bad ones are refused.

use super::*;
use crate::tests::Random;

fn sample() -> Ledger {
    let origin = Origin {
        source: SourceId(2),
        partition: 1,
        offset: 41,
    };
    Ledger {
        decided: MicrobatchId(8),
        decided_attempt: Attempt(3),
        processed: 77,
        progress: BTreeMap::from([(SourceId(2), vec![30, 40])]),
        plan: Some(Plan {
            id: MicrobatchId(9),
            reserved: Attempt(1000),
            ranges: vec![SourceRange {
                source: SourceId(2),
                partition: 1,
                from: 40,
                to: 44,
            }],
            excluded: vec![Excluded {
                origin,
                dead_letter: true,
            }],
            ticks: vec![SourceId(5)],
        }),
        paused: true,
    }
}

fn random(random: &mut Random) -> Ledger {
    let offsets = |random: &mut Random| (0..random.below(4)).map(|_| random.next()).collect();
    let progress = (0..random.below(3)).map(|source| (SourceId(source as u16), offsets(random)));
    let progress = progress.collect();
    let mut ledger = Ledger {
        progress,
        ..sample()
    };
    ledger.decided = MicrobatchId(random.next());
    if random.one_in(2) {
        ledger.plan = None;
    }
    ledger
}

#[test]
fn every_ledger_comes_back() {
    let mut generator = Random::new(1);
    for _ in 0..1000 {
        let ledger = random(&mut generator);
        assert_eq!(Ledger::decode(&ledger.encode()), Ok(ledger));
    }
}

/// The bytes are on disks: they change only together with the version.
#[test]
fn the_bytes_are_pinned() {
    let hex: String = sample()
        .encode()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let parts = [
        "0101",                                                 // version, paused
        "080000000000000003000000",                             // decided, attempt
        "4d00000000000000",                                     // processed
        "010000000200020000001e000000000000002800000000000000", // progress
        "01",                                                   // a plan follows
        "0900000000000000e8030000",                             // id, reserved
        "0100000002000100000028000000000000002c00000000000000", // ranges
        "01000000020001000000290000000000000001",               // excluded
        "010000000500",                                         // ticks
    ];
    assert_eq!(hex, parts.concat());
}

#[test]
fn no_prefix_and_no_longer_bytes_are_a_ledger() {
    let bytes = sample().encode();
    for len in 0..bytes.len() {
        assert!(
            Ledger::decode(&bytes[..len]).is_err(),
            "a prefix of {len} bytes"
        );
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    let at = bytes.len();
    assert_eq!(
        Ledger::decode(&longer),
        Err(LedgerError::Malformed { at, len: at + 1 })
    );
}

#[test]
fn another_version_is_refused_by_name() {
    let mut bytes = sample().encode();
    bytes[0] = 9;
    assert_eq!(
        Ledger::decode(&bytes),
        Err(LedgerError::Version { found: 9 })
    );
}

/// Flipped bytes are refused or give another ledger, but never a panic or a huge allocation.
#[test]
fn flipped_bytes_do_no_harm() {
    let bytes = sample().encode();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            assert_ne!(Ledger::decode(&flipped), Ok(sample()));
        }
    }
}
