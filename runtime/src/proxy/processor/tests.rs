//! The facts of spec §17.3, DiffProcessing, and all or nothing.

use super::*;

/// Handles keys that change.
#[derive(Default)]
struct KeysOnly {
    seen: Vec<(String, u64)>,
    unhandled: u32,
}

impl Processor<String, u64> for KeysOnly {
    fn unhandled(&mut self) {
        self.unhandled += 1;
    }

    fn key(&self) -> Option<Handler<KeysOnly, String, u64>> {
        Some(|me, diff| match diff {
            Diff::Key { key, diff } => match &**diff {
                Diff::NewValue { value } => me.seen.push((key.clone(), *value)),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        })
    }
}

fn keys(count: u64) -> Diff<String, u64> {
    let entry = |at: u64| (format!("k{at}"), Diff::NewValue { value: at });
    Diff::Keys {
        diffs: (0..count).map(entry).collect(),
    }
}

/// P-49, DiffProcessing: four keys reach a program of single keys as four calls, in order.
#[test]
fn four_keys_are_four_calls() {
    let mut program = KeysOnly::default();
    keys(4).process(&mut program);
    let expected: Vec<_> = (0..4).map(|at| (format!("k{at}"), at)).collect();
    assert_eq!((program.seen, program.unhandled), (expected, 0));
}

/// P-49, DiffProcessing: an unknown diff is unhandled, and nothing else.
#[test]
fn an_unknown_diff_is_unhandled() {
    let mut program = KeysOnly::default();
    Diff::Unknown.process(&mut program);
    assert_eq!((program.seen.len(), program.unhandled), (0, 1));
}

/// P-49: one part that nobody handles, and nothing is delivered.
#[test]
fn all_parts_are_delivered_or_none() {
    let mut program = KeysOnly::default();
    let gone = || Diff::KeyRemove {
        key: "x".to_owned(),
    };
    let diffs = vec![keys(2), gone(), gone()];
    Diff::Multi { diffs }.process(&mut program);
    assert_eq!((program.seen.len(), program.unhandled), (0, 1));
    let diffs = vec![keys(1), keys(2)];
    Diff::Multi { diffs }.process(&mut program);
    assert_eq!((program.seen.len(), program.unhandled), (3, 1));
}

/// P-49: what a program handles itself is not taken apart.
#[test]
fn a_handled_kind_is_delivered_whole() {
    #[derive(Default)]
    struct Whole(Vec<usize>);
    impl Processor<String, u64> for Whole {
        fn unhandled(&mut self) {
            panic!("everything is handled");
        }

        fn keys(&self) -> Option<Handler<Whole, String, u64>> {
            Some(|me, diff| {
                if let Diff::Keys { diffs } = diff {
                    me.0.push(diffs.len());
                }
            })
        }
    }
    let mut program = Whole::default();
    let diffs = vec![keys(3), keys(2)];
    Diff::Multi { diffs }.process(&mut program);
    assert_eq!(program.0, [3, 2]);
}
