//! [`SimEnv`]: what code under simulation sees of its world.
//!
//! Relies on `world` for time and events and on `disk` and `inode` for files. An I/O is issued when
//! its future is first polled, takes effect at a seeded later time, and goes on when the future is
//! dropped, as on a real kernel. What must stay true: nothing that a dead incarnation of a process
//! issues has an effect.

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::env::{Category, CategoryShares, Env, File, Mapping, Open, Tick};

use super::channel::SimTransport;
use super::config::Latency;
use super::disk::{Disk, SharedInode, lock};
use super::executor::Tasks;
use super::inode::{Inode, check_aligned};
use super::rng::Rng;
use super::world::{Action, Place, ProcessId, Shared, Slot, World};

/// Virtual milliseconds begin at this wall clock time.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// One simulated executor of one process. Made by [`Sim::env`](super::Sim::env).
#[derive(Clone)]
pub struct SimEnv {
    pub(super) shared: Arc<Shared>,
    pub(super) tasks: Rc<Tasks>,
    pub(super) place: Place,
    pub(super) rng: Rc<RefCell<Rng>>,
}

impl Env for SimEnv {
    type File = SimFile;
    type Transport = SimTransport;

    fn now(&self) -> Tick {
        self.shared.world().now
    }

    fn wall_ms(&self) -> u64 {
        let mut world = self.shared.world();
        let offset = self
            .place
            .process
            .map_or(0, |id| world.process(id).wall_offset_ms);
        EPOCH_MS + offset + world.now.0 / 1_000_000
    }

    fn random_u64(&self) -> u64 {
        self.rng.borrow_mut().next()
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + 'static {
        sleep(self.shared.clone(), duration)
    }

    fn yield_now(&self) -> impl Future<Output = ()> + 'static {
        let mut yielded = false;
        poll_fn(move |cx| {
            if yielded {
                return Poll::Ready(());
            }
            yielded = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }

    fn spawn(&self, category: Category, future: impl Future<Output = ()> + 'static) {
        self.shared.world().trace.fold(category as u64);
        self.tasks.spawn(&self.shared, self.place, future);
    }

    fn set_shares(&self, _: CategoryShares) {}

    fn transport(&self) -> SimTransport {
        SimTransport(self.shared.clone())
    }

    fn open(&self, path: &Path, how: Open) -> impl Future<Output = io::Result<SimFile>> + 'static {
        let (shared, place) = (self.shared.clone(), self.place);
        let opened = self.on_names(path, how == Open::Create, move |disk, path| match how {
            Open::Create => disk.create(&path),
            Open::Existing => disk.open(&path),
        });
        async move {
            Ok(SimFile {
                shared,
                place,
                inode: opened.await?,
            })
        }
    }

    fn map(&self, path: &Path) -> impl Future<Output = io::Result<Mapping>> + 'static {
        let (shared, place, path) = (self.shared.clone(), self.place, path.to_owned());
        async move {
            let latency = shared.world().config.read;
            let map = move |world: &mut World, process| {
                let chance = world.config.faults.read_error;
                if world.fails(chance, format_args!("could not map {}", path.display())) {
                    return Err(broken("map"));
                }
                let disk = &world.process(process).disk;
                Ok(Mapping::new(MapHolder(
                    lock(&disk.find("map", &path)?).map(),
                )))
            };
            io(shared, place, latency, map).await
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>> + 'static {
        let to = to.to_owned();
        self.on_names(from, false, move |disk, from| disk.rename(&from, &to))
    }

    fn remove(&self, path: &Path) -> impl Future<Output = io::Result<()>> + 'static {
        self.on_names(path, false, |disk, path| disk.remove(&path))
    }

    fn list(&self, dir: &Path) -> impl Future<Output = io::Result<Vec<String>>> + 'static {
        self.on_names(dir, false, |disk, dir| disk.list(&dir))
    }

    fn make_dir(&self, dir: &Path) -> impl Future<Output = io::Result<()>> + 'static {
        self.on_names(dir, false, |disk, dir| {
            disk.make_dir(&dir);
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &Path) -> impl Future<Output = io::Result<()>> + 'static {
        let (shared, place, dir) = (self.shared.clone(), self.place, dir.to_owned());
        async move {
            let (latency, barrier) = {
                let mut world = shared.world();
                let barrier = place
                    .process
                    .map_or(0, |id| world.process(id).disk.barrier());
                (world.config.flush, barrier)
            };
            let sync = move |world: &mut World, process| {
                let chance = world.config.faults.name_error;
                if world.fails(chance, format_args!("could not sync {}", dir.display())) {
                    return Err(broken("sync a directory"));
                }
                world.process(process).disk.sync_dir(&dir, barrier)
            };
            io(shared, place, latency, sync).await
        }
    }
}

