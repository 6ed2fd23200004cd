//! Depots whose records come from another system: files, HTTP feeds, queues (spec G-6).
//!
//! Relies on what an author says of the other system, and on a depot of the module for everything
//! else: records are taken into it, with the place they were taken from in the same log entry. So
//! each is taken once, sources consume it like any depot, from where and how they like, and options
//! of the depot say how much of it is kept. What must stay true: nothing is fetched while topologies
//! are far behind; what the other system answers is checked before it is believed.

mod ingest;

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use futures_channel::oneshot;
use rama_wire::{LogId, Record};

use crate::message::Records;
use crate::task_global::MakeError;
use crate::topology_def::Start;

pub(crate) use ingest::run;

/// What an [`ExternalDepot`] answers with: a future that any executor can run.
pub type Fetching<T> = Pin<Box<dyn Future<Output = Result<T, MakeError>> + Send>>;

/// Records of one partition, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched<T> {
    /// The records from the offset that was asked for on, as many as there are or seem reasonable.
    pub records: Vec<T>,
    /// The offset to ask for next: beyond the one asked for, if there are records.
    pub next: u64,
}

/// A system outside that has partitions of numbered records.
///
/// Numbers are what the system says: they grow along a partition and need not be dense, so that
/// positions in a file will do. The index of a partition means the same for ever; partitions may
/// come with time. A call that fails is made again, a little later.
pub trait ExternalDepot: Send + Sync + 'static {
    /// What it holds.
    type Record: Record + Send;

    /// How many partitions it has. Asked again every half minute.
    fn partitions(&self) -> Fetching<u32>;

    /// The offset of the first record still there.
    fn start_offset(&self, partition: u32) -> Fetching<u64>;

    /// The offset after the last record.
    fn end_offset(&self, partition: u32) -> Fetching<u64>;

    /// The offset of the first record at or after a time, milliseconds since the Unix epoch; `None`
    /// when there is none yet.
    fn offset_after(&self, partition: u32, time_ms: u64) -> Fetching<Option<u64>>;

    /// Records from `from` on, at most `most`. The same call gives the same records, for as long as
    /// they are there; those before `from` are not asked for again.
    fn fetch(&self, partition: u32, from: u64, most: usize) -> Fetching<Fetched<Self::Record>>;
}

/// Runs what would block, on a thread of its own. For external depots over files and the like.
pub fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MakeError> + Send + 'static,
) -> Fetching<T> {
    let (done, result) = oneshot::channel();
    let started = std::thread::Builder::new()
        .name("rama-external".to_owned())
        .spawn(move || {
            // Who asked may be gone.
            let _ = done.send(work());
        });
    Box::pin(async move {
        started?;
        result.await.map_err(|_| "the work panicked")?
    })
}

/// A depot that takes its records from outside.
#[derive(Clone)]
pub struct ExternalDef {
    /// Provisional id of the depot.
    pub log: LogId,
    /// Where partitions begin that are new.
    pub start: Start,
    pub(crate) depot: Arc<dyn Erased>,
}

impl ExternalDef {
    pub(crate) fn new<D: ExternalDepot>(log: LogId, start: Start, depot: D) -> ExternalDef {
        let depot = Arc::new(Encoding {
            depot: Arc::new(depot),
            record: PhantomData,
        });
        ExternalDef { log, start, depot }
    }
}

impl fmt::Debug for ExternalDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalDef")
            .field("log", &self.log)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

/// An external depot whose records are bytes.
pub(crate) trait Erased: Send + Sync {
    fn partitions(&self) -> Fetching<u32>;
    /// Where a partition that is new begins, at the wall clock `now_ms`.
    fn begin(&self, partition: u32, start: Start, now_ms: u64) -> Fetching<u64>;
    /// The records, and the offset to ask for next.
    fn fetch(&self, partition: u32, from: u64, most: usize) -> Fetching<(Records, u64)>;
}

struct Encoding<D: ExternalDepot> {
    depot: Arc<D>,
    record: PhantomData<fn() -> D::Record>,
}

impl<D: ExternalDepot> Erased for Encoding<D> {
    fn partitions(&self) -> Fetching<u32> {
        self.depot.partitions()
    }

    fn begin(&self, partition: u32, start: Start, now_ms: u64) -> Fetching<u64> {
        let depot = self.depot.clone();
        let time_ms = match start {
            Start::Beginning => return depot.start_offset(partition),
            Start::End => return depot.end_offset(partition),
            Start::Offset(offset) => return Box::pin(std::future::ready(Ok(offset))),
            Start::RecordsAgo(count) => {
                return Box::pin(async move {
                    let start = depot.start_offset(partition).await?;
                    let end = depot.end_offset(partition).await?;
                    Ok(end.saturating_sub(count).max(start))
                });
            }
            Start::Timestamp(time_ms) => time_ms,
            Start::Ago(age) => {
                let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
                now_ms.saturating_sub(age_ms)
            }
        };
        Box::pin(async move {
            match depot.offset_after(partition, time_ms).await? {
                Some(offset) => Ok(offset),
                None => depot.end_offset(partition).await,
            }
        })
    }

    fn fetch(&self, partition: u32, from: u64, most: usize) -> Fetching<(Records, u64)> {
        let fetching = self.depot.fetch(partition, from, most);
        Box::pin(async move {
            let fetched = fetching.await?;
            let mut records = Records::default();
            for record in &fetched.records {
                records.push_with(|bytes| record.encode(bytes));
            }
            Ok((records, fetched.next))
        })
    }
}

#[cfg(test)]
mod tests;
