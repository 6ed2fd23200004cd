//! What is on disk: golden bytes, damage, foreign files, leftovers.

use std::path::{Path, PathBuf};

use rama_io::sim::{Faults, ProcessId, Sim, SimConfig, SimEnv};
use rama_io::{Env, File, Open};
use rama_wire::{Index, SpaceId};

use super::model::IDENTITY;
use super::{Model, Rng, Write};
use crate::lsm::manifest::Manifest;
use crate::lsm::{Error, Identity, Overlay, Read, Store, StoreOptions, WriteBatch};

const DIR: &str = "/s";

fn world() -> (Sim, ProcessId) {
    let sim = Sim::new(1, SimConfig::with_faults(Faults::none()));
    let process = sim.process();
    (sim, process)
}

fn open(sim: &Sim, process: ProcessId, identity: Identity) -> Result<Store<SimEnv>, Error> {
    let env = sim.env(process, "store");
    sim.block_on(Store::open(
        &env,
        Path::new(DIR),
        identity,
        StoreOptions::default(),
    ))
}

fn read(sim: &Sim, process: ProcessId, name: &str) -> Vec<u8> {
    let env = sim.env(process, "reader");
    let map = sim.block_on(env.map(&Path::new(DIR).join(name))).unwrap();
    map.to_vec()
}

/// A store with one table of a few entries of every kind, above another table.
fn small(sim: &Sim, process: ProcessId) {
    let store = open(sim, process, IDENTITY).unwrap();
    let mut batch = WriteBatch::new();
    batch.put(SpaceId(1), b"below", b"1");
    store.apply(&batch, Index(1));
    sim.block_on(store.flush()).unwrap();
    let mut batch = WriteBatch::new();
    batch.delete_range(SpaceId(1), b"a", b"b");
    batch.put(SpaceId(1), b"apple", b"red");
    batch.put(SpaceId(1), b"apricot", b"");
    batch.delete(SpaceId(1), b"banana");
    batch.clear(SpaceId(2));
    batch.put(SpaceId(515), b"", &[7; 40]);
    store.apply(&batch, Index(300));
    sim.block_on(store.flush()).unwrap();
}

fn check_golden(name: &str, bytes: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, bytes).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    assert!(
        golden == bytes,
        "{name} changed: a change of format needs a new version number"
    );
}

#[test]
fn the_bytes_of_tables_and_manifests_never_change() {
    let (sim, process) = world();
    small(&sim, process);
    check_golden(
        "lsm_table_v1.bin",
        &read(&sim, process, "000000000002.table"),
    );
    check_golden("lsm_manifest_v2.bin", &read(&sim, process, "MANIFEST"));
}

/// What an earlier version wrote is read.
#[test]
fn a_manifest_of_version_1_opens() {
    let (sim, process) = world();
    small(&sim, process);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/lsm_manifest_v1.bin");
    let v1 = std::fs::read(path).unwrap();
    let (_, old) = Manifest::parse(Path::new("v1"), &v1).unwrap();
    let v2 = read(&sim, process, "MANIFEST");
    let (_, new) = Manifest::parse(Path::new("v2"), &v2).unwrap();
    assert_eq!(old, new);
}

/// Corruption is detected and named, never served.
#[test]
fn every_flipped_bit_is_found_or_harmless_and_never_served() {
    flip_every_bit();
}

pub(super) fn flip_every_bit() {
    let (sim, process) = world();
    small(&sim, process);
    let store = open(&sim, process, IDENTITY).unwrap();
    let mut expected = Vec::new();
    all(&store, &mut expected).unwrap();
    drop(store);
    let mut found = 0;
    for name in ["000000000002.table", "MANIFEST"] {
        let path = Path::new(DIR).join(name);
        let bytes = read(&sim, process, name);
        // Every byte that is not zero, and some that are.
        for at in (0..bytes.len()).filter(|at| bytes[*at] != 0 || at % 97 == 0) {
            assert!(sim.flip_bit(process, &path, at as u64, at as u8 % 8));
            let mut entries = Vec::new();
            let result = open(&sim, process, IDENTITY).and_then(|store| {
                all(&store, &mut entries)?;
                sim.block_on(store.scrub())
            });
            match result {
                Ok(()) => assert_eq!(entries, expected, "{name} {at}"),
                Err(Error::Corrupt(corruption)) => {
                    found += 1;
                    assert_eq!(corruption.file, path, "{name} {at}: {corruption}");
                }
                Err(error) => panic!("{name} {at}: {error:?}"),
            }
            assert!(sim.flip_bit(process, &path, at as u64, at as u8 % 8));
        }
    }
    assert!(found > 400, "only {found} found");
}

type Entries = Vec<(u16, Vec<u8>, Vec<u8>)>;