impl SimEnv {
    /// Whether a fault that the caller's own draw has planned happens. It has a number among those of
    /// the seed, may be left out by [`SimConfig::only_faults`](super::SimConfig::only_faults), and is
    /// noted if it happens.
    pub fn strikes(&self, what: impl fmt::Display) -> bool {
        self.shared.world().strikes(what)
    }

    /// An operation on names: takes effect at one moment, is answered at a later one.
    fn on_names<T: Send + 'static>(
        &self,
        path: &Path,
        needs_room: bool,
        change: impl FnOnce(&mut Disk, PathBuf) -> io::Result<T> + Send + 'static,
    ) -> impl Future<Output = io::Result<T>> + 'static {
        let (shared, place, path) = (self.shared.clone(), self.place, path.to_owned());
        async move {
            let latency = shared.world().config.names;
            let effect = move |world: &mut World, process| {
                let chance = world.config.faults.name_error;
                if world.fails(chance, format_args!("could not name {}", path.display())) {
                    return Err(broken("change names"));
                }
                if needs_room && world.runs_full(process) {
                    return Err(full("create a file"));
                }
                world.trace.fold_bytes(path.as_os_str().as_encoded_bytes());
                change(&mut world.process(process).disk, path)
            };
            let result = io(shared.clone(), place, latency, effect).await;
            sleep_exactly(shared.clone(), place, latency).await;
            result
        }
    }
}

/// An open file of the simulator.
#[derive(Clone)]
pub struct SimFile {
    shared: Arc<Shared>,
    place: Place,
    inode: SharedInode,
}

impl File for SimFile {
    type Buffer = Box<[u8]>;

    fn buffer(&self, len: usize) -> Box<[u8]> {
        assert!(
            len.is_multiple_of(Self::ALIGN),
            "a buffer is a multiple of {}",
            Self::ALIGN
        );
        vec![0; len].into_boxed_slice()
    }

    fn write(
        &self,
        position: u64,
        buffer: Box<[u8]>,
    ) -> impl Future<Output = io::Result<()>> + 'static {
        self.write_with(position, buffer, Durability::None)
    }

    fn write_durable(
        &self,
        position: u64,
        buffer: Box<[u8]>,
    ) -> impl Future<Output = io::Result<()>> + 'static {
        self.write_with(position, buffer, Durability::Flushed)
    }

    fn flush(&self) -> impl Future<Output = io::Result<()>> + 'static {
        let SimFile {
            shared,
            place,
            inode,
        } = self.clone();
        async move {
            let latency = shared.world().config.flush;
            let barrier = lock(&inode).barrier();
            let flush = move |world: &mut World, _| {
                let chance = world.config.faults.flush_error;
                let mut inode = lock(&inode);
                world.trace.fold(inode.id << 8 | 1);
                if world.fails(chance, format_args!("could not flush file {}", inode.id)) {
                    inode.fail_flush(barrier, &mut world.damage_rng);
                    return Err(broken("flush"));
                }
                inode.flush(barrier);
                Ok(())
            };
            io(shared, place, latency, flush).await
        }
    }

    fn read(
        &self,
        position: u64,
        len: usize,
    ) -> impl Future<Output = io::Result<Vec<u8>>> + 'static {
        let SimFile {
            shared,
            place,
            inode,
        } = self.clone();
        async move {
            let latency = shared.world().config.read;
            let read = move |world: &mut World, _| {
                let chance = world.config.faults.read_error;
                let inode = lock(&inode);
                world.trace.fold(inode.id << 8 | 2);
                if world.fails(chance, format_args!("could not read file {}", inode.id)) {
                    return Err(broken("read"));
                }
                let bytes = inode.read(position, len);
                world.trace.fold_bytes(&bytes);
                Ok(bytes)
            };
            io(shared, place, latency, read).await
        }
    }

    fn len(&self) -> impl Future<Output = io::Result<u64>> + 'static {
        let SimFile {
            shared,
            place,
            inode,
        } = self.clone();
        async move {
            let latency = shared.world().config.names;
            io(shared, place, latency, move |_, _| Ok(lock(&inode).len())).await
        }
    }

    fn set_len(&self, len: u64) -> impl Future<Output = io::Result<()>> + 'static {
        let SimFile {
            shared,
            place,
            inode,
        } = self.clone();
        async move {
            let latency = shared.world().config.names;
            let set_len = move |world: &mut World, process| {
                let chance = world.config.faults.write_error;
                let mut inode = lock(&inode);
                world.trace.fold(len);
                if world.fails(chance, format_args!("could not resize file {}", inode.id)) {
                    return Err(broken("set the length"));
                }
                if len > inode.len() && world.runs_full(process) {
                    return Err(full("set the length"));
                }
                inode.set_len(len);
                Ok(())
            };
            io(shared, place, latency, set_len).await
        }
    }
}

