//! The seam between everything that decides and everything that waits.
//!
//! Relies on nothing. The whole engine is generic over one parameter, [`Env`]; two implementations
//! exist: `glommio` (production) and `sim` (seeded, single threaded, virtual time). What must stay
//! true: no code above this crate reads a clock, a random source, a file or a queue except through
//! it, so that one seed gives one execution.

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::time::Duration;

/// Monotonic nanoseconds since an arbitrary start (process start; virtual time zero).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Tick {
    /// The moment `duration` later; saturates at the end of time.
    pub fn after(self, duration: Duration) -> Tick {
        Tick(self.0.saturating_add(duration.as_nanos() as u64))
    }

    /// Time passed since `earlier`; zero when `earlier` lies in the future.
    pub fn since(self, earlier: Tick) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// The event categories of a task thread (spec operations 6.1) and one for house-keeping.
/// Each is a task queue of its own; shares decide only under contention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// Log writing, flush completion, commit: what everybody else waits for.
    Replication,
    /// Appends, selects and queries of clients.
    Client,
    /// Stream topologies.
    LowLatency,
    /// Microbatch topologies.
    FlexLatency,
    /// Operations that come from other modules.
    MirrorClient,
    /// Compaction, segment sealing, telemetry.
    Background,
}

impl Category {
    /// All categories in order of declaration.
    pub const ALL: [Category; 6] = [
        Category::Replication,
        Category::Client,
        Category::LowLatency,
        Category::FlexLatency,
        Category::MirrorClient,
        Category::Background,
    ];
}

/// How a contended executor divides its time, by category. Only ratios matter; each is 1 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CategoryShares {
    /// What everybody else waits for.
    pub replication: usize,
    /// Clients' appends and reads.
    pub client: usize,
    /// Stream topologies.
    pub low_latency: usize,
    /// Microbatch topologies.
    pub flex_latency: usize,
    /// Other modules.
    pub mirror_client: usize,
    /// House-keeping.
    pub background: usize,
}

impl Default for CategoryShares {
    /// Replication 1000, client and low latency 500, flex latency and mirror client 250,
    /// background 100.
    fn default() -> CategoryShares {
        CategoryShares {
            replication: 1000,
            client: 500,
            low_latency: 500,
            flex_latency: 250,
            mirror_client: 250,
            background: 100,
        }
    }
}

impl CategoryShares {
    /// The share of one category.
    pub fn of(&self, category: Category) -> usize {
        match category {
            Category::Replication => self.replication,
            Category::Client => self.client,
            Category::LowLatency => self.low_latency,
            Category::FlexLatency => self.flex_latency,
            Category::MirrorClient => self.mirror_client,
            Category::Background => self.background,
        }
    }
}

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// Create a new file, or fail when it exists; readable and writable.
    Create,
    /// Open an existing file for reading and writing.
    Existing,
}

/// What a task thread, and everything below it, may ask of the world. Cheap to clone.
///
/// # Contract
/// - Everything runs on the executor that owns the value; futures need not be `Send`.
/// - `now` never goes back. `random_u64` is a per-executor stream.
/// - A future given to `spawn` is dropped when the executor stops or its power is cut.
/// - A panic inside a spawned future is a bug of the engine and ends the executor:
///   author code runs under `catch_unwind` above this seam.
pub trait Env: Clone + 'static {
    /// An open file.
    type File: File;
    /// How executors, and foreign threads, talk to executors.
    type Transport: Transport;

    /// Monotonic time.
    fn now(&self) -> Tick;
    /// Wall clock, milliseconds since the Unix epoch. May jump; never used to decide, only recorded.
    fn wall_ms(&self) -> u64;
    /// The next number of this executor's random stream.
    fn random_u64(&self) -> u64;
    /// Completes at or after `now() + duration`.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + 'static;
    /// Gives other ready work a turn.
    fn yield_now(&self) -> impl Future<Output = ()> + 'static;
    /// Runs `future` on this executor in the queue of `category`.
    fn spawn(&self, category: Category, future: impl Future<Output = ()> + 'static);
    /// Divides the time of this executor in another way from now on, whoever uses it. Without
    /// contention, as in a simulation, it changes nothing.
    fn set_shares(&self, shares: CategoryShares);
    /// The transport this executor belongs to.
    fn transport(&self) -> Self::Transport;

    /// Opens a file for direct, aligned I/O. A created file is empty; its name is durable only
    /// after [`Env::sync_dir`] on its directory.
    fn open(
        &self,
        path: &Path,
        how: Open,
    ) -> impl Future<Output = io::Result<Self::File>> + 'static;
    /// Maps a whole sealed file read-only and faults it in, so that an I/O error is an `Err` here
    /// and never a signal later. The file must never be written or truncated again.
    fn map(&self, path: &Path) -> impl Future<Output = io::Result<Mapping>> + 'static;
    /// Atomically replaces `to` by `from`; durable after [`Env::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>> + 'static;
    /// Unlinks a file; durable after [`Env::sync_dir`]. Open files and mappings stay readable.
    fn remove(&self, path: &Path) -> impl Future<Output = io::Result<()>> + 'static;
    /// Names of the entries of a directory, sorted.
    fn list(&self, dir: &Path) -> impl Future<Output = io::Result<Vec<String>>> + 'static;
    /// Creates a directory and its parents; durable when this returns.
    fn make_dir(&self, dir: &Path) -> impl Future<Output = io::Result<()>> + 'static;
    /// Makes creations, renames and removals in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> impl Future<Output = io::Result<()>> + 'static;
}

