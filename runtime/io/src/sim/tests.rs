//! The simulator keeps its promises: determinism, what a power cut may do and what it may not.

mod planned;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::future::join;

use super::*;
use crate::env::{Category, Env, File, Open, Receiver, Sender, Transport};

fn dir() -> &'static Path {
    Path::new("/data")
}

fn block(fill: u8, len: usize) -> Box<[u8]> {
    vec![fill; len].into_boxed_slice()
}

/// A machine with one empty, durable file `/data/f` of `len` bytes of `0`.
fn machine(seed: u64, config: SimConfig, len: usize) -> (Sim, ProcessId, SimEnv, SimFile) {
    let sim = Sim::new(seed, config);
    let process = sim.process();
    let env = sim.env(process, "main");
    let file = sim.block_on(async {
        env.make_dir(dir()).await.unwrap();
        let file = env.open(&dir().join("f"), Open::Create).await.unwrap();
        if len > 0 {
            file.write_durable(0, block(0, len)).await.unwrap();
        }
        env.sync_dir(dir()).await.unwrap();
        file
    });
    (sim, process, env, file)
}

/// The content of a file after a restart; `None` when it is gone.
fn content(sim: &Sim, process: ProcessId, name: &str) -> Option<Vec<u8>> {
    let env = sim.env(process, "after");
    let name = dir().join(name);
    sim.block_on(async move {
        match env.open(&name, Open::Existing).await {
            Ok(file) => Some(file.read(0, 1 << 20).await.unwrap()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => panic!("{error}"),
        }
    })
}

/// A busy world: writers, channels, timers, power cuts.
fn busy_run(seed: u64) -> (u64, u64) {
    let sim = Sim::new(seed, SimConfig::with_faults(Faults::all()));
    let process = sim.process();
    for round in 0..4_u64 {
        let env = sim.env(process, "main");
        let (sender, mut receiver) = env.transport().channel::<u64>();
        for writer in 0..4_u8 {
            let (env, sender) = (env.clone(), sender.clone());
            env.clone().spawn(Category::Client, async move {
                let name = dir().join(format!("{round}-{writer}"));
                env.make_dir(dir()).await.ok();
                let Ok(file) = env.open(&name, Open::Create).await else {
                    return;
                };
                for index in 0..50 {
                    file.write(index * 512, block(writer, 512)).await.ok();
                    file.flush().await.ok();
                    sender.send(env.random_u64()).ok();
                    env.sleep(Duration::from_micros(env.random_u64() % 100))
                        .await;
                }
            });
        }
        drop(sender);
        let reader = env.clone();
        env.spawn(Category::LowLatency, async move {
            while receiver.recv().await.is_some() {
                reader.yield_now().await;
            }
        });
        sim.run_for(Duration::from_micros(sim.random_u64() % 50_000));
        sim.power_cut(process);
    }
    (sim.trace_hash(), sim.io_count())
}

#[test]
fn one_seed_gives_one_trace() {
    let hashes: BTreeSet<u64> = (0..40)
        .map(|seed| {
            let first = busy_run(seed);
            assert_eq!(first, busy_run(seed), "seed {seed} ran in two ways");
            first.0
        })
        .collect();
    assert_eq!(hashes.len(), 40, "different seeds are different runs");
}

#[test]
fn a_power_cut_loses_keeps_and_tears_what_was_not_flushed() {
    let (mut lost, mut kept, mut torn) = (0, 0, 0);
    for seed in 0..200 {
        let (sim, process, _, file) = machine(seed, SimConfig::default(), 4096);
        sim.block_on(file.write(0, block(1, 4096))).unwrap();
        sim.power_cut(process);
        let found = content(&sim, process, "f").unwrap();
        assert_eq!(found.len(), 4096);
        for sector in found.chunks(512) {
            assert!(
                sector.iter().all(|byte| *byte == sector[0]),
                "a sector never tears"
            );
        }
        match found.iter().filter(|byte| **byte == 1).count() {
            0 => lost += 1,
            4096 => kept += 1,
            _ => torn += 1,
        }
    }
    assert!(
        lost > 10 && kept > 10 && torn > 10,
        "lost {lost}, kept {kept}, torn {torn}"
    );
}

#[test]
fn a_power_cut_keeps_what_was_flushed() {
    for seed in 0..200 {
        let (sim, process, _, file) = machine(seed, SimConfig::default(), 0);
        sim.block_on(async {
            file.write(0, block(1, 2048)).await.unwrap();
            if seed % 2 == 0 {
                file.flush().await.unwrap();
                file.write(512, block(2, 512)).await.unwrap();
            } else {
                file.write_durable(512, block(1, 512)).await.unwrap();
                file.write(2048, block(2, 512)).await.unwrap();
            }
        });
        sim.power_cut(process);
        let found = content(&sim, process, "f").unwrap();
        assert!(found.len() >= 2048, "seed {seed}: flushed length lost");
        assert_eq!(found[..512], *block(1, 512), "seed {seed}");
        assert_eq!(found[1024..2048], *block(1, 1024), "seed {seed}");
    }
}

#[test]
fn a_flush_says_nothing_about_writes_that_complete_after_it_began() {
    let mut lost = 0;
    for seed in 0..300 {
        let (sim, process, _, file) = machine(seed, SimConfig::default(), 512);
        let (written, flushed) = sim.block_on(join(file.write(0, block(1, 512)), file.flush()));
        written.and(flushed).unwrap();
        sim.power_cut(process);
        lost += u32::from(content(&sim, process, "f").unwrap()[0] == 0);
    }
    assert!(lost > 20, "lost only {lost} of 300");
}

#[test]
fn a_write_under_way_may_be_torn_by_a_power_cut_and_not_by_a_kill() {
    let (mut torn_by_cut, mut kept_by_kill) = (0, 0);
    for seed in 0..300 {
        let power_cut = seed % 2 == 0;
        let (sim, process, env, file) = machine(seed, SimConfig::default(), 4096);
        env.spawn(Category::Client, async move {
            file.write_durable(0, block(1, 4096)).await.ok();
        });
        sim.run_for(Duration::from_micros(seed % 40));
        if power_cut {
            sim.power_cut(process)
        } else {
            sim.kill(process)
        }
        let found = content(&sim, process, "f").unwrap();
        let new = found.iter().filter(|byte| **byte == 1).count();
        if power_cut {
            torn_by_cut += u32::from(new != 0 && new != 4096);
        } else {
            assert!(new == 0 || new == 4096, "seed {seed}: torn by a kill");
            kept_by_kill += u32::from(new == 4096);
        }
    }
    assert!(
        torn_by_cut > 10 && kept_by_kill > 10,
        "{torn_by_cut} {kept_by_kill}"
    );
}

#[test]
fn a_kill_keeps_unflushed_writes_and_a_later_power_cut_may_lose_them() {
    let mut lost = 0;
    for seed in 0..100 {
        let (sim, process, _, file) = machine(seed, SimConfig::default(), 512);
        sim.block_on(file.write(0, block(1, 512))).unwrap();
        sim.kill(process);
        assert_eq!(content(&sim, process, "f").unwrap()[0], 1);
        sim.power_cut(process);
        lost += u32::from(content(&sim, process, "f").unwrap()[0] == 0);
    }
    assert!(lost > 10);
}

#[test]
fn a_successful_flush_after_a_failed_one_proves_nothing() {
    let mut lost = 0;
    for seed in 0..200 {
        let (sim, process, _, file) = machine(seed, SimConfig::default(), 512);
        sim.block_on(file.write(0, block(1, 512))).unwrap();
        sim.set_faults(Faults {
            flush_error: 1_000_000,
            ..Faults::all()
        });
        sim.block_on(file.flush()).unwrap_err();
        sim.set_faults(Faults::crash_only());
        sim.block_on(file.flush()).unwrap();
        sim.power_cut(process);
        lost += u32::from(content(&sim, process, "f").unwrap()[0] == 0);
    }
    assert!(lost > 10, "lost only {lost}");
}

#[test]
fn a_full_disk_refuses_what_needs_room_and_has_room_again() {
    let (sim, _, env, file) = machine(4, SimConfig::default(), 1024);
    sim.set_faults(Faults {
        disk_full: 1_000_000,
        ..Faults::none()
    });
    let kind = |result: io::Result<()>| result.map_err(|error| error.kind());
    let full = Err(io::ErrorKind::StorageFull);
    assert_eq!(kind(sim.block_on(file.write(1024, block(1, 512)))), full);
    assert_eq!(
        kind(sim.block_on(file.write_durable(512, block(1, 1024)))),
        full
    );
    assert_eq!(kind(sim.block_on(file.set_len(4096))), full);
    let created = sim.block_on(env.open(&dir().join("g"), Open::Create));
    assert_eq!(kind(created.map(drop)), full);
    assert_eq!(sim.block_on(file.len()).unwrap(), 1024);
    sim.block_on(file.write_durable(0, block(2, 1024))).unwrap();
    sim.block_on(file.set_len(512)).unwrap();
    // Full once, and nothing runs full again: it passes.
    sim.set_faults(Faults {
        disk_full: 1,
        ..Faults::none()
    });
    sim.run_for(Duration::from_millis(51));
    sim.block_on(file.write_durable(512, block(3, 4096)))
        .unwrap();
}

#[test]
fn a_misdirected_write_says_nothing_and_stands_elsewhere() {
    let mut places = BTreeSet::new();
    for seed in 0..100 {
        let (sim, process, _, file) = machine(seed, SimConfig::default(), 2048);
        sim.set_faults(Faults {
            misdirected_write: 1_000_000,
            ..Faults::none()
        });
        sim.block_on(file.write_durable(512, block(1, 512)))
            .unwrap();
        let found = content(&sim, process, "f").unwrap();
        let written: Vec<usize> = (0..4).filter(|sector| found[sector * 512] == 1).collect();
        assert_eq!(written.len(), 1, "seed {seed}");
        places.extend(written);
    }
    assert_eq!(places, BTreeSet::from([0, 1, 2, 3]));
}

#[test]
fn each_class_of_error_has_its_switch() {
    let certain = 1_000_000;
    let none = Faults::none();
    for (faults, fails) in [
        (none, [false; 5]),
        (
            Faults {
                read_error: certain,
                ..none
            },
            [true, false, false, false, false],
        ),
        (
            Faults {
                write_error: certain,
                ..none
            },
            [false, true, true, false, false],
        ),
        (
            Faults {
                flush_error: certain,
                ..none
            },
            [false, false, true, true, false],
        ),
        (
            Faults {
                name_error: certain,
                ..none
            },
            [false, false, false, false, true],
        ),
    ] {
        let (sim, _, env, file) = machine(1, SimConfig::default(), 512);
        sim.set_faults(faults);
        let found = sim.block_on(async {
            [
                file.read(0, 512).await.is_err(),
                file.write(0, block(1, 512)).await.is_err(),
                file.write_durable(0, block(1, 512)).await.is_err(),
                file.flush().await.is_err(),
                env.sync_dir(dir()).await.is_err(),
            ]
        });
        assert_eq!(found, fails, "{faults:?}");
    }
}

#[test]
fn faults_switched_off_lose_nothing_at_a_power_cut() {
    for seed in 0..50 {
        let (sim, process, env, file) = machine(seed, SimConfig::with_faults(Faults::none()), 0);
        sim.block_on(async {
            file.write(0, block(1, 4096)).await.unwrap();
            env.open(&dir().join("g"), Open::Create).await.unwrap();
        });
        sim.power_cut(process);
        assert_eq!(content(&sim, process, "f").unwrap(), *block(1, 4096));
        assert!(content(&sim, process, "g").is_some());
    }
}

#[test]
fn names_are_durable_only_after_their_directory_was_synced() {
    let mut seen = BTreeSet::new();
    for seed in 0..300 {
        let (sim, process, env, _) = machine(seed, SimConfig::default(), 512);
        sim.block_on(async {
            let file = env.open(&dir().join("new"), Open::Create).await.unwrap();
            file.write_durable(0, block(7, 512)).await.unwrap();
            env.remove(&dir().join("f")).await.unwrap();
            if seed % 3 == 0 {
                env.sync_dir(dir()).await.unwrap();
            }
        });
        sim.power_cut(process);
        let found = (
            content(&sim, process, "new").is_some(),
            content(&sim, process, "f").is_some(),
        );
        if seed % 3 == 0 {
            assert_eq!(found, (true, false), "seed {seed}");
        } else {
            seen.insert(found);
        }
    }
    assert_eq!(seen.len(), 4, "any subset survives: {seen:?}");
}

#[test]
fn a_rename_is_atomic() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..300 {
        let (sim, process, env, _) = machine(seed, SimConfig::default(), 512);
        sim.block_on(async {
            let file = env.open(&dir().join("tmp"), Open::Create).await.unwrap();
            file.write_durable(0, block(7, 512)).await.unwrap();
            env.rename(&dir().join("tmp"), &dir().join("f"))
                .await
                .unwrap();
        });
        sim.power_cut(process);
        let found = content(&sim, process, "f").expect("the name always has a file");
        assert!(found[0] == 0 || found[0] == 7);
        outcomes.insert((found[0], content(&sim, process, "tmp").is_some()));
    }
    assert!(
        outcomes.contains(&(7, false)) && outcomes.contains(&(0, false)),
        "{outcomes:?}"
    );
    assert!(!outcomes.contains(&(7, true)));
}

