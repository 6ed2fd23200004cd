//! Paths act like the collections they are named after, and count what they should.

mod model;
pub(crate) mod random;
mod ranges;

use std::collections::BTreeMap;

use crate::failure::{EventFailure, guard};
use crate::path::{Cursor, ValuePath};
use crate::schema::{List, Map, Root, Schema, Set, Untracked};
use crate::schema_desc::SchemaDesc;
use crate::test_pstate::TestPState;

/// What `#[derive(Schema)]` writes for a struct with a value, a set and a list.
struct Profile;

struct ProfilePath(Cursor);

impl Schema for Profile {
    type Path = ProfilePath;
    const LEAF: bool = false;

    fn arrive(mut cursor: Cursor) -> Cursor {
        cursor.mark_struct();
        cursor
    }

    fn path_at(cursor: Cursor) -> ProfilePath {
        ProfilePath(Self::arrive(cursor))
    }

    fn desc() -> SchemaDesc {
        SchemaDesc::Struct {
            name: "Profile",
            fields: vec![
                ("name", String::desc()),
                ("friends", Set::<u64>::desc()),
                ("posts", List::<String>::desc()),
            ],
        }
    }
}

impl Root for Profile {}

impl ProfilePath {
    fn name(&self) -> ValuePath<String> {
        String::path_at(self.0.field(0))
    }

    fn friends(&self) -> <Set<u64> as Schema>::Path {
        Set::<u64>::path_at(self.0.field(1))
    }

    fn posts(&self) -> <List<String> as Schema>::Path {
        List::<String>::path_at(self.0.field(2))
    }
}

#[test]
fn a_value_is_set_read_changed_and_removed() {
    let counts = TestPState::<Map<String, u64>>::new();
    let (counts_ref, task) = (counts.local(), counts.task());
    assert_eq!(counts_ref.key("a").get(task), None);
    counts_ref.key("a").set(task, 1);
    counts_ref
        .key(&String::from("a"))
        .update(task, |n| n.unwrap_or(0) + 4);
    assert_eq!(
        counts_ref
            .key("a")
            .modify(task, |n| std::mem::replace(n, 7)),
        5
    );
    assert_eq!(counts_ref.key("a").take(task), Some(7));
    assert!(!counts_ref.key("a").exists(task));
    counts_ref.key("b").set(task, 1);
    counts_ref.remove(task, "b");
    assert_eq!(counts.entry_count(), 0);
}

/// The no-read fast paths: `set` and `remove` at an indexed level of an untracked or top-level map.
#[test]
fn setting_and_removing_at_an_untracked_level_reads_nothing() {
    let flat = TestPState::<Map<u64, String>>::new();
    flat.local().key(&1).set(flat.task(), "x".into());
    flat.local().key(&1).remove(flat.task());
    flat.local().remove(flat.task(), &2);
    flat.local().range(3..9).remove(flat.task());
    assert_eq!(flat.reads(), 0);

    let nested = TestPState::<Map<u64, Map<u64, Set<u64, Untracked>, Untracked>>>::new();
    let path = nested.local().key(&1).key(&2);
    path.insert(nested.task(), &3);
    path.remove(nested.task(), &3);
    nested.local().key(&1).remove(nested.task(), &2);
    nested.local().remove(nested.task(), &1);
    assert_eq!(nested.reads(), 0);
}

/// P-14: the size of a tracked structure is one read; an overwrite does not change it.
#[test]
fn sizes_of_nested_structures_are_one_read() {
    let state = TestPState::<Map<u64, Map<String, u64>>>::new();
    let task = state.task();
    let inner = state.local().key(&1);
    for n in 0..100u64 {
        inner.key(&format!("k{}", n % 40)).set(task, n);
    }
    inner.remove(task, "k7");
    inner.remove(task, "never there");
    let before = state.reads();
    assert_eq!(inner.len(task), 39);
    assert_eq!(state.reads() - before, 1);
    assert_eq!(state.select(state_path().key(&1).select_len()), Ok(39));
}

