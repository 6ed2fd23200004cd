//! A cluster of other processes, for a program that is no part of it.
//!
//! Relies on a [`Directory`] to say where modules run, and on links to their task threads. One thread
//! of its own carries all of a connection; handles work from any thread and under any executor. What
//! must stay true: a call waits for its link, and is sent again over the next one when the link broke
//! before it was answered; appends carry numbers, so that none is taken twice; every call ends within
//! its deadline, and an append that was sent and not answered by then is `unknown`.

mod code;
mod follower;
mod ground;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_channel::oneshot;
use futures_util::lock::Mutex;
use rama_net::{Endpoint, EndpointConfig, Security};
use rama_wire::session::Role;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::cluster::{Cluster, WeakCluster};
use crate::directory::Directory;
use crate::error::{Error, ErrorKind, Result};
use crate::host::Timer;
pub(crate) use code::Code;
use follower::Follower;
use ground::TokioTimer;

/// Who asks which cluster, and how.
#[derive(Clone)]
pub struct RemoteConfig {
    /// The cluster; nil where nothing is proved and it need not be known.
    pub cluster: Uuid,
    /// The name of this program in its certificate.
    pub node: Uuid,
    /// What its certificate lets it be: `Client` or `Operator`.
    pub role: Role,
    /// How links are protected.
    pub security: Security,
    /// After this a call answers `unavailable`, or `unknown` when it is an append that was sent.
    pub deadline: Duration,
    /// Who knows where modules run.
    pub directory: Arc<dyn Directory>,
}

impl Cluster {
    /// Connects to a cluster of other processes. Programs give the configuration of a client, which
    /// the facade `rama` has.
    ///
    /// # Errors
    /// `Unavailable` when nobody of the cluster answers within the deadline; `Invalid` when the
    /// configuration cannot be used.
    pub async fn connect<C>(config: C) -> Result<Cluster>
    where
        C: TryInto<RemoteConfig>,
        Error: From<C::Error>,
    {
        let config: RemoteConfig = config.try_into()?;
        let id = config.cluster.as_u128();
        let (jobs, inbox) = mpsc::unbounded_channel();
        let (ready, started) = oneshot::channel();
        let thread = std::thread::Builder::new().name("rama-links".into());
        let thread = thread.spawn(move || carry(config, inbox, ready));
        let thread = thread.map_err(|source| {
            Error::unavailable("could not start the thread for links").caused_by(source)
        })?;
        let timer = started.await.unwrap_or_else(|_| Err(closed()))?;
        let connection = Connection {
            jobs: Some(jobs),
            followed: Mutex::default(),
            thread: Some(thread),
        };
        let seed = Uuid::new_v4().as_u64_pair().0;
        Ok(Cluster::over(id, seed, timer, Some(connection)))
    }
}

/// The way to a cluster. Dropping it ends its links; calls under way end.
pub(crate) struct Connection {
    jobs: Option<mpsc::UnboundedSender<Job>>,
    /// Modules that are followed; locked while one is looked up.
    followed: Mutex<BTreeSet<String>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread for links is asked for.
enum Job {
    Follow(Follow),
    /// The names of all modules.
    Modules(oneshot::Sender<Result<Vec<String>>>),
}

/// A module to be followed.
struct Follow {
    cluster: WeakCluster,
    code: Code,
    /// Told when the module can be used, or why not.
    opened: oneshot::Sender<Result<()>>,
}

impl Connection {
    /// Looks a module up and follows it from now on; once is enough.
    pub(crate) async fn follow(&self, cluster: &Cluster, code: Code) -> Result<()> {
        let mut followed = self.followed.lock().await;
        let module = code.module().to_owned();
        if followed.contains(&module) {
            return Ok(());
        }
        let (opened, answer) = oneshot::channel();
        let job = Follow {
            cluster: cluster.downgrade(),
            code,
            opened,
        };
        self.send(Job::Follow(job))?;
        answer.await.unwrap_or_else(|_| Err(closed()))?;
        followed.insert(module);
        Ok(())
    }

    /// The names of all modules of the cluster.
    pub(crate) async fn modules(&self) -> Result<Vec<String>> {
        let (answer, names) = oneshot::channel();
        self.send(Job::Modules(answer))?;
        names.await.unwrap_or_else(|_| Err(closed()))
    }

