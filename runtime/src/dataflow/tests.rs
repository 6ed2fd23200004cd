//! Tests of chains and partitioners: definitions are built as an author would and their stages run
//! over a fake access, without an engine.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use rama_wire::{LogId, Record, SpaceId, hash};
use serde_json::Value;

use crate::access::{Access, Order, ReadAccess};
use crate::definition::{Definition, TopologyDef};
use crate::depot_def::{Depot, Partition};
use crate::failure::{self, EventFailure};
use crate::module::Module;
use crate::setup::{Setup, Topology};
use crate::stage::{Ack, Batch, Fan, Item, Origin, Outbox, Outgoing, SourceRecord, StageIndex};
use crate::task::Task;
use crate::topology_def::Stream;

const LINES: Depot<String> = Depot::named("*lines");
const TASKS: u32 = 4;

/// An access without state: it remembers ack returns and appends.
#[derive(Default)]
struct Fake {
    returned: RefCell<Vec<Value>>,
    appended: RefCell<Vec<(LogId, Vec<u8>)>>,
}

impl ReadAccess for Fake {
    fn get(&self, _: SpaceId, _: &[u8], with: &mut dyn FnMut(Option<&[u8]>)) {
        with(None);
    }

    fn scan(
        &self,
        _: SpaceId,
        _: &[u8],
        _: Option<&[u8]>,
        _: Order,
        _: &mut crate::access::Visit<'_>,
    ) {
    }
}

impl Access for Fake {
    fn put(&self, _: SpaceId, _: &[u8], _: &[u8]) {}
    fn delete(&self, _: SpaceId, _: &[u8]) {}
    fn delete_range(&self, _: SpaceId, _: &[u8], _: Option<&[u8]>) {}
    fn home(&self, space: SpaceId, key: &[u8]) -> u32 {
        if space == SpaceId(9) {
            0
        } else {
            hash::task_of(key, TASKS)
        }
    }
    fn task_id(&self) -> u32 {
        2
    }
    fn task_count(&self) -> u32 {
        TASKS
    }
    fn now_ms(&self) -> u64 {
        0
    }
    fn random_u64(&self) -> u64 {
        0
    }
    fn microbatch_id(&self) -> Option<u64> {
        None
    }
    fn ack_return(&self, value: Value) {
        self.returned.borrow_mut().push(value);
    }
    fn append(&self, depot: LogId, record: &[u8]) {
        self.appended.borrow_mut().push((depot, record.to_vec()));
    }
}

/// A module made of a closure.
struct Made<F>(F);

impl<F: Fn(&mut Setup) + Send + Sync + 'static> Module for Made<F> {
    fn define(&self, m: &mut Setup) {
        (self.0)(m);
    }

    fn name(&self) -> String {
        "Made".to_owned()
    }
}

/// The one topology of a module over `*lines`.
fn stream(build: impl Fn(&mut Topology<Stream>) + Send + Sync + 'static) -> TopologyDef {
    let made = Made(move |m: &mut Setup| {
        m.depot(LINES, Partition::random());
        build(&mut m.stream("count"));
    });
    Definition::of(&made).unwrap().topologies.remove(0)
}

fn origin(record: u64) -> Origin {
    Origin { record, home: 7 }
}

fn records(lines: &[Vec<u8>]) -> Vec<SourceRecord<'_>> {
    let numbered = lines.iter().zip(0..);
    numbered
        .map(|(bytes, offset)| SourceRecord {
            origin: origin(offset),
            edge: 1 << (offset % 64),
            offset,
            bytes,
        })
        .collect()
}

/// Runs the first source over `lines` and answers with what left the task.
fn run_source(topology: &TopologyDef, lines: &[&str], out: &mut Outbox) -> Vec<Outgoing> {
    let task = Task::new(Rc::new(Fake::default()));
    let lines: Vec<Vec<u8>> = lines
        .iter()
        .map(|line| line.to_string().to_bytes())
        .collect();
    let records = records(&lines);
    topology.sources[0]
        .stage
        .run_records(&task, &mut records.as_slice(), out);
    out.drain_outgoing().collect()
}

fn outbox() -> Outbox {
    Outbox::tracked(TASKS, 42)
}

/// Values and destinations, in order.
fn sent<T: 'static>(outgoing: Vec<Outgoing>) -> Vec<(u32, Vec<T>)> {
    let values = |batch: Batch| batch.into_items::<T>().into_iter().map(|item| item.value);
    outgoing
        .into_iter()
        .map(|out| (out.task, values(out.batch).collect()))
        .collect()
}