impl SimFile {
    fn write_with(
        &self,
        position: u64,
        buffer: Box<[u8]>,
        durability: Durability,
    ) -> impl Future<Output = io::Result<()>> + 'static {
        let SimFile {
            shared,
            place,
            inode,
        } = self.clone();
        async move {
            check_aligned(position, buffer.len())?;
            let (operation, latency) = {
                let mut world = shared.world();
                if !world.alive(place) {
                    return Err(dead());
                }
                world.trace.fold(position);
                world.trace.fold_bytes(&buffer);
                let latency = match durability {
                    Durability::None => world.config.write,
                    Durability::Flushed => world.config.flush,
                };
                (world.next_sequence(), latency)
            };
            let barrier = {
                let mut inode = lock(&inode);
                inode.begin_write(operation, position, buffer);
                inode.barrier()
            };
            let write = Write {
                operation,
                barrier,
                durability,
            };
            let finish = move |world: &mut World, process| {
                let mut inode = lock(&inode);
                write.finish(world, process, &mut inode)
            };
            io(shared, place, latency, finish).await
        }
    }
}

/// A write that was issued.
struct Write {
    operation: u64,
    /// What is durable when it is, too.
    barrier: u64,
    durability: Durability,
}

impl Write {
    /// What becomes of it, after its time.
    fn finish(self, world: &mut World, process: ProcessId, inode: &mut Inode) -> io::Result<()> {
        let (operation, faults, id) = (self.operation, world.config.faults, inode.id);
        world.trace.fold(id << 8 | 3);
        if inode.grows(operation) && world.runs_full(process) {
            inode.refuse_write(operation);
            return Err(full("write"));
        }
        if world.fails(
            faults.write_error,
            format_args!("could not write file {id}"),
        ) {
            inode.fail_write(operation, &mut world.damage_rng);
            return Err(broken("write"));
        }
        if world.fails(
            faults.misdirected_write,
            format_args!("misdirected write to file {id}"),
        ) {
            inode.misdirect(operation, &mut world.damage_rng);
        }
        if self.durability == Durability::None {
            inode.finish_write(operation);
            return Ok(());
        }
        if world.fails(
            faults.flush_error,
            format_args!("could not flush a write to file {id}"),
        ) {
            inode.finish_write(operation);
            let all = inode.barrier();
            inode.fail_flush(all, &mut world.damage_rng);
            return Err(broken("write durably"));
        }
        inode.finish_durable(operation, self.barrier);
        Ok(())
    }
}

/// Whether a write is durable when it completes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Durability {
    None,
    Flushed,
}

struct MapHolder(Arc<super::inode::Mapped>);

impl AsRef<[u8]> for MapHolder {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

/// Waits until `duration` has passed since the call.
pub(super) fn sleep(shared: Arc<Shared>, duration: Duration) -> impl Future<Output = ()> + 'static {
    let deadline = shared.world().now.after(duration);
    async move {
        let slot = Slot::new();
        {
            let mut world = shared.world();
            let late = world.config.timer_lateness_max;
            let late = world.schedule_rng.between(Duration::ZERO, late);
            let at = deadline.max(world.now).after(late);
            world.at(at, Action::Timer(Arc::downgrade(&slot)));
        }
        poll_fn(|cx| slot.poll(cx.waker())).await;
    }
}

/// The rest of the time an I/O takes after its effect.
async fn sleep_exactly(shared: Arc<Shared>, place: Place, latency: Latency) {
    let _ = io(shared, place, latency, |_, _| Ok(())).await;
}

/// Issues an I/O: `effect` happens after a time of the class `latency`, unless the process has
/// died until then.
async fn io<T: Send + 'static>(
    shared: Arc<Shared>,
    place: Place,
    latency: Latency,
    effect: impl FnOnce(&mut World, ProcessId) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let slot = Slot::new();
    {
        let mut world = shared.world();
        let (Some(process), true) = (place.process, world.alive(place)) else {
            return Err(dead());
        };
        world.io_count += 1;
        let at = world.io_time(latency, process);
        let at = world.now.after(at);
        let slot = slot.clone();
        let effect = move |world: &mut World| {
            if world.alive(place) {
                world.idle_polls = 0;
                slot.fill(effect(world, process));
            }
        };
        world.at(at, Action::Effect(Box::new(effect)));
    }
    poll_fn(|cx| slot.poll(cx.waker())).await
}

fn full(verb: &str) -> io::Error {
    let text = format!("could not {verb}: simulated disk is full");
    io::Error::new(io::ErrorKind::StorageFull, text)
}

fn broken(verb: &str) -> io::Error {
    io::Error::other(format!("could not {verb}: simulated I/O error"))
}

fn dead() -> io::Error {
    io::Error::new(
        io::ErrorKind::BrokenPipe,
        "could not do I/O: the simulated process is dead",
    )
}