    fn send(&self, job: Job) -> Result<()> {
        let jobs = self.jobs.as_ref().ok_or_else(closed)?;
        jobs.send(job).map_err(|_| closed())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        drop(self.jobs.take());
        let Some(thread) = self.thread.take() else {
            return;
        };
        // A follower may hold the last handle for a moment: its thread cannot wait for itself.
        if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
            tracing::error!("the thread for links panicked");
        }
    }
}

fn closed() -> Error {
    let text = "the connection to the cluster has ended; connect again";
    Error::new(ErrorKind::Closed, text)
}

/// What everything on the thread for links shares.
struct Shared {
    config: RemoteConfig,
    endpoint: Endpoint,
    /// For addresses of IPv6, where the machine has them.
    endpoint_v6: Option<Endpoint>,
    /// This start of the program.
    incarnation: u64,
    timer: Arc<dyn Timer>,
}

/// The thread for links.
fn carry(
    config: RemoteConfig,
    jobs: mpsc::UnboundedReceiver<Job>,
    ready: oneshot::Sender<Result<Arc<dyn Timer>>>,
) {
    let built = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(source) => {
            let error = Error::unavailable("could not start a runtime for links");
            // Whoever connects waits at the other end, or has gone.
            let _ = ready.send(Err(error.caused_by(source)));
            return;
        }
    };
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        match Shared::begin(config).await {
            Ok(shared) => {
                if ready.send(Ok(shared.timer.clone())).is_ok() {
                    serve(Rc::new(shared), jobs).await;
                }
            }
            Err(error) => drop(ready.send(Err(error))),
        }
    });
}

/// Does what it is asked for, until the last handle is gone.
async fn serve(shared: Rc<Shared>, mut jobs: mpsc::UnboundedReceiver<Job>) {
    while let Some(job) = jobs.recv().await {
        let shared = shared.clone();
        match job {
            Job::Follow(Follow {
                cluster,
                code,
                opened,
            }) => {
                let follower = Follower::new(shared, cluster, code);
                tokio::task::spawn_local(follower.run(opened));
            }
            Job::Modules(answer) => {
                tokio::task::spawn_local(async move {
                    let config = &shared.config;
                    let names = in_time(config, || config.directory.modules()).await;
                    // Who asked may have gone.
                    let _ = answer.send(names);
                });
            }
        }
    }
    shared.endpoint.close().await;
    if let Some(endpoint) = &shared.endpoint_v6 {
        endpoint.close().await;
    }
}

impl Shared {
    async fn begin(config: RemoteConfig) -> Result<Shared> {
        let incarnation = Uuid::new_v4().as_u64_pair().0;
        let (v4, v6) = match config.security {
            Security::InsecureLoopback => (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
            Security::Mutual(_) => (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED),
        };
        let endpoint = bind(&config, v4.into(), incarnation).map_err(|source| {
            Error::unavailable("could not bind a port for links").caused_by(source)
        })?;
        let endpoint_v6 = bind(&config, v6.into(), incarnation).ok();
        in_time(&config, || config.directory.reach()).await?;
        Ok(Shared {
            config,
            endpoint,
            endpoint_v6,
            incarnation,
            timer: Arc::new(TokioTimer::here()),
        })
    }
}

/// Asks until somebody answers, within the deadline.
async fn in_time<T, F>(config: &RemoteConfig, ask: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let deadline = config.deadline;
    let answered = tokio::time::timeout(deadline, answered(deadline, ask)).await;
    answered.unwrap_or_else(|_| {
        let text = format!("the cluster did not answer within {deadline:?}");
        Err(Error::unavailable(text))
    })
}

/// Asks until somebody answers; the last failure when nobody does in time.
async fn answered<T, F>(deadline: Duration, ask: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let began = tokio::time::Instant::now();
    let mut pauses = ground::Pauses::default();
    loop {
        match ask().await {
            Err(error) if error.is_retryable() => {
                let pause = pauses.next_pause();
                if began.elapsed() + pause >= deadline {
                    return Err(error);
                }
                tokio::time::sleep(pause).await;
            }
            answered => return answered,
        }
    }
}

fn bind(
    config: &RemoteConfig,
    host: IpAddr,
    incarnation: u64,
) -> Result<Endpoint, rama_net::NetError> {
    let bind = SocketAddr::new(host, 0);
    let (cluster, node, role) = (config.cluster, config.node, config.role);
    let security = config.security.clone();
    let endpoint = EndpointConfig::new(bind, security, cluster, node, role, incarnation);
    Endpoint::on_tokio(endpoint)
}

#[cfg(test)]
mod tests;
