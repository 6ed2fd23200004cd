//! The traps of glommio, each with its guard; and what a pool promises about its end.

use std::cell::Cell;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::env::{Category, CategoryShares, Env, File, Open, Receiver, Sender, Transport};

fn config(executors: usize) -> PoolConfig {
    PoolConfig {
        executors,
        pin: Pin::Unpinned,
        ..PoolConfig::default()
    }
}

/// Runs `main` on one executor.
fn on_one<T: Send + 'static, F: Future<Output = T> + 'static>(
    main: impl Fn(GlommioEnv) -> F + Clone + Send + 'static,
) -> T {
    let pool = Pool::start(config(1), move |env, _| main(env)).unwrap();
    pool.join().unwrap().remove(0)
}

fn spin(duration: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < duration {
        std::hint::spin_loop();
    }
}

/// Whatever is waited for takes far less.
const LIMIT: Duration = Duration::from_secs(20);

/// Ticks of the watchdog without one poll of a runnable task that count as parked for ever.
const PARKED_TICKS: u64 = 200;

/// With a preempt timer of microseconds the scheduler finds itself preempted before it ran anything,
/// answers "idle" and parks with a runnable task. How short it must be depends on the machine, so
/// the test goes down until it happens: with the guard off the executor then stands still however
/// long one looks, and with the guard on again it ends.
#[test]
fn an_executor_parks_with_runnable_tasks_and_only_the_guard_wakes_it() {
    let parked = (0..4)
        .flat_map(|_| (5..=80).rev().step_by(5))
        .find(|micros| parks_until_woken(Duration::from_micros(*micros)));
    match parked {
        Some(micros) => println!("{micros} µs: parked with the guard off, done with it on"),
        None => println!("this machine's glommio never parked; the guard's wakes are proven alone"),
    }
}

/// Whether an executor parked for good while the guard was off. With the guard on it always ends.
fn parks_until_woken(timer: Duration) -> bool {
    let (started, pulses) = std::sync::mpsc::channel();
    let pool = Pool::start(config(1), move |env, _| {
        let started = started.clone();
        async move {
            let _ = started.send(env.0.pulse.clone());
            turns_with_short_timer(&env, timer).await
        }
    });
    let pool = pool.unwrap();
    let dog = pool.dog();
    let pulse = pulses.recv().unwrap();
    dog.off.store(true, Ordering::SeqCst);
    let (sender, joined) = std::sync::mpsc::channel();
    let joining = std::thread::spawn(move || {
        let _ = sender.send(pool.join().unwrap()[0]);
    });
    let mut still = 0;
    let mut polls = pulse.polls();
    let mut turns = None;
    while still < PARKED_TICKS && turns.is_none() {
        turns = joined.recv_timeout(Duration::from_millis(5)).ok();
        let now = pulse.polls();
        still = if now == polls && pulse.has_runnable() {
            still + 1
        } else {
            0
        };
        polls = now;
    }
    let parked = turns.is_none();
    let nudges = dog.nudges.load(Ordering::SeqCst);
    dog.off.store(false, Ordering::SeqCst);
    let turns = turns.or_else(|| joined.recv_timeout(LIMIT).ok());
    let turns = turns.expect("the guard did not wake a parked executor");
    joining.join().unwrap();
    let nudged = dog.nudges.load(Ordering::SeqCst) - nudges;
    println!("{timer:?}: {turns} turns, parked: {parked}, woken {nudged} times since");
    assert!(!parked || nudged > 0, "something else woke the executor");
    parked
}

/// The way by which the guard wakes is used, whether or not this machine's glommio parks.
#[test]
fn the_guard_wakes_an_executor_with_runnable_tasks() {
    let pool = Pool::start(config(1), |env, _| async move {
        turns_with_short_timer(&env, Duration::from_millis(1)).await
    });
    let pool = pool.unwrap();
    let dog = pool.dog();
    pool.join().unwrap();
    assert!(dog.nudges.load(Ordering::SeqCst) > 0);
}

/// Takes turns for 50 ms in a queue whose preempt timer is `timer`.
async fn turns_with_short_timer(env: &GlommioEnv, timer: Duration) -> u64 {
    let queue = glommio::executor().create_task_queue(
        glommio::Shares::Static(1000),
        glommio::Latency::Matters(timer),
        "short",
    );
    let (done, finished) = futures_channel::oneshot::channel();
    let inner = env.clone();
    let turns = async move {
        let (begun, mut turns) = (Instant::now(), 0);
        while begun.elapsed() < Duration::from_millis(50) {
            inner.yield_now().await;
            turns += 1;
        }
        let _ = done.send(turns);
    };
    let slot: guard::Slot = Rc::new(std::cell::RefCell::new(Some(Box::pin(turns))));
    let task = guard::Guarded::new(slot, env.0.pulse.clone(), |_| {});
    glommio::spawn_local_into(task, queue).unwrap().detach();
    finished.await.unwrap()
}

