//! Frames of a peer as messages for a task thread of this process.
//!
//! Relies on the layout both sides share. What must stay true: every index a frame names is checked
//! against the layout, and every task against the thread it was sent to, before anything uses it;
//! what fails the check is an error that ends the link and nothing else.

mod mirrored;

use std::sync::Arc;

use futures_channel::oneshot;
use rama_core::ids::{Attempt, MicrobatchId, Position};
use rama_core::microbatch::{ToCoordinator, ToParticipant};

use super::frame::{Answer, Event, Items, Request, Run, Trace, parts};
use crate::dead_letters::{self, Settling};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Layout, QueryLayout, TopologyLayout};
use crate::message::{
    AckLevel, AppendRequest, ClientRequest, Control, Message, MicrobatchHop, Records,
};
use crate::plan::Plan;
use crate::producers::Numbered;
use crate::proxy::slot::{self, Feed};
use crate::query_driver::{Invocation, QueryMessage};
use crate::stage::{Ack, Batch, EncodedItem, Origin, Stage, StageIndex};
use crate::stream_driver::StreamMessage;
use crate::topology_def::TopologyKind;

/// Checks and decodes what peers send to one task thread.
pub(crate) struct Decoder<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) thread: u32,
}

/// The answer that a decoded request will bring.
pub(crate) enum Awaited {
    One(futures_util::future::BoxFuture<'static, Answer>),
    Updates(Feed),
}

impl Decoder<'_> {
    /// The message of a request, and where its answer will come from.
    pub(crate) fn request(&self, request: Request) -> Result<(Message, Awaited)> {
        Ok(match request {
            Request::Append {
                task,
                depot,
                bytes,
                ends,
                ack,
                producer,
                sequence,
            } => {
                let numbered = (producer != 0).then_some(Numbered { producer, sequence });
                self.append((task, depot), bytes, ends, ack, numbered)?
            }
            Request::ReadDepot {
                task,
                depot,
                from,
                to,
            } => {
                self.partition(task, depot)?;
                ask(Answer::Records, |reply| ClientRequest::ReadDepot {
                    task,
                    depot,
                    from,
                    to,
                    reply,
                })
            }
            Request::DepotInfo { task, depot } => {
                self.partition(task, depot)?;
                let range = |range: std::ops::Range<u64>| Answer::Range {
                    start: range.start,
                    end: range.end,
                };
                ask(range, |reply| ClientRequest::DepotInfo {
                    task,
                    depot,
                    reply,
                })
            }
            Request::Processed {
                task,
                topology,
                source,
            } => {
                self.task(task)?;
                let found = self.layout.topologies.get(usize::from(topology));
                let found = found.and_then(|found| found.sources.get(usize::from(source)));
                let depot = found
                    .ok_or_else(|| odd(format!("source {source} of a topology")))?
                    .depot;
                self.partition(task, depot)?;
                let range = |range: std::ops::Range<u64>| Answer::Range {
                    start: range.start,
                    end: range.end,
                };
                ask(range, |reply| ClientRequest::Processed {
                    task,
                    topology,
                    source,
                    reply,
                })
            }
            Request::Select { task, pstate, plan } => {
                let plan = self.plan(task, pstate, &plan)?;
                ask(Answer::Selected, |reply| ClientRequest::Select {
                    task,
                    pstate,
                    plan,
                    reply,
                })
            }
            Request::Follow { task, pstate, plan } => {
                let plan = self.plan(task, pstate, &plan)?;
                let (subscription, feed) = slot::pair();
                let request = ClientRequest::Follow {
                    task,
                    pstate,
                    plan,
                    subscription,
                };
                (Message::Client(request), Awaited::Updates(feed))
            }
            Request::Invoke { task, query, args } => {
                self.task(task)?;
                self.query(query)?;
                ask(Answer::Selected, |reply| ClientRequest::Invoke {
                    task,
                    query,
                    args,
                    reply,
                })
            }
            Request::ListDeadLetters { task, after } => {
                self.task(task)?;
                ask(letters, |reply| ClientRequest::DeadLetters {
                    task,
                    request: dead_letters::Request::List { after, reply },
                })
            }
            Request::SettleDeadLetters { task, ids, replay } => {
                self.task(task)?;
                let how = if replay {
                    Settling::Replay
                } else {
                    Settling::Drop
                };
                ask(Answer::Count, |reply| ClientRequest::DeadLetters {
                    task,
                    request: dead_letters::Request::Settle { ids, how, reply },
                })
            }
            Request::Mirror {
                task,
                depot,
                consumer,
                call,
            } => self.mirror((task, depot), consumer, call)?,
            Request::Pause { topology } => {
                self.topology(topology)?;
                control(|reply| Control::Pause { topology, reply })
            }
            Request::Resume { topology } => {
                self.topology(topology)?;
                control(|reply| Control::Resume { topology, reply })
            }
        })
    }

