//! A module instance that runs in other processes, for a program that is no part of the cluster.
//!
//! Relies on whoever opens it to say where the task threads are, and to say it again when they move.
//! A thread of its own carries the links; the handle works from any thread and under any executor.
//! What must stay true: a call waits for its link, and is sent again over the next one when the link
//! broke before it was answered; appends carry numbers, so that none is taken twice; every call ends
//! within the deadline, and an append that was not answered by then is `unknown`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_channel::oneshot;
use futures_util::future::BoxFuture;
use rama_io::{Receiver, Sender, Transport};
use rama_net::{Endpoint, EndpointConfig, Security};
use rama_wire::session::Role;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendError;
use uuid::Uuid;

use crate::catalog::Catalog;
use crate::cluster::{Cluster, Deadline, Numbers, Running};
use crate::error::{Error, Result};
use crate::host::Timer;
use crate::in_process_cluster::define;
use crate::layout::{self, Layout, ModuleOptions};
use crate::message::{Message, Post};
use crate::metrics::ModuleMetrics;
use crate::module::Module;
use crate::remote::link::Ground;
use crate::remote::peer::{self, WhileDown};
use crate::remote::quic::{QuicDial, Route, Routes};

/// Who asks, and which instance.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// The cluster.
    pub cluster: Uuid,
    /// The name of this program in its certificate.
    pub node: Uuid,
    /// What its certificate lets it be: `Client` or `Operator`.
    pub role: Role,
    /// How links are protected.
    pub security: Security,
    /// The module instance.
    pub instance: Uuid,
    /// Its tasks.
    pub tasks: u32,
    /// Its task threads.
    pub threads: u32,
    /// After this a call answers `unavailable`, or `unknown` when it is an append that was sent.
    pub deadline: Duration,
}

/// A module instance that runs elsewhere. Dropping it ends its links; calls under way end.
pub struct RemoteModule {
    cluster: Cluster,
    routes: Routes,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl RemoteModule {
    /// Prepares calls to `module`, whose code must be the one that runs there. Nothing is asked yet:
    /// calls wait until [`RemoteModule::set_routes`] has said where to go.
    ///
    /// # Errors
    /// `Invalid` when the module's definition has mistakes; `Unavailable` when the machine lacks
    /// something, or certificates cannot be used.
    pub fn open(config: RemoteConfig, module: &dyn Module) -> Result<RemoteModule> {
        let definition = define(module)?;
        let declared = layout::declared(&definition, config.tasks, config.threads);
        // Ids of files mean nothing here; objects go over links by their index in the definition.
        let entry = Catalog::new(config.cluster.as_u128()).reconcile(&declared)?;
        let layout = Arc::new(Layout::new(definition, &entry, ModuleOptions::default()));
        let metrics = Arc::new(ModuleMetrics::new(&layout));
        let routes = Routes::default();
        let (opened, links) = std::sync::mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let (of_thread, with) = (config.clone(), routes.clone());
        let carry = move || carry(&of_thread, with, &opened, stopped);
        let thread = std::thread::Builder::new().name("rama-links".into());
        let thread = thread.spawn(carry).map_err(|source| {
            Error::unavailable("could not start the thread for links").caused_by(source)
        })?;
        let links = links.recv().map_err(|_| {
            Error::unavailable("the thread for links ended before it began; see the log")
        })??;
        let timer: Arc<dyn Timer> = Arc::new(TokioTimer(links.handle));
        let id = config.cluster.as_u128();
        let cluster = Cluster::new(id, Uuid::new_v4().as_u64_pair().0, timer.clone());
        let deadline = Deadline {
            after: config.deadline,
            timer,
        };
        let running = Running::new(layout, metrics, links.posts.into());
        let numbers = Numbers::new(Uuid::new_v4().as_u64_pair().0);
        cluster.install(running.with_deadline(deadline).with_numbers(numbers));
        Ok(RemoteModule {
            cluster,
            routes,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The handle for clients.
    pub fn cluster(&self) -> Cluster {
        self.cluster.clone()
    }

    /// Tells where the task threads are; replaces what was told before.
    pub fn set_routes(&self, routes: BTreeMap<u32, Route>) {
        self.routes.set(routes);
    }
}

impl Drop for RemoteModule {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.cluster.stop(None);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread for links panicked");
        }
    }
}

impl std::fmt::Debug for RemoteModule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteModule").finish_non_exhaustive()
    }
}

