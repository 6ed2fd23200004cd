//! The layout of what travels between task threads of different processes.
//!
//! Relies on rkyv (unaligned, checked before use). Objects go by their index in the module's
//! definition: both sides run the same instance, which the handshake of the link made sure of. What
//! must stay true: a change here is a new wire version (`rama-net` refuses what it cannot read).

use rama_core::microbatch::{ToCoordinator, ToParticipant};
use rkyv::{Archive, Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// Everything one task thread may send to another.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) enum Frame {
    /// Wants answers under `id`, which the asker never uses twice on a link. 0: no answer.
    Request { id: u64, request: Request },
    /// The answer, or one of the updates of a proxy.
    Answer { id: u64, answer: Answer },
    /// The asker of a proxy went away, or wants it told anew.
    Cancel { id: u64 },
    /// Nobody answers to it.
    Event(Event),
}

/// What wants an answer.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) enum Request {
    Append {
        task: u32,
        depot: u16,
        bytes: Vec<u8>,
        /// Where each record ends in `bytes`, ascending.
        ends: Vec<u32>,
        /// 0 none, 1 append ack, 2 ack.
        ack: u8,
        /// Who appends, and the how-manyth append to this partition it is. 0: not numbered.
        producer: u64,
        sequence: u64,
    },
    ReadDepot {
        task: u32,
        depot: u16,
        from: u64,
        to: u64,
    },
    DepotInfo {
        task: u32,
        depot: u16,
    },
    Select {
        task: u32,
        pstate: u16,
        plan: Vec<u8>,
    },
    Follow {
        task: u32,
        pstate: u16,
        plan: Vec<u8>,
    },
    Invoke {
        task: u32,
        query: u16,
        args: Vec<u8>,
    },
    ListDeadLetters {
        task: u32,
        after: Option<String>,
    },
    SettleDeadLetters {
        task: u32,
        ids: Vec<String>,
        replay: bool,
    },
    Pause {
        topology: u16,
    },
    Resume {
        topology: u16,
    },
    Processed {
        task: u32,
        topology: u16,
        source: u16,
    },
    /// A mirror in another module asks.
    Mirror {
        task: u32,
        depot: u16,
        consumer: String,
        call: MirrorCall,
    },
}

/// What a mirror asks of a depot partition.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) enum MirrorCall {
    /// 0 beginning, 1 end, 2 offset, 3 timestamp, 4 milliseconds ago, 5 records ago.
    Begin {
        start: u8,
        value: u64,
    },
    Pull {
        from: u64,
        most: u32,
    },
    Release,
}

/// What answers.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Failed {
        /// [`ErrorKind::as_str`]: a word survives versions better than a number.
        kind: String,
        text: String,
    },
    Appended {
        partition: u32,
        offset: Option<u64>,
        /// JSON by topology.
        returns: Vec<(String, String)>,
    },
    Records(Vec<Vec<u8>>),
    /// Records one behind the other, from the offset `first` on.
    Pulled {
        first: u64,
        bytes: Vec<u8>,
        /// Where each record ends in `bytes`, ascending.
        ends: Vec<u32>,
    },
    Range {
        start: u64,
        end: u64,
    },
    Selected(Vec<u8>),
    /// JSON of the letters.
    DeadLetters(String),
    Count(u64),
    Done,
    /// An update of a proxy.
    Update(Vec<u8>),
    /// No more updates of a proxy: its task is gone.
    Ended,
    /// The task thread stopped before it answered; nobody knows what it did.
    Gone,
}

/// A value that moved, and the record it descends from.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trace {
    pub(crate) record: u64,
    pub(crate) home: u32,
    pub(crate) edges: u64,
}

/// One run of a query: where it began, and its number.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub(crate) struct Run {
    pub(crate) home: u32,
    pub(crate) number: u64,
}

/// What wants no answer.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) enum Event {
    StreamHop {
        topology: u16,
        task: u32,
        stage: u16,
        items: Items,
    },
    Settled {
        topology: u16,
        task: u32,
        /// JSON by tree; `edges` is not used.
        returns: Vec<(Trace, String)>,
        acks: Vec<Trace>,
    },
    StreamFailed {
        topology: u16,
        task: u32,
        /// Trees, and whether they are to blame; `edges` is not used.
        trees: Vec<(Trace, bool)>,
        text: String,
    },
    QueryHop {
        query: u16,
        task: u32,
        run: Run,
        stage: u16,
        items: Items,
    },
    QueryRelease {
        query: u16,
        task: u32,
        run: Run,
        level: u16,
        work: u64,
    },
    QueryRan {
        query: u16,
        run: Run,
        edges: u64,
    },
    QueryFailed {
        query: u16,
        run: Run,
        text: String,
    },
    QueryOver {
        query: u16,
        task: u32,
        run: Run,
    },
    Hop {
        topology: u16,
        task: u32,
        id: u64,
        attempt: u32,
        hop: u64,
        stage: u16,
        items: Items,
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
    DepotEnd {
        topology: u16,
        source: u16,
        partition: u32,
        start: u64,
        end: u64,
        begin: u64,
        bytes: u64,
    },
    /// What this thread had to say of streams and queries may be lost: the link before broke, or there
    /// was none.
    StreamNewsLost,
}

/// A batch of values of one type, which only its two stages know.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub(crate) struct Items {
    /// One per value; `edges` is the value's edge.
    pub(crate) traces: Vec<Trace>,
    /// Where each value ends in `bytes`, ascending.
    pub(crate) ends: Vec<u32>,
    /// The values as records, one after the other.
    pub(crate) bytes: Vec<u8>,
}

impl Frame {
    /// The frame's bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        match rkyv::to_bytes::<rkyv::rancor::Error>(self) {
            Ok(bytes) => bytes.into_vec(),
            // Frames stay far below the 2 GiB that relative pointers reach.
            Err(error) => unreachable!("a frame has an archive: {error}"),
        }
    }

    /// Reads a peer's bytes; believes none of them.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Frame> {
        rkyv::from_bytes::<Frame, rkyv::rancor::Error>(bytes).map_err(|error| {
            let text = format!("could not read a frame of {} bytes", bytes.len());
            Error::new(ErrorKind::Invalid, text).caused_by(error)
        })
    }
}

impl Answer {
    /// An error as it travels: its kind and its whole chain.
    pub(crate) fn failed(error: &Error) -> Answer {
        Answer::Failed {
            kind: error.kind().as_str().to_owned(),
            text: format!("{error:#}"),
        }
    }
}

/// The parts of a buffer that holds values end to end; `None` when the ends do not fit it.
pub(crate) fn parts<'a>(bytes: &'a [u8], ends: &[u32]) -> Option<Vec<&'a [u8]>> {
    let mut from = 0;
    let mut parts = Vec::with_capacity(ends.len().min(bytes.len() + 1));
    for &end in ends {
        parts.push(bytes.get(from..end as usize)?);
        from = end as usize;
    }
    (from == bytes.len()).then_some(parts)
}
