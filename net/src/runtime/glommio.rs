//! quinn on a glommio executor: tasks, timers and a UDP socket with segmentation offload.
//!
//! Relies on `rama_io::glommio` for readiness, timers and tasks, and on quinn-udp for the socket
//! calls. quinn asks for `Send` types, and nothing of an executor is: each is wrapped so that
//! another thread that touches it panics instead. What must stay true: all of an endpoint lives and
//! ends on the executor it was made on.

use std::cell::RefCell;
use std::fmt::{self, Debug};
use std::future::Future;
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use quinn::{AsyncTimer, AsyncUdpSocket, UdpPoller};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rama_io::glommio::{GlommioEnv, Interest, Readiness};
use rama_io::{Category, Env};
use send_wrapper::SendWrapper;

type Sleep = Pin<Box<dyn Future<Output = ()>>>;

/// The executor of this thread.
pub(super) struct GlommioRuntime {
    env: SendWrapper<GlommioEnv>,
    category: Category,
}

impl GlommioRuntime {
    pub(super) fn new(env: &GlommioEnv, category: Category) -> GlommioRuntime {
        GlommioRuntime {
            env: SendWrapper::new(env.clone()),
            category,
        }
    }
}

impl Debug for GlommioRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GlommioRuntime")
    }
}

impl quinn::Runtime for GlommioRuntime {
    fn new_timer(&self, deadline: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(Timer {
            env: self.env.clone(),
            deadline,
            armed: None,
        })
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.env.spawn(self.category, future);
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Arc::new(Socket {
            local: socket.local_addr()?,
            socket: SendWrapper::new(self.env.readiness(socket)),
            reading: SendWrapper::new(Default::default()),
            state,
            blocked: AtomicBool::new(false),
        }))
    }
}

/// A deadline that moves often and passes rarely: one sleep is kept as long as it ends early
/// enough, so that moving the deadline later costs nothing.
struct Timer {
    env: SendWrapper<GlommioEnv>,
    deadline: Instant,
    armed: Option<(Instant, SendWrapper<Sleep>)>,
}

impl Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timer({:?})", self.deadline)
    }
}

impl AsyncTimer for Timer {
    fn reset(mut self: Pin<&mut Self>, deadline: Instant) {
        self.deadline = deadline;
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        if now >= self.deadline {
            return Poll::Ready(());
        }
        let deadline = self.deadline;
        let early_enough = self.armed.take_if(|(at, _)| *at <= deadline);
        let mut armed = early_enough.unwrap_or_else(|| self.sleep(now));
        while armed.1.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if now >= deadline {
                return Poll::Ready(());
            }
            armed = self.sleep(now);
        }
        self.armed = Some(armed);
        Poll::Pending
    }
}

impl Timer {
    fn sleep(&self, now: Instant) -> (Instant, SendWrapper<Sleep>) {
        let sleep: Sleep = Box::pin(self.env.sleep(self.deadline - now));
        (self.deadline, SendWrapper::new(sleep))
    }
}

struct Socket {
    local: SocketAddr,
    socket: SendWrapper<Readiness<UdpSocket>>,
    /// Of the one task that receives.
    reading: SendWrapper<RefCell<Interest>>,
    state: UdpSocketState,
    /// Whether the last send found the socket's buffer full. quinn asks whether it may write
    /// before each send; asking the kernel every time would cost a round through the ring.
    blocked: AtomicBool,
}

impl Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Socket({})", self.local)
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Poller {
            socket: self,
            writing: SendWrapper::new(Default::default()),
        })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let socket = UdpSockRef::from(self.socket.get_ref());
        let sent = self.state.send(socket, transmit);
        if matches!(&sent, Err(error) if error.kind() == ErrorKind::WouldBlock) {
            self.blocked.store(true, Ordering::Relaxed);
        }
        sent
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            let socket = UdpSockRef::from(self.socket.get_ref());
            match self.state.recv(socket, buffers, meta) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                received => return Poll::Ready(received),
            }
            ready!(
                self.socket
                    .poll_readable(cx, &mut self.reading.borrow_mut())
            )?;
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

/// How one connection waits for room in the socket.
#[derive(Debug)]
struct Poller {
    socket: Arc<Socket>,
    writing: SendWrapper<Interest>,
}

impl UdpPoller for Poller {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Poller { socket, writing } = &mut *self;
        if socket.blocked.load(Ordering::Relaxed) {
            ready!(socket.socket.poll_writable(cx, writing))?;
            socket.blocked.store(false, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}
