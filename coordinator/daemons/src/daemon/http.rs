//! HTTP of a daemon: over TLS where certificates are, plain otherwise.
//!
//! Relies on hyper for the protocol and on rustls for the rest. The first byte of a connection tells TLS
//! from plain HTTP, so that who speaks plainly to a port with TLS is told so (and health probes need no
//! certificate). What must stay true: with TLS nothing but `bare` is answered to who speaks plainly; a
//! connection that says nothing costs one place for a bounded time.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Connections at once; more wait in the listener's queue.
const CONNECTIONS_MAX: usize = 1024;

/// Until a connection has said what it speaks, and has shaken hands.
const HELLO_MAX: Duration = Duration::from_secs(10);

/// Until the head of a request has come, also between two requests.
const HEAD_MAX: Duration = Duration::from_secs(60);

/// Between two tries to accept after the system refused.
const RETRY: Duration = Duration::from_millis(100);

/// The first byte of a TLS connection: a handshake record.
const TLS_HANDSHAKE: u8 = 22;

/// The HTTP side of a daemon.
pub(super) struct Http {
    pub(super) listener: TcpListener,
    pub(super) tls: Option<TlsAcceptor>,
    /// What is answered.
    pub(super) routes: Router,
    /// What is answered to who speaks plainly although there is TLS.
    pub(super) bare: Router,
}

impl Http {
    /// Serves until it is dropped, connections included.
    pub(super) async fn serve(self) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let http = Arc::new(self);
        let mut connections = JoinSet::new();
        loop {
            let place = room.clone().acquire_owned().await;
            match http.listener.accept().await {
                Ok((stream, _)) => {
                    let http = http.clone();
                    connections.spawn(async move {
                        http.connection(stream).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection for HTTP");
                    tokio::time::sleep(RETRY).await;
                }
            }
            while connections.try_join_next().is_some() {}
        }
    }

    async fn connection(&self, stream: TcpStream) {
        // An answer of a hundred bytes must not wait for the acknowledgment of the one before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "could not set TCP_NODELAY");
        }
        let Some(tls) = &self.tls else {
            return speak(stream, self.routes.clone()).await;
        };
        let mut first = [0];
        match timeout(HELLO_MAX, stream.peek(&mut first)).await {
            Ok(Ok(1)) if first == [TLS_HANDSHAKE] => {
                match timeout(HELLO_MAX, tls.accept(stream)).await {
                    Ok(Ok(stream)) => speak(stream, self.routes.clone()).await,
                    Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                    Err(_) => tracing::debug!("a TLS handshake took too long"),
                }
            }
            Ok(Ok(1)) => speak(stream, self.bare.clone()).await,
            _ => {}
        }
    }
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, routes: Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX);
    let service = TowerToHyperService::new(routes);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection ended badly");
    }
}
