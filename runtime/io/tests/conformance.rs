//! One suite for both implementations of `Env`: what the engine may rely on anywhere.
//!
//! Each scenario is one generic function; it runs on glommio once and in the simulator under many
//! seeds. What must stay true: nothing is asserted here that only one of the two promises.
#![allow(clippy::unwrap_used, missing_docs)]

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use rama_io::glommio::{GlommioEnv, Pin, Pool, PoolConfig};
use rama_io::sim::{Sim, SimConfig};
use rama_io::{Category, Env, File, Open, Receiver, Sender, Transport};

const SEEDS: u64 = 20;

macro_rules! scenarios {
    ($($name:ident)*) => {
        mod on_glommio {
            use super::*;
            $(#[test] fn $name() {
                let dir = tempfile::tempdir().unwrap();
                let path = dir.path().join("a/b");
                let config = PoolConfig { executors: 1, pin: Pin::Unpinned, ..Default::default() };
                let main = move |env: GlommioEnv, _| super::$name(env, path.clone());
                Pool::start(config, main).unwrap().join().unwrap();
            })*
        }
        mod in_the_simulator {
            use super::*;
            $(#[test] fn $name() {
                for seed in 0..SEEDS {
                    let sim = Sim::new(seed, SimConfig::default());
                    let env = sim.env(sim.process(), "main");
                    sim.block_on(super::$name(env, "/data/a/b".into()));
                }
            })*
        }
    };
}

scenarios! {
    a_new_file_is_empty_readable_and_writable
    reads_take_any_range
    large_writes_and_reads_are_whole
    unaligned_writes_are_refused
    durable_writes_and_flushes_mix
    many_writes_may_be_under_way
    the_length_can_be_set_and_cut
    names_behave_like_names
    mappings_show_the_file_and_outlive_its_name
    time_passes_while_sleeping_and_never_goes_back
    spawned_tasks_run_later_and_take_turns
    messages_of_a_sender_arrive_in_order
    a_receiver_that_goes_takes_its_messages_along
    try_recv_never_waits
    replies_wake_across_tasks
    io_goes_on_when_its_future_is_dropped_or_does_nothing
}

async fn create<E: Env>(env: &E, dir: &Path, name: &str) -> E::File {
    env.make_dir(dir).await.unwrap();
    env.open(&dir.join(name), Open::Create).await.unwrap()
}

fn filled<F: File>(file: &F, fill: u8, len: usize) -> F::Buffer {
    let mut buffer = file.buffer(len);
    assert!(buffer.iter().all(|byte| *byte == 0), "buffers come zeroed");
    buffer.fill(fill);
    buffer
}

async fn a_new_file_is_empty_readable_and_writable<E: Env>(env: E, dir: PathBuf) {
    let file = create(&env, &dir, "f").await;
    assert_eq!(file.len().await.unwrap(), 0);
    assert!(file.read(0, 4096).await.unwrap().is_empty());
    assert!(file.read(1 << 30, 10).await.unwrap().is_empty());
    file.write(0, filled(&file, 7, 512)).await.unwrap();
    assert_eq!(file.read(0, 512).await.unwrap(), vec![7; 512]);
    assert_eq!(file.len().await.unwrap(), 512);
}

async fn reads_take_any_range<E: Env>(env: E, dir: PathBuf) {
    let file = create(&env, &dir, "f").await;
    let mut buffer = file.buffer(8192);
    for (index, byte) in buffer.iter_mut().enumerate() {
        *byte = (index / 7) as u8;
    }
    let expected = buffer.to_vec();
    file.write(0, buffer).await.unwrap();
    for (from, len) in [
        (0, 8192),
        (1, 10),
        (511, 2),
        (4095, 4097),
        (8000, 500),
        (8191, 1),
        (8192, 9),
    ] {
        let end = expected.len().min(from + len);
        let found = file.read(from as u64, len).await.unwrap();
        assert_eq!(found, expected[from..end], "{from}, {len}");
    }
    file.set_len(1000).await.unwrap();
    assert_eq!(file.read(600, 500).await.unwrap(), expected[600..1000]);
    assert_eq!(file.read(999, 5000).await.unwrap(), expected[999..1000]);
}

async fn large_writes_and_reads_are_whole<E: Env>(env: E, dir: PathBuf) {
    let file = create(&env, &dir, "f").await;
    let mut buffer = file.buffer(3 << 20);
    for (index, word) in buffer.chunks_mut(8).enumerate() {
        word.copy_from_slice(&(index as u64).to_le_bytes());
    }
    let expected = buffer.to_vec();
    file.write_durable(4096, buffer).await.unwrap();
    assert_eq!(file.len().await.unwrap(), (3 << 20) + 4096);
    assert!(file.read(4096, 3 << 20).await.unwrap() == expected);
    assert_eq!(
        file.read(0, 4096).await.unwrap(),
        vec![0; 4096],
        "a hole reads as zeros"
    );
}

