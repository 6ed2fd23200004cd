//! Messages of this process as frames, and what their askers wait for.
//!
//! Relies on the wire layout of `frame`. What must stay true: a message that wants an answer leaves
//! its asker in a [`Waiting`]; dropping that is how the asker learns that no answer will come.

use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;

use super::frame::{Answer, Event, Frame, Items, MirrorCall, Request, Run, Trace, parts};
use crate::dead_letters::{self, DeadLetter, Settling};
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::message::{
    AckLevel, AppendRequest, Appended, ClientRequest, Control, Message, MicrobatchHop, Records,
    Reply,
};
use crate::mirror::{self, Pulled};
use crate::proxy::slot::{Pushed, Subscription};
use crate::proxy::update::Update;
use crate::query_driver::{Invocation, QueryMessage};
use crate::stage::{Ack, Batch, Origin};
use crate::stream_driver::StreamMessage;
use crate::topology_def::Start;

/// Who waits for the answers to one request.
pub(crate) enum Waiting {
    Appended(Reply<Appended>),
    Records(Reply<Vec<Vec<u8>>>),
    Range(Reply<Range<u64>>),
    Selected(Reply<Vec<u8>>),
    Pulled(Reply<Pulled>),
    Follow(Subscription),
    DeadLetters(Reply<Vec<DeadLetter>>),
    Count(Reply<u64>),
    Done(Reply<()>),
}

/// What is left to do after an answer.
pub(crate) enum After {
    /// The request is answered.
    Over,
    /// More updates will come for this proxy.
    More(Waiting),
    /// The reader of this proxy is gone: tell the other side.
    Cancel,
    /// The reader of this proxy is too far behind: it is to be told the whole value.
    Anew(Waiting),
}

/// The frame of a message under the request number `id`. Gives the message back when it only makes
/// sense within a process.
pub(crate) fn encode(message: Message, id: u64) -> Result<(Frame, Option<Waiting>), Message> {
    match message {
        Message::Client(request) => {
            let (request, waiting) = client(request);
            let id = if waiting.is_some() { id } else { 0 };
            Ok((Frame::Request { id, request }, waiting))
        }
        Message::Control(Control::Pause { topology, reply }) => {
            let request = Request::Pause { topology };
            Ok((Frame::Request { id, request }, Some(Waiting::Done(reply))))
        }
        Message::Control(Control::Resume { topology, reply }) => {
            let request = Request::Resume { topology };
            Ok((Frame::Request { id, request }, Some(Waiting::Done(reply))))
        }
        Message::Control(_) => Err(message),
        other => event(other).map(|event| (Frame::Event(event), None)),
    }
}

fn client(request: ClientRequest) -> (Request, Option<Waiting>) {
    match request {
        ClientRequest::Append(append) => append_request(append),
        ClientRequest::ReadDepot {
            task,
            depot,
            from,
            to,
            reply,
        } => (
            Request::ReadDepot {
                task,
                depot,
                from,
                to,
            },
            Some(Waiting::Records(reply)),
        ),
        ClientRequest::DepotInfo { task, depot, reply } => {
            let request = Request::DepotInfo { task, depot };
            (request, Some(Waiting::Range(reply)))
        }
        ClientRequest::Processed {
            task,
            topology,
            source,
            reply,
        } => {
            let request = Request::Processed {
                task,
                topology,
                source,
            };
            (request, Some(Waiting::Range(reply)))
        }
        ClientRequest::Select {
            task,
            pstate,
            plan,
            reply,
        } => {
            let plan = plan.to_bytes();
            let request = Request::Select { task, pstate, plan };
            (request, Some(Waiting::Selected(reply)))
        }
        ClientRequest::Follow {
            task,
            pstate,
            plan,
            subscription,
        } => {
            let plan = plan.to_bytes();
            let request = Request::Follow { task, pstate, plan };
            (request, Some(Waiting::Follow(subscription)))
        }
        ClientRequest::Invoke {
            task,
            query,
            args,
            reply,
        } => {
            let request = Request::Invoke { task, query, args };
            (request, Some(Waiting::Selected(reply)))
        }
        ClientRequest::Mirror {
            task,
            depot,
            consumer,
            request,
        } => {
            let (call, waiting) = mirror_call(request);
            let request = Request::Mirror {
                task,
                depot,
                consumer,
                call,
            };
            (request, Some(waiting))
        }
        ClientRequest::DeadLetters { task, request } => match request {
            dead_letters::Request::List { after, reply } => {
                let request = Request::ListDeadLetters { task, after };
                (request, Some(Waiting::DeadLetters(reply)))
            }
            dead_letters::Request::Settle { ids, how, reply } => {
                let replay = how == Settling::Replay;
                let request = Request::SettleDeadLetters { task, ids, replay };
                (request, Some(Waiting::Count(reply)))
            }
        },
    }
}

