//! A topology's copy of a mirror depot: how its records are fetched from the other module.
//!
//! Relies on `external`, which takes each record once, in the order of its partition, and on the
//! cluster's handle. What must stay true: what is asked of the other module names who asks, so that
//! its records stay until they are here (D-39); another type than declared is never read.

use std::sync::Arc;

use super::{CopyDef, Request};
use crate::cluster::{Cluster, Running, WeakCluster};
use crate::error::{Error, Result};
use crate::external::{Erased, ExternalDef, Fetching};
use crate::message::{ClientRequest, Records, Reply};
use crate::topology_def::Start;

/// The external depot that fills a copy in `module`.
pub(crate) fn source(module: &str, copy: &CopyDef, others: WeakCluster) -> ExternalDef {
    let source = Source {
        consumer: consumer(module, copy),
        copy: copy.clone(),
        others,
    };
    ExternalDef {
        log: copy.log,
        start: copy.start,
        depot: Arc::new(source),
    }
}

/// Tells the other module that a topology of `module` needs its records no more.
pub(crate) async fn release(cluster: &Cluster, module: &str, copy: &CopyDef) -> Result<()> {
    let (running, depot) = cluster.depot_of(Some(&copy.module), &copy.depot)?;
    for task in 0..running.layout.depots[usize::from(depot)].partitions {
        let request = |reply| ClientRequest::Mirror {
            task,
            depot,
            consumer: consumer(module, copy),
            request: Request::Release { reply },
        };
        running.ask(task, request).await?;
    }
    Ok(())
}

/// Under what name a source of a topology is known to the module whose depot it consumes.
fn consumer(module: &str, copy: &CopyDef) -> String {
    let topology = &copy.topology;
    match &copy.id {
        None => format!("{module}/{topology}"),
        Some(id) => format!("{module}/{topology}//{id}"),
    }
}

struct Source {
    consumer: String,
    copy: CopyDef,
    others: WeakCluster,
}

impl Source {
    /// The other module as it runs now, and the index of the depot there.
    fn target(&self) -> Result<(Arc<Running>, u16)> {
        let CopyDef { module, depot, .. } = &self.copy;
        let cluster = self.others.upgrade().ok_or_else(|| {
            Error::unavailable(format!("could not reach {module}: this process ends"))
        })?;
        let (running, index) = cluster.depot_of(Some(module), depot)?;
        let found = &running.layout.definition.depots[usize::from(index)];
        if found.record.fingerprint != self.copy.record {
            return Err(Error::rejected(format!(
                "could not mirror {depot} of {module}: it holds {} now, which is not what this \
                 module declares; update one of both",
                found.record.type_name
            )));
        }
        Ok((running, index))
    }

    fn ask<T: Send + 'static>(
        &self,
        partition: u32,
        request: impl FnOnce(Reply<T>) -> Request + Send + 'static,
    ) -> Fetching<T> {
        let (target, consumer) = (self.target(), self.consumer.clone());
        Box::pin(async move {
            let (running, depot) = target?;
            let request = |reply| ClientRequest::Mirror {
                task: partition,
                depot,
                consumer,
                request: request(reply),
            };
            Ok(running.ask(partition, request).await?)
        })
    }
}

impl Erased for Source {
    fn partitions(&self) -> Fetching<u32> {
        let target = self.target();
        Box::pin(async move {
            let (running, depot) = target?;
            Ok(running.layout.depots[usize::from(depot)].partitions)
        })
    }

    fn begin(&self, partition: u32, start: Start, _: u64) -> Fetching<u64> {
        self.ask(partition, move |reply| Request::Begin { start, reply })
    }

    fn fetch(&self, partition: u32, from: u64, most: usize) -> Fetching<(Records, u64)> {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let pulling = self.ask(partition, move |reply| Request::Pull { from, most, reply });
        Box::pin(async move {
            let pulled = pulling.await?;
            let next = pulled.first + pulled.records.len() as u64;
            Ok((pulled.records, next))
        })
    }
}