#[test]
fn a_cut_of_a_file_happens_wholly_or_not_at_all() {
    let mut lens = BTreeSet::new();
    for seed in 0..200 {
        let (sim, process, _, file) = machine(seed, SimConfig::default(), 4096);
        sim.block_on(async {
            file.write_durable(0, block(1, 4096)).await.unwrap();
            file.set_len(1000).await.unwrap();
        });
        sim.power_cut(process);
        let found = content(&sim, process, "f").unwrap();
        assert!(found.iter().all(|byte| *byte == 1), "seed {seed}");
        lens.insert(found.len());
        let (sim, process, _, file) = machine(seed, SimConfig::default(), 4096);
        sim.block_on(async {
            file.write_durable(0, block(1, 4096)).await.unwrap();
            file.set_len(1000).await.unwrap();
            file.set_len(4096).await.unwrap();
            file.flush().await.unwrap();
        });
        sim.power_cut(process);
        let found = content(&sim, process, "f").unwrap();
        assert!(found[..1000].iter().all(|b| *b == 1) && found[1000..].iter().all(|b| *b == 0));
    }
    assert_eq!(lens, BTreeSet::from([1000, 4096]));
}

#[test]
fn messages_of_one_executor_keep_their_order_and_others_may_overtake() {
    let mut overtaken = 0;
    for seed in 0..50 {
        let sim = Sim::new(seed, SimConfig::default());
        let process = sim.process();
        let (sender, mut receiver) = sim.transport().channel::<(u8, u32)>();
        for thread in 0..3 {
            let (env, sender) = (sim.env(process, &format!("{thread}")), sender.clone());
            env.spawn(Category::Client, async move {
                for index in 0..100 {
                    sender.clone().send((thread, index)).unwrap();
                }
            });
        }
        drop(sender);
        let received = sim.block_on(async {
            let mut received = Vec::new();
            while let Some(message) = receiver.recv().await {
                received.push(message);
            }
            received
        });
        assert_eq!(received.len(), 300);
        for thread in 0..3 {
            let own = received.iter().filter(|(from, _)| *from == thread);
            assert!(
                own.map(|(_, index)| *index).eq(0..100),
                "seed {seed}: order lost"
            );
        }
        overtaken += u32::from(received.windows(2).any(|pair| pair[0].1 > pair[1].1));
    }
    assert!(overtaken > 25);
}