    fn append(
        &self,
        (task, depot): (u32, u16),
        bytes: Vec<u8>,
        ends: Vec<u32>,
        ack: u8,
        numbered: Option<Numbered>,
    ) -> Result<(Message, Awaited)> {
        self.partition(task, depot)?;
        let ack = match ack {
            0 => AckLevel::None,
            1 => AckLevel::AppendAck,
            2 => AckLevel::Ack,
            other => return Err(odd(format!("ack level {other}"))),
        };
        if parts(&bytes, &ends).is_none_or(|records| records.is_empty()) {
            return Err(odd("records that do not fit their bytes"));
        }
        let records = Records::from_parts(bytes, ends);
        let answer = |appended: crate::message::Appended| Answer::Appended {
            partition: appended.partition,
            offset: appended.offset,
            returns: appended
                .returns
                .into_iter()
                .map(|(topology, value)| (topology, value.to_string()))
                .collect(),
        };
        let (reply, replied) = oneshot::channel();
        let request = AppendRequest {
            departure: None,
            task,
            depot,
            records,
            ack,
            reply,
            numbered,
        };
        let message = Message::Client(ClientRequest::Append(request));
        // It may have become durable before its thread stopped (D-16).
        Ok((message, awaited(replied, answer)))
    }

    /// The message of an event.
    pub(crate) fn event(&self, event: Event) -> Result<Message> {
        match event {
            Event::StreamNewsLost => Ok(Message::StreamNewsLost),
            Event::StreamHop {
                topology,
                task,
                stage,
                items,
            } => {
                let (stage, batch) = self.batch(self.stream(topology, task)?, stage, &items)?;
                let message = StreamMessage::Hop { stage, batch };
                Ok(to_stream(topology, task, message))
            }
            Event::Settled {
                topology,
                task,
                returns,
                acks,
            } => {
                self.stream(topology, task)?;
                let value = |(trace, json): (Trace, String)| {
                    let value = serde_json::from_str(&json).map_err(|_| odd("a bad ack return"))?;
                    Ok((origin(&trace), value))
                };
                let ack = |trace: &Trace| Ack {
                    origin: origin(trace),
                    edges: trace.edges,
                };
                let returns = returns.into_iter().map(value).collect::<Result<_>>()?;
                let acks = acks.iter().map(ack).collect();
                let message = StreamMessage::Settled { returns, acks };
                Ok(to_stream(topology, task, message))
            }
            Event::StreamFailed {
                topology,
                task,
                trees,
                text,
            } => {
                self.stream(topology, task)?;
                let trees = trees.iter().map(|(trace, blamed)| (origin(trace), *blamed));
                let message = StreamMessage::Failed {
                    trees: trees.collect(),
                    text: text.into(),
                };
                Ok(to_stream(topology, task, message))
            }
            Event::QueryHop { .. }
            | Event::QueryRelease { .. }
            | Event::QueryRan { .. }
            | Event::QueryFailed { .. }
            | Event::QueryOver { .. } => self.query_event(event),
            other => self.microbatch(other),
        }
    }

    fn query_event(&self, event: Event) -> Result<Message> {
        let (query, task, run, message) = match event {
            Event::QueryHop {
                query,
                task,
                run,
                stage,
                items,
            } => {
                let found = self.query(query)?;
                let (stage, batch) = decode_batch((&found.stages, &found.name), stage, &items)?;
                (query, task, run, QueryMessage::Hop { stage, batch })
            }
            Event::QueryRelease {
                query,
                task,
                run,
                level,
                work,
            } => (query, task, run, QueryMessage::Release { level, work }),
            Event::QueryRan { query, run, edges } => {
                (query, run.home, run, QueryMessage::Ran { edges })
            }
            Event::QueryFailed { query, run, text } => {
                let text = text.into();
                (query, run.home, run, QueryMessage::Failed { text })
            }
            Event::QueryOver { query, task, run } => (query, task, run, QueryMessage::Over),
            other => return Err(odd(format!("{other:?}"))),
        };
        self.query(query)?;
        self.task(task)?;
        self.any_task(run.home)?;
        let Run { home, number } = run;
        let invocation = Invocation { home, number };
        Ok(Message::Query {
            query,
            task,
            invocation,
            message,
        })
    }