async fn unaligned_writes_are_refused<E: Env>(env: E, dir: PathBuf) {
    let file = create(&env, &dir, "f").await;
    let refused = file.write(100, filled(&file, 1, 512)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    file.write_durable(100, filled(&file, 1, 512))
        .await
        .unwrap_err();
}

async fn durable_writes_and_flushes_mix<E: Env>(env: E, dir: PathBuf) {
    let file = create(&env, &dir, "f").await;
    file.set_len(8192).await.unwrap();
    for round in 0..4_u8 {
        let at = u64::from(round) * 2048;
        file.write_durable(at, filled(&file, round + 1, 512))
            .await
            .unwrap();
        file.write(at + 512, filled(&file, round + 1, 512))
            .await
            .unwrap();
        file.write_durable(at + 1024, filled(&file, round + 1, 512))
            .await
            .unwrap();
        file.write(at + 1536, filled(&file, round + 1, 512))
            .await
            .unwrap();
        file.flush().await.unwrap();
    }
    let again = env.open(&dir.join("f"), Open::Existing).await.unwrap();
    let found = again.read(0, 8192).await.unwrap();
    assert!(
        found
            .iter()
            .enumerate()
            .all(|(at, byte)| usize::from(*byte) == at / 2048 + 1)
    );
}

async fn many_writes_may_be_under_way<E: Env>(env: E, dir: PathBuf) {
    let file = create(&env, &dir, "f").await;
    let writes = (0..64_u64).map(|index| file.write(index * 512, filled(&file, index as u8, 512)));
    for written in futures_util::future::join_all(writes).await {
        written.unwrap();
    }
    file.flush().await.unwrap();
    let found = file.read(0, 64 * 512).await.unwrap();
    assert!(
        found
            .chunks(512)
            .enumerate()
            .all(|(index, block)| block == vec![index as u8; 512])
    );
}

async fn the_length_can_be_set_and_cut<E: Env>(env: E, dir: PathBuf) {
    let file = create(&env, &dir, "f").await;
    file.set_len(4096).await.unwrap();
    assert_eq!(file.read(0, 5000).await.unwrap(), vec![0; 4096]);
    file.write_durable(0, filled(&file, 9, 4096)).await.unwrap();
    file.set_len(512).await.unwrap();
    file.set_len(1024).await.unwrap();
    file.flush().await.unwrap();
    assert_eq!(file.len().await.unwrap(), 1024);
    let found = file.read(0, 2000).await.unwrap();
    assert_eq!(
        (&found[..512], &found[512..]),
        (&[9; 512][..], &[0; 512][..])
    );
}

async fn names_behave_like_names<E: Env>(env: E, dir: PathBuf) {
    let file = create(&env, &dir, "b").await;
    file.write_durable(0, filled(&file, 1, 512)).await.unwrap();
    let kind = |error: std::io::Error| error.kind();
    let open = async |name: &str, how| env.open(&dir.join(name), how).await;
    assert_eq!(
        open("b", Open::Create).await.err().map(kind),
        Some(ErrorKind::AlreadyExists)
    );
    assert_eq!(
        open("x", Open::Existing).await.err().map(kind),
        Some(ErrorKind::NotFound)
    );
    assert_eq!(
        open("no/x", Open::Create).await.err().map(kind),
        Some(ErrorKind::NotFound)
    );
    assert_eq!(
        env.remove(&dir.join("x")).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(
        env.list(&dir.join("no")).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let missing = env
        .rename(&dir.join("x"), &dir.join("y"))
        .await
        .unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(
        missing.to_string().contains('x'),
        "errors name the file: {missing}"
    );
    let second = open("c", Open::Create).await.unwrap();
    second
        .write_durable(0, filled(&second, 2, 512))
        .await
        .unwrap();
    env.make_dir(&dir.join("a")).await.unwrap();
    assert_eq!(env.list(&dir).await.unwrap(), ["a", "b", "c"]);
    env.rename(&dir.join("c"), &dir.join("b")).await.unwrap();
    env.sync_dir(&dir).await.unwrap();
    assert_eq!(env.list(&dir).await.unwrap(), ["a", "b"]);
    let found = open("b", Open::Existing).await.unwrap();
    assert_eq!(found.read(0, 1).await.unwrap(), [2]);
    assert_eq!(
        file.read(0, 1).await.unwrap(),
        [1],
        "a replaced file stays open"
    );
    env.remove(&dir.join("b")).await.unwrap();
    assert_eq!(env.list(&dir).await.unwrap(), ["a"]);
    assert_eq!(
        found.read(0, 1).await.unwrap(),
        [2],
        "a removed file stays open"
    );
    env.make_dir(&dir).await.unwrap();
}

async fn mappings_show_the_file_and_outlive_its_name<E: Env>(env: E, dir: PathBuf) {
    let file = create(&env, &dir, "f").await;
    file.write_durable(0, filled(&file, 5, 8192)).await.unwrap();
    drop(file);
    let mapping = env.map(&dir.join("f")).await.unwrap();
    let clone = mapping.clone();
    env.remove(&dir.join("f")).await.unwrap();
    drop(mapping);
    assert_eq!(clone[..], [5; 8192]);
    assert_eq!(
        env.map(&dir.join("f")).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    create(&env, &dir, "empty").await;
    assert!(env.map(&dir.join("empty")).await.unwrap().is_empty());
}

async fn time_passes_while_sleeping_and_never_goes_back<E: Env>(env: E, _: PathBuf) {
    let wall = env.wall_ms();
    let mut last = env.now();
    for micros in [0, 1, 100, 1_000, 5_000] {
        let duration = Duration::from_micros(micros);
        let before = env.now();
        env.sleep(duration).await;
        assert!(env.now().since(before) >= duration);
        assert!(env.now() >= last);
        last = env.now();
    }
    assert!(env.wall_ms() >= wall);
    assert_ne!(env.random_u64(), env.random_u64());
}

async fn spawned_tasks_run_later_and_take_turns<E: Env>(env: E, _: PathBuf) {
    let log = Rc::new(RefCell::new(Vec::new()));
    let borrowed = log.borrow_mut();
    for (index, category) in Category::ALL.into_iter().enumerate() {
        let (log, inner) = (log.clone(), env.clone());
        env.spawn(category, async move {
            for _ in 0..3 {
                log.borrow_mut().push(index);
                inner.yield_now().await;
            }
        });
    }
    drop(borrowed);
    while log.borrow().len() < 18 {
        env.yield_now().await;
    }
    for index in 0..6 {
        assert_eq!(
            log.borrow().iter().filter(|found| **found == index).count(),
            3
        );
    }
}

async fn messages_of_a_sender_arrive_in_order<E: Env>(env: E, _: PathBuf) {
    let (sender, mut receiver) = env.transport().channel::<u32>();
    let inner = env.clone();
    env.spawn(Category::Client, async move {
        for index in 0..1000 {
            sender.send(index).unwrap();
            if index % 100 == 0 {
                inner.yield_now().await;
            }
        }
    });
    for index in 0..1000 {
        assert_eq!(receiver.recv().await, Some(index));
    }
    assert_eq!(receiver.recv().await, None, "all senders are gone");
    assert_eq!(receiver.try_recv(), None);
}

async fn a_receiver_that_goes_takes_its_messages_along<E: Env>(env: E, _: PathBuf) {
    let (sender, receiver) = env.transport().channel();
    let (reply, answer) = futures_channel::oneshot::channel::<()>();
    sender.send(reply).unwrap();
    drop(receiver);
    assert!(
        answer.await.is_err(),
        "whoever waits for an answer learns that none comes"
    );
    let (reply, _answer) = futures_channel::oneshot::channel();
    assert!(sender.send(reply).is_err());
}

async fn try_recv_never_waits<E: Env>(env: E, _: PathBuf) {
    let (sender, mut receiver) = env.transport().channel::<u8>();
    assert_eq!(receiver.try_recv(), None);
    sender.clone().send(1).unwrap();
    let found = loop {
        if let Some(found) = receiver.try_recv() {
            break found;
        }
        env.sleep(Duration::from_micros(10)).await;
    };
    assert_eq!(found, 1);
}

async fn replies_wake_across_tasks<E: Env>(env: E, _: PathBuf) {
    let (sender, mut receiver) = env
        .transport()
        .channel::<futures_channel::oneshot::Sender<u8>>();
    env.spawn(Category::LowLatency, async move {
        while let Some(reply) = receiver.recv().await {
            reply.send(3).unwrap();
        }
    });
    for _ in 0..50 {
        let (reply, answer) = futures_channel::oneshot::channel();
        sender.send(reply).unwrap();
        assert_eq!(answer.await, Ok(3));
    }
}

async fn io_goes_on_when_its_future_is_dropped_or_does_nothing<E: Env>(env: E, dir: PathBuf) {
    let file = create(&env, &dir, "f").await;
    file.write_durable(0, filled(&file, 1, 4096)).await.unwrap();
    let polled = Cell::new(false);
    let write = file.write(0, filled(&file, 2, 4096));
    futures_util::future::select(
        Box::pin(write),
        Box::pin(async {
            polled.set(true);
        }),
    )
    .await;
    assert!(polled.get());
    env.sleep(Duration::from_millis(20)).await;
    let found = file.read(0, 4096).await.unwrap();
    assert!(
        found == vec![1; 4096] || found == vec![2; 4096],
        "never a mixture"
    );
}