#[test]
fn a_dropped_receiver_gives_messages_back() {
    let sim = Sim::new(1, SimConfig::default());
    let (sender, receiver) = sim.transport().channel::<u8>();
    sender.send(1).unwrap();
    drop(receiver);
    assert_eq!(sender.send(2), Err(2));
}

#[test]
fn a_mapping_outlives_the_name_of_its_file_and_forbids_writes() {
    let (sim, _, env, file) = machine(3, SimConfig::default(), 1024);
    let mapping = sim.block_on(env.map(&dir().join("f"))).unwrap();
    sim.block_on(env.remove(&dir().join("f"))).unwrap();
    assert_eq!(mapping[..], *block(0, 1024));
    let write = std::panic::AssertUnwindSafe(|| sim.block_on(file.write(0, block(1, 512))));
    std::panic::catch_unwind(write).expect_err("a mapped file must never be written");
}

#[test]
fn a_dead_incarnation_does_nothing_more() {
    let (sim, process, env, file) = machine(5, SimConfig::default(), 512);
    let ran = Rc::new(RefCell::new(0));
    let alive = ran.clone();
    let ticker = env.clone();
    env.spawn(Category::Client, async move {
        loop {
            ticker.sleep(Duration::from_millis(1)).await;
            *alive.borrow_mut() += 1;
        }
    });
    sim.run_for(Duration::from_millis(10));
    sim.power_cut(process);
    let before = *ran.borrow();
    assert!(before > 5);
    assert_eq!(Rc::strong_count(&ran), 1, "the future was dropped");
    sim.block_on(file.write(0, block(1, 512)))
        .expect_err("the handle is dead");
    let late = ran.clone();
    env.spawn(Category::Client, async move { *late.borrow_mut() += 100 });
    sim.run_for(Duration::from_millis(10));
    assert_eq!(*ran.borrow(), before);
}