#[test]
fn a_preempt_timer_below_a_millisecond_is_raised() {
    let config = PoolConfig {
        preempt: Duration::from_micros(1),
        ..config(1)
    };
    let pool = Pool::start(config, |env, _| async move {
        for _ in 0..10_000 {
            env.yield_now().await;
        }
    });
    pool.unwrap().join().unwrap();
}

#[test]
fn sixteen_executors_on_few_cores_talk_to_each_other_and_none_hangs() {
    const COUNT: usize = 16;
    const MESSAGES: u64 = 2_000;
    let mut senders = Vec::new();
    let mut receivers = Vec::new();
    for _ in 0..COUNT {
        let (sender, receiver) = GlommioTransport.channel::<u64>();
        senders.push(sender);
        receivers.push(std::sync::Mutex::new(Some(receiver)));
    }
    let receivers = Arc::new(receivers);
    let pool = Pool::start(config(COUNT), move |env, index| {
        let (senders, receivers) = (senders.clone(), receivers.clone());
        async move {
            let mut receiver = receivers[index].lock().unwrap().take().unwrap();
            env.spawn(Category::Client, async move {
                for message in 0..MESSAGES {
                    for sender in &senders {
                        sender.send(message).unwrap();
                    }
                    if message % 64 == 0 {
                        glommio::executor().yield_task_queue_now().await;
                    }
                }
            });
            let mut sum = 0;
            for _ in 0..MESSAGES * COUNT as u64 {
                sum += receiver.recv().await.unwrap();
            }
            sum
        }
    });
    let sums = pool.unwrap().join().unwrap();
    let expected = COUNT as u64 * (0..MESSAGES).sum::<u64>();
    assert_eq!(sums, vec![expected; COUNT]);
}

#[test]
fn a_panic_in_a_task_ends_its_executor_alone_and_join_tells() {
    let dropped = Arc::new(AtomicBool::new(false));
    let seen = dropped.clone();
    struct Tell(Arc<AtomicBool>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let survived = Arc::new(AtomicU64::new(0));
    let count = survived.clone();
    let pool = Pool::start(config(2), move |env, index| {
        let (seen, count) = (seen.clone(), count.clone());
        async move {
            if index == 0 {
                let tell = Tell(seen);
                env.spawn(Category::Background, async {
                    panic!("a bug in the engine")
                });
                std::future::pending::<()>().await;
                drop(tell);
            }
            env.sleep(Duration::from_millis(50)).await;
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let error = pool.unwrap().join().unwrap_err();
    assert_eq!(error.to_string(), "executor 0 ended: a bug in the engine");
    assert!(dropped.load(Ordering::SeqCst), "its futures were dropped");
    assert_eq!(survived.load(Ordering::SeqCst), 1, "the other one went on");
}

#[test]
fn an_executor_that_ends_drops_every_future_it_has() {
    let (sender, receiver) = GlommioTransport.channel::<u8>();
    let receiver = std::sync::Mutex::new(Some(receiver));
    let receiver = Arc::new(receiver);
    let pool = Pool::start(config(1), move |env, _| {
        let mut receiver = receiver.lock().unwrap().take().unwrap();
        async move {
            env.spawn(Category::Client, async move {
                while receiver.recv().await.is_some() {}
            });
            env.yield_now().await;
        }
    });
    pool.unwrap().join().unwrap();
    assert_eq!(sender.send(1), Err(1), "the receiver is gone with its task");
}

/// The guard is off meanwhile, and comes on only for a message that does not arrive without it: an
/// executor may park with runnable tasks now and then, see above.
#[test]
fn a_foreign_thread_wakes_a_parked_executor() {
    let (sender, receiver) = GlommioTransport.channel::<u8>();
    let receiver = Arc::new(std::sync::Mutex::new(Some(receiver)));
    let (heard, hearing) = std::sync::mpsc::channel();
    let pool = Pool::start(config(1), move |_, _| {
        let mut receiver = receiver.lock().unwrap().take().unwrap();
        let heard = heard.clone();
        async move {
            while receiver.recv().await.is_some() {
                heard.send(()).unwrap();
            }
        }
    });
    let pool = pool.unwrap();
    let dog = pool.dog();
    let mut stuck = 0;
    for _ in 0..50 {
        dog.off.store(true, Ordering::SeqCst);
        sender.send(1).unwrap();
        if hearing.recv_timeout(Duration::from_secs(1)).is_err() {
            stuck += 1;
            dog.off.store(false, Ordering::SeqCst);
            hearing.recv_timeout(LIMIT).unwrap();
        }
    }
    dog.off.store(false, Ordering::SeqCst);
    drop(sender);
    pool.join().unwrap();
    assert!(
        stuck < 25,
        "the guard woke the executor {stuck} times of 50"
    );
}

#[test]
fn an_idle_pool_uses_no_processor() {
    let (sender, receiver) = GlommioTransport.channel::<u8>();
    let receiver = Arc::new(std::sync::Mutex::new(Some(receiver)));
    let pool = Pool::start(config(1), move |_, _| {
        let mut receiver = receiver.lock().unwrap().take().unwrap();
        async move {
            receiver.recv().await;
        }
    });
    let pool = pool.unwrap();
    let begun = Instant::now();
    while !pool.dog().asleep() {
        assert!(begun.elapsed() < LIMIT, "the watchdog never sleeps");
        std::thread::yield_now();
    }
    sender.send(1).unwrap();
    pool.join().unwrap();
}

/// O_DIRECT reads were seen to fail with EOPNOTSUPP when the first file opened on a device was
/// empty; a file from `DmaFile::create` cannot be read at all.
#[test]
fn the_first_file_of_an_executor_may_be_empty_and_is_readable() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("first");
    let found = on_one(move |env| {
        let path = path.clone();
        async move {
            let file = env.open(&path, Open::Create).await.unwrap();
            assert!(file.read(0, 512).await.unwrap().is_empty());
            file.write_durable(0, file.buffer(1024)).await.unwrap();
            file.read(0, 4096).await.unwrap().len()
        }
    });
    assert_eq!(found, 1024);
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "the probe leaves nothing"
    );
}

#[test]
fn a_panic_in_a_blocking_call_is_an_error() {
    let error = on_one(|_| async {
        let failed = blocking::run::<()>(|| panic!("a bug in a call")).await;
        failed.unwrap_err().to_string()
    });
    assert_eq!(error, "a blocking call panicked: a bug in a call");
}

/// A panic while a future is dropped must not end the clean-up half way.
#[test]
fn a_panic_while_futures_are_dropped_is_reported() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a bug in a drop");
        }
    }
    let pool = Pool::start(config(1), |env, _| async move {
        let bomb = Bomb;
        env.spawn(Category::Client, async move {
            std::future::pending::<()>().await;
            drop(bomb);
        });
        env.yield_now().await;
    });
    let error = pool.unwrap().join().unwrap_err();
    assert!(error.to_string().contains("a bug in a drop"), "{error}");
}

