//! The HTTP server: a socket, its options, and how it stops.
//!
//! Relies on axum's HTTP/1.1 with keep-alive. TCP_NODELAY is on: an answer of a hundred bytes must
//! not wait for the acknowledgment of the one before. What must stay true: a stop ends live
//! streams first, lets running requests finish, and is over within [`STOP_MAX`].

#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use rama_api::endpoints;
use rama_runtime::Cluster;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::gate::{Door, Gate};
use crate::metrics::HttpMetrics;
use crate::routes::{Gateway, Limits, router};

/// Requests that are still running this long after a stop are cut off.
const STOP_MAX: Duration = Duration::from_secs(5);

/// A serving gateway.
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: JoinHandle<io::Result<()>>,
}

/// Binds `port` or, when it is taken, the next free one of `port_tries`.
pub async fn bind(host: IpAddr, port: u16, port_tries: u16) -> io::Result<TcpListener> {
    assert!(port_tries > 0, "binding a port takes a try");
    for shift in 0..port_tries {
        let Some(port) = port.checked_add(shift) else {
            break;
        };
        match TcpListener::bind((host, port)).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            bound => return bound,
        }
    }
    let last = port.saturating_add(port_tries - 1);
    let text = format!("ports {port} to {last} of {host} are all taken");
    Err(io::Error::new(io::ErrorKind::AddrInUse, text))
}

impl Server {
    /// Serves `cluster` to whom the door lets in, on `listener` until [`Server::stop`].
    pub fn start(
        listener: TcpListener,
        cluster: Cluster,
        limits: Limits,
        door: Door,
    ) -> io::Result<Server> {
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let metrics = Arc::new(HttpMetrics::default());
        let gate = Gate {
            body_bytes_max: Some(limits.body_bytes_max as u64),
            ..Gate::new(endpoints::Server::Module, door)
        };
        let router = gate.before(router(Gateway {
            cluster,
            metrics,
            limits,
            stop: stopped.clone(),
        }));
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "could not set TCP_NODELAY");
            }
        });
        let serving = tokio::spawn(async move {
            let mut stopped = stopped;
            let stopped = async move {
                // An error means that the handle is gone, which is a stop too.
                let _ = stopped.wait_for(|stop| *stop).await;
            };
            axum::serve(listener, router)
                .with_graceful_shutdown(stopped)
                .await
        });
        Ok(Server {
            address,
            stop,
            serving,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends live streams, lets requests finish, closes the socket.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let abort = self.serving.abort_handle();
        match tokio::time::timeout(STOP_MAX, self.serving).await {
            Ok(Ok(Ok(()))) => {}
            Ok(outcome) => tracing::warn!(?outcome, "the HTTP server ended badly"),
            Err(_) => {
                tracing::warn!("requests cut off after {STOP_MAX:?}");
                abort.abort();
            }
        }
    }
}