fn mirror_call(request: mirror::Request) -> (MirrorCall, Waiting) {
    match request {
        mirror::Request::Begin { start, reply } => {
            let (start, value) = match start {
                Start::Beginning => (0, 0),
                Start::End => (1, 0),
                Start::Offset(offset) => (2, offset),
                Start::Timestamp(time_ms) => (3, time_ms),
                Start::Ago(ago) => (4, u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)),
                Start::RecordsAgo(count) => (5, count),
            };
            (MirrorCall::Begin { start, value }, Waiting::Count(reply))
        }
        mirror::Request::Pull { from, most, reply } => {
            (MirrorCall::Pull { from, most }, Waiting::Pulled(reply))
        }
        mirror::Request::Release { reply } => (MirrorCall::Release, Waiting::Done(reply)),
    }
}

fn append_request(append: AppendRequest) -> (Request, Option<Waiting>) {
    let AppendRequest {
        departure: _,
        task,
        depot,
        records,
        ack,
        reply,
        numbered,
    } = append;
    let (bytes, ends) = records.into_parts();
    let level = match ack {
        AckLevel::None => 0,
        AckLevel::AppendAck => 1,
        AckLevel::Ack => 2,
    };
    let request = Request::Append {
        task,
        depot,
        bytes,
        ends,
        ack: level,
        producer: numbered.map_or(0, |numbered| numbered.producer),
        sequence: numbered.map_or(0, |numbered| numbered.sequence),
    };
    let waiting = (ack != AckLevel::None).then_some(Waiting::Appended(reply));
    (request, waiting)
}

fn event(message: Message) -> Result<Event, Message> {
    Ok(match message {
        Message::Stream {
            topology,
            task,
            message,
        } => return stream(topology, task, message),
        Message::Query {
            query,
            task,
            invocation,
            message,
        } => return self::query((query, task), invocation, message),
        Message::Hop {
            topology,
            task,
            hop,
        } => {
            let MicrobatchHop {
                at,
                id: hop,
                stage,
                batch,
            } = hop;
            Event::Hop {
                topology,
                task,
                id: at.id.0,
                attempt: at.attempt.0,
                hop,
                stage: stage.0,
                items: items(&batch),
            }
        }
        Message::ToParticipant {
            topology,
            task,
            message,
        } => Event::ToParticipant {
            topology,
            task,
            message,
        },
        Message::ToCoordinator { topology, message } => Event::ToCoordinator { topology, message },
        Message::StreamNewsLost => Event::StreamNewsLost,
        Message::DepotEnd {
            topology,
            source,
            partition,
            start,
            end,
            begin,
            bytes,
        } => Event::DepotEnd {
            topology,
            source,
            partition,
            start,
            end,
            begin,
            bytes,
        },
        other => return Err(other),
    })
}

fn stream(topology: u16, task: u32, message: StreamMessage) -> Result<Event, Message> {
    Ok(match message {
        StreamMessage::Hop { stage, batch } => Event::StreamHop {
            topology,
            task,
            stage: stage.0,
            items: items(&batch),
        },
        StreamMessage::Settled { returns, acks } => {
            let value = |(origin, value): (Origin, Value)| (trace(origin, 0), value.to_string());
            let ack = |ack: &Ack| trace(ack.origin, ack.edges);
            Event::Settled {
                topology,
                task,
                returns: returns.into_iter().map(value).collect(),
                acks: acks.iter().map(ack).collect(),
            }
        }
        StreamMessage::Failed { trees, text } => {
            let tree = |&(origin, blamed): &(Origin, bool)| (trace(origin, 0), blamed);
            Event::StreamFailed {
                topology,
                task,
                trees: trees.iter().map(tree).collect(),
                text: text.to_string(),
            }
        }
        // What a task tells itself when a write is durable.
        message @ StreamMessage::Durable { .. } => {
            return Err(Message::Stream {
                topology,
                task,
                message,
            });
        }
    })
}

fn query(
    (query, task): (u16, u32),
    invocation: Invocation,
    message: QueryMessage,
) -> Result<Event, Message> {
    let Invocation { home, number } = invocation;
    let run = Run { home, number };
    Ok(match message {
        QueryMessage::Hop { stage, batch } => Event::QueryHop {
            query,
            task,
            run,
            stage: stage.0,
            items: items(&batch),
        },
        QueryMessage::Release { level, work } => Event::QueryRelease {
            query,
            task,
            run,
            level,
            work,
        },
        QueryMessage::Ran { edges } => Event::QueryRan { query, run, edges },
        QueryMessage::Failed { text } => Event::QueryFailed {
            query,
            run,
            text: text.to_string(),
        },
        QueryMessage::Over => Event::QueryOver { query, task, run },
        // What a thread tells itself when a link changes.
        message @ QueryMessage::Lost { .. } => {
            return Err(Message::Query {
                query,
                task,
                invocation,
                message,
            });
        }
    })
}

fn trace(origin: Origin, edges: u64) -> Trace {
    let Origin { record, home } = origin;
    Trace {
        record,
        home,
        edges,
    }
}

fn items(batch: &Batch) -> Items {
    let mut items = Items {
        traces: Vec::with_capacity(batch.len()),
        ends: Vec::with_capacity(batch.len()),
        bytes: Vec::new(),
    };
    let Items {
        traces,
        ends,
        bytes,
    } = &mut items;
    batch.encode(bytes, &mut |origin, edge, end| {
        traces.push(trace(origin, edge));
        ends.push(end as u32);
    });
    items
}

