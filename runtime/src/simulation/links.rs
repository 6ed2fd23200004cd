//! Links between the simulated machines of one module.
//!
//! Relies on simulated channels, which keep order and end when a machine dies. What must stay true:
//! a link carries bytes, as in production, so that encoding and every check of it run in the
//! simulator too; a link that breaks by itself loses what is under way on it.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rama_io::sim::{Sim, SimEnv, SimReceiver, SimSender, SimTransport};
use rama_io::{Category, Env, Receiver, Sender, Transport};

use crate::message::Post;
use crate::remote::link::{Broken, Dial, FrameIn, FrameOut, Lane, Links, LocalFuture};
use crate::remote::peer::{self, WhileDown};
use crate::remote::serve::Served;

/// A link as it arrives at the thread it was opened to.
struct Arriving {
    lane: Lane,
    requests: SimReceiver<Vec<u8>>,
    answers: SimSender<Vec<u8>>,
}

/// Who can be reached, by thread.
pub(super) struct SimLinks {
    transport: SimTransport,
    listening: Arc<Mutex<BTreeMap<u32, SimSender<Arriving>>>>,
    /// One frame in so many breaks the link it is sent on; 0 for never.
    breaks_one_in: Arc<AtomicU64>,
}

impl SimLinks {
    pub(super) fn new(sim: &Sim, breaks_one_in: u64) -> SimLinks {
        SimLinks {
            transport: sim.transport(),
            listening: Arc::default(),
            breaks_one_in: Arc::new(AtomicU64::new(breaks_one_in)),
        }
    }

    /// From now on no link breaks by itself.
    pub(super) fn calm(&self) {
        self.breaks_one_in.store(0, Ordering::Relaxed);
    }
}

impl Links<SimEnv> for SimLinks {
    fn open(
        &self,
        env: &SimEnv,
        _from: Option<u32>,
        to: u32,
        local: &Arc<dyn Post>,
    ) -> (Arc<dyn Post>, Vec<(Category, LocalFuture)>) {
        let dial = SimDial {
            env: env.clone(),
            to,
            listening: self.listening.clone(),
            breaks_one_in: self.breaks_one_in.clone(),
        };
        peer::open(env, to, local, WhileDown::Refuse, dial)
    }

    fn accept(&self, served: Served<SimEnv>) -> LocalFuture {
        let (sender, mut arriving) = self.transport.channel();
        let mut listening = self
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        listening.insert(served.thread, sender);
        Box::pin(async move {
            while let Some(link) = arriving.recv().await {
                let out = Out {
                    env: served.env.clone(),
                    to: served.thread,
                    sender: Some(link.answers),
                    breaks_one_in: Arc::default(),
                };
                let serve = served.clone().run(link.lane, In(link.requests), out);
                served.env.spawn(link.lane.category(), serve);
            }
        })
    }
}

#[derive(Clone)]
struct SimDial {
    env: SimEnv,
    to: u32,
    listening: Arc<Mutex<BTreeMap<u32, SimSender<Arriving>>>>,
    breaks_one_in: Arc<AtomicU64>,
}

impl Dial for SimDial {
    type Out = Out;
    type In = In;

    async fn dial(&self, lane: Lane) -> io::Result<(Out, In)> {
        let listening = self
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let listener = listening.get(&self.to).ok_or_else(refused)?;
        let transport = self.env.transport();
        let (to_them, requests) = transport.channel();
        let (answers, from_them) = transport.channel();
        let link = Arriving {
            lane,
            requests,
            answers,
        };
        listener.send(link).map_err(|_| refused())?;
        let out = Out {
            env: self.env.clone(),
            to: self.to,
            sender: Some(to_them),
            breaks_one_in: self.breaks_one_in.clone(),
        };
        Ok((out, In(from_them)))
    }
}

struct Out {
    env: SimEnv,
    /// The thread at the other end.
    to: u32,
    /// `None` when it broke.
    sender: Option<SimSender<Vec<u8>>>,
    breaks_one_in: Arc<AtomicU64>,
}

impl FrameOut for Out {
    async fn send(&mut self, frame: Vec<u8>) -> Result<(), Broken> {
        let sender = self.sender.as_ref().ok_or(Broken)?;
        let one_in = self.breaks_one_in.load(Ordering::Relaxed);
        let due = one_in > 0 && self.env.random_u64().is_multiple_of(one_in);
        let to = self.to;
        if due && self.env.strikes(format_args!("broken link to thread {to}")) {
            self.sender = None;
            return Err(Broken);
        }
        sender.send(frame).map_err(|_| Broken)
    }
}

struct In(SimReceiver<Vec<u8>>);

impl FrameIn for In {
    async fn recv(&mut self) -> Option<Vec<u8>> {
        self.0.recv().await
    }
}
