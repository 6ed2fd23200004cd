//! What is sent to a task thread: by clients, by other task threads, by whoever runs the cluster.
//!
//! Relies on the transport for order: messages of one sender arrive in the order sent (O-9), so a
//! pair of tasks, or a client and a depot partition, never sees its messages reordered. Replies are
//! oneshots, which work under any executor; a dropped one means that the outcome is not known.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use futures_channel::oneshot;
use rama_core::ids::Position;
use rama_core::microbatch::{ToCoordinator, ToParticipant};
use rama_io::Sender;

use crate::error::Result;
use crate::plan::Plan;
use crate::producers::Numbered;
use crate::proxy::slot::Subscription;
use crate::query_driver::{Invocation, QueryMessage};
use crate::remote::link::Lane;
use crate::stage::{Batch, StageIndex};
use crate::stream_driver::StreamMessage;
use crate::tuning::Tuning;

/// Carries the answer to one request.
pub(crate) type Reply<T> = oneshot::Sender<Result<T>>;

/// What a client waits for when it appends (D-15).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AckLevel {
    /// Nothing: completes when the append is on its way.
    None,
    /// The record is durable on its partition.
    AppendAck,
    /// The record is durable and every stream topology of the module that reads the depot has
    /// processed it completely: what it wrote can be read.
    #[default]
    Ack,
}

/// What an append that was waited for brought (D-14).
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Appended {
    /// The partition the record went to.
    pub partition: u32,
    /// Offset of the (first) record in its partition; unknown at [`AckLevel::None`].
    pub offset: Option<u64>,
    /// What the stream topologies gave back, by topology name (D-19). Empty below `Ack`.
    pub returns: BTreeMap<String, serde_json::Value>,
}

/// Encoded records that share one buffer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records {
    bytes: Vec<u8>,
    ends: smallvec::SmallVec<[u32; 2]>,
}

impl Records {
    /// Adds a record that `encode` appends to the buffer.
    pub(crate) fn push_with(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        encode(&mut self.bytes);
        self.ends.push(self.bytes.len() as u32);
    }