/// One open file. Clones share the file. Positions and lengths of writes are multiples of
/// [`File::ALIGN`]; reads take any range.
#[expect(clippy::len_without_is_empty, reason = "asking costs a system call")]
pub trait File: Clone + 'static {
    /// Logical block size that writes must respect, in bytes. A power cut tears writes only at
    /// multiples of it.
    const ALIGN: usize = 512;
    /// An aligned buffer whose content can be written without a copy.
    type Buffer: DerefMut<Target = [u8]> + 'static;

    /// A zeroed buffer of `len` bytes, `len` a multiple of [`File::ALIGN`].
    fn buffer(&self, len: usize) -> Self::Buffer;
    /// Writes the whole buffer at `position`. Success says nothing about durability.
    fn write(
        &self,
        position: u64,
        buffer: Self::Buffer,
    ) -> impl Future<Output = io::Result<()>> + 'static;
    /// Writes the whole buffer and makes it, and every earlier completed write of this file,
    /// durable before it completes. After the first error the file must not be used again
    /// (the failed range may hold anything, and later success proves nothing).
    fn write_durable(
        &self,
        position: u64,
        buffer: Self::Buffer,
    ) -> impl Future<Output = io::Result<()>> + 'static;
    /// Makes every completed write durable. The same rule after an error as `write_durable`.
    fn flush(&self) -> impl Future<Output = io::Result<()>> + 'static;
    /// Reads up to `len` bytes at `position`; shorter only at the end of the file.
    fn read(
        &self,
        position: u64,
        len: usize,
    ) -> impl Future<Output = io::Result<Vec<u8>>> + 'static;
    /// Current length in bytes.
    fn len(&self) -> impl Future<Output = io::Result<u64>> + 'static;
    /// Sets the length (preallocation of an empty file, or cutting a tail that was never mapped).
    fn set_len(&self, len: u64) -> impl Future<Output = io::Result<()>> + 'static;
}

/// A read-only view of a sealed file. Cheap to clone; the bytes live while a clone lives.
#[derive(Clone)]
pub struct Mapping(std::sync::Arc<dyn AsRef<[u8]> + Send + Sync>);

impl Mapping {
    /// Wraps the owner of the bytes: a memory map in production, a vector in the simulator.
    pub fn new(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Mapping {
        Mapping(std::sync::Arc::new(owner))
    }
}

impl Deref for Mapping {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl Debug for Mapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mapping({} bytes)", self.len())
    }
}

/// Creates channels before, and outside of, the executors that use them.
pub trait Transport: Clone + Send + Sync + 'static {
    /// The sending half.
    type Sender<M: Send + 'static>: Sender<M>;
    /// The receiving half; moves to the executor that owns it.
    type Receiver<M: Send + 'static>: Receiver<M>;

    /// A many-to-one channel. Messages of one sender arrive in the order sent (spec O-9).
    /// Unbounded: credits and throttles above this seam bound what is in flight.
    fn channel<M: Send + 'static>(&self) -> (Self::Sender<M>, Self::Receiver<M>);
}

/// The sending half of a channel; usable from any thread.
pub trait Sender<M>: Clone + Send + Sync + 'static {
    /// Never waits. `Err` gives the message back when the receiver is gone.
    fn send(&self, message: M) -> Result<(), M>;
}

/// The receiving half of a channel.
pub trait Receiver<M>: Send + 'static {
    /// The next message, or `None` when all senders are gone.
    fn recv(&mut self) -> impl Future<Output = Option<M>>;
    /// The next message if one is there.
    fn try_recv(&mut self) -> Option<M>;
}
