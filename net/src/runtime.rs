//! Which executor an endpoint runs on: tokio, or the glommio executor it was made on.
//!
//! Relies on quinn's own interface to runtimes, so that everything above it is the same code. What
//! must stay true: nothing in this crate sleeps or spawns except through it.

mod glommio;
#[cfg(test)]
mod tests;

use std::future::{Future, poll_fn};
use std::io;
use std::net::UdpSocket;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use quinn::{AsyncUdpSocket, TokioRuntime};
use rama_io::Category;
use rama_io::glommio::GlommioEnv;

/// An executor.
#[derive(Clone, Debug)]
pub(crate) struct Runtime(Arc<dyn quinn::Runtime>);

impl Runtime {
    pub(crate) fn tokio() -> Runtime {
        Runtime(Arc::new(TokioRuntime))
    }

    pub(crate) fn glommio(env: &GlommioEnv, category: Category) -> Runtime {
        Runtime(Arc::new(glommio::GlommioRuntime::new(env, category)))
    }

    pub(crate) fn quinn(&self) -> Arc<dyn quinn::Runtime> {
        self.0.clone()
    }

    pub(crate) fn socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        self.0.wrap_udp_socket(socket)
    }

    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(Box::pin(future));
    }

    pub(crate) async fn sleep(&self, duration: Duration) {
        let mut timer = self.0.new_timer(self.0.now() + duration);
        poll_fn(|cx| timer.as_mut().poll(cx)).await;
    }

    /// What `future` gives, or nothing when that takes longer than `duration`.
    pub(crate) async fn within<T>(
        &self,
        duration: Duration,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        let mut future = pin!(future);
        let mut timer = self.0.new_timer(self.0.now() + duration);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => timer.as_mut().poll(cx).map(|()| None),
        })
        .await
    }
}