    fn microbatch(&self, event: Event) -> Result<Message> {
        match event {
            Event::Hop {
                topology,
                task,
                id,
                attempt,
                hop,
                stage,
                items,
            } => {
                self.task(task)?;
                let found = self.of_kind(topology, TopologyKind::Microbatch)?;
                let (stage, batch) = self.batch(found, stage, &items)?;
                if hop == 0 {
                    return Err(odd("a hop without an id"));
                }
                let at = Position {
                    id: MicrobatchId(id),
                    attempt: Attempt(attempt),
                };
                let hop = MicrobatchHop {
                    at,
                    id: hop,
                    stage,
                    batch,
                };
                Ok(Message::Hop {
                    topology,
                    task,
                    hop,
                })
            }
            Event::ToParticipant {
                topology,
                task,
                message,
            } => {
                self.task(task)?;
                let found = self.of_kind(topology, TopologyKind::Microbatch)?;
                self.check_work(found, task, &message)?;
                Ok(Message::ToParticipant {
                    topology,
                    task,
                    message,
                })
            }
            Event::ToCoordinator { topology, message } => {
                self.task(0)?;
                self.of_kind(topology, TopologyKind::Microbatch)?;
                let (ToCoordinator::Ready { task, .. }
                | ToCoordinator::Processed { task, .. }
                | ToCoordinator::Failed { task, .. }
                | ToCoordinator::Prepared { task, .. }
                | ToCoordinator::Committed { task, .. }) = &message;
                self.any_task(task.0)?;
                Ok(Message::ToCoordinator { topology, message })
            }
            Event::DepotEnd {
                topology,
                source,
                partition,
                start,
                end,
                begin,
                bytes,
            } => {
                self.task(0)?;
                let found = self.of_kind(topology, TopologyKind::Microbatch)?;
                self.source(found, source, partition)?;
                if start > end {
                    return Err(odd(format!("a partition that holds {start}..{end}")));
                }
                Ok(Message::DepotEnd {
                    topology,
                    source,
                    partition,
                    start,
                    end,
                    begin,
                    bytes,
                })
            }
            other => Err(odd(format!("{other:?}"))),
        }
    }

    fn check_work(&self, found: &TopologyLayout, task: u32, message: &ToParticipant) -> Result<()> {
        let ToParticipant::Start { sources, ticks, .. } = message else {
            return Ok(());
        };
        for work in sources {
            self.source(found, work.source.0, work.partition)?;
            if work.partition != task || work.from > work.to {
                return Err(odd(format!("work of another partition: {work:?}")));
            }
        }
        for tick in ticks {
            if !found.sources.iter().any(|source| source.id == tick.0) {
                return Err(odd(format!("a tick of unknown source {}", tick.0)));
            }
        }
        Ok(())
    }

    fn batch(
        &self,
        found: &TopologyLayout,
        stage: u16,
        items: &Items,
    ) -> Result<(StageIndex, Batch)> {
        decode_batch((&found.stages, &found.name), stage, items)
    }

    fn plan(&self, task: u32, pstate: u16, bytes: &[u8]) -> Result<Plan> {
        self.task(task)?;
        if usize::from(pstate) >= self.layout.pstates.len() {
            return Err(odd(format!("PState {pstate}")));
        }
        Plan::from_bytes(bytes).map_err(|cause| odd("a plan").caused_by(cause))
    }

    fn partition(&self, task: u32, depot: u16) -> Result<()> {
        self.task(task)?;
        match self.layout.depots.get(usize::from(depot)) {
            Some(found) if task < found.partitions && found.tick.is_none() => Ok(()),
            _ => Err(odd(format!("partition {task} of depot {depot}"))),
        }
    }

    fn source(&self, found: &TopologyLayout, source: u16, partition: u32) -> Result<()> {
        let known = found.sources.iter().find(|known| known.id == source);
        let partitions = known.map(|known| self.layout.depots[usize::from(known.depot)].partitions);
        match partitions {
            Some(partitions) if partition < partitions => Ok(()),
            _ => Err(odd(format!("partition {partition} of source {source}"))),
        }
    }

