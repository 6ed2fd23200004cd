//! Links over QUIC: one endpoint per executor, one stream per pair of task threads and lane.
//!
//! Relies on `rama-net` for certificates, credits and for finding dead peers, and on whoever knows
//! the cluster for routes. What must stay true: an endpoint is used and dropped on its own executor; a
//! stream is served only when it is meant for this instance, this thread and this start of the
//! process; a start of a peer that the routes do not name is not heard, and a new one ends what the one
//! before still says (fencing).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use futures_util::future::{AbortHandle, Abortable};
use rama_io::glommio::GlommioEnv;
use rama_io::{Category, Env};
use rama_net::{Accepted, Endpoint, MessageReceiver, MessageSender};
use rama_wire::session::{Role, Roles, StreamHeader, WorpHeader};
use uuid::Uuid;

use super::link::{Broken, Dial, FrameIn, FrameOut, Lane, Links, LocalFuture};
use super::peer::{self, WhileDown};
use super::serve::Served;
use crate::message::Post;

/// Source thread of streams that no task thread sends on.
const CLIENTS: u32 = u32::MAX;

/// Where a task thread of another process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its UDP address.
    pub address: SocketAddr,
    /// The node it runs on: its certificate must say so.
    pub node: Uuid,
    /// The start of its process: streams are refused by any other.
    pub incarnation: u64,
    /// The leader epoch of its task group.
    pub epoch: u64,
}

/// The routes of an instance, by task thread. Replaced as a whole when something moved.
#[derive(Clone, Default)]
pub(crate) struct Routes(Arc<RwLock<BTreeMap<u32, Route>>>);

impl Routes {
    pub(crate) fn set(&self, routes: BTreeMap<u32, Route>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = routes;
    }

    fn to(&self, thread: u32) -> Option<Route> {
        let routes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        routes.get(&thread).copied()
    }
}

/// Links of one worker process.
pub(crate) struct QuicLinks {
    instance: Uuid,
    incarnation: u64,
    routes: Routes,
    /// By task thread of this process.
    endpoints: Mutex<BTreeMap<u32, Endpoint>>,
}

impl QuicLinks {
    pub(crate) fn new(instance: Uuid, incarnation: u64) -> QuicLinks {
        QuicLinks {
            instance,
            incarnation,
            routes: Routes::default(),
            endpoints: Mutex::default(),
        }
    }

    pub(crate) fn set_routes(&self, routes: BTreeMap<u32, Route>) {
        self.routes.set(routes);
    }

    /// Gives a thread its endpoint.
    pub(crate) fn set_endpoint(&self, thread: u32, endpoint: Endpoint) {
        self.endpoints().insert(thread, endpoint);
    }

    /// Takes a thread's endpoint back, to be closed or dropped on its executor.
    pub(crate) fn take_endpoint(&self, thread: u32) -> Option<Endpoint> {
        self.endpoints().remove(&thread)
    }

    fn endpoints(&self) -> MutexGuard<'_, BTreeMap<u32, Endpoint>> {
        self.endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The endpoint of the executor that serves `thread`; that of clients is the first one's.
    fn endpoint(&self, thread: Option<u32>) -> Option<Endpoint> {
        let endpoints = self.endpoints();
        match thread {
            Some(thread) => endpoints.get(&thread).cloned(),
            None => endpoints.values().next().cloned(),
        }
    }
}

impl Links<GlommioEnv> for QuicLinks {
    fn open(
        &self,
        env: &GlommioEnv,
        from: Option<u32>,
        to: u32,
        local: &Arc<dyn Post>,
    ) -> (Arc<dyn Post>, Vec<(Category, LocalFuture)>) {
        let dial = QuicDial {
            endpoint: self.endpoint(from),
            endpoint_v6: None,
            routes: self.routes.clone(),
            instance: self.instance,
            from: from.unwrap_or(CLIENTS),
            to,
            incarnation: self.incarnation,
        };
        let while_down = match from {
            Some(_) => WhileDown::Refuse,
            None => WhileDown::Wait,
        };
        peer::open(env, to, local, while_down, dial)
    }

    fn accept(&self, served: Served<GlommioEnv>) -> LocalFuture {
        let endpoint = self.endpoint(Some(served.thread));
        let (instance, incarnation) = (self.instance, self.incarnation);
        let routes = self.routes.clone();
        Box::pin(async move {
            let Some(endpoint) = endpoint else {
                tracing::error!(thread = served.thread, "a task thread has no endpoint");
                return;
            };
            let gate = Gate {
                routes,
                instance,
                incarnation,
                thread: served.thread,
                heard: RefCell::default(),
            };
            while let Some(accepted) = endpoint.accept().await {
                gate.admit(&served, accepted);
            }
        })
    }
}

/// Lets streams of peers in, and ends those of starts that are over.
struct Gate {
    routes: Routes,
    instance: Uuid,
    incarnation: u64,
    thread: u32,
    /// By sending thread and lane: the stream that is heard. A new one takes its place, so that
    /// nothing older is heard after something newer, and none is kept that has ended.
    heard: RefCell<BTreeMap<(u32, Lane), (u64, AbortHandle)>>,
}

