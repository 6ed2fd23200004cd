//! The catalog keeps ids, refuses what would misread, and detects rot.

use super::*;
use crate::error::ErrorKind;

fn object(name: &str, kind: &str, type_name: &str, fingerprint: u64) -> DeclaredObject {
    DeclaredObject {
        name: name.to_owned(),
        kind: kind.to_owned(),
        type_name: type_name.to_owned(),
        fingerprint,
        reads: Vec::new(),
        migrations: Vec::new(),
    }
}

fn declared(depots: &[DeclaredObject], pstates: &[DeclaredObject]) -> Declared {
    Declared {
        module: "Bank of/tests".to_owned(),
        tasks: 4,
        threads: 2,
        depots: depots.to_vec(),
        pstates: pstates.to_vec(),
        topologies: vec![object("core", "stream", "", 0)],
        delete: BTreeSet::new(),
    }
}

#[test]
fn an_update_keeps_the_ids_of_old_names_and_never_reuses_one() {
    let mut catalog = Catalog::new(7);
    let m = object("*m", "depot", "u64", 1);
    let first = catalog
        .reconcile(&declared(std::slice::from_ref(&m), &[]))
        .unwrap();
    assert_eq!(first.depots["*m"].id, 1);
    assert_eq!(first.directory, "Bank-of-tests.0");
    let a = object("*a", "depot", "u64", 1);
    let second = catalog
        .reconcile(&declared(&[a.clone(), m.clone()], &[]))
        .unwrap();
    assert_eq!((second.depots["*m"].id, second.depots["*a"].id), (1, 2));
    let third = catalog
        .reconcile(&declared(&[object("*b", "depot", "u64", 1)], &[]))
        .unwrap();
    assert_eq!(third.depots["*b"].id, 3);
    assert_eq!(third.directory, first.directory);
}

/// Spec §19, D-46: what would misread old bytes is refused, all mismatches at once.
#[test]
fn a_changed_type_kind_or_task_count_is_refused_with_both_sides_and_the_fix() {
    let mut catalog = Catalog::new(7);
    let depots = [object("*d", "depot", "u64", 1)];
    let pstates = [object("$$p", "pstate", "Map<u64, i64>", 2)];
    catalog.reconcile(&declared(&depots, &pstates)).unwrap();
    let before = catalog.clone();
    let depots = [object("*d", "tick depot", "()", 9)];
    let pstates = [object("$$p", "pstate", "Map<u64, u64>", 3)];
    let mut changed = declared(&depots, &pstates);
    changed.tasks = 8;
    let error = catalog.reconcile(&changed).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    let text = error.to_string();
    for part in [
        "written with 4 tasks and the launch asks for 8",
        "*d is a depot on disk and a tick depot in the code",
        "$$p holds Map<u64, i64> on disk and the code declares Map<u64, u64>",
        "under another name",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(catalog, before);
}

#[test]
fn any_flipped_byte_is_found() {
    let mut catalog = Catalog::new(1);
    catalog
        .reconcile(&declared(&[object("*d", "depot", "u64", 1)], &[]))
        .unwrap();
    let bytes = file::encode(&catalog).unwrap();
    assert_eq!(file::decode(&bytes).unwrap(), catalog);
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 0x04;
        assert!(
            file::decode(&bad).map_or(true, |found| found == catalog),
            "byte {at}"
        );
    }
    assert!(file::decode(&bytes[..bytes.len() - 1]).is_err());
}
