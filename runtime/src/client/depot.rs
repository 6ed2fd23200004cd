//! Appending to and reading a depot, typed; and appending JSON by names, for HTTP.
//!
//! Relies on the depot's placement, which runs here, at the client. What must stay true: appends of
//! one client to one partition arrive in the order of the calls (O-9), because a message is sent
//! before the call first waits; a JSON append lands on the same partition, with the same bytes, as
//! the typed append of the same record.

use std::collections::BTreeMap;
use std::future::Future;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_channel::oneshot;
use rama_wire::Record;
use serde_json::Value;

use super::gathering::Gathering;
use crate::cluster::{Cluster, Deadline, Running};
use crate::depot_def::{Depot, PlacementKind};
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::message::{AckLevel, AppendRequest, Appended, ClientRequest, Departure, Records};

/// Appends to one depot and reads it. Survives restarts of the module.
pub struct DepotClient<T> {
    pub(crate) cluster: Cluster,
    pub(crate) module: Option<String>,
    pub(crate) name: String,
    within: Option<Duration>,
    gathering: Option<Arc<Gathering>>,
    pub(crate) record: PhantomData<fn() -> T>,
}

impl<T> Clone for DepotClient<T> {
    fn clone(&self) -> DepotClient<T> {
        let (cluster, module, name) =
            (self.cluster.clone(), self.module.clone(), self.name.clone());
        DepotClient {
            cluster,
            module,
            name,
            within: self.within,
            gathering: self.gathering.clone(),
            record: PhantomData,
        }
    }
}

impl<T: Record> DepotClient<T> {
    pub(crate) fn new(cluster: Cluster, module: Option<String>, depot: Depot<T>) -> DepotClient<T> {
        DepotClient::of(cluster, module, depot.name().to_owned())
    }

    pub(crate) fn of(cluster: Cluster, module: Option<String>, name: String) -> DepotClient<T> {
        DepotClient {
            cluster,
            module,
            name,
            within: None,
            gathering: None,
            record: PhantomData,
        }
    }

    /// The same depot; each call ends after `deadline` at the latest, instead of the connection's
    /// deadline, or none within a process. An append whose record was not on its way by then is
    /// `unavailable`: nothing was done. One that was is `unknown`.
    #[must_use]
    pub fn within(self, deadline: Duration) -> DepotClient<T> {
        let within = Some(deadline);
        DepotClient { within, ..self }
    }

