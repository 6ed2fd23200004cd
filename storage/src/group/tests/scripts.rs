//! Single stories, told step by step.

use std::time::Duration;

use rama_io::Env;
use rama_io::sim::{Faults, SimEnv};
use rama_wire::{Index, LogId};

use super::model::{SPACE, batch_of};
use super::world::{IDENTITY, PARTITIONS, World, contents, dir, read_all, small_options};
use crate::{Entry, Error, Group, GroupOptions, Identity, Op, Prepared};

const P: u32 = PARTITIONS[0];
const LOG: LogId = LogId(1);

fn world() -> World {
    World::new(7, Faults::crash_only(), GroupOptions::default())
}

fn append(group: &Group<SimEnv>, time_ms: u64, record: &[u8]) -> Index {
    let records = [record];
    let entry = Entry::new().append(P, LOG, time_ms, &records);
    group.append(entry).unwrap().index
}

fn settle(world: &World, group: &Group<SimEnv>) {
    let last = group.appended();
    world.sim.block_on(group.wait_durable(last)).unwrap();
    group.apply(last).unwrap();
}

#[test]
fn an_entry_is_readable_only_when_it_is_applied() {
    let mut world = world();
    let (group, _) = world.open().unwrap();
    let partition = group.partition(P).unwrap();
    let index = append(&group, 5, b"record");
    assert_eq!((group.durable(), group.appended()), (Index::ZERO, index));
    assert!(matches!(group.apply(index), Err(Error::NotDurable { .. })));
    world.sim.block_on(group.wait_durable(index)).unwrap();
    assert_eq!(
        (partition.log_range(LOG), partition.log_appended_end(LOG)),
        (0..0, 1)
    );
    group.apply(index).unwrap();
    assert_eq!(partition.log_range(LOG), 0..1);
    let found = world.sim.block_on(read_all(&partition, LOG, 0)).unwrap();
    assert_eq!(found, [(5, b"record".to_vec())]);
}

#[test]
fn what_comes_during_a_write_goes_with_the_next() {
    let mut world = world();
    let (group, _) = world.open().unwrap();
    append(&group, 1, b"alone");
    // The write begins when the writer loop gets its turn.
    world.sim.run_for(Duration::from_micros(10));
    for _ in 0..50 {
        append(&group, 2, b"together");
    }
    settle(&world, &group);
    assert_eq!(group.stats().writes, 2);
    assert_eq!(group.stats().entries, 51);
}

#[test]
fn a_batch_that_is_full_is_followed_by_another() {
    let mut world = World::new(7, Faults::crash_only(), small_options(None));
    let (group, _) = world.open().unwrap();
    for _ in 0..8 {
        append(&group, 1, &[1; 700]);
    }
    append(&group, 1, &[2; 30_000]);
    settle(&world, &group);
    let partition = group.partition(P).unwrap();
    let found = world.sim.block_on(read_all(&partition, LOG, 0)).unwrap();
    assert_eq!(found.len(), 9);
    assert_eq!(found[8].1, [2; 30_000]);
    assert!(
        (4..=9).contains(&group.stats().writes),
        "{:?}",
        group.stats()
    );
}

#[test]
fn a_transaction_prepared_before_a_restart_is_decided_after_it() {
    for commit in [true, false] {
        let mut world = world();
        let (group, _) = world.open().unwrap();
        let batch = batch_of(&vec![(b"k".to_vec(), Some(b"v".to_vec()))]);
        let (partition, slot, txn, attempt) = (P, 2, 77, 3);
        let prepare = Op::Prepare {
            partition,
            slot,
            txn,
            attempt,
            batch,
        };
        group.append(Entry::new().with(prepare)).unwrap();
        settle(&world, &group);
        world.sim.power_cut(world.process);

        let (group, recovered) = world.open().unwrap();
        let prepared = Prepared {
            partition,
            slot,
            txn,
            attempt,
        };
        assert_eq!(recovered.prepared, [prepared]);
        assert!(contents(&group.partition(P).unwrap()).unwrap().is_empty());
        let decision = match commit {
            true => Op::Commit {
                partition,
                slot,
                txn,
            },
            false => Op::Abort {
                partition,
                slot,
                txn,
                attempt,
            },
        };
        group.append(Entry::new().with(decision)).unwrap();
        settle(&world, &group);
        world.sim.power_cut(world.process);

        let (group, recovered) = world.open().unwrap();
        assert_eq!(recovered.prepared, []);
        let found = contents(&group.partition(P).unwrap()).unwrap();
        assert_eq!(found.contains_key(b"k".as_slice()), commit);
    }
}