/// What the thread for links answers with when it is ready.
struct Carrying {
    handle: tokio::runtime::Handle,
    posts: Vec<Arc<dyn Post>>,
}

/// The thread for links.
fn carry(
    config: &RemoteConfig,
    routes: Routes,
    opened: &std::sync::mpsc::SyncSender<Result<Carrying>>,
    stopped: oneshot::Receiver<()>,
) {
    let built = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(source) => {
            let error = Error::unavailable("could not start a runtime for links");
            // Whoever opened it waits on the other end.
            let _ = opened.send(Err(error.caused_by(source)));
            return;
        }
    };
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let incarnation = Uuid::new_v4().as_u64_pair().0;
        let endpoint = match bind(config, incarnation) {
            Ok(endpoint) => endpoint,
            Err(error) => {
                let _ = opened.send(Err(error));
                return;
            }
        };
        let nobody: Arc<dyn Post> = Arc::new(Nobody);
        let mut posts = Vec::new();
        for thread in 0..config.threads {
            let (instance, routes) = (config.instance, routes.clone());
            let endpoint = endpoint.clone();
            let dial = QuicDial::of_program(endpoint, incarnation, routes, instance, thread);
            let (post, loops) = peer::open(&OnTokio, thread, &nobody, WhileDown::Wait, dial);
            posts.push(post);
            for (_, future) in loops {
                tokio::task::spawn_local(future);
            }
        }
        let handle = tokio::runtime::Handle::current();
        let _ = opened.send(Ok(Carrying { handle, posts }));
        // Dropped or told: either is the end.
        let _ = stopped.await;
        endpoint.close().await;
    });
}

fn bind(config: &RemoteConfig, incarnation: u64) -> Result<Endpoint> {
    let host = match config.security {
        Security::InsecureLoopback => Ipv4Addr::LOCALHOST,
        Security::Mutual(_) => Ipv4Addr::UNSPECIFIED,
    };
    let bind = SocketAddr::new(IpAddr::V4(host), 0);
    let (cluster, node, role) = (config.cluster, config.node, config.role);
    let security = config.security.clone();
    let endpoint = EndpointConfig::new(bind, security, cluster, node, role, incarnation);
    Endpoint::on_tokio(endpoint)
        .map_err(|source| Error::unavailable("could not bind a port for links").caused_by(source))
}

/// A program has no task thread that would care for changes of links.
struct Nobody;

impl Post for Nobody {
    fn post(&self, _: Message) -> Result<(), Message> {
        Ok(())
    }
}

/// The thread for links as a place where links live.
#[derive(Clone)]
struct OnTokio;

impl Ground for OnTokio {
    type Transport = TokioTransport;

    fn inboxes(&self) -> TokioTransport {
        TokioTransport
    }

    fn pause(&self, duration: Duration) -> impl Future<Output = ()> {
        tokio::time::sleep(duration)
    }

    fn random(&self) -> u64 {
        Uuid::new_v4().as_u64_pair().0
    }
}

/// Inboxes of tokio.
#[derive(Clone)]
struct TokioTransport;

struct TokioSender<M>(mpsc::UnboundedSender<M>);
struct TokioReceiver<M>(mpsc::UnboundedReceiver<M>);

impl<M> Clone for TokioSender<M> {
    fn clone(&self) -> TokioSender<M> {
        TokioSender(self.0.clone())
    }
}

impl Transport for TokioTransport {
    type Sender<M: Send + 'static> = TokioSender<M>;
    type Receiver<M: Send + 'static> = TokioReceiver<M>;

    fn channel<M: Send + 'static>(&self) -> (TokioSender<M>, TokioReceiver<M>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (TokioSender(sender), TokioReceiver(receiver))
    }
}

impl<M: Send + 'static> Sender<M> for TokioSender<M> {
    fn send(&self, message: M) -> Result<(), M> {
        self.0.send(message).map_err(|SendError(message)| message)
    }
}

impl<M: Send + 'static> Receiver<M> for TokioReceiver<M> {
    fn recv(&mut self) -> impl Future<Output = Option<M>> {
        self.0.recv()
    }

    fn try_recv(&mut self) -> Option<M> {
        self.0.try_recv().ok()
    }
}

/// Sleeps on the thread for links.
struct TokioTimer(tokio::runtime::Handle);

impl Timer for TokioTimer {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let slept = self
            .0
            .spawn(async move { tokio::time::sleep(duration).await });
        Box::pin(async move {
            // It is not cancelled by anyone; when the thread has ended the wait is over.
            let _ = slept.await;
        })
    }
}