fn all(store: &Store<SimEnv>, into: &mut Entries) -> Result<(), Error> {
    for space in [1, 2, 515] {
        let order = crate::lsm::Order::Ascending;
        store.scan(SpaceId(space), &[], None, order, &mut |key, value| {
            into.push((space, key.to_vec(), value.to_vec()));
            std::ops::ControlFlow::Continue(())
        })?;
        for key in [&b"below"[..], b"apple", b"apricot", b"banana", b""] {
            store.get(SpaceId(space), key, &mut |value| {
                into.push((space, key.to_vec(), value.unwrap_or(b"none").to_vec()));
            })?;
        }
    }
    Ok(())
}

#[test]
fn damage_in_a_page_is_named_with_file_offset_expected_and_found() {
    let (sim, process) = world();
    small(&sim, process);
    let path = PathBuf::from("/s/000000000002.table");
    assert!(sim.flip_bit(process, &path, 70, 0));
    let store = open(&sim, process, IDENTITY).expect("pages are verified when they are touched");
    let mut overlay = Overlay::new();
    overlay.put(SpaceId(1), b"apple", b"green");
    let mut seen = None;
    overlay
        .get(&store, SpaceId(1), b"apple", &mut |v| {
            seen = v.map(<[u8]>::to_vec)
        })
        .unwrap();
    assert_eq!(seen.as_deref(), Some(&b"green"[..]));
    let result = store.get(SpaceId(1), b"apple", &mut |_| {
        panic!("damaged bytes were served")
    });
    let Err(Error::Corrupt(corruption)) = result else {
        panic!("{result:?}")
    };
    assert_eq!((corruption.file, corruption.offset), (path, 0));
    assert_ne!(corruption.expected, corruption.found);
}

#[test]
fn a_file_of_another_store_is_refused() {
    let (sim, process) = world();
    small(&sim, process);
    for identity in [
        Identity {
            cluster: 8,
            ..IDENTITY
        },
        Identity {
            partition: 4,
            ..IDENTITY
        },
    ] {
        assert!(matches!(
            open(&sim, process, identity),
            Err(Error::Foreign { .. })
        ));
    }
    // A table that was put in the place of another one.
    let env = sim.env(process, "swap");
    let (a, b) = (
        Path::new("/s/000000000001.table"),
        Path::new("/s/000000000002.table"),
    );
    sim.block_on(env.rename(b, a)).unwrap();
    sim.block_on(async {
        let bytes = env.map(a).await.unwrap();
        let copy = env.open(b, Open::Create).await.unwrap();
        let mut buffer = copy.buffer(bytes.len());
        buffer.copy_from_slice(&bytes);
        copy.write_durable(0, buffer).await.unwrap();
    });
    assert!(matches!(
        open(&sim, process, IDENTITY),
        Err(Error::Foreign { .. })
    ));
}

#[test]
fn tables_without_a_manifest_are_refused_and_kept() {
    let (sim, process) = world();
    small(&sim, process);
    let env = sim.env(process, "thief");
    sim.block_on(env.remove(Path::new("/s/MANIFEST"))).unwrap();
    let Err(Error::Corrupt(corruption)) = open(&sim, process, IDENTITY) else {
        panic!()
    };
    assert_eq!(corruption.file, Path::new("/s/MANIFEST"));
    assert_eq!(sim.files(process).len(), 2);
}

#[test]
fn leftovers_are_removed_and_ids_not_used_twice() {
    let (sim, process) = world();
    small(&sim, process);
    let env = sim.env(process, "leftover");
    for name in ["000000000009.table", "000000000003.new", "MANIFEST.new"] {
        let path = Path::new(DIR).join(name);
        sim.block_on(env.open(&path, Open::Create)).unwrap();
    }
    open(&sim, process, IDENTITY).unwrap();
    let names: Vec<PathBuf> = sim
        .files(process)
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    let kept = [
        "/s/000000000001.table",
        "/s/000000000002.table",
        "/s/MANIFEST",
    ];
    assert_eq!(names, kept.map(PathBuf::from));
}

/// Deleted data leaves the disk once compaction reached the oldest run.
#[test]
fn compaction_of_everything_keeps_no_deleted_byte() {
    let (sim, process) = world();
    let store = open(&sim, process, IDENTITY).unwrap();
    let mut rng = Rng(3);
    let mut model = Model::default();
    for index in 1..=10 {
        let mut batch = WriteBatch::new();
        for _ in 0..50 {
            let write = Write::random(&mut rng);
            model.apply(&write);
            write.add_to(&mut batch);
        }
        store.apply(&batch, Index(index));
        sim.block_on(store.flush()).unwrap();
    }
    let mut batch = WriteBatch::new();
    [0, 300, 600]
        .map(SpaceId)
        .into_iter()
        .for_each(|space| batch.clear(space));
    store.apply(&batch, Index(11));
    sim.block_on(store.flush()).unwrap();
    sim.block_on(store.compact_all()).unwrap();
    Model::default().check_all("cleared", &store);
    let names: Vec<PathBuf> = sim
        .files(process)
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    assert_eq!(names, [PathBuf::from("/s/MANIFEST")]);
}