/// Runs one test of this file in a process of its own, with a limit that would break the others.
fn in_a_child(test: &str, limit: &str) {
    if std::env::var_os("RAMA_IO_CHILD").is_some() {
        return;
    }
    let child = Command::new("sh")
        .args(["-c", &format!("{limit} && exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("RAMA_IO_CHILD", "1")
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success(),
        "{output}{}",
        String::from_utf8_lossy(&child.stderr)
    );
    assert!(output.contains("1 passed"), "{output}");
}

#[test]
fn too_little_locked_memory_is_refused_with_the_remedy() {
    in_a_child(
        "glommio::tests::too_little_locked_memory_is_refused_with_the_remedy",
        "ulimit -l 64",
    );
    if std::env::var_os("RAMA_IO_CHILD").is_some() {
        let refused = Pool::start(config(1), |_, _| async {}).err().unwrap();
        assert!(refused.to_string().contains("ulimit -l 8192"), "{refused}");
    }
}

#[test]
fn counters_tell_what_went_to_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    for durable_write in [DurableWrite::Dsync, DurableWrite::Fdatasync] {
        let path = path.with_extension(format!("{durable_write:?}"));
        let config = PoolConfig {
            durable_write: Some(durable_write),
            ..config(1)
        };
        let pool = Pool::start(config, move |env, _| {
            let path = path.clone();
            async move {
                let file = env.open(&path, Open::Create).await.unwrap();
                file.write(0, file.buffer(4096)).await.unwrap();
                file.flush().await.unwrap();
                file.write_durable(0, file.buffer(512)).await.unwrap();
            }
        });
        let pool = pool.unwrap();
        let counters = pool.counters();
        pool.join().unwrap();
        let found = (
            counters.written_bytes(),
            counters.writes(),
            counters.flushes(),
        );
        assert_eq!(found, (4608, 2, 2), "{durable_write:?}");
    }
}

/// O-8: each category of work has its turn, some more often than others.
#[test]
fn every_category_gets_a_share_of_a_busy_executor() {
    let done = on_one(|env| async move {
        let done: Rc<[Cell<u32>; 6]> = Rc::default();
        for category in Category::ALL {
            let (inner, done) = (env.clone(), done.clone());
            env.spawn(category, async move {
                loop {
                    spin(Duration::from_micros(20));
                    done[category as usize].set(done[category as usize].get() + 1);
                    inner.yield_now().await;
                }
            });
        }
        env.sleep(Duration::from_millis(400)).await;
        [0, 1, 2, 3, 4, 5].map(|index: usize| done[index].get())
    });
    println!("turns by category: {done:?}");
    assert!(done.iter().all(|turns| *turns > 0), "{done:?}");
    assert!(
        done[0] > done[5],
        "replication gets more than background: {done:?}"
    );
}

#[test]
fn channels_carry_millions_of_messages_a_second() {
    const MESSAGES: u64 = 2_000_000;
    let (sender, receiver) = GlommioTransport.channel::<u64>();
    let receiver = Arc::new(std::sync::Mutex::new(Some(receiver)));
    let pool = Pool::start(config(2), move |env, index| {
        let sender = (index == 1).then(|| sender.clone());
        let receiver = if index == 0 {
            receiver.lock().unwrap().take()
        } else {
            None
        };
        async move {
            let begun = Instant::now();
            for message in sender.iter().flat_map(|_| 0..MESSAGES) {
                sender.as_ref().unwrap().send(message).unwrap();
                if message % 1_000 == 0 {
                    env.yield_now().await;
                }
            }
            let Some(mut receiver) = receiver else {
                return 0.0;
            };
            for message in 0..MESSAGES {
                assert_eq!(receiver.recv().await, Some(message));
            }
            MESSAGES as f64 / begun.elapsed().as_secs_f64()
        }
    });
    let rate = pool.unwrap().join().unwrap()[0];
    println!("{:.1} million messages a second", rate / 1e6);
    assert!(rate > 500_000.0, "only {rate:.0} messages a second");
}

#[test]
fn both_ways_of_writing_durably_work() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let medians = on_one(move |env| {
        let path = path.clone();
        async move {
            let mut medians = Vec::new();
            for way in [DurableWrite::Fdatasync, DurableWrite::Dsync] {
                let path = path.with_extension(format!("{way:?}"));
                env.open(&path, Open::Create).await.unwrap();
                let opened = GlommioFile::open(env.0.clone(), &path, Open::Existing, way);
                let file = opened.await.unwrap();
                file.write_durable(0, file.buffer(64 << 10)).await.unwrap();
                let mut times = Vec::new();
                for round in 0..40_u64 {
                    let begun = Instant::now();
                    let at = round % 16 * 4096;
                    file.write_durable(at, file.buffer(4096)).await.unwrap();
                    times.push(begun.elapsed());
                }
                times.sort();
                medians.push((way, times[20], times[36]));
            }
            medians
        }
    });
    println!("durable 4 KiB, p50 and p90: {medians:?}");
    assert_eq!(medians.len(), 2);
}