#[test]
fn what_is_not_prepared_cannot_be_committed() {
    let mut world = world();
    let (group, _) = world.open().unwrap();
    let commit = Op::Commit {
        partition: P,
        slot: 0,
        txn: 1,
    };
    let refused = group.append(Entry::new().with(commit));
    assert!(matches!(
        refused,
        Err(Error::UnknownTransaction { txn: 1, .. })
    ));
    assert_eq!(group.appended(), Index::ZERO);
}

/// Spec S-22: a source may start at a moment in time.
#[test]
fn a_start_position_is_found_by_time() {
    let mut world = World::new(3, Faults::crash_only(), small_options(None));
    let (group, _) = world.open().unwrap();
    for time in 0..200 {
        append(&group, 1_000 + time * 10, &[3; 100]);
        settle(&world, &group);
    }
    world.sim.block_on(group.checkpoint()).unwrap();
    assert!(group.stats().sealed > 2);
    world.sim.power_cut(world.process);
    let (group, _) = world.open().unwrap();
    let partition = group.partition(P).unwrap();
    let at = |time| {
        world
            .sim
            .block_on(partition.offset_at_time(LOG, time))
            .unwrap()
    };
    assert_eq!((at(0), at(1_000), at(1_001)), (0, 0, 1));
    for offset in 0..200 {
        assert_eq!(at(1_000 + offset * 10), offset);
        assert_eq!(at(995 + offset * 10), offset);
    }
    assert_eq!(at(2_991), 200);
}

#[test]
fn cold_records_ask_to_be_warmed() {
    let mut world = World::new(3, Faults::crash_only(), small_options(None));
    let (group, _) = world.open().unwrap();
    for _ in 0..100 {
        append(&group, 1, &[3; 100]);
        settle(&world, &group);
    }
    world.sim.block_on(group.close()).unwrap();
    let (group, recovered) = world.open().unwrap();
    assert_eq!(recovered.replayed, 0, "opening reads no sealed segment");
    let partition = group.partition(P).unwrap();
    let mut count = 0;
    let cold = partition.read_log(LOG, 0, 10, 1 << 20, &mut |_| count += 1);
    assert!(matches!(cold, Err(Error::Cold { offset: 0, .. })));
    world.sim.block_on(partition.warm_log(LOG, 0)).unwrap();
    partition
        .read_log(LOG, 0, 10, 1 << 20, &mut |_| count += 1)
        .unwrap();
    assert_eq!(count, 10);
}

#[test]
fn trimmed_segments_are_removed_and_offsets_stay() {
    let mut world = World::new(3, Faults::crash_only(), small_options(None));
    let (group, _) = world.open().unwrap();
    for _ in 0..100 {
        append(&group, 1, &[3; 200]);
        settle(&world, &group);
    }
    group.trim_log(P, LOG, 100).unwrap();
    settle(&world, &group);
    world.sim.block_on(group.checkpoint()).unwrap();
    assert!(group.stats().removed > 2, "{:?}", group.stats());
    world.sim.power_cut(world.process);
    let (group, _) = world.open().unwrap();
    let partition = group.partition(P).unwrap();
    assert_eq!(partition.log_range(LOG), 100..100);
    assert_eq!(partition.log_appended_end(LOG), 100);
    let trimmed = partition.read_log(LOG, 5, 1, 1, &mut |_| {});
    assert!(matches!(trimmed, Err(Error::OutOfRange { start: 100, .. })));
}

#[test]
fn zeros_are_written_ahead_of_lone_appends_only() {
    let fill_share = |in_flight: u64| {
        let mut world = world();
        let (group, _) = world.open().unwrap();
        for _ in 0..4096 / in_flight {
            for _ in 0..in_flight {
                append(&group, 1, &[3; 1024]);
            }
            settle(&world, &group);
        }
        let stats = group.stats();
        assert_eq!(stats.entries, 4096 / in_flight * in_flight);
        let written = stats.entry_bytes + stats.segment_bytes + stats.fill_bytes;
        (
            stats.fill_bytes as f64 / stats.entry_bytes as f64,
            written as f64 / (4096.0 * 1024.0),
        )
    };
    let (fill, _) = fill_share(1);
    assert!(fill > 0.9, "a lone append finds zeros: {fill}");
    for in_flight in [8, 12, 64] {
        let (fill, written) = fill_share(in_flight);
        assert!(fill < 0.25, "{in_flight} in flight: {fill}");
        assert!(
            written < 1.3 || in_flight < 64,
            "{in_flight} in flight: {written}"
        );
    }
}

