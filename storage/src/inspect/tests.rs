//! What is reported of a sound directory, of one in use and of damaged ones.

use std::fs;
use std::path::{Path, PathBuf};

use rama_io::glommio::{Pool, PoolConfig};
use rama_wire::{LogId, SpaceId};

use super::*;
use crate::lsm::WriteBatch;
use crate::{Entry, Group, GroupOptions, Op};

const OWNER: Identity = Identity {
    cluster: 7,
    group: 2,
};

/// A directory with sealed, open and spare segments, tables and a memtable.
fn written(dir: &Path) {
    write_group(dir.join("module").join("group-2"));
}

fn write_group(dir: PathBuf) {
    let config = PoolConfig {
        executors: 1,
        ..PoolConfig::default()
    };
    let pool = Pool::start(config, move |env, _| {
        let dir = dir.clone();
        async move {
            let options = GroupOptions {
                segment_bytes: 16 << 10,
                ..GroupOptions::default()
            };
            let (group, _) = Group::open(&env, &dir, OWNER, &[0, 2], options)
                .await
                .unwrap();
            for number in 0..40u64 {
                let mut batch = WriteBatch::new();
                batch.put(SpaceId(1), &number.to_be_bytes(), b"value");
                let records = [[7; 700].as_slice(), b"small"];
                let entry = Entry::new().append(0, LogId(3), number, &records);
                let last = group.append(entry.write(2, batch)).unwrap().index;
                group.wait_durable(last).await.unwrap();
                group.apply(last).unwrap();
                if number == 25 {
                    group.checkpoint().await.unwrap();
                }
            }
            let before = 2;
            let trim = Op::Trim {
                partition: 0,
                log: LogId(3),
                before,
            };
            group.append(Entry::new().with(trim)).unwrap();
            group.close().await.unwrap();
        }
    });
    pool.unwrap().join().unwrap();
}

fn report(dir: &Path) -> GroupReport {
    let mut groups = inspect(dir).unwrap();
    assert_eq!(groups.len(), 1);
    groups.remove(0)
}

fn of_kind<'a>(report: &'a GroupReport, kind: &str) -> Vec<&'a FileReport> {
    report
        .files
        .iter()
        .filter(|file| file.kind == kind)
        .collect()
}

fn damage_of(report: &GroupReport) -> Vec<(PathBuf, u64)> {
    let damage = |file: &FileReport| {
        let places = file
            .damage
            .iter()
            .map(|damage| (file.path.clone(), damage.offset));
        places.collect::<Vec<_>>()
    };
    report.files.iter().flat_map(damage).collect()
}

#[test]
fn every_entry_and_every_table_of_a_group_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    let report = report(dir.path());
    assert_eq!(
        (report.identity, report.damage_count()),
        (Some(OWNER), 0),
        "{report:#?}"
    );
    let segments = of_kind(&report, "segment");
    let sum = |fact| {
        segments
            .iter()
            .filter_map(|file| file.facts.get(fact))
            .sum::<u64>()
    };
    assert_eq!((sum("entries"), sum("records"), sum("trims")), (41, 80, 1));
    let states: Vec<_> = segments.iter().map(|segment| segment.state).collect();
    assert_eq!(states.first(), Some(&"sealed"), "{states:?}");
    assert!(states.contains(&"open"), "{states:?}");
    let tables = of_kind(&report, "table");
    let values = tables
        .iter()
        .map(|table| table.facts["values"])
        .sum::<u64>();
    assert_eq!(values, 26);
    assert_eq!(of_kind(&report, "manifest").len(), 2);
}

#[test]
fn inspecting_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    let state = || {
        let files = report(dir.path()).files;
        let bytes = |file: FileReport| (fs::read(&file.path).unwrap(), file.path);
        files.into_iter().map(bytes).collect::<Vec<_>>()
    };
    assert_eq!(state(), state());
}

/// One changed byte at a time, anywhere that means something: it is found, in the right file.
#[test]
fn damage_is_named_with_file_and_offset() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    let sound = report(dir.path());
    for file in &sound.files {
        let bytes = fs::read(&file.path).unwrap();
        if file.state == "empty" || file.kind == "other" {
            continue;
        }
        for at in (0..bytes.len()).step_by(211).filter(|at| bytes[*at] != 0) {
            let mut bad = bytes.clone();
            bad[at] ^= 0x40;
            fs::write(&file.path, &bad).unwrap();
            let found = report(dir.path());
            let places = damage_of(&found);
            let torn = found.files.iter().any(|file| file.state == "torn");
            let unsealed = found
                .files
                .iter()
                .any(|now| now.path == file.path && now.state != file.state);
            assert!(
                torn || unsealed || places.iter().any(|(path, _)| *path == file.path),
                "{} at {at}: {places:?}",
                file.path.display()
            );
        }
        fs::write(&file.path, &bytes).unwrap();
    }
    assert_eq!(report(dir.path()).damage_count(), 0);
}

#[test]
fn a_torn_last_write_is_no_damage_and_a_missing_segment_is() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    let sound = report(dir.path());
    let segments = of_kind(&sound, "segment");
    let open = segments
        .iter()
        .find(|segment| segment.state == "open")
        .unwrap();
    let bytes = fs::read(&open.path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let mut torn = bytes.clone();
    torn[end] ^= 1;
    fs::write(&open.path, &torn).unwrap();
    let found = report(dir.path());
    assert_eq!(found.damage_count(), 0, "{:?}", damage_of(&found));
    assert!(found.files.iter().any(|file| file.state == "torn"));
    fs::write(&open.path, &bytes).unwrap();
    fs::remove_file(&segments[1].path).unwrap();
    let found = report(dir.path());
    let missing = found.files.iter().flat_map(|file| &file.damage);
    let missing: Vec<_> = missing.map(|damage| damage.what.clone()).collect();
    let named = missing.contains(&"segment 2 before it is missing".to_owned());
    assert!(named, "{missing:?}");
}

/// The committed directory is read as it was when it was written. `RAMA_GOLDEN=write` writes it
/// anew: only when the version of a format changes.
#[test]
fn the_golden_directory_is_whole() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/group_v1");
    if std::env::var("RAMA_GOLDEN").is_ok_and(|what| what == "write") {
        fs::remove_dir_all(&golden).ok();
        write_group(golden.clone());
    }
    let report = report(&golden);
    assert_eq!(
        (report.identity, report.damage_count()),
        (Some(OWNER), 0),
        "{report:#?}"
    );
    let segments = of_kind(&report, "segment");
    let entries = segments.iter().filter_map(|file| file.facts.get("entries"));
    assert_eq!(entries.sum::<u64>(), 41);
}
