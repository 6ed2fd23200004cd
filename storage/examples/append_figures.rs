//! Prints what an append costs here, beside what the device itself needs in the same run.
//!
//! Relies on Linux (O_DIRECT). Usage: `append_figures DIR [SECONDS]`. The figures in
//! `storage/FORMAT.md`, section "Filling ahead", come from it. It writes up to 2 GiB into DIR.

use std::error::Error;
use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rama_io::glommio::{GlommioEnv, Pin, Pool, PoolConfig};
use rama_io::{Category, Env, File, Open};
use rama_storage::lsm::WriteBatch;
use rama_storage::{Entry, Group, GroupOptions, Identity, LogId, SpaceId};

type Done<T = ()> = Result<T, Box<dyn Error>>;

const O_DIRECT: i32 = 0x4000;
const O_DSYNC: i32 = 0x1000;
const IDENTITY: Identity = Identity {
    cluster: 1,
    group: 0,
};
const RECORD: [u8; 1024] = [7; 1024];
const LOG: LogId = LogId(1);

#[repr(align(4096))]
struct Block([u8; 4096]);

fn main() -> Done {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().ok_or("usage: append_figures DIR [SECONDS]")?);
    let seconds: u64 = args.next().map_or(Ok(1), |text| text.parse())?;
    let time = Duration::from_secs(seconds);
    std::fs::create_dir_all(&dir)?;
    device(&dir, time)?;
    let config = PoolConfig {
        executors: 1,
        pin: Pin::Unpinned,
        ..PoolConfig::default()
    };
    let pool = Pool::start(config, move |env, _| {
        let dir = dir.clone();
        async move { run(env, dir, time).await.map_err(|error| error.to_string()) }
    })?;
    for outcome in pool.join()? {
        outcome?;
    }
    Ok(())
}

async fn run(env: GlommioEnv, dir: PathBuf, time: Duration) -> Done {
    for bytes in [1536, 4096, 71 << 10] {
        for way in [Way::Extend, Way::SetLen, Way::Zeros] {
            file(&env, &dir, way, bytes, time).await?;
        }
    }
    for fill_bytes in [0, 256 << 10, 1 << 20, 4 << 20] {
        for in_flight in [1, 64, 1024] {
            appends(&env, &dir, fill_bytes, in_flight, time).await?;
        }
    }
    recovery(&env, &dir).await
}

fn report(what: &str, mut nanos: Vec<u64>) {
    nanos.sort_unstable();
    let at = |part: f64| nanos[(nanos.len() as f64 * part) as usize] / 1000;
    let (p50, p99, count) = (at(0.5), at(0.99), nanos.len());
    println!("{what:44} p50 {p50:6} us  p99 {p99:6} us  n {count}");
}

/// The device's own durable overwrite of 4 KiB.
fn device(dir: &Path, time: Duration) -> Done {
    let path = dir.join("device");
    std::fs::write(&path, vec![0; 16 << 20])?;
    let flags = O_DIRECT | O_DSYNC;
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(flags)
        .open(&path)?;
    let (block, begin, mut nanos) = (Box::new(Block([1; 4096])), Instant::now(), Vec::new());
    while begin.elapsed() < time {
        let at = Instant::now();
        file.write_all_at(&block.0, (nanos.len() as u64 * 4096) % (16 << 20))?;
        nanos.push(at.elapsed().as_nanos() as u64);
    }
    report("device, 4096 B O_DIRECT+O_DSYNC overwrite", nanos);
    std::fs::remove_file(path)?;
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Extend,
    SetLen,
    Zeros,
}