impl Gate {
    fn admit(&self, served: &Served<GlommioEnv>, accepted: Accepted) {
        let Accepted {
            peer,
            header,
            sender,
            receiver,
        } = accepted;
        let admitted = match &header {
            StreamHeader::Worp(header) => self.check(header, peer.role).map(|lane| (header, lane)),
            _ => Err("it is not for task threads"),
        };
        let (header, lane) = match admitted {
            Ok(admitted) => admitted,
            Err(why) => {
                tracing::debug!(peer = %peer.address, ?header, why, "a stream is refused");
                sender.abandon();
                return;
            }
        };
        let (handle, registration) = AbortHandle::new_pair();
        if header.source_thread != CLIENTS {
            let (thread, start) = (header.source_thread, header.source_incarnation);
            let mut heard = self.heard.borrow_mut();
            if let Some((_, before)) = heard.insert((thread, lane), (start, handle)) {
                before.abort();
            }
            for other in Lane::ALL {
                if let Some((_, old)) = heard.get(&(thread, other)).filter(|(of, _)| *of != start) {
                    old.abort();
                }
            }
        }
        let serve = Abortable::new(served.clone().run(lane, receiver, sender), registration);
        served.env.spawn(lane.category(), async move {
            let _ = serve.await;
        });
    }

    fn check(&self, header: &WorpHeader, role: Role) -> Result<Lane, &'static str> {
        let lane = Lane::ALL.get(usize::from(header.category)).copied();
        let lane = lane.ok_or("its category does not exist")?;
        if header.instance != self.instance {
            return Err("it is for another instance");
        }
        if header.destination_thread != self.thread {
            return Err("it is for another thread");
        }
        if header.destination_incarnation != self.incarnation {
            return Err("it is for an earlier start of this process");
        }
        if lane != Lane::Client && role != Role::Worker {
            return Err("only workers move values between tasks");
        }
        // Starts have no order of their own; the routes, which come from the metastore, say which
        // one is the newest. A peer whose registration is not heard of yet asks again.
        let known = self.routes.to(header.source_thread);
        let is_led_there = |route: &Route| route.incarnation == header.source_incarnation;
        if header.source_thread != CLIENTS && !known.as_ref().is_some_and(is_led_there) {
            return Err("its process is not known to lead that thread");
        }
        Ok(lane)
    }
}

/// Dials one task thread.
#[derive(Clone)]
pub(crate) struct QuicDial {
    endpoint: Option<Endpoint>,
    /// For addresses of IPv6, where that is another one.
    endpoint_v6: Option<Endpoint>,
    routes: Routes,
    instance: Uuid,
    from: u32,
    to: u32,
    incarnation: u64,
}

impl QuicDial {
    /// For the start `incarnation` of a program that is no part of the cluster.
    pub(crate) fn of_program(
        (endpoint, endpoint_v6): (Endpoint, Option<Endpoint>),
        routes: Routes,
        incarnation: u64,
        (instance, to): (Uuid, u32),
    ) -> QuicDial {
        QuicDial {
            endpoint: Some(endpoint),
            endpoint_v6,
            routes,
            instance,
            from: CLIENTS,
            to,
            incarnation,
        }
    }
}

impl Dial for QuicDial {
    type Out = MessageSender;
    type In = MessageReceiver;

    async fn dial(&self, lane: Lane) -> io::Result<(MessageSender, MessageReceiver)> {
        let unknown = || io::Error::new(io::ErrorKind::NotConnected, "no route is known");
        let route = self.routes.to(self.to).ok_or_else(unknown)?;
        let header = StreamHeader::Worp(WorpHeader {
            instance: self.instance,
            source_thread: self.from,
            destination_thread: self.to,
            category: lane as u8,
            epoch: route.epoch,
            source_incarnation: self.incarnation,
            destination_incarnation: route.incarnation,
        });
        let dial = rama_net::Dial {
            address: route.address,
            roles: Roles::of(&[Role::Worker]),
            node: Some(route.node),
        };
        let other = self.endpoint_v6.as_ref();
        let other = other.filter(|_| route.address.is_ipv6());
        let endpoint = other.or(self.endpoint.as_ref()).ok_or_else(unknown)?;
        endpoint
            .open(&dial, &header)
            .await
            .map_err(io::Error::other)
    }
}

impl FrameOut for MessageSender {
    async fn send(&mut self, frame: Vec<u8>) -> Result<(), Broken> {
        MessageSender::send(self, frame).await.map_err(|error| {
            tracing::debug!(%error, "a link ended");
            Broken
        })
    }
}

impl FrameIn for MessageReceiver {
    async fn recv(&mut self) -> Option<Vec<u8>> {
        match MessageReceiver::recv(self).await {
            Ok(message) => message.map(Vec::from),
            Err(error) => {
                tracing::debug!(%error, "a link ended");
                None
            }
        }
    }
}