    fn stream(&self, topology: u16, task: u32) -> Result<&TopologyLayout> {
        self.task(task)?;
        self.of_kind(topology, TopologyKind::Stream)
    }

    fn of_kind(&self, topology: u16, kind: TopologyKind) -> Result<&TopologyLayout> {
        let found = self.topology(topology)?;
        if found.kind != kind {
            return Err(odd(format!("a {kind:?} message for {}", found.name)));
        }
        Ok(found)
    }

    fn query(&self, query: u16) -> Result<&QueryLayout> {
        let found = self.layout.queries.get(usize::from(query));
        found.ok_or_else(|| odd(format!("query {query}")))
    }

    fn topology(&self, topology: u16) -> Result<&TopologyLayout> {
        let found = self.layout.topologies.get(usize::from(topology));
        found.ok_or_else(|| odd(format!("topology {topology}")))
    }

    fn task(&self, task: u32) -> Result<()> {
        self.any_task(task)?;
        if self.layout.thread_of(task) != self.thread {
            let thread = self.thread;
            return Err(odd(format!("task {task} on thread {thread}")));
        }
        Ok(())
    }

    fn any_task(&self, task: u32) -> Result<()> {
        if task < self.layout.tasks {
            return Ok(());
        }
        Err(odd(format!("task {task} of {}", self.layout.tasks)))
    }
}

fn decode_batch(
    (stages, name): (&[Arc<dyn Stage>], &str),
    stage: u16,
    items: &Items,
) -> Result<(StageIndex, Batch)> {
    let code = stages.get(usize::from(stage));
    let code = code.ok_or_else(|| odd(format!("stage {stage} of {name}")))?;
    let values = parts(&items.bytes, &items.ends);
    let values = values.filter(|values| !values.is_empty() && values.len() == items.traces.len());
    let values = values.ok_or_else(|| odd("items that do not fit their bytes"))?;
    let mut encoded = items.traces.iter().zip(values).map(|(trace, value)| {
        let (origin, edge) = (origin(trace), trace.edges);
        EncodedItem {
            origin,
            edge,
            value,
        }
    });
    let batch = code
        .decode(&mut encoded)
        .map_err(|cause| odd(format!("items for stage {stage} of {name}")).caused_by(cause))?;
    Ok((StageIndex(stage), batch))
}

fn to_stream(topology: u16, task: u32, message: StreamMessage) -> Message {
    Message::Stream {
        topology,
        task,
        message,
    }
}

fn origin(trace: &Trace) -> Origin {
    Origin {
        record: trace.record,
        home: trace.home,
    }
}

/// A request with a reply, and the future of its answer.
fn ask<T: Send + 'static>(
    answer: impl FnOnce(T) -> Answer + Send + 'static,
    request: impl FnOnce(crate::message::Reply<T>) -> ClientRequest,
) -> (Message, Awaited) {
    let (reply, replied) = oneshot::channel();
    let message = Message::Client(request(reply));
    (message, awaited(replied, answer))
}

fn control(request: impl FnOnce(crate::message::Reply<()>) -> Control) -> (Message, Awaited) {
    let (reply, replied) = oneshot::channel();
    let message = Message::Control(request(reply));
    let done = awaited(replied, |()| Answer::Done);
    (message, done)
}

fn awaited<T: Send + 'static>(
    replied: oneshot::Receiver<Result<T>>,
    answer: impl FnOnce(T) -> Answer + Send + 'static,
) -> Awaited {
    Awaited::One(Box::pin(async move {
        match replied.await {
            Ok(Ok(value)) => answer(value),
            Ok(Err(error)) => Answer::failed(&error),
            Err(_) => Answer::Gone,
        }
    }))
}

fn letters(letters: Vec<dead_letters::DeadLetter>) -> Answer {
    match serde_json::to_string(&letters) {
        Ok(json) => Answer::DeadLetters(json),
        Err(error) => {
            let text = "could not write dead letters as JSON";
            Answer::failed(&Error::new(ErrorKind::Storage, text).caused_by(error))
        }
    }
}

fn odd(what: impl std::fmt::Display) -> Error {
    Error::invalid(format!(
        "a peer sent what this instance does not have: {what}"
    ))
}
