//! [`GlommioEnv`]: what production code sees of its executor.
//!
//! Relies on `executor` for tasks, on `file` for files and on `blocking` for what has no
//! asynchronous form. What must stay true: everything happens on the executor that owns the value;
//! all executors of the process share one clock.

use std::future::Future;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use glommio::timer::Timer;

use crate::env::{Category, CategoryShares, Env, Mapping, Open, Tick};

use super::channel::GlommioTransport;
use super::executor::Local;
use super::file::GlommioFile;
use super::{blocking, durability, mapping};

/// One executor of a [`Pool`](super::Pool).
#[derive(Clone)]
pub struct GlommioEnv(pub(super) Rc<Local>);

impl Env for GlommioEnv {
    type File = GlommioFile;
    type Transport = GlommioTransport;

    fn now(&self) -> Tick {
        now()
    }

    fn wall_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_millis() as u64)
    }

    fn random_u64(&self) -> u64 {
        self.0.random_u64()
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + 'static {
        let deadline = now().after(duration);
        async move {
            Timer::new(deadline.since(now())).await;
        }
    }

    #[expect(clippy::manual_async_fn, reason = "an async fn would borrow self")]
    fn yield_now(&self) -> impl Future<Output = ()> + 'static {
        async { glommio::executor().yield_task_queue_now().await }
    }

    fn spawn(&self, category: Category, future: impl Future<Output = ()> + 'static) {
        self.0.spawn(category, future);
    }

    fn set_shares(&self, shares: CategoryShares) {
        self.0.set_shares(shares);
    }

    fn transport(&self) -> GlommioTransport {
        GlommioTransport
    }

    fn open(
        &self,
        path: &Path,
        how: Open,
    ) -> impl Future<Output = io::Result<GlommioFile>> + 'static {
        let (local, path) = (self.0.clone(), path.to_owned());
        async move {
            let _in_flight = local.begin_io()?;
            let durable_write = durability::of_device(&local, &path).await;
            GlommioFile::open(local, &path, how, durable_write).await
        }
    }

    fn map(&self, path: &Path) -> impl Future<Output = io::Result<Mapping>> + 'static {
        self.off(path, mapping::map)
    }

    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>> + 'static {
        let to = to.to_owned();
        self.off(from, move |from| blocking::rename(from, &to))
    }

    fn remove(&self, path: &Path) -> impl Future<Output = io::Result<()>> + 'static {
        self.off(path, blocking::remove)
    }

    fn list(&self, dir: &Path) -> impl Future<Output = io::Result<Vec<String>>> + 'static {
        self.off(dir, blocking::list)
    }

    fn make_dir(&self, dir: &Path) -> impl Future<Output = io::Result<()>> + 'static {
        self.off(dir, blocking::make_dir)
    }

    fn sync_dir(&self, dir: &Path) -> impl Future<Output = io::Result<()>> + 'static {
        self.off(dir, blocking::sync_dir)
    }
}

impl GlommioEnv {
    /// A blocking call about `path`, off the executor.
    fn off<T: Send + 'static>(
        &self,
        path: &Path,
        call: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> impl Future<Output = io::Result<T>> + 'static {
        let (local, path) = (self.0.clone(), path.to_owned());
        async move {
            let _in_flight = local.begin_io()?;
            blocking::run(move || call(&path)).await
        }
    }
}

fn now() -> Tick {
    static START: OnceLock<Instant> = OnceLock::new();
    Tick(START.get_or_init(Instant::now).elapsed().as_nanos() as u64)
}