#[test]
fn the_first_target_program_counts_words() {
    let counted = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&counted);
    let topology = stream(move |s| {
        let seen = Arc::clone(&seen);
        s.source(LINES)
            .flat_map(|_, line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
            .hash_partition(|word| word)
            .each(move |task, word| seen.lock().unwrap().push((task.id(), word)));
    });
    let mut out = outbox();
    let hops = run_source(&topology, &["to be or", "not to be"], &mut out);
    let task = Task::new(Rc::new(Fake::default()));
    for hop in hops {
        for item in hop.batch.into_items::<String>() {
            assert_eq!(
                hop.task,
                hash::task_of(&rama_wire::Key::key_bytes(&item.value), TASKS)
            );
            let batch = Batch::new(vec![item]);
            topology.stages[usize::from(hop.stage.0)].run(&task, batch, &mut out);
        }
    }
    let mut words: Vec<String> = counted
        .lock()
        .unwrap()
        .iter()
        .map(|(_, word)| word.clone())
        .collect();
    words.sort();
    assert_eq!(words, ["be", "be", "not", "or", "to", "to"]);
}

#[test]
fn a_key_may_be_copied_out_of_a_pattern_or_be_a_part_by_reference() {
    let topology = stream(|s| {
        s.source(LINES)
            .map(|_, line| (line.len() as u64, line))
            .hash_partition(|(len, _)| len)
            .hash_partition(|(_, line)| line)
            .hash_partition_by(|(_, line)| line)
            .hash_partition_by(|pair| &pair.0)
            .done();
    });
    assert_eq!(topology.stages.len(), 4);
}

/// S-3: the XOR of all acks and edges of a tree is zero when nothing of it is left.
#[test]
fn edges_of_a_finished_tree_cancel_out() {
    let topology = stream(|s| {
        s.source(LINES)
            .flat_map(|_, line| line.chars().collect::<Vec<_>>())
            .all_partition()
            .filter(|_, letter| *letter != 'x')
            .shuffle_partition()
            .done();
    });
    let mut out = outbox();
    let mut hops = run_source(&topology, &["abxc", "", "x"], &mut out);
    let mut trees = [1u64, 2, 4];
    let task = Task::new(Rc::new(Fake::default()));
    loop {
        for Ack { origin, edges } in out.drain_acks() {
            assert_eq!(origin.home, 7);
            trees[origin.record as usize] ^= edges;
        }
        let Some(hop) = hops.pop() else { break };
        topology.stages[usize::from(hop.stage.0)].run(&task, hop.batch, &mut out);
        hops.extend(out.drain_outgoing());
        assert!(
            hops.is_empty() || trees[0] != 0,
            "the first tree lives as long as work is left"
        );
    }
    // The root edges were consumed with the records.
    assert_eq!(trees, [0, 0, 0]);
}

#[test]
fn a_microbatch_has_no_edges_and_no_acks() {
    let topology = stream(|s| s.source(LINES).global_partition().done());
    let mut out = Outbox::untracked(TASKS, 1);
    let hops = run_source(&topology, &["a"], &mut out);
    assert_eq!(out.drain_acks().count(), 0);
    let items = hops
        .into_iter()
        .next()
        .unwrap()
        .batch
        .into_items::<String>();
    assert_eq!(
        items,
        [Item {
            origin: origin(0),
            edge: 0,
            value: "a".to_owned()
        }]
    );
}

/// O-9: from one task to another, in the order of sending.
#[test]
fn values_for_one_task_keep_their_order() {
    let topology = stream(|s| {
        s.source(LINES)
            .direct_partition(|line| line.len() as u32)
            .done()
    });
    let hops = run_source(&topology, &["a", "bb", "c", "dd"], &mut outbox());
    assert_eq!(
        sent::<String>(hops),
        [
            (1, vec!["a".to_owned(), "c".into()]),
            (2, vec!["bb".into(), "dd".into()])
        ]
    );
}

/// F-7, F-20: the rest of an event is another one, on the task where it is.
#[test]
fn an_event_may_yield_and_go_on_where_it_is() {
    let topology = stream(|s| s.source(LINES).yield_if_overtime().done());
    let hops = run_source(&topology, &["a", "b"], &mut outbox());
    assert_eq!(
        sent::<String>(hops),
        [(2, vec!["a".to_owned(), "b".into()])]
    );
}