#[test]
fn the_next_segment_is_made_before_it_is_needed() {
    let mut world = World::new(3, Faults::crash_only(), small_options(None));
    let (group, _) = world.open().unwrap();
    let env = world.sim.env(world.process, "look");
    let log_dir = dir().join("log");
    let active = || {
        *group
            .shared
            .state
            .borrow()
            .segments
            .last_key_value()
            .unwrap()
            .0
    };
    let mut rolls = 0;
    for _ in 0..60 {
        let (before, names) = (active(), world.sim.block_on(env.list(&log_dir)).unwrap());
        append(&group, 1, &[3; 200]);
        settle(&world, &group);
        if active() != before {
            let name = format!("{:016x}.segment", active());
            assert!(
                names.contains(&name),
                "{name} was made while appends waited"
            );
            rolls += 1;
        }
        world
            .sim
            .block_on(world.sim.sleep(Duration::from_millis(50)));
    }
    assert!(rolls > 1, "no segment was filled");
    world.sim.power_cut(world.process);
    let (group, recovered) = world.open().unwrap();
    assert_eq!(recovered.last_index, Index(60));
    world.sim.block_on(group.close()).unwrap();
}

#[test]
fn a_failed_write_poisons_the_group_for_ever() {
    let mut world = world();
    world.options.fill_bytes = 0;
    let (group, _) = world.open().unwrap();
    let index = append(&group, 1, b"good");
    world.sim.block_on(group.wait_durable(index)).unwrap();
    let bad = Faults {
        write_error: 1_000_000,
        ..Faults::none()
    };
    world.sim.set_faults(bad);
    let lost = append(&group, 2, b"lost");
    let first = world.sim.block_on(group.wait_durable(lost)).unwrap_err();
    world.sim.set_faults(Faults::none());
    assert!(matches!(first, Error::Poisoned { .. }), "{first}");
    assert!(
        first.to_string().contains("could not write and flush"),
        "{first}"
    );
    let again = group.append(Entry::new().append(P, LOG, 3, &[b"no"]));
    assert_eq!(again.unwrap_err().to_string(), first.to_string());
    assert!(group.apply(index).is_err());
    assert!(world.sim.block_on(group.checkpoint()).is_err());
    assert!(world.sim.block_on(group.close()).is_err());
    let (_, recovered) = world.open().unwrap();
    assert!((index..=lost).contains(&recovered.last_index));
}

#[test]
fn somebody_elses_directory_is_refused() {
    let mut world = world();
    let (group, _) = world.open().unwrap();
    world.sim.block_on(group.close()).unwrap();
    let env = world.sim.env(world.process, "other");
    let other = Identity {
        cluster: 99,
        ..IDENTITY
    };
    let open = Group::open(&env, dir(), other, &PARTITIONS, GroupOptions::default());
    let text = world.sim.block_on(open).err().unwrap().to_string();
    assert!(text.contains("its owner is group 3 of cluster"), "{text}");
}

#[test]
fn a_log_without_its_superblock_is_not_made_fresh() {
    let mut world = world();
    let (group, _) = world.open().unwrap();
    world.sim.block_on(group.close()).unwrap();
    let env = world.sim.env(world.process, "other");
    world
        .sim
        .block_on(env.remove(&dir().join("superblock")))
        .unwrap();
    let text = world.open().err().unwrap().to_string();
    assert!(text.contains("missing beside a log"), "{text}");
}

#[test]
fn spaces_of_a_store_do_not_mix() {
    let mut world = world();
    let (group, _) = world.open().unwrap();
    let mut batch = batch_of(&vec![(b"k".to_vec(), Some(b"v".to_vec()))]);
    batch.put(crate::SpaceId(SPACE.0 + 1), b"other", b"space");
    group.append(Entry::new().write(P, batch)).unwrap();
    settle(&world, &group);
    assert_eq!(contents(&group.partition(P).unwrap()).unwrap().len(), 1);
}