    /// The buffer.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where each record ends in it.
    pub(crate) fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// The buffer, and where each record ends in it.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Vec<u32>) {
        (self.bytes, self.ends.into_vec())
    }

    /// The opposite of [`Records::into_parts`]; the ends ascend and the last is the buffer's.
    pub(crate) fn from_parts(bytes: Vec<u8>, ends: Vec<u32>) -> Records {
        Records {
            bytes,
            ends: ends.into(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// What they take in a log, about.
    pub(crate) fn stored_bytes(&self) -> usize {
        self.bytes.len() + 4 * self.ends.len()
    }

    /// The records in order.
    pub(crate) fn slices(&self) -> smallvec::SmallVec<[&[u8]; 2]> {
        let mut from = 0;
        let slice = |&end: &u32| {
            let record = &self.bytes[from..end as usize];
            from = end as usize;
            record
        };
        self.ends.iter().map(slice).collect()
    }
}

/// Whether an append is on its way, or was given up before: one of both, decided once.
#[derive(Default)]
pub(crate) struct Departure(AtomicU8);

const WAITS: u8 = 0;
const DEPARTED: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Departure {
    /// It is sent, or done, now; false when it was given up.
    fn depart(&self) -> bool {
        self.decide(DEPARTED)
    }

    /// It is given up; false when it is on its way and may be done.
    pub(crate) fn give_up(&self) -> bool {
        self.decide(GIVEN_UP)
    }

    fn decide(&self, wanted: u8) -> bool {
        let decided = self
            .0
            .compare_exchange(WAITS, wanted, Ordering::AcqRel, Ordering::Acquire);
        decided.is_ok() || decided == Err(wanted)
    }
}

/// Appends of one client call to one partition, in order.
pub(crate) struct AppendRequest {
    /// Where it is decided whether it is done, when its caller waits for a limited time.
    pub(crate) departure: Option<Arc<Departure>>,
    /// Its name, when it may be sent again.
    pub(crate) numbered: Option<Numbered>,
    pub(crate) task: u32,
    /// Index of the depot in the definition.
    pub(crate) depot: u16,
    pub(crate) records: Records,
    pub(crate) ack: AckLevel,
    pub(crate) reply: Reply<Appended>,
}

/// What clients ask of a task.
pub(crate) enum ClientRequest {
    Append(AppendRequest),
    /// Reads `[from, to)` of a depot partition (D-25).
    ReadDepot {
        task: u32,
        depot: u16,
        from: u64,
        to: u64,
        reply: Reply<Vec<Vec<u8>>>,
    },
    /// First available and next offset of a depot partition (D-24).
    DepotInfo {
        task: u32,
        depot: u16,
        reply: Reply<std::ops::Range<u64>>,
    },
    /// From where to where a topology has processed a source on a task (M-16).
    Processed {
        task: u32,
        topology: u16,
        source: u16,
        reply: Reply<std::ops::Range<u64>>,
    },
    /// Evaluates a plan on the external view (P-32 … P-35).
    Select {
        task: u32,
        pstate: u16,
        plan: Plan,
        reply: Reply<Vec<u8>>,
    },
    /// Tells a plan's answer, and each change of it (P-38).
    Follow {
        task: u32,
        pstate: u16,
        plan: Plan,
        subscription: Subscription,
    },
    /// Runs a query that begins on this task.
    Invoke {
        task: u32,
        query: u16,
        args: Vec<u8>,
        reply: Reply<Vec<u8>>,
    },
    /// What a mirror in another module asks of a depot partition.
    Mirror {
        task: u32,
        depot: u16,
        /// Who asks.
        consumer: String,
        request: crate::mirror::Request,
    },
    /// Lists or drops dead letters of this task.
    DeadLetters {
        task: u32,
        request: crate::dead_letters::Request,
    },
}

/// Items on their way to a stage of a microbatch topology.
pub(crate) struct MicrobatchHop {
    pub(crate) at: Position,
    /// Random id of this message in the completion XOR.
    pub(crate) id: u64,
    pub(crate) stage: StageIndex,
    pub(crate) batch: Batch,
}

/// What a task thread is told from outside of the data path.
pub(crate) enum Control {
    /// Finish or resume the running work of a topology (M-15); answers when it is durable.
    Pause {
        topology: u16,
        reply: Reply<()>,
    },
    Resume {
        topology: u16,
        reply: Reply<()>,
    },
    /// From now on these options hold.
    Tune {
        tuning: Arc<Tuning>,
        reply: Reply<()>,
    },
    /// Note in the metrics how far migrations are.
    Measure {
        reply: Reply<()>,
    },
    /// Let streams finish what they run and begin nothing; answers when nothing runs. Before a stop.
    Drain {
        reply: Reply<()>,
    },
    /// Stop all loops, make everything durable, close the files.
    Stop {
        reply: Reply<()>,
    },
}

/// Everything a task thread may find in its inbox. Topologies, depots and PStates go by their
/// index in the module's definition, which all threads share.
pub(crate) enum Message {
    Client(ClientRequest),
    Stream {
        topology: u16,
        task: u32,
        message: StreamMessage,
    },
    Hop {
        topology: u16,
        task: u32,
        hop: MicrobatchHop,
    },
    ToParticipant {
        topology: u16,
        task: u32,
        message: ToParticipant,
    },
    ToCoordinator {
        topology: u16,
        message: ToCoordinator,
    },
    /// About one run of a query.
    Query {
        query: u16,
        task: u32,
        invocation: Invocation,
        message: QueryMessage,
    },
    /// A depot partition grew: for the coordinator on task 0.
    DepotEnd {
        topology: u16,
        source: u16,
        partition: u32,
        start: u64,
        end: u64,
        /// Where the source begins there while it has no progress.
        begin: u64,
        bytes: u64,
    },
    Control(Control),
    /// The reader of a proxy on this thread went away (P-44).
    Unfollow {
        task: u32,
        reader: u64,
    },
    /// The link to a task thread of another process came up or broke: what was on it is lost.
    Link {
        thread: u32,
        lane: Lane,
        up: bool,
    },
    /// What a task thread of another process had to say of streams and queries may be lost: its link to
    /// this one broke, or was down.
    StreamNewsLost,
}

impl AppendRequest {
    /// Whether it is to be sent or done; from now on it may have been.
    pub(crate) fn departs(&self) -> bool {
        self.departure.as_ref().is_none_or(|it| it.depart())
    }
}

impl Message {
    /// Whether it tells the home of stream trees, or of a query, what became of them, which nobody
    /// tells again.
    pub(crate) fn is_news(&self) -> bool {
        match self {
            Message::Stream { message, .. } => matches!(
                message,
                StreamMessage::Settled { .. } | StreamMessage::Failed { .. }
            ),
            Message::Query { .. } => true,
            _ => false,
        }
    }

    /// Whether it is to be sent: who asked did not go away before.
    pub(crate) fn departs(&self) -> bool {
        match self {
            Message::Client(request) if request.is_forgotten() => false,
            Message::Client(ClientRequest::Append(append)) => append.departs(),
            _ => true,
        }
    }
}

impl ClientRequest {
    fn is_forgotten(&self) -> bool {
        match self {
            // An append that nobody waits for is to be done all the same.
            ClientRequest::Append(append) => {
                append.ack != AckLevel::None && append.reply.is_canceled()
            }
            ClientRequest::ReadDepot { reply, .. } => reply.is_canceled(),
            ClientRequest::DepotInfo { reply, .. } => reply.is_canceled(),
            ClientRequest::Processed { reply, .. } => reply.is_canceled(),
            ClientRequest::Select { reply, .. } => reply.is_canceled(),
            ClientRequest::Follow { subscription, .. } => subscription.is_over(),
            ClientRequest::Invoke { reply, .. } => reply.is_canceled(),
            ClientRequest::Mirror { request, .. } => request.is_forgotten(),
            ClientRequest::DeadLetters { request, .. } => request.is_forgotten(),
        }
    }
}

/// Sends to one task thread, whatever the transport.
pub(crate) trait Post: Send + Sync {
    /// Never waits. Gives the message back when the thread is gone.
    fn post(&self, message: Message) -> Result<(), Message>;
}

/// A transport's sender as a [`Post`].
pub(crate) struct Sending<S>(pub(crate) S);

impl<S: Sender<Message>> Post for Sending<S> {
    fn post(&self, message: Message) -> Result<(), Message> {
        self.0.send(message)
    }
}