/// every task, task 0, each task once in a round.
#[test]
fn all_global_and_shuffle_reach_their_tasks() {
    let tasks = |hops: Vec<Outgoing>| hops.iter().map(|hop| hop.task).collect::<Vec<_>>();
    let all = stream(|s| s.source(LINES).all_partition().done());
    assert_eq!(tasks(run_source(&all, &["a"], &mut outbox())), [0, 1, 2, 3]);
    let global = stream(|s| s.source(LINES).global_partition().done());
    assert_eq!(tasks(run_source(&global, &["a", "b"], &mut outbox())), [0]);
    let shuffle = stream(|s| s.source(LINES).shuffle_partition().done());
    let mut out = outbox();
    for _ in 0..3 {
        let mut round = Vec::new();
        for _ in 0..TASKS {
            round.extend(tasks(run_source(&shuffle, &["a"], &mut out)));
        }
        round.sort_unstable();
        assert_eq!(round, [0, 1, 2, 3], "the turn lives on from batch to batch");
    }
}

fn failure_of(topology: &TopologyDef, lines: &[Vec<u8>]) -> (EventFailure, Origin) {
    let task = Task::new(Rc::new(Fake::default()));
    let records = records(lines);
    let mut out = outbox();
    let run = || {
        topology.sources[0]
            .stage
            .run_records(&task, &mut records.as_slice(), &mut out)
    };
    let failure = failure::guard(run).expect_err("it must fail");
    assert_eq!(out.current().record, task.origin());
    let origin = out.current();
    out.clear();
    assert!(out.is_empty());
    (failure, origin)
}

/// never wrapped around, never dropped.
#[test]
fn an_index_out_of_range_fails_the_event() {
    let lines = ["abc".to_owned().to_bytes(), "abcd".to_owned().to_bytes()];
    let direct = stream(|s| {
        s.source(LINES)
            .direct_partition(|line| line.len() as u32)
            .done()
    });
    let (failure, origin) = failure_of(&direct, &lines);
    insta::assert_snapshot!(failure, @"direct_partition chose task 4, but the module has tasks 0 to 3; answer below the number of tasks");
    assert_eq!(origin.record, 1);
    let custom = stream(|s| s.source(LINES).custom_partition(|_, tasks| tasks).done());
    let (failure, origin) = failure_of(&custom, &lines);
    insta::assert_snapshot!(failure, @"custom_partition chose task 4, but the module has tasks 0 to 3; answer below the number of tasks");
    assert_eq!(origin.record, 0);
}

#[test]
fn a_record_that_does_not_decode_fails_by_type_and_offset() {
    let topology = stream(|s| s.source(LINES).done());
    let (failure, origin) = failure_of(&topology, &["a".to_owned().to_bytes(), vec![1]]);
    assert_eq!(origin.record, 1);
    let text = failure.to_string();
    assert!(
        text.contains("*lines at offset 1") && text.contains("String"),
        "{text}"
    );
}

#[test]
fn a_panic_and_an_error_name_their_record() {
    let lines = ["a".to_owned().to_bytes(), "b".to_owned().to_bytes()];
    let panics = stream(|s| {
        s.source(LINES)
            .filter(|_, line| line != "b" || panic!("no b"))
            .done()
    });
    let (failure, origin) = failure_of(&panics, &lines);
    assert!(matches!(failure, EventFailure::Panic { ref message, .. } if message == "no b"));
    assert_eq!(origin.record, 1);
    let fails = stream(|s| {
        s.source(LINES)
            .try_map(|_, line| line.parse::<u64>())
            .try_each(|_, _| Err("unreachable"));
    });
    let (failure, origin) = failure_of(&fails, &lines);
    insta::assert_snapshot!(failure, @"invalid digit found in string");
    assert_eq!(origin.record, 0);
}

#[test]
fn a_large_emission_is_cut_into_several_batches() {
    let topology = stream(|s| {
        s.source(LINES)
            .emit(|_, line, out: &mut dyn FnMut(u64)| (0..line.len() as u64 * 5000).for_each(out))
            .global_partition()
            .done();
    });
    let hops = run_source(&topology, &["aa"], &mut outbox());
    let sizes: Vec<usize> = hops.iter().map(|hop| hop.batch.len()).collect();
    assert_eq!(sizes, [4096, 4096, 10_000 - 2 * 4096]);
    let values: Vec<u64> = sent(hops)
        .into_iter()
        .flat_map(|(_, values)| values)
        .collect();
    assert!(
        values
            .iter()
            .copied()
            .eq((0..5000).chain(0..0).chain(5000..10_000))
    );
}

