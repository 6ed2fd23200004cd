//! Writes that come faster than tables can take them: memory stays under its limit, nothing is lost
//! and nothing waits for ever.

use rama_io::sim::Faults;
use rama_wire::Index;

use super::model::SPACE;
use super::world::{PARTITIONS, World, contents};
use crate::lsm::{StoreOptions, WriteBatch};
use crate::{Entry, GroupOptions};

const LIMIT: u64 = 256 << 10;
const BATCH_BYTES: usize = 16 << 10;
const ENTRIES: u64 = 2_000;

fn world(memory_bytes_max: u64) -> World {
    let options = GroupOptions {
        segment_bytes: 128 << 10,
        batch_bytes: BATCH_BYTES,
        memory_bytes_max,
        store: StoreOptions {
            memtable_bytes: 32 << 10,
            ..StoreOptions::default()
        },
        ..GroupOptions::default()
    };
    World::new(11, Faults::crash_only(), options)
}

fn write(number: u64) -> Entry<'static> {
    let mut batch = WriteBatch::new();
    batch.put(SPACE, &number.to_be_bytes(), &[number as u8; 1024]);
    let partition = PARTITIONS[number as usize % PARTITIONS.len()];
    Entry::new().write(partition, batch)
}

/// Appends everything at once and applies what is durable; the most memory there was, and how
/// often the writer waited.
fn peak_of(world: &mut World) -> (u64, u64) {
    let (group, _) = world.open().unwrap();
    for number in 0..ENTRIES {
        group.append(write(number)).unwrap();
    }
    let mut peak = 0;
    for index in 1..=ENTRIES {
        let durable = group.wait_durable(Index(index));
        world.sim.block_on(durable).unwrap();
        group.apply(Index(index)).unwrap();
        peak = peak.max(group.shared.state.borrow().memory_bytes());
    }
    (peak, group.stats().waits_for_room)
}

#[test]
fn a_group_keeps_to_its_memory_when_tables_lag() {
    // A write, and the segment it completes, come on top.
    let most = LIMIT + 4 * BATCH_BYTES as u64 + u64::from(world(LIMIT).options.segment_bytes);
    let (free, waits) = peak_of(&mut world(u64::MAX));
    println!("{free} bytes without a limit");
    assert!(free > most, "the test puts no pressure on: {free}");
    assert_eq!(waits, 0);
    let mut world = world(LIMIT);
    let (peak, waits) = peak_of(&mut world);
    assert!(peak <= most, "{peak} bytes, {waits} waits");
    assert!(waits > 0, "nothing waited");
    world.sim.power_cut(world.process);
    let (group, recovered) = world.open().unwrap();
    assert_eq!(recovered.last_index, Index(ENTRIES));
    let found = PARTITIONS.map(|id| contents(&group.partition(id).unwrap()).unwrap().len());
    assert_eq!(found.iter().sum::<usize>(), ENTRIES as usize);
}

#[test]
fn replay_keeps_to_the_memory_of_the_group() {
    let mut world = world(u64::MAX);
    world.options.store.memtable_bytes = 64 << 20;
    let (unflushed, _) = peak_of(&mut world);
    assert!(unflushed > 4 * LIMIT, "{unflushed}");
    world.sim.power_cut(world.process);
    world.options.memory_bytes_max = LIMIT;
    let (group, recovered) = world.open().unwrap();
    assert!(recovered.replayed > 0);
    let memory = group.shared.state.borrow().memory_bytes();
    let segment = 2 * u64::from(world.options.segment_bytes);
    assert!(memory <= LIMIT / 2 + segment, "{memory}");
    let found = PARTITIONS.map(|id| contents(&group.partition(id).unwrap()).unwrap().len());
    assert_eq!(found.iter().sum::<usize>(), ENTRIES as usize);
}

#[test]
fn a_group_closes_while_its_writer_waits_for_memory() {
    let mut world = world(LIMIT);
    let (group, _) = world.open().unwrap();
    for number in 0..ENTRIES {
        group.append(write(number)).unwrap();
    }
    world.sim.block_on(group.close()).unwrap();
    let (_, recovered) = world.open().unwrap();
    assert_eq!(recovered.last_index, Index(ENTRIES));
}