/// Durable writes of one file, one after the other.
async fn file(env: &GlommioEnv, dir: &Path, way: Way, bytes: usize, time: Duration) -> Done {
    const LEN: u64 = 64 << 20;
    let path = dir.join("file");
    let file = env.open(&path, Open::Create).await?;
    match way {
        Way::Extend => {}
        Way::SetLen => file.set_len(LEN).await?,
        Way::Zeros => {
            for at in (0..LEN).step_by(1 << 20) {
                file.write(at, file.buffer(1 << 20)).await?;
            }
        }
    }
    file.flush().await?;
    let (begin, mut nanos, mut position) = (Instant::now(), Vec::new(), 0);
    while begin.elapsed() < time && position + (bytes as u64) < LEN {
        let at = Instant::now();
        file.write_durable(position, file.buffer(bytes)).await?;
        nanos.push(at.elapsed().as_nanos() as u64);
        position += bytes as u64;
    }
    report(&format!("file, {way:?}, {bytes} B"), nanos);
    drop(file);
    env.remove(&path).await?;
    Ok(())
}

/// 1 KiB appends by `in_flight` clients that each wait for durability.
async fn appends(
    env: &GlommioEnv,
    dir: &Path,
    fill_bytes: u32,
    in_flight: usize,
    time: Duration,
) -> Done {
    let dir = dir.join(format!("group-{fill_bytes}-{in_flight}"));
    let options = GroupOptions {
        fill_bytes,
        ..GroupOptions::default()
    };
    let (group, _) = Group::open(env, &dir, IDENTITY, &[0], options).await?;
    let nanos = Rc::new(std::cell::RefCell::new(Vec::new()));
    let running = Rc::new(std::cell::Cell::new(in_flight));
    let begin = Instant::now();
    for _ in 0..in_flight {
        let (env, group) = (env.clone(), group.clone());
        let (nanos, running) = (nanos.clone(), running.clone());
        env.clone().spawn(Category::Client, async move {
            while begin.elapsed() < time {
                let at = Instant::now();
                let entry = Entry::new().append(0, LOG, env.wall_ms(), &[&RECORD]);
                let appended = group.append(entry).expect("an open group");
                group
                    .wait_durable(appended.index)
                    .await
                    .expect("a sound disk");
                group
                    .apply(appended.index.max(group.applied()))
                    .expect("durable");
                nanos.borrow_mut().push(at.elapsed().as_nanos() as u64);
            }
            running.set(running.get() - 1);
        });
    }
    while running.get() > 0 {
        env.sleep(Duration::from_millis(5)).await;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let stats = group.stats();
    group.close().await?;
    let nanos = nanos.take();
    let payload = nanos.len() as f64 * RECORD.len() as f64;
    let rate = nanos.len() as f64 / seconds / 1000.0;
    report(
        &format!("group, fill {fill_bytes}, {in_flight} in flight"),
        nanos,
    );
    let written = stats.entry_bytes + stats.segment_bytes + stats.fill_bytes;
    println!(
        "{:44} {rate:.1} k/s, {:.3} bytes written per byte, {:.1} entries per write",
        "",
        written as f64 / payload,
        stats.entries as f64 / stats.writes as f64,
    );
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

/// Opening 1 GiB: half of it depot records, half of it key-value writes.
async fn recovery(env: &GlommioEnv, dir: &Path) -> Done {
    let dir = dir.join("recovery");
    let open = || Group::open(env, &dir, IDENTITY, &[0], GroupOptions::default());
    let (group, _) = open().await?;
    for round in 0..8192_u64 {
        let mut batch = WriteBatch::new();
        for key in 0..64_u64 {
            let key = (round * 64 + key)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .to_be_bytes();
            batch.put(SpaceId(1), &key, &RECORD);
        }
        let records = [RECORD.as_slice(); 64];
        let entry = Entry::new().append(0, LOG, round, &records).write(0, batch);
        let index = group.append(entry)?.index;
        if round % 16 == 0 {
            group.wait_durable(index).await?;
            group.apply(index)?;
        }
    }
    let last = group.appended();
    group.wait_durable(last).await?;
    group.apply(last)?;
    group.close().await?;
    let begin = Instant::now();
    let (group, recovered) = open().await?;
    let millis = begin.elapsed().as_millis();
    println!(
        "open 1 GiB: {millis} ms, {} entries replayed",
        recovered.replayed
    );
    assert_eq!(recovered.last_index, last);
    group.close().await?;
    std::fs::remove_dir_all(dir)?;
    Ok(())
}
