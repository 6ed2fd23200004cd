//! Reads of, and appends to, other modules by code that waits.
//!
//! Relies on the clients of the cluster, so that an object is found by its name at each call. What must
//! stay true: only what was certainly not done is tried again; every call ends, a little after the
//! time that options give it.

use std::time::Duration;

use rama_wire::Record;

use super::{MirrorDepot, MirrorPState, MirrorQuery};
use crate::client::{depot, pstate};
use crate::cluster::Cluster;
use crate::error::{Error, ErrorKind, Result};
use crate::message::{AckLevel, Appended, Records};
use crate::plan::{Selectable, Selection};
use crate::schema::Root;
use crate::waits::Waiter;

/// First pause before another module is asked again; doubles up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_LONGEST: Duration = Duration::from_secs(1);

impl Waiter {
    /// Reads a PState of another module: what [`PStateClient::select`](crate::PStateClient::select)
    /// would answer. While the other module cannot be reached, it is waited for, as long as
    /// `foreign.pstate.operation.timeout.millis` says (P-37).
    ///
    /// # Errors
    /// As [`PStateClient::select`](crate::PStateClient::select).
    pub async fn select<S: Root, P: Selectable>(
        &self,
        mirror: MirrorPState<S>,
        path: P,
    ) -> Result<P::Output> {
        self.read(
            (mirror.module, mirror.pstate.name()),
            None,
            &path.selection(),
        )
        .await
    }

    /// The same at a partition of the other module, with any path.
    ///
    /// # Errors
    /// As [`Waiter::select`]; `Invalid` when there is no such partition.
    pub async fn select_at<S: Root, P: Selectable>(
        &self,
        mirror: MirrorPState<S>,
        partition: u32,
        path: P,
    ) -> Result<P::Output> {
        let selection = path.selection();
        self.read(
            (mirror.module, mirror.pstate.name()),
            Some(partition),
            &selection,
        )
        .await
    }

    async fn read<O>(
        &self,
        (module, name): (&str, &str),
        at: Option<u32>,
        selection: &Selection<O>,
    ) -> Result<O> {
        let (cluster, patience) = self.others()?;
        let read = async || {
            let (running, index) = pstate::checked(&cluster, module, name, selection)?;
            let running = cluster.bounded(running, Some(patience));
            let task = match at {
                None => pstate::route(&running, index, selection.route())?,
                Some(at) => {
                    in_range((module, name), at, cluster.partitions_of(module, name)?)?;
                    at
                }
            };
            let plan = selection.plan().clone();
            let answer = pstate::select_plan(&running, index, task, plan).await?;
            pstate::decode(selection, &answer)
        };
        self.patiently(patience, read).await
    }

    /// Runs a query of another module and answers here with its result (spec X-5).
    ///
    /// # Errors
    /// As [`QueryClient::invoke`](crate::QueryClient::invoke).
    pub async fn query_of<A: Record + Send, R: Record + Send>(
        &self,
        mirror: MirrorQuery<A, R>,
        args: A,
    ) -> Result<R> {
        let (cluster, _) = self.others()?;
        cluster
            .module(mirror.module)
            .query(mirror.query)
            .invoke(args)
            .await
    }

    /// Appends a record to a partition of another module's depot (spec X-3) and waits as `level` says:
    /// `Ack` for the streams of the other module. Disallowed depots accept it, as they accept what
    /// topologies of their own module append.
    ///
    /// # Errors
    /// As [`DepotClient::append_with`](crate::DepotClient::append_with); `Invalid` when there is no such
    /// partition.
    pub async fn append_at<T: Record>(
        &self,
        mirror: MirrorDepot<T>,
        partition: u32,
        record: &T,
        level: AckLevel,
    ) -> Result<Appended> {
        let (cluster, patience) = self.others()?;
        let (module, name) = (mirror.module, mirror.depot.name());
        let bytes = record.to_bytes();
        let append = async || {
            let (running, index) = cluster.depot_of(Some(module), name)?;
            in_range(
                (module, name),
                partition,
                cluster.partitions_of(module, name)?,
            )?;
            let running = cluster.bounded(running, Some(patience));
            let mut records = Records::default();
            records.push_with(|buffer| buffer.extend_from_slice(&bytes));
            depot::send(&running, index, partition, records, level)?.await
        };
        self.patiently(patience, append).await
    }

    /// Tries again what was not done because the other module could not be reached.
    async fn patiently<T>(
        &self,
        patience: Duration,
        attempt: impl AsyncFn() -> Result<T>,
    ) -> Result<T> {
        let until = self.now().after(patience);
        let mut pause = PAUSE_FIRST;
        loop {
            let error = match attempt().await {
                Err(error) if error.kind() == ErrorKind::Unavailable => error,
                ended => return ended,
            };
            if until.since(self.now()) <= pause {
                return Err(error);
            }
            self.sleep(pause).await;
            pause = (pause * 2).min(PAUSE_LONGEST);
        }
    }
}

fn in_range((module, name): (&str, &str), partition: u32, partitions: u32) -> Result<()> {
    if partition < partitions {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "could not use partition {partition} of {name} of {module}: it has {partitions}"
    )))
}

impl Cluster {
    /// How many partitions a depot or a PState of a module has.
    pub(crate) fn partitions_of(&self, module: &str, name: &str) -> Result<u32> {
        let layout = &self.running(module)?.layout;
        let depot = layout.depots.iter().find(|depot| depot.name == name);
        let pstate = layout.definition.pstate(name);
        match (depot, pstate) {
            (Some(depot), _) => Ok(depot.partitions),
            (None, Some(pstate)) => Ok(if pstate.global { 1 } else { layout.tasks }),
            (None, None) => Err(Error::not_found(format!(
                "module {module} has no depot or PState {name}"
            ))),
        }
    }
}