    /// The same depot; appends of this handle and its clones to one partition wait up to `delay` for
    /// each other and travel together (spec D-18): more throughput for many small appends at a time,
    /// at the price of the delay. It passes while somebody awaits one of them, and they keep their
    /// order. Appends that wait for stream topologies, and those that wait for nothing, go at once.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use rama_runtime::{AckLevel, Cluster, Depot};
    /// # const VIEWS: Depot<u64> = Depot::named("*views");
    /// # async fn check(cluster: Cluster) -> rama_runtime::Result<()> {
    /// let views = cluster.depot(VIEWS).flush_delay(Duration::from_millis(5));
    /// views.append_with(&17, AckLevel::AppendAck).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn flush_delay(self, delay: Duration) -> DepotClient<T> {
        let gathering = Some(Arc::new(Gathering::new(delay)));
        DepotClient { gathering, ..self }
    }

    fn target(&self) -> Result<(Arc<Running>, u16)> {
        let (running, depot) = self.cluster.depot_of(self.module.as_deref(), &self.name)?;
        Ok((self.cluster.bounded(running, self.within), depot))
    }

    /// Appends a record and waits until every stream topology of the module has processed it
    /// ([`AckLevel::Ack`]).
    ///
    /// # Errors
    /// `Failed`: it is appended, and a topology failed on it. `Unknown`: it may be appended. Every
    /// other kind: it is not.
    pub fn append(&self, record: &T) -> impl Future<Output = Result<Appended>> + Send + use<T> {
        self.append_with(record, AckLevel::Ack)
    }

    /// Appends a record and waits as `ack` says (D-15).
    ///
    /// # Errors
    /// As [`DepotClient::append`].
    pub fn append_with(
        &self,
        record: &T,
        ack: AckLevel,
    ) -> impl Future<Output = Result<Appended>> + Send + use<T> {
        let sent = self.send_one(record, ack);
        async move { sent?.await }
    }

    fn send_one(&self, record: &T, ack: AckLevel) -> Result<Answer> {
        let (running, depot) = self.target()?;
        let task = place(
            &self.cluster,
            &running,
            depot,
            |placement, tasks, random| placement.place(record, tasks, random),
        )?;
        if let Some(gathering) = &self.gathering {
            let streams = &running.layout.depots[usize::from(depot)].streams;
            // Streams tell each appender something else.
            if ack == AckLevel::AppendAck || (ack == AckLevel::Ack && streams.is_empty()) {
                let to = (running, depot, task);
                let encode = |bytes: &mut Vec<u8>| record.encode(bytes);
                return Ok(gathering.append(&self.cluster, to, ack, encode));
            }
            gathering.leave(task);
        }
        let mut records = Records::default();
        records.push_with(|bytes| record.encode(bytes));
        send(&running, depot, task, records, ack)
    }

    /// Appends many records, in order per partition, and waits for all as `ack` says. Answers one
    /// [`Appended`] for each partition that got some.
    ///
    /// # Errors
    /// As [`DepotClient::append`]; some partitions may have taken their records.
    pub fn append_many(
        &self,
        records: &[T],
        ack: AckLevel,
    ) -> impl Future<Output = Result<Vec<Appended>>> + Send + use<T> {
        let sent = self.send_many(records, ack);
        async move {
            let mut appended = Vec::new();
            for answer in sent? {
                appended.push(answer.await?);
            }
            Ok(appended)
        }
    }

    fn send_many(&self, records: &[T], ack: AckLevel) -> Result<Vec<Answer>> {
        let (running, depot) = self.target()?;
        let mut by_task: BTreeMap<u32, Records> = BTreeMap::new();
        for record in records {
            let task = place(
                &self.cluster,
                &running,
                depot,
                |placement, tasks, random| placement.place(record, tasks, random),
            )?;
            by_task
                .entry(task)
                .or_default()
                .push_with(|bytes| record.encode(bytes));
        }
        let send = |(task, records)| {
            if let Some(gathering) = &self.gathering {
                gathering.leave(task);
            }
            send(&running, depot, task, records, ack)
        };
        by_task.into_iter().map(send).collect()
    }

    /// First available and next offset of a partition (D-24).
    ///
    /// # Errors
    /// `Invalid` when there is no such partition; `Unavailable` while the module is down.
    pub async fn partition_info(&self, partition: u32) -> Result<Range<u64>> {
        let (running, depot) = self.target()?;
        partition_info(&running, depot, partition).await
    }

    /// What it is called (D-23).
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many partitions it has (D-23).
    ///
    /// # Errors
    /// `NotFound` when there is no such depot.
    pub fn partitions(&self) -> Result<u32> {
        let (running, depot) = self.cluster.depot_of(self.module.as_deref(), &self.name)?;
        Ok(running.layout.depots[usize::from(depot)].partitions)
    }

    /// The records of `offsets` in a partition (D-25).
    ///
    /// # Errors
    /// `Invalid` when one of them is not there.
    pub async fn read(&self, partition: u32, offsets: Range<u64>) -> Result<Vec<T>> {
        let (running, depot) = self.target()?;
        let records = read(&running, depot, partition, offsets).await?;
        let decode = |bytes: &Vec<u8>| {
            T::decode(bytes).map_err(|error| {
                let text = format!("could not read a record of {}", self.name);
                Error::new(ErrorKind::Corrupt, text).caused_by(error)
            })
        };
        records.iter().map(decode).collect()
    }

    /// All records that are there, partition by partition, in their order: what a test compares with.
    ///
    /// # Errors
    /// As [`DepotClient::read`].
    pub async fn read_all(&self) -> Result<Vec<T>> {
        let mut records = Vec::new();
        for partition in 0..self.partitions()? {
            let Range { mut start, end } = self.partition_info(partition).await?;
            // By offsets: of records that are gone there are none in an answer.
            while start < end {
                let next = end.min(start + limits::DEPOT_READ_RECORDS_MAX);
                records.extend(self.read(partition, start..next).await?);
                start = next;
            }
        }
        Ok(records)
    }
}

impl Cluster {
    /// Appends a record given as JSON.
    ///
    /// # Errors
    /// `Invalid` when it is not a record of the depot; otherwise as
    /// [`DepotClient::append`].
    pub fn append_json(
        &self,
        module: &str,
        depot: &str,
        record: &Value,
        ack: AckLevel,
    ) -> impl Future<Output = Result<Appended>> + Send + use<> {
        let sent = self.send_json(module, depot, record, ack);
        async move { sent?.await }
    }