fn state_path() -> crate::pstate::PState<Map<u64, Map<String, u64>>> {
    crate::pstate::PState::named("$$state")
}

/// P-19: removing the last element leaves an empty structure; P-17: removing the structure removes
/// its elements.
#[test]
fn an_emptied_structure_is_present_until_it_is_removed() {
    let state = TestPState::<Map<u64, Map<String, u64>>>::new();
    let task = state.task();
    let inner = state.local().key(&1);
    inner.key("a").set(task, 1);
    inner.remove(task, "a");
    assert_eq!(inner.len(task), 0);
    assert!(state.local().contains(task, &1));
    inner.key("b").set(task, 1);
    state.local().remove(task, &1);
    assert!(!state.local().contains(task, &1));
    assert_eq!(state.entry_count(), 0);
}

#[test]
fn counts_reach_up_through_every_level_that_keeps_one() {
    type Deep = Map<u8, Map<u8, Map<u8, List<Map<u8, u64>>>>>;
    let state = TestPState::<Deep>::new();
    let (top, task) = (state.local(), state.task());
    top.key(&1).key(&2).key(&3).at(0).key(&4).set(task, 1);
    top.key(&1).key(&2).key(&3).at(0).key(&5).set(task, 1);
    top.key(&1).key(&2).key(&3).at(1).key(&5).set(task, 1);
    top.key(&1).key(&2).key(&4).next(task).key(&5).set(task, 1);
    top.key(&1).key(&3).key(&4).next(task).key(&5).set(task, 1);
    assert_eq!(top.key(&1).len(task), 2);
    assert_eq!(top.key(&1).key(&2).len(task), 2);
    assert_eq!(top.key(&1).key(&2).key(&3).len(task), 2);
    assert_eq!(top.key(&1).key(&2).key(&3).at(0).len(task), 2);
    assert_eq!(top.key(&1).keys(task), [2, 3]);
    top.key(&1).key(&2).remove(task, &3);
    assert_eq!(top.key(&1).key(&2).keys(task), [4]);
    assert_eq!(top.key(&1).key(&2).len(task), 1);
    assert_eq!(top.len(task), 1);
}

#[test]
fn fixed_keys_hold_values_and_structures() {
    let state = TestPState::<Map<u64, Map<u64, Profile>>>::new();
    let task = state.task();
    let people = state.local().key(&1);
    people.key(&7).friends().insert(task, &9);
    people.key(&7).name().set(task, "ann".into());
    people.key(&8).posts().append(task, "hello".into());
    assert_eq!(people.len(task), 2);
    assert_eq!(people.key(&7).name().get(task).as_deref(), Some("ann"));
    assert_eq!(people.key(&7).friends().elements(task), [9]);
    assert_eq!(people.keys(task), [7, 8]);
    people.remove(task, &7);
    assert_eq!(people.len(task), 1);
    assert_eq!(people.key(&7).name().get(task), None);

    let top = TestPState::<Profile>::new();
    top.local().root().posts().append(top.task(), "x".into());
    assert_eq!(top.local().root().posts().values(top.task()), ["x"]);
}

#[test]
fn a_list_grows_and_shrinks_at_its_end() {
    let state = TestPState::<Map<u64, List<String>>>::new();
    let task = state.task();
    let list = state.local().key(&1);
    for text in ["a", "b", "c"] {
        list.append(task, text.into());
    }
    list.at(1).set(task, "B".into());
    list.at(3).set(task, "d".into());
    assert_eq!(list.len(task), 4);
    assert_eq!(list.values(task), ["a", "B", "c", "d"]);
    assert_eq!(list.range(1..3).values(task), ["B", "c"]);
    assert_eq!(
        list.last_n(2).entries(task),
        [(2, "c".into()), (3, "d".into())]
    );
    assert_eq!(list.first_n(2).descending().values(task), ["B", "a"]);
    assert_eq!(list.pop(task).as_deref(), Some("d"));
    assert_eq!(
        (list.first(task), list.last(task)),
        (Some("a".into()), Some("c".into()))
    );
    let beyond = guard(|| list.at(9).set(task, "far".into()));
    let pstate = "$$test".to_owned();
    assert_eq!(
        beyond,
        Err(EventFailure::OutOfRange {
            pstate,
            index: 9,
            len: 3
        })
    );
    let inside = guard(|| list.at(0).remove(task));
    assert!(
        matches!(inside, Err(EventFailure::Unsupported { .. })),
        "{inside:?}"
    );
    list.clear(task);
    assert!(list.is_empty(task));
    assert_eq!(list.pop(task), None);
}