impl Waiting {
    /// Whether the answer only says that nobody knows: the thread stopped, or its log failed.
    pub(crate) fn may_ask_again(&self, answer: &Answer) -> bool {
        match answer {
            Answer::Gone => true,
            Answer::Failed { kind, .. } => {
                let unknown = kind == ErrorKind::Unknown.as_str();
                unknown && matches!(self, Waiting::Appended(_))
            }
            _ => false,
        }
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_forgotten(&self) -> bool {
        match self {
            Waiting::Appended(reply) => reply.is_canceled(),
            Waiting::Records(reply) => reply.is_canceled(),
            Waiting::Range(reply) => reply.is_canceled(),
            Waiting::Selected(reply) => reply.is_canceled(),
            Waiting::Pulled(reply) => reply.is_canceled(),
            Waiting::Follow(subscription) => subscription.is_over(),
            Waiting::DeadLetters(reply) => reply.is_canceled(),
            Waiting::Count(reply) => reply.is_canceled(),
            Waiting::Done(reply) => reply.is_canceled(),
        }
    }

    /// Hands an answer to who waits for it.
    ///
    /// # Errors
    /// When the peer answered something else than was asked: it does not follow the protocol.
    pub(crate) fn answer(self, answer: Answer) -> Result<After> {
        if let Answer::Failed { kind, text } = answer {
            let kind = ErrorKind::from_word(&kind).unwrap_or(ErrorKind::Unknown);
            self.fail(Error::new(kind, text));
            return Ok(After::Over);
        }
        match (self, answer) {
            (Waiting::Follow(subscription), Answer::Update(bytes)) => {
                return followed(subscription, &bytes);
            }
            // Whoever follows learns of it as of a link that broke.
            (Waiting::Follow(_), Answer::Ended) => {}
            // Whoever waits learns of it as of a link that broke: its reply is dropped.
            (_, Answer::Gone) => {}
            (
                Waiting::Appended(reply),
                Answer::Appended {
                    partition,
                    offset,
                    returns,
                },
            ) => {
                let value = |(topology, json): (String, String)| {
                    let value = serde_json::from_str(&json).map_err(odd)?;
                    Ok((topology, value))
                };
                let appended = Appended {
                    partition,
                    offset,
                    returns: returns.into_iter().map(value).collect::<Result<_>>()?,
                };
                let _ = reply.send(Ok(appended));
            }
            (Waiting::Records(reply), Answer::Records(records)) => {
                let _ = reply.send(Ok(records));
            }
            (Waiting::Range(reply), Answer::Range { start, end }) => {
                let _ = reply.send(Ok(start..end));
            }
            (Waiting::Selected(reply), Answer::Selected(value)) => {
                let _ = reply.send(Ok(value));
            }
            (Waiting::Pulled(reply), Answer::Pulled { first, bytes, ends }) => {
                if parts(&bytes, &ends).is_none() {
                    return Err(Error::invalid("records that do not fit their bytes"));
                }
                let records = Records::from_parts(bytes, ends);
                let _ = reply.send(Ok(Pulled { first, records }));
            }
            (Waiting::DeadLetters(reply), Answer::DeadLetters(json)) => {
                let _ = reply.send(Ok(serde_json::from_str(&json).map_err(odd)?));
            }
            (Waiting::Count(reply), Answer::Count(count)) => {
                let _ = reply.send(Ok(count));
            }
            (Waiting::Done(reply), Answer::Done) => {
                let _ = reply.send(Ok(()));
            }
            (_, answer) => return Err(Error::invalid(format!("{answer:?} answers another call"))),
        }
        Ok(After::Over)
    }

    fn fail(self, error: Error) {
        // Whoever asked may have given up meanwhile.
        match self {
            Waiting::Appended(reply) => drop(reply.send(Err(error))),
            Waiting::Records(reply) => drop(reply.send(Err(error))),
            Waiting::Range(reply) => drop(reply.send(Err(error))),
            Waiting::Selected(reply) => drop(reply.send(Err(error))),
            Waiting::Pulled(reply) => drop(reply.send(Err(error))),
            Waiting::Follow(subscription) => subscription.refuse(error),
            Waiting::DeadLetters(reply) => drop(reply.send(Err(error))),
            Waiting::Count(reply) => drop(reply.send(Err(error))),
            Waiting::Done(reply) => drop(reply.send(Err(error))),
        }
    }
}

/// Hands an update to who follows.
fn followed(subscription: Subscription, bytes: &[u8]) -> Result<After> {
    let update = Update::from_bytes(bytes)
        .map_err(|error| Error::invalid("could not follow").caused_by(error))?;
    let pushed = subscription.push(&Arc::new(update), limits::PROXY_WAITING_MAX);
    let waiting = Waiting::Follow(subscription);
    Ok(match pushed {
        Pushed::Taken => After::More(waiting),
        Pushed::Behind => After::Anew(waiting),
        Pushed::Over => After::Cancel,
    })
}

fn odd(cause: serde_json::Error) -> Error {
    Error::invalid("could not read the JSON of an answer").caused_by(cause)
}