    fn send_json(&self, module: &str, name: &str, record: &Value, ack: AckLevel) -> Result<Answer> {
        let (running, depot) = self.depot_of(Some(module), name)?;
        let (task, bytes) = self.encode_json(&running, depot, record)?;
        let mut records = Records::default();
        records.push_with(|buffer| *buffer = bytes);
        send(&running, depot, task, records, ack)
    }

    /// The partition and the bytes of a record given as JSON.
    fn encode_json(&self, running: &Running, depot: u16, record: &Value) -> Result<(u32, Vec<u8>)> {
        let definition = &running.layout.definition.depots[usize::from(depot)];
        let bytes = (definition.record.from_json)(record).map_err(|error| {
            let (name, module) = (&definition.name, &running.layout.module);
            Error::invalid(format!("could not append to {name} of {module}")).caused_by(error)
        })?;
        let task = place(self, running, depot, |placement, tasks, random| {
            placement.place_encoded(&bytes, tasks, random)
        })?;
        Ok((task, bytes))
    }

    /// Appends many records given as JSON, in order per partition, and answers for each one.
    ///
    /// # Errors
    /// Of the whole: nothing was appended, because a record is not one of the depot or may not be
    /// appended; the text says which. Of one record: as [`DepotClient::append`]. Below
    /// [`AckLevel::Ack`], records of one partition are appended all or not at all.
    pub fn append_json_many(
        &self,
        module: &str,
        depot: &str,
        records: &[Value],
        ack: AckLevel,
    ) -> impl Future<Output = Result<Vec<Result<Appended>>>> + Send + use<> {
        let sent = self.send_json_many(module, depot, records, ack);
        async move { Ok(sent?.answers().await) }
    }

    fn send_json_many(
        &self,
        module: &str,
        name: &str,
        records: &[Value],
        ack: AckLevel,
    ) -> Result<Batch> {
        let (running, depot) = self.depot_of(Some(module), name)?;
        let layout = &running.layout.depots[usize::from(depot)];
        // Only who waits for topologies is told something else for each record.
        let apart = ack == AckLevel::Ack && !layout.streams.is_empty();
        let mut by_task: BTreeMap<u32, Vec<(Vec<usize>, Records)>> = BTreeMap::new();
        for (place, record) in records.iter().enumerate() {
            let (task, bytes) = self
                .encode_json(&running, depot, record)
                .map_err(|error| nothing_appended(place, &error))?;
            let parts = by_task.entry(task).or_default();
            if apart || parts.is_empty() {
                parts.push(Default::default());
            }
            let (places, records) = parts.last_mut().expect("one was just added");
            places.push(place);
            records.push_with(|buffer| buffer.extend_from_slice(&bytes));
        }
        let mut sent = Vec::new();
        for (task, parts) in by_task {
            for (places, records) in parts {
                let answer = send(&running, depot, task, records, ack);
                let answer =
                    answer.unwrap_or_else(|error| Box::pin(std::future::ready(Err(error))));
                sent.push((places, answer));
            }
        }
        let count = records.len();
        Ok(Batch { count, sent })
    }
}

fn nothing_appended(place: usize, error: &Error) -> Error {
    let text =
        format!("record {place} of the batch (from 0), nothing of it was appended: {error:#}");
    Error::new(error.kind(), text)
}

/// Records on their way, each part with the places its records had in the call.
struct Batch {
    count: usize,
    sent: Vec<(Vec<usize>, Answer)>,
}

impl Batch {
    /// The answers, in the order of the call.
    async fn answers(self) -> Vec<Result<Appended>> {
        let mut answers: Vec<Option<Result<Appended>>> = (0..self.count).map(|_| None).collect();
        for (places, answer) in self.sent {
            let answer = answer.await;
            for (step, place) in (0u64..).zip(places) {
                answers[place] = Some(match &answer {
                    Ok(first) => Ok(Appended {
                        offset: first.offset.map(|offset| offset + step),
                        ..first.clone()
                    }),
                    Err(error) => Err(Error::new(error.kind(), format!("{error:#}"))),
                });
            }
        }
        let answers = answers.into_iter();
        answers
            .map(|answer| answer.expect("every record is in one part"))
            .collect()
    }
}

