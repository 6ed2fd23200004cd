//! How fast the store is on one core. Tiny as a test; as a benchmark:
//!
//! `RAMA_SPEED=4000000 cargo test --release -p rama-storage speed -- --nocapture`
//!
//! keys of 16 bytes, values of 32, uniformly random order; real files in the temporary directory.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use rama_io::Env;
use rama_io::glommio::{Pool, PoolConfig};
use rama_io::sim::{Faults, Sim, SimConfig};
use rama_wire::{Index, SpaceId};

use super::Rng;
use super::model::IDENTITY;
use crate::lsm::{Change, Order, Overlay, Read, Store, StoreOptions, WriteBatch};

const SPACE: SpaceId = SpaceId(1);

fn key(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Processor time of this thread, so that a busy machine disturbs less.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ')
        .next()
        .and_then(|ns| ns.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1e9
}

struct Stopwatch {
    wall: Instant,
    cpu: f64,
}

impl Stopwatch {
    fn start() -> Stopwatch {
        Stopwatch {
            wall: Instant::now(),
            cpu: cpu_seconds(),
        }
    }

    fn lap(&mut self, what: &str, ops: u64) {
        let (wall, cpu) = (self.wall.elapsed().as_secs_f64(), cpu_seconds() - self.cpu);
        let (rate, nanos) = (ops as f64 / cpu / 1e6, cpu / ops as f64 * 1e9);
        println!("{what:40} {rate:8.2} M/s {nanos:8.1} ns/op, cpu {cpu:.3} s, wall {wall:.3} s");
        *self = Stopwatch::start();
    }
}

fn overlays(base: &dyn Read, count: u64, watch: &mut Stopwatch) {
    // A word count: 40,000 distinct words, picked with a skew.
    let words: Vec<Vec<u8>> = (0..40_000)
        .map(|n| format!("word{n}\0\0").into_bytes())
        .collect();
    let mut rng = Rng(1);
    let picks: Vec<u32> = (0..count)
        .map(|_| {
            let (a, b) = (rng.below(40_000), rng.below(40_000));
            (a * b / 40_000) as u32
        })
        .collect();
    let mut overlay = Overlay::new();
    for word in &words {
        overlay.put(SPACE, word, &0u64.to_le_bytes());
    }
    watch.lap("(made the words)", count);
    for pick in &picks {
        let change = |old: Option<&[u8]>, new: &mut Vec<u8>| {
            let old = old.map_or(0, |old| u64::from_le_bytes(old.try_into().unwrap()));
            new.extend_from_slice(&(old + 1).to_le_bytes());
            Change::Put
        };
        overlay
            .update(base, SPACE, &words[*pick as usize], change)
            .unwrap();
    }
    watch.lap("overlay update, 40 k words", count);
    for pick in &picks {
        let word = &words[*pick as usize];
        let mut sum = 0;
        let mut read = |old: Option<&[u8]>| {
            sum = old.map_or(0, |old| u64::from_le_bytes(old.try_into().unwrap())) + 1;
        };
        overlay.get(base, SPACE, word, &mut read).unwrap();
        overlay.put(SPACE, word, &sum.to_le_bytes());
    }
    watch.lap("overlay get + put, 40 k words", count);
    black_box(overlay.to_batch());
    watch.lap("overlay to sorted batch, 40 k words", 40_000);
}

async fn measure<E: Env>(env: E, dir: &Path, count: u64) {
    let options = StoreOptions::default();
    let store = Store::open(&env, dir, IDENTITY, options).await.unwrap();
    interleaved(&env, &dir.join("interleaved"), count).await;
    let mut watch = Stopwatch::start();
    overlays(&store, count, &mut watch);
    let mut index = 0;
    let mut applied = 0.0;
    for chunk in 0..count.div_ceil(10_000) {
        let mut overlay = Overlay::new();
        for number in chunk * 10_000..count.min((chunk + 1) * 10_000) {
            overlay.put(SPACE, &key(number), &[number as u8; 32]);
        }
        let batch: WriteBatch = overlay.into_batch();
        index += 1;
        let begin = cpu_seconds();
        store.apply(&batch, Index(index));
        applied += cpu_seconds() - begin;
        if chunk == count.div_ceil(10_000).min(30) - 1 {
            watch = Stopwatch::start();
            let upto = (chunk + 1) * 10_000;
            gets(&store, upto.min(count), count, "memtable get", &mut watch);
        }
        if store.needs_flush() {
            store.flush().await.unwrap();
            while store.compact().await.unwrap() {}
        }
    }
    watch.lap("load with flush and compaction", count);
    println!("    of that apply: {:.2} M/s", count as f64 / applied / 1e6);
    store.flush().await.unwrap();
    gets(&store, count, count, "table get, several runs", &mut watch);
    misses(
        &store,
        count,
        "table get of absent keys, several runs",
        &mut watch,
    );
    store.compact_all().await.unwrap();
    watch.lap("compact all", count);
    gets(&store, count, count, "table get, one run", &mut watch);
    memory(count, &mut watch);
    for (order, what) in [
        (Order::Ascending, "scan up"),
        (Order::Descending, "scan down"),
    ] {
        let mut seen = 0u64;
        let visit = &mut |_: &[u8], value: &[u8]| {
            seen += u64::from(value.len() == 32);
            ControlFlow::Continue(())
        };
        store.scan(SPACE, &[], None, order, visit).unwrap();
        assert_eq!(seen, count);
        watch.lap(what, count);
    }
    let mut rng = Rng(4);
    for _ in 0..count / 20 {
        let stop = &mut |_: &[u8], _: &[u8]| ControlFlow::Break(());
        store
            .scan(SPACE, &key(rng.below(count)), None, Order::Ascending, stop)
            .unwrap();
    }
    watch.lap("seek and read one", count / 20);
    drop(store);
    watch = Stopwatch::start();
    let store = Store::open(&env, dir, IDENTITY, options).await.unwrap();
    watch.lap("open", 1);
    store.scrub().await.unwrap();
    watch.lap("scrub", count);
}

/// Short scans among puts, in a space that was never scanned: no step may cost what all cost.
async fn interleaved<E: Env>(env: &E, dir: &Path, count: u64) {
    let options = StoreOptions {
        memtable_bytes: 1 << 30,
        ..StoreOptions::default()
    };
    let store = Store::open(env, dir, IDENTITY, options).await.unwrap();
    let mut index = 0;
    let mut put = |from: u64, count: u64| {
        let mut batch = WriteBatch::new();
        for number in from..from + count {
            batch.put(SPACE, &key(number), &[7; 8]);
        }
        index += 1;
        let begin = Instant::now();
        store.apply(&batch, Index(index));
        begin.elapsed().as_nanos() as u64
    };
    let loads: Vec<u64> = (0..count / 100).map(|at| put(at * 100, 100)).collect();
    spread("apply of 100 new keys", loads);
    let mut rng = Rng(5);
    let mut scan = || {
        let (from, mut left) = (key(rng.below(count)), 10);
        let visit = &mut |_: &[u8], _: &[u8]| {
            left -= 1;
            if left > 0 {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        let begin = Instant::now();
        store
            .scan(SPACE, &from, None, Order::Ascending, visit)
            .unwrap();
        begin.elapsed().as_nanos() as u64
    };
    spread("first scan of 10 entries", vec![scan()]);
    let rounds: Vec<(u64, u64)> = (0..count / 50)
        .map(|at| (put(count + at, 1), scan()))
        .collect();
    spread("put of one, then", rounds.iter().map(|r| r.0).collect());
    spread("scan of 10 entries", rounds.iter().map(|r| r.1).collect());
}

fn spread(what: &str, mut nanos: Vec<u64>) {
    nanos.sort_unstable();
    let at = |part: f64| nanos[((nanos.len() - 1) as f64 * part) as usize] as f64 / 1e3;
    let (p50, p99, p999, max) = (at(0.5), at(0.99), at(0.999), at(1.0));
    println!("{what:40} p50 {p50:.1} us, p99 {p99:.1}, p99.9 {p999:.1}, max {max:.1}");
}

/// What the memory itself gives at this moment: dependent random reads of one cache line.
fn memory(count: u64, watch: &mut Stopwatch) {
    let lines = vec![[1u64; 8]; count as usize];
    *watch = Stopwatch::start();
    let mut at = 0u64;
    for _ in 0..count {
        let step = lines[at as usize][3];
        at = (at.wrapping_add(step).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % count;
    }
    black_box(at);
    watch.lap("(random line of memory of that size)", count);
}

fn gets(store: &dyn Read, keys: u64, count: u64, what: &str, watch: &mut Stopwatch) {
    let mut rng = Rng(2);
    let mut hits = 0;
    for _ in 0..count {
        let number = rng.below(keys);
        let with =
            &mut |value: Option<&[u8]>| hits += u64::from(value == Some(&[number as u8; 32]));
        store.get(SPACE, &key(number), with).unwrap();
    }
    assert_eq!(hits, count);
    watch.lap(what, count);
}

fn misses(store: &dyn Read, count: u64, what: &str, watch: &mut Stopwatch) {
    let mut rng = Rng(3);
    for _ in 0..count {
        let number = count + rng.below(count);
        store
            .get(SPACE, &key(number), &mut |value| assert!(value.is_none()))
            .unwrap();
    }
    watch.lap(what, count);
}

#[test]
fn the_speed_of_the_store_is_measured() {
    let full: Option<u64> = std::env::var("RAMA_SPEED")
        .ok()
        .and_then(|n| n.parse().ok());
    let Some(count) = full else {
        let sim = Sim::new(1, SimConfig::with_faults(Faults::none()));
        let env = sim.env(sim.process(), "speed");
        sim.block_on(measure(env, Path::new("/s"), 2000));
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    let pool = Pool::start(
        PoolConfig {
            executors: 1,
            ..PoolConfig::default()
        },
        move |env, _| {
            let path = path.clone();
            async move { measure(env, &path, count).await }
        },
    );
    pool.unwrap().join().unwrap();
}