#[test]
fn a_task_may_cut_the_power_of_its_own_process() {
    let (sim, process, env, file) = machine(6, SimConfig::default(), 512);
    let inner = sim.clone();
    env.spawn(Category::Client, async move {
        inner.power_cut(process);
        file.write_durable(0, block(1, 512)).await.ok();
    });
    sim.run_for(Duration::from_millis(50));
    assert_eq!(content(&sim, process, "f").unwrap()[0], 0);
}

#[test]
fn a_stuck_world_says_why() {
    let sim = Sim::new(
        9,
        SimConfig {
            livelock_polls: 10_000,
            ..SimConfig::default()
        },
    );
    let stuck = sim.try_block_on(std::future::pending::<()>()).unwrap_err();
    assert_eq!((stuck.seed, stuck.reason), (9, StuckReason::Deadlock));
    let env = sim.env(sim.process(), "main");
    let spin = async {
        loop {
            env.yield_now().await;
        }
    };
    let stuck = sim.try_block_on::<()>(spin).unwrap_err();
    assert_eq!(stuck.reason, StuckReason::Livelock);
    assert!(stuck.to_string().contains("seed 9"));
}

#[test]
fn a_flipped_bit_is_seen_by_readers() {
    let (sim, process, _, _) = machine(7, SimConfig::default(), 512);
    assert!(sim.flip_bit(process, &dir().join("f"), 100, 3));
    assert!(!sim.flip_bit(process, &dir().join("f"), 512, 3));
    assert_eq!(content(&sim, process, "f").unwrap()[100], 8);
}

#[test]
fn small_io_is_cheap_enough_for_thousands_of_seeds() {
    let started = Instant::now();
    let (sim, _, env, file) = machine(8, SimConfig::default(), 0);
    sim.block_on(async {
        for index in 0..20_000 {
            file.write_durable(index % 64 * 512, block(1, 512))
                .await
                .unwrap();
            env.yield_now().await;
        }
    });
    let rate = 20_000.0 / started.elapsed().as_secs_f64();
    println!("{rate:.0} durable writes per second of real time");
    assert!(rate > 20_000.0, "only {rate:.0} I/Os per second");
}