/// The partition for a record, by the depot's own rule.
pub(crate) fn place(
    cluster: &Cluster,
    running: &Running,
    depot: u16,
    rule: impl FnOnce(
        &crate::depot_def::Placement,
        u32,
        u64,
    ) -> Result<u32, crate::depot_def::PlacementError>,
) -> Result<u32> {
    let layout = &running.layout.depots[usize::from(depot)];
    let definition = &running.layout.definition.depots[usize::from(depot)];
    let refused = |why: &str| {
        let module = &running.layout.module;
        Error::rejected(format!(
            "could not append to {} of {module}: {why}",
            layout.name
        ))
    };
    if layout.tick.is_some() {
        return Err(refused("it is a tick depot, which has no records"));
    }
    if definition.placement.kind() == PlacementKind::Disallow {
        return Err(refused(
            "clients may not append to it, only topologies of its module do",
        ));
    }
    let placed = rule(&definition.placement, layout.partitions, cluster.random());
    placed.map_err(|error| refused(&error.to_string()))
}

/// An append on its way.
pub(crate) type Answer = futures_util::future::BoxFuture<'static, Result<Appended>>;

/// Sends records to a partition. The message is on its way when this returns.
pub(crate) fn send(
    running: &Running,
    depot: u16,
    task: u32,
    records: Records,
    ack: AckLevel,
) -> Result<Answer> {
    let name = running.layout.depots[usize::from(depot)].name.clone();
    if records.bytes_len() > limits::RECORD_BYTES_MAX {
        return Err(Error::invalid(format!(
            "could not append {} bytes to {name}: one call may append at most {} bytes to a \
             partition; split it",
            records.bytes_len(),
            limits::RECORD_BYTES_MAX
        )));
    }
    let (reply, answer) = oneshot::channel();
    let deadline = running.deadline().cloned();
    // Who waits for as long as it takes learns at the end what became of it.
    let departure = deadline.as_ref().map(|_| Arc::<Departure>::default());
    let departing = departure.clone().filter(|_| ack != AckLevel::None);
    running.post_append((task, depot), |numbered| AppendRequest {
        departure: departing,
        task,
        depot,
        records,
        ack,
        reply,
        numbered,
    })?;
    if ack == AckLevel::None {
        let appended = Appended {
            partition: task,
            ..Appended::default()
        };
        return Ok(Box::pin(std::future::ready(Ok(appended))));
    }
    let module = running.layout.module.clone();
    Ok(Box::pin(async move {
        let given_up = || departure.as_ref().is_some_and(|it| it.give_up());
        let ended = |how: String| match given_up() {
            true => Error::unavailable(format!(
                "could not append to {name} of {module}: {how} before the record was sent, nothing \
                 was done; retry"
            )),
            false => Error::unknown(format!(
                "{module} {how} before it answered an append to {name}: the record may be appended"
            )),
        };
        let answer = async {
            let gone = |_| Err(ended("went away".to_owned()));
            answer.await.unwrap_or_else(gone)
        };
        let late = |after| ended(format!("was given {after:?}, which passed"));
        Deadline::bound(deadline.as_ref(), answer, late).await
    }))
}

pub(crate) async fn partition_info(
    running: &Running,
    depot: u16,
    partition: u32,
) -> Result<Range<u64>> {
    check_partition(running, depot, partition)?;
    let task = partition;
    running
        .ask(task, |reply| ClientRequest::DepotInfo {
            task,
            depot,
            reply,
        })
        .await
}

pub(crate) async fn read(
    running: &Running,
    depot: u16,
    partition: u32,
    offsets: Range<u64>,
) -> Result<Vec<Vec<u8>>> {
    check_partition(running, depot, partition)?;
    let (task, from, to) = (partition, offsets.start, offsets.end);
    running
        .ask(task, |reply| ClientRequest::ReadDepot {
            task,
            depot,
            from,
            to,
            reply,
        })
        .await
}

fn check_partition(running: &Running, depot: u16, partition: u32) -> Result<()> {
    let layout = &running.layout.depots[usize::from(depot)];
    if partition < layout.partitions && layout.tick.is_none() {
        return Ok(());
    }
    let (name, count) = (&layout.name, layout.partitions);
    Err(Error::invalid(format!(
        "{name} has no partition {partition}, it has {count} with records"
    )))
}