#[test]
fn ack_returns_reach_the_access_and_the_flow_goes_on() {
    let topology = stream(|s| {
        s.source(LINES)
            .ack_return(|_, line| line.len() as u64)
            .global_partition()
            .done();
    });
    let fake = Rc::new(Fake::default());
    let task = Task::new(fake.clone());
    let lines = ["abc".to_owned().to_bytes()];
    let mut out = outbox();
    topology.sources[0]
        .stage
        .run_records(&task, &mut records(&lines).as_slice(), &mut out);
    assert_eq!(*fake.returned.borrow(), [Value::from(3)]);
    assert_eq!(out.drain_outgoing().count(), 1);
}

#[test]
fn a_topology_appends_through_a_handle() {
    const AUDIT: Depot<u64> = Depot::named("*audit");
    let made = Made(|m: &mut Setup| {
        m.depot(LINES, Partition::random());
        let audit = m.depot(AUDIT, Partition::disallow()).handle();
        m.stream("s")
            .source(LINES)
            .each(move |task, line| audit.append(task, &(line.len() as u64)));
    });
    let definition = Definition::of(&made).unwrap();
    let fake = Rc::new(Fake::default());
    let lines = ["abc".to_owned().to_bytes()];
    definition.topologies[0].sources[0].stage.run_records(
        &Task::new(fake.clone()),
        &mut records(&lines).as_slice(),
        &mut outbox(),
    );
    let expected = (definition.depot("*audit").unwrap().log, 3u64.to_bytes());
    assert_eq!(*fake.appended.borrow(), [expected]);
}

#[test]
#[should_panic(expected = "a batch of u64 reached a stage that takes alloc::string::String")]
fn a_batch_of_another_type_is_a_bug_that_is_told() {
    let topology = stream(|s| s.source(LINES).global_partition().done());
    let batch = Batch::new(vec![Item {
        origin: origin(0),
        edge: 0,
        value: 1u64,
    }]);
    let task = Task::new(Rc::new(Fake::default()));
    topology.stages[usize::from(StageIndex(0).0)].run(&task, batch, &mut outbox());
}

#[test]
fn a_tick_is_a_record_of_unit() {
    const TICK: Depot<()> = Depot::named("*tick");
    let made = Made(|m: &mut Setup| {
        m.tick_depot(TICK, std::time::Duration::from_millis(5));
        m.microbatch("mb").source(TICK).all_partition().done();
    });
    let definition = Definition::of(&made).unwrap();
    let mut out = Outbox::untracked(TASKS, 0);
    let tick = [().to_bytes()];
    definition.topologies[0].sources[0].stage.run_records(
        &Task::new(Rc::new(Fake::default())),
        &mut records(&tick).as_slice(),
        &mut out,
    );
    assert_eq!(out.drain_outgoing().count(), 4);
}

/// What one word costs from its line to the lane of its task: `cargo test --release -- --nocapture
/// a_word_is_cheap` prints it for a million words.
#[test]
fn a_word_is_cheap() {
    let topology = stream(|s| {
        s.source(LINES)
            .flat_map(|_, line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
            .hash_partition(|word| word)
            .done();
    });
    let emitted = stream(|s| {
        s.source(LINES)
            .emit(|_, line, out| line.split(' ').for_each(|word| out(word.to_owned())))
            .hash_partition_by(|word| word)
            .done();
    });
    let lines: usize = if cfg!(debug_assertions) { 100 } else { 100_000 };
    let line = "the quick brown foxes jumped over ten lazy sleeping dogs";
    let lines = vec![line; lines];
    for (name, topology) in [
        ("flat_map, hash_partition", topology),
        ("emit, hash_partition_by", emitted),
    ] {
        let mut out = Outbox::untracked(TASKS, 1);
        let started = std::time::Instant::now();
        let mut words = 0;
        for lines in lines.chunks(512) {
            words += run_source(&topology, lines, &mut out)
                .iter()
                .map(|hop| hop.batch.len())
                .sum::<usize>();
        }
        let each = started.elapsed().as_nanos() / words as u128;
        println!("{name}: {words} words, {each} ns each");
        assert_eq!(words, lines.len() * 10);
    }
}

/// `|word| word` takes the copy apart not at all: it comes back, and its buffer with it.
#[test]
fn a_key_that_is_the_value_is_copied_without_an_allocation() {
    let mut out = Outbox::untracked(TASKS, 1);
    let mut fan: Fan<'_, String> = Fan::new(&mut out, StageIndex(0));
    let copy = fan.copy_of(&"a first word".to_owned());
    let buffer = copy.as_ptr();
    fan.keep_copy(copy);
    let copy = fan.copy_of(&"another".to_owned());
    assert_eq!((copy.as_str(), copy.as_ptr()), ("another", buffer));
    fan.keep_copy(7_u64);
    assert_eq!(
        fan.copy_of(&"of another type".to_owned()),
        "of another type"
    );
}
