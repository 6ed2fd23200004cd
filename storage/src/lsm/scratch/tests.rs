//! Rows on disk against a sorted map, over the simulator's disk.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use rama_io::Env;
use rama_io::sim::{Faults, Sim, SimConfig, SimEnv};

use super::{FAN_IN, Rows, Scratch};
use crate::lsm::Error;
use crate::lsm::tests::Rng;

const DIR: &str = "/scratch";

fn world() -> (Sim, SimEnv) {
    let sim = Sim::new(1, SimConfig::with_faults(Faults::none()));
    let process = sim.process();
    let env = sim.env(process, "scratch");
    (sim, env)
}

fn files(sim: &Sim, env: &SimEnv) -> Vec<String> {
    sim.block_on(env.list(Path::new(DIR))).unwrap()
}

fn read(rows: &Rows<SimEnv>, lo: &[u8], limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    let scanned = rows.scan(lo, &mut |key, value| {
        found.push((key.to_vec(), value.to_vec()));
        match found.len() < limit {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    });
    scanned.unwrap();
    found
}

/// More runs than are ever merged at once, read in parts as a release reads them.
#[test]
fn rows_come_back_in_order() {
    let (sim, env) = world();
    let scratch = sim.block_on(Scratch::open(&env, Path::new(DIR))).unwrap();
    let (mut rng, mut model) = (Rng(7), BTreeMap::new());
    let rows = scratch.rows();
    for run in 0..(FAN_IN * FAN_IN + 3) as u64 {
        let mut part = BTreeMap::new();
        for _ in 0..rng.below(40) {
            let mut key = rng.key();
            key.extend(run.to_be_bytes());
            part.insert(key, rng.value());
        }
        model.extend(part.clone());
        sim.block_on(rows.add(part.into_iter())).unwrap();
    }
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    loop {
        let lo = found.last().map(|(key, _)| [&key[..], &[0]].concat());
        let part = read(&rows, &lo.unwrap_or_default(), 100);
        if part.is_empty() {
            break;
        }
        found.extend(part);
    }
    assert!(found == model.into_iter().collect::<Vec<_>>());
    assert!(rows.file_bytes() > 0);
    // What was merged is gone when the litter is swept, and all of it with its rows.
    sim.block_on(scratch.sweep()).unwrap();
    assert!(files(&sim, &env).len() < 2 * FAN_IN);
    drop(rows);
    assert!(scratch.is_littered());
    sim.block_on(scratch.sweep()).unwrap();
    assert_eq!(files(&sim, &env), Vec::<String>::new());
}

#[test]
fn what_a_process_left_behind_is_removed() {
    let (sim, env) = world();
    let scratch = sim.block_on(Scratch::open(&env, Path::new(DIR))).unwrap();
    let rows = scratch.rows();
    let one = (b"key".to_vec(), b"value".to_vec());
    sim.block_on(rows.add(std::iter::once(one))).unwrap();
    assert_eq!(files(&sim, &env).len(), 1);
    let again = sim.block_on(Scratch::open(&env, Path::new(DIR))).unwrap();
    assert_eq!(files(&sim, &env), Vec::<String>::new());
    assert!(!again.is_littered());
}

#[test]
fn a_key_that_does_not_fit_is_refused_and_leaves_nothing() {
    let (sim, env) = world();
    let scratch = sim.block_on(Scratch::open(&env, Path::new(DIR))).unwrap();
    let rows = scratch.rows();
    let row = |len: usize| (vec![1; len], Vec::new());
    let added = sim.block_on(rows.add([row(1), row(1 << 16)].into_iter()));
    let error = added.unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    assert_eq!(read(&rows, &[], 10), Vec::new());
    sim.block_on(scratch.sweep()).unwrap();
    assert_eq!(files(&sim, &env), Vec::<String>::new());
}
