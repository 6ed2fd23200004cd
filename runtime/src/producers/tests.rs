//! The rule alone: taken once, known for a while, never guessed.

use super::*;

const LOG: LogId = LogId(3);

fn numbered(producer: u64, sequence: u64) -> Numbered {
    Numbered { producer, sequence }
}

fn index(n: u64) -> Index {
    Index(n)
}

#[test]
fn a_number_is_taken_once() {
    let mut producers = Producers::default();
    assert_eq!(producers.judge(LOG, numbered(1, 1)), Verdict::New);
    producers.take(LOG, numbered(1, 1), 40, index(7));
    producers.take(LOG, numbered(1, 3), 41, index(8));
    let taken = |offset| Verdict::Taken {
        offset,
        index: index(8),
    };
    assert_eq!(producers.judge(LOG, numbered(1, 1)), taken(40));
    assert_eq!(producers.judge(LOG, numbered(1, 3)), taken(41));
    // 2 was refused, or another partition's: it may still come.
    assert_eq!(producers.judge(LOG, numbered(1, 2)), Verdict::New);
    assert_eq!(producers.judge(LOG, numbered(2, 1)), Verdict::New);
    assert_eq!(producers.judge(LogId(4), numbered(1, 1)), Verdict::New);
}

#[test]
fn what_is_too_old_is_neither_taken_nor_said_to_be() {
    let mut producers = Producers::default();
    for sequence in 1..=KEPT + 10 {
        producers.take(LOG, numbered(1, sequence), sequence * 2, index(sequence));
    }
    assert_eq!(producers.judge(LOG, numbered(1, 10)), Verdict::Forgotten);
    let newest = index(KEPT + 10);
    let taken = Verdict::Taken {
        offset: 22,
        index: newest,
    };
    assert_eq!(producers.judge(LOG, numbered(1, 11)), taken);
}

#[test]
fn a_new_program_takes_the_place_of_the_one_that_was_silent_for_longest() {
    let mut producers = Producers::default();
    for producer in 0..PROGRAMS_MAX as u64 {
        producers.take(LOG, numbered(producer, 1), 0, index(1));
    }
    producers.take(LOG, numbered(0, 2), 0, index(2));
    assert!(!producers.writes(LOG, numbered(0, 3), 0).is_empty());
    producers.take(LOG, numbered(1 << 40, 1), 0, index(3));
    assert_eq!(producers.programs.len(), PROGRAMS_MAX);
    assert_eq!(producers.judge(LOG, numbered(1, 1)), Verdict::New);
    assert_ne!(producers.judge(LOG, numbered(0, 1)), Verdict::New);
}