/// P-20: what is iterated may be changed while iterating.
#[test]
fn a_loop_may_change_what_it_iterates() {
    let state = TestPState::<Map<u64, Map<u64, u64>>>::new();
    let (top, task) = (state.local(), state.task());
    for n in 0..20 {
        top.key(&(n % 3)).key(&n).set(task, n);
    }
    let mut seen = 0;
    for key in top.keys(task) {
        for (n, _) in top.key(&key).entries(task) {
            top.key(&key).remove(task, &n);
            top.key(&key).key(&(n + 100)).set(task, n);
            seen += 1;
        }
        top.remove(task, &key);
    }
    assert_eq!(seen, 20);
    assert_eq!(state.entry_count(), 0);
}

/// O-13 made an error: a keyed access away from the key's home fails the event, naming both tasks.
#[test]
fn a_key_that_lives_elsewhere_fails_the_event() {
    let state = TestPState::<Map<String, Map<u64, u64>>>::on_task(1, 64);
    let task = state.task();
    let path = state.local().key("alice").key(&1);
    let failed = guard(|| path.get(task));
    assert_eq!(
        failed,
        Err(EventFailure::WrongTask {
            pstate: "$$test".into(),
            key: "\"alice\"".into(),
            here: 1,
            home: 44,
        })
    );
    assert!(guard(|| path.set(task, 1)).is_err());
    assert!(guard(|| state.local().key("alice").keys(task)).is_err());
    assert!(guard(|| state.local().contains(task, "alice")).is_err());
    assert_eq!(guard(|| path.clone().unaligned().get(task)), Ok(None));
    assert_eq!(
        guard(|| state.local().unaligned().key("alice").key(&1).set(task, 1)),
        Ok(())
    );
    assert_eq!(
        guard(|| state.local().keys(task)),
        Ok(vec!["alice".to_owned()])
    );
}

#[test]
fn a_global_pstate_lives_on_task_0() {
    let global = crate::pstate::PState::<Map<String, u64>>::named("$$global").global();
    let zero = TestPState::of(&global, 0, 64);
    assert_eq!(
        guard(|| zero.local().key("alice").get(zero.task())),
        Ok(None)
    );
    let one = TestPState::of(&global, 1, 64);
    let failed = guard(|| one.local().keys(one.task()));
    assert!(
        matches!(
            failed,
            Err(EventFailure::WrongTask {
                home: 0,
                here: 1,
                ..
            })
        ),
        "{failed:?}"
    );
}

#[test]
fn a_constant_without_its_handle_says_so() {
    let counts = crate::pstate::PState::<Map<String, u64>>::named("$$counts");
    let state = TestPState::<Map<String, u64>>::new();
    let failed = guard(|| counts.key("a").get(state.task()));
    assert_eq!(
        failed,
        Err(EventFailure::Undeclared {
            pstate: "$$counts".into()
        })
    );
}

/// P-23: a reset value is the initial one again.
#[test]
fn an_initial_value_comes_back_on_reset() {
    let total = crate::pstate::PState::<u64>::named("$$total").initial(|| 10);
    let state = TestPState::of(&total, 0, 1);
    let (local, task) = (state.local(), state.task());
    assert_eq!(local.get(task), None);
    local.reset(task);
    local.update(task, |n| n.unwrap_or(0) + 1);
    assert_eq!(state.select(total), Ok(Some(11)));
    assert_eq!(total.initial_bytes(), Some(10u64.to_le_bytes().to_vec()));
}