#[test]
fn pools_that_ended_leave_no_threads_and_no_descriptors() {
    let test = "glommio::tests::pools_that_ended_leave_no_threads_and_no_descriptors";
    in_a_child(test, "true");
    if std::env::var_os("RAMA_IO_CHILD").is_none() {
        return;
    }
    let count = |what: &str| {
        std::fs::read_dir(format!("/proc/self/{what}"))
            .unwrap()
            .count()
    };
    let dir = tempfile::tempdir().unwrap();
    let round = |index: usize| {
        let path = dir.path().join(index.to_string());
        let pool = Pool::start(config(2), move |env, executor| {
            let path = path.with_extension(executor.to_string());
            async move {
                let file = env.open(&path, Open::Create).await.unwrap();
                file.write_durable(0, file.buffer(512)).await.unwrap();
                let inner = env.clone();
                env.spawn(Category::Background, async move {
                    loop {
                        inner.sleep(Duration::from_secs(3600)).await;
                        file.flush().await.unwrap();
                    }
                });
                env.yield_now().await;
            }
        });
        pool.unwrap().join().unwrap();
    };
    round(0);
    let (threads, descriptors) = (count("task"), count("fd"));
    (1..30).for_each(round);
    // The kernel takes threads and rings away behind the join, and tells nobody when.
    for _ in 0..200 {
        if count("task") <= threads && count("fd") <= descriptors {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(
        count("task") <= threads + 2,
        "{threads} threads became {}",
        count("task")
    );
    assert!(
        count("fd") <= descriptors + 2,
        "{descriptors} became {}",
        count("fd")
    );
}

/// The scheduler asks four times a second while a queue has work.
#[test]
fn shares_change_while_an_executor_runs() {
    let seen = on_one(|env| async move {
        let before = env.0.share_of(Category::Client);
        let client = 7;
        env.set_shares(CategoryShares {
            client,
            ..CategoryShares::default()
        });
        let (done, changed) = futures_channel::oneshot::channel();
        let inside = env.clone();
        env.spawn(Category::Client, async move {
            while inside.0.share_of(Category::Client) == before {
                inside.yield_now().await;
            }
            let _ = done.send(inside.0.share_of(Category::Client));
        });
        (before, changed.await.unwrap())
    });
    assert_eq!(seen, (500, 7));
}
