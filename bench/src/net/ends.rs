//! A server on a thread of its own and clients of it, for each way messages can travel.
//!
//! Relies on `rama-net` as its users see it. What must stay true: the client's and the server's
//! code is the same for all QUIC ways; TCP gets the best it can: large writes for throughput, no
//! delay for latency.

mod quic;
mod tcp;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use hdrhistogram::Histogram;
use rama_io::glommio::{GlommioEnv, Pin, Pool, PoolConfig};
use rama_io::{Category, Env};
use rama_net::{Endpoint, EndpointConfig, Role, Security};
use tokio::sync::oneshot;

use super::Way;

/// What a thread can hand back to another.
pub(super) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What a client does.
#[derive(Clone, Copy)]
pub(super) enum Task {
    /// Sends as fast as it can; the server counts.
    Flood { bytes: usize, duration: Duration },
    /// Sends at a rate; the server sends back.
    Ping {
        bytes: usize,
        per_second: f64,
        duration: Duration,
    },
}

/// What came of it: messages that arrived, and how long each took there and back.
pub(super) type Found = (u64, Histogram<u64>);

/// A running server.
pub(super) struct Ends {
    way: Way,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Outcome<()>>,
}

impl Ends {
    pub(super) fn start(way: Way) -> Outcome<Ends> {
        let (address_sender, address) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let server = std::thread::spawn(move || match way {
            Way::Tcp => on_tokio(tcp::serve(address_sender, stopped)),
            Way::Tokio => on_tokio(async move {
                let endpoint = Endpoint::on_tokio(config(Role::Worker))?;
                quic::serve(endpoint, address_sender, stopped).await
            }),
            Way::Mixed | Way::Glommio => on_glommio(move |env| async move {
                let endpoint =
                    Endpoint::on_glommio(&env, Category::Replication, config(Role::Worker))?;
                quic::serve(endpoint, address_sender, stopped).await
            }),
        });
        let address = address
            .recv_timeout(Duration::from_secs(10))
            .map_err(|_| format!("the server of {} did not start", way.name()))?;
        Ok(Ends {
            way,
            address,
            stop,
            server,
        })
    }

    pub(super) fn way(&self) -> Way {
        self.way
    }

    /// How many messages of `bytes` arrived when they were sent for `duration`.
    pub(super) fn flood(&self, bytes: usize, duration: Duration) -> Outcome<u64> {
        Ok(self.run(Task::Flood { bytes, duration })?.0)
    }

    /// How long messages take there and back.
    pub(super) fn ping(
        &self,
        bytes: usize,
        per_second: f64,
        duration: Duration,
    ) -> Outcome<Histogram<u64>> {
        let task = Task::Ping {
            bytes,
            per_second,
            duration,
        };
        Ok(self.run(task)?.1)
    }

    fn run(&self, task: Task) -> Outcome<Found> {
        let address = self.address;
        match self.way {
            Way::Tcp => on_tokio(tcp::client(address, task)),
            Way::Tokio | Way::Mixed => on_tokio(async move {
                let endpoint = Endpoint::on_tokio(config(Role::Client))?;
                quic::client(endpoint, address, task, async || {
                    tokio::task::yield_now().await;
                })
                .await
            }),
            Way::Glommio => on_glommio(move |env| async move {
                let config = config(Role::Client);
                let endpoint = Endpoint::on_glommio(&env, Category::Replication, config)?;
                quic::client(endpoint, address, task, async || env.yield_now().await).await
            }),
        }
    }

    pub(super) fn stop(self) -> Outcome<()> {
        // A server that ended by itself tells why below.
        let _ = self.stop.send(());
        self.server.join().map_err(|_| "a server panicked")?
    }
}

/// Certificates cost nothing after the handshake, so none are used; the encryption is the same.
fn config(role: Role) -> EndpointConfig {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let cluster = Default::default();
    EndpointConfig::new(any, Security::InsecureLoopback, cluster, cluster, role, 1)
}

fn on_tokio<T>(future: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(future)
}

fn on_glommio<T, F>(main: impl FnOnce(GlommioEnv) -> F + Send + 'static) -> Outcome<T>
where
    T: Send + 'static,
    F: Future<Output = Outcome<T>> + 'static,
{
    let config = PoolConfig {
        executors: 1,
        pin: Pin::Unpinned,
        ..PoolConfig::default()
    };
    let main = Arc::new(Mutex::new(Some(main)));
    let pool = Pool::start(config, move |env, _| {
        let main = main.lock().ok().and_then(|mut main| main.take());
        async move {
            let main = main.ok_or("an executor was started twice")?;
            let found = main(env).await;
            found.map_err(|error| error.to_string())
        }
    })?;
    let mut found = pool.join()?;
    found.remove(0).map_err(Into::into)
}