/// §17.1: sorted {1 a 2 b 3 c 5 e 7 g}: range 2..5, from 2 max 2, to 7 max 2; and the others that a
/// typed path can say.
#[test]
fn range_vectors_of_the_specification_hold() {
    let state = TestPState::<Map<u64, Map<u64, String>>>::new();
    let task = state.task();
    let map = state.local().key(&0);
    for (key, value) in [(1, "a"), (2, "b"), (3, "c"), (5, "e"), (7, "g")] {
        map.key(&key).set(task, value.to_owned());
    }
    let entries = |pairs: &[(u64, &str)]| -> Vec<(u64, String)> {
        pairs
            .iter()
            .map(|(key, value)| (*key, (*value).to_owned()))
            .collect()
    };
    assert_eq!(
        map.range(2..5).entries(task),
        entries(&[(2, "b"), (3, "c")])
    );
    assert_eq!(
        map.range(2..).first_n(2).entries(task),
        entries(&[(2, "b"), (3, "c")])
    );
    assert_eq!(
        map.range(..7).last_n(2).entries(task),
        entries(&[(3, "c"), (5, "e")])
    );
    assert_eq!(map.range(..=7).last(task), entries(&[(7, "g")]).pop());
    assert_eq!(map.range(4..5).entries(task), []);
    let beyond = (
        std::ops::Bound::Excluded(u64::MAX),
        std::ops::Bound::Unbounded,
    );
    assert!(map.range(beyond).is_empty(task));
    assert_eq!(map.range(..=u64::MAX).len(task), 5);
    assert_eq!(map.key(&9).get(task), None, "an absent key is nothing");
    assert!(map.range(8..).is_empty(task));
}

/// P-8: undecodable bytes end the event with the PState's name; they are never served.
#[test]
fn bytes_of_another_type_are_not_served() {
    let state = TestPState::<Map<u64, u64>>::new();
    let (_, space) = state.read_access();
    let key = rama_wire::Key::key_bytes(&5u64);
    state.task().access().put(space, &key, b"short");
    let failed = guard(|| state.local().key(&5).get(state.task()));
    assert!(
        matches!(failed, Err(EventFailure::Undecodable { .. })),
        "{failed:?}"
    );
    assert!(guard(|| state.local().values(state.task())).is_err());
}

#[test]
fn a_key_that_no_store_takes_fails_the_event() {
    let state = TestPState::<Map<String, u64>>::new();
    let long = "x".repeat(70_000);
    let failed = guard(|| state.local().key(&long).set(state.task(), 1));
    assert!(
        matches!(failed, Err(EventFailure::Unsupported { .. })),
        "{failed:?}"
    );
}

/// The hot path of a counter, `key(..).update(..)`: two calls into the access, key and value encoded
/// into buffers that are already there. Prints its cost over the ordered map of the test; the claim
/// about it is made with an optimized build.
#[test]
fn updating_a_counter_costs_little() {
    let state = TestPState::<Map<String, u64>>::new();
    let (counts, task) = (state.local(), state.task());
    let words: Vec<String> = (0..64).map(|n| format!("word{n}")).collect();
    let rounds = if std::env::var_os("RAMA_SPEED").is_some() {
        100_000
    } else {
        10
    };
    let start = std::time::Instant::now();
    for _ in 0..rounds {
        for word in &words {
            counts.key(word).update(task, |n| n.unwrap_or(0) + 1);
        }
    }
    let per_update = start.elapsed() / (rounds * words.len() as u32);
    println!("{per_update:?} per update");
    assert_eq!(state.reads(), u64::from(rounds) * 64);
    assert_eq!(counts.values(task), vec![u64::from(rounds); 64]);
}

#[test]
fn standard_collections_are_values() {
    let state = TestPState::<Map<u64, BTreeMap<String, Vec<u64>>>>::new();
    let value = BTreeMap::from([("a".to_owned(), vec![1, 2])]);
    state.local().key(&1).set(state.task(), value.clone());
    assert_eq!(state.local().key(&1).get(state.task()), Some(value));
    assert_eq!(state.entry_count(), 1);
}
