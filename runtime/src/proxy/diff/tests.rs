//! The expansion of every kind (spec §2.7, the table of diff classes).

use super::*;

type D = Diff<u64, &'static str>;

fn new(value: &'static str) -> D {
    Diff::NewValue { value }
}

fn key(key: u64, diff: D) -> D {
    let diff = Box::new(diff);
    Diff::Key { key, diff }
}

fn change(from_index: u64, new_size: u64, old_size: u64) -> D {
    Diff::SequenceChange {
        from_index,
        new_size,
        old_size,
    }
}

fn check(diff: D, expected: Vec<D>) {
    assert_eq!(diff.expansion(), Some(expected), "{diff:?}");
}

/// P-49: keys.
#[test]
fn several_keys_expand_into_each() {
    let diffs = vec![(1, new("a")), (2, new("b"))];
    check(
        Diff::Keys { diffs },
        vec![key(1, new("a")), key(2, new("b"))],
    );
    let gone = |key| Diff::KeyRemove { key };
    check(
        Diff::KeysRemove { keys: vec![1, 2] },
        vec![gone(1), gone(2)],
    );
    let diff = Some(Box::new(new("a")));
    let moved = Diff::KeyChange {
        from: 1,
        to: 2,
        diff,
    };
    check(moved, vec![gone(1), key(2, new("a"))]);
    let moved = Diff::KeyChange {
        from: 1,
        to: 2,
        diff: None,
    };
    check(moved, vec![gone(1), key(2, Diff::Unknown)]);
    let parts = vec![gone(1), new("a")];
    check(
        Diff::Multi {
            diffs: parts.clone(),
        },
        parts,
    );
}

/// P-49: multisets.
#[test]
fn a_multiset_expands_where_its_set_changes() {
    let add = |old_count| Diff::MultiSetAdd {
        element: 7,
        new_count: old_count + 1,
        old_count,
    };
    check(add(0), vec![Diff::SetAdd { element: 7 }]);
    check(add(1), Vec::new());
    let remove = |new_count| Diff::MultiSetRemove {
        element: 7,
        new_count,
        old_count: new_count + 1,
    };
    check(remove(0), vec![Diff::SetRemove { element: 7 }]);
    check(remove(1), Vec::new());
}

/// P-49: sequences.
#[test]
fn sequences_expand_into_a_change_from_an_index_on_and_that_into_keys() {
    let insert = Diff::SequenceInsert {
        before_index: 2,
        element: "x",
        old_size: 3,
    };
    check(insert, vec![change(2, 4, 3)]);
    let inserts = Diff::SequenceInserts {
        before_index: 1,
        elements: vec!["x", "y"],
        old_size: 3,
    };
    check(inserts, vec![change(1, 5, 3)]);
    let remove = Diff::IndexRemove {
        index: 1,
        amount: 2,
        old_size: 5,
    };
    check(remove, vec![change(1, 3, 5)]);
    let reorder = Diff::Reorder {
        from_index: 4,
        to_index: 2,
        size: 6,
    };
    check(reorder, vec![change(2, 6, 6)]);
    let changed = |index| Diff::IndexChange {
        index,
        diff: Box::new(new("x")),
    };
    check(changed(3), vec![key(3, new("x"))]);
    let diffs = vec![(1, new("x")), (3, new("x"))];
    check(Diff::IndexChanges { diffs }, vec![changed(1), changed(3)]);
    let keys = |diffs| Diff::Keys { diffs };
    let shorter = vec![
        Diff::KeysRemove { keys: vec![3, 4] },
        keys(vec![(1, Diff::Unknown), (2, Diff::Unknown)]),
    ];
    check(change(1, 3, 5), shorter);
    let longer = vec![
        keys(vec![(2, Diff::Unknown)]),
        Diff::Append { index: 3 },
        Diff::Append { index: 4 },
    ];
    check(change(2, 5, 3), longer);
}

#[test]
fn an_index_is_a_key_only_where_keys_are_numbers() {
    let change: Diff<String, ()> = Diff::IndexChange {
        index: 1,
        diff: Box::new(Diff::Unknown),
    };
    assert_eq!(change.expansion(), None);
    let change: Diff<serde_json::Value, ()> = Diff::IndexChange {
        index: 1,
        diff: Box::new(Diff::Unknown),
    };
    let key = Diff::Key {
        key: serde_json::json!(1),
        diff: Box::new(Diff::Unknown),
    };
    assert_eq!(change.expansion(), Some(vec![key]));
}

/// P-49: what has no simpler form.
#[test]
fn the_simplest_kinds_do_not_expand() {
    let simplest: [D; 9] = [
        key(1, new("a")),
        Diff::KeyRemove { key: 1 },
        new("a"),
        Diff::SetAdd { element: 1 },
        Diff::SetRemove { element: 1 },
        Diff::Append { index: 1 },
        Diff::Unknown,
        Diff::Resync,
        Diff::Destroyed,
    ];
    for diff in simplest {
        assert_eq!(diff.expansion(), None, "{diff:?}");
    }
}

#[test]
fn the_json_of_a_diff_names_its_kind() {
    let diff: Diff<&str, u64> = Diff::Multi {
        diffs: vec![
            Diff::KeyRemove { key: "c" },
            Diff::Keys {
                diffs: vec![("d", Diff::NewValue { value: 1 })],
            },
            Diff::SequenceInsert {
                before_index: 2,
                element: 3,
                old_size: 2,
            },
        ],
    };
    let json = serde_json::json!({ "kind": "multi", "diffs": [
        { "kind": "keyRemove", "key": "c" },
        { "kind": "keys", "diffs": [["d", { "kind": "newValue", "value": 1 }]] },
        { "kind": "sequenceInsert", "beforeIndex": 2, "element": 3, "oldSize": 2 },
    ]});
    assert_eq!(serde_json::to_value(diff).unwrap(), json);
}
