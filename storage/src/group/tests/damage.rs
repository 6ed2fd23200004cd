//! Bytes that change on disk: found and named, or harmless; never served.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use rama_io::sim::Faults;
use rama_io::{Env, File, Open};

use super::model::Outcome;
use super::world::{PARTITIONS, World, dir, small_options};
use crate::{Entry, Error, LogId, Mutant};

/// A machine whose group wrote for a while, each write after the one before, and was killed.
/// All but the last write must be there.
fn written(seed: u64, mutant: Option<Mutant>) -> World {
    let mut world = World::new(seed, Faults::none(), small_options(mutant));
    let group = world.reopen(Faults::none()).unwrap();
    let mut outcome = Outcome::default();
    for _ in 0..3 + world.random(25) {
        world.durable = world.entries.len() as u64;
        for _ in 0..1 + world.random(3) {
            world.append(&group, &mut outcome).unwrap();
        }
        let last = group.appended();
        world.sim.block_on(group.wait_durable(last)).unwrap();
        group.apply(last).unwrap();
    }
    world.sim.kill(world.process);
    world
}

fn log_files(world: &World) -> Vec<(PathBuf, u64)> {
    let mut files = world.sim.files(world.process);
    files.retain(|(path, len)| *len > 0 && !path.to_string_lossy().contains("store-"));
    files
}

/// Flips a bit and opens. `Err` when wrong or too little data was served.
fn flip_and_open(seed: u64, mutant: Option<Mutant>) -> Result<(), String> {
    let mut world = written(seed, mutant);
    let files = log_files(&world);
    let (path, len) = &files[world.random(files.len() as u64) as usize];
    let (position, bit) = (world.random(*len), world.random(8) as u8);
    assert!(world.sim.flip_bit(world.process, path, position, bit));
    match world.reopen(Faults::none()) {
        Ok(_) => Ok(()),
        Err(text) if text.contains("is corrupt at byte") => Ok(()),
        Err(text) if text.contains("refused to open") => Ok(()),
        Err(text) => Err(format!(
            "{} bit {bit} of byte {position}: {text}",
            path.display()
        )),
    }
}

#[test]
fn a_flipped_bit_is_named_or_harmless() {
    for seed in 0..1_500 {
        if let Err(text) = flip_and_open(seed, None) {
            panic!("seed {seed}: {text}");
        }
    }
}

fn is_red(mutant: Mutant) {
    let broken = |seed: &u64| {
        let opened = catch_unwind(AssertUnwindSafe(|| flip_and_open(*seed, Some(mutant))));
        !matches!(opened, Ok(Ok(())))
    };
    let red = (0..1_500).find(broken);
    assert!(red.is_some(), "{mutant:?} survives 1,500 seeds");
}

#[test]
fn cutting_the_log_at_any_bad_entry_is_noticed() {
    is_red(Mutant::CutAnywhere);
}

#[test]
fn serving_payloads_without_their_checksum_is_noticed() {
    is_red(Mutant::SkipPayloadCrc);
}

/// Appends three records, each in a device write of its own.
fn three_writes(middle: &[u8], mutant: Option<Mutant>) -> World {
    let mut world = World::new(1, Faults::none(), small_options(mutant));
    let (group, _) = world.open().unwrap();
    for record in [b"first".as_slice(), middle, b"last"] {
        let records = [record];
        let entry = Entry::new().append(PARTITIONS[0], LogId(1), 1_000, &records);
        let index = group.append(entry).unwrap().index;
        world.sim.block_on(group.wait_durable(index)).unwrap();
    }
    world.sim.kill(world.process);
    world
}

/// A write that the device lost leaves an older, well-formed entry in its place; only the chain
/// shows that it is not the one its successor was written after.
#[test]
fn a_lost_write_is_noticed_by_the_chain() {
    const SECOND_WRITE: u64 = 1024;
    let block = |world: &World| {
        let path = dir().join("log/0000000000000001.segment");
        let env = world.sim.env(world.process, "test");
        let file = world.sim.block_on(env.open(&path, Open::Existing)).unwrap();
        (
            world.sim.block_on(file.read(SECOND_WRITE, 512)).unwrap(),
            file,
        )
    };
    let (old, _) = block(&three_writes(b"older!", None));
    for mutant in [None, Some(Mutant::SkipChain)] {
        let mut world = three_writes(b"middle", mutant);
        let (new, file) = block(&world);
        assert_ne!(old, new);
        let lost = old.clone().into_boxed_slice();
        world
            .sim
            .block_on(file.write_durable(SECOND_WRITE, lost))
            .unwrap();
        match (mutant, world.open()) {
            (None, Err(Error::Corrupt { offset, what, .. })) => {
                assert_eq!((offset, what), (SECOND_WRITE + 512, "previous entry crc"));
            }
            (Some(_), Ok(_)) => {}
            (mutant, Ok(_)) => panic!("{mutant:?}: opened"),
            (mutant, Err(error)) => panic!("{mutant:?}: {error}"),
        }
    }
}

#[test]
fn a_missing_segment_is_named() {
    for seed in 0..50 {
        let mut world = written(seed, None);
        let files = log_files(&world);
        let segments: Vec<_> = files
            .iter()
            .filter(|(path, _)| path.extension().is_some_and(|is| is == "segment"))
            .collect();
        if segments.len() < 3 {
            continue;
        }
        let (path, _) = segments[segments.len() / 2];
        let env = world.sim.env(world.process, "test");
        world.sim.block_on(env.remove(path)).unwrap();
        let text = world.open().err().map(|error| error.to_string()).unwrap();
        assert!(text.contains(&path.display().to_string()), "{text}");
        assert!(text.contains("missing"), "{text}");
    }
}
