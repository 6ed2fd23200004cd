//! Takes records from outside into a depot partition of a task.
//!
//! Relies on one log entry being atomic: records and the place to go on at become durable together.
//! What must stay true: a place is stored before it counts, so that a crash takes nothing twice and
//! leaves nothing out; one loop takes a partition, on one task, whatever else happens.

use std::rc::Rc;
use std::time::Duration;

use rama_io::{Category, Env};
use rama_storage::Op;
use rama_storage::lsm::WriteBatch;
use rama_wire::SpaceId;

use super::ExternalDef;
use crate::depot::{DepotAppend, append_entry};
use crate::limits;
use crate::message::Records;
use crate::processed;
use crate::system_keys;
use crate::task_global::MakeError;
use crate::task_thread::Thread;

/// How long it waits when there was nothing new.
const POLL: Duration = Duration::from_millis(200);
/// How long it waits after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How often it asks for the number of partitions.
const PARTITIONS: Duration = Duration::from_secs(30);

/// Takes records until the thread stops. External partition `p` belongs to task `p` modulo tasks.
pub(crate) async fn run<E: Env>(thread: Rc<Thread<E>>, task: u32, external: ExternalDef) {
    let mut next = task;
    loop {
        let pause = match external.depot.partitions().await {
            Ok(partitions) => {
                while next < partitions {
                    let run = follow(thread.clone(), task, external.clone(), next);
                    thread.spawn(Category::FlexLatency, run);
                    next += thread.layout.tasks;
                }
                PARTITIONS
            }
            Err(error) => {
                warn(&thread, task, &external, &error);
                AFTER_FAILURE
            }
        };
        thread.env.sleep(pause).await;
        if thread.commit.poison().is_some() {
            return;
        }
    }
}

/// Takes the records of one partition.
async fn follow<E: Env>(thread: Rc<Thread<E>>, task: u32, external: ExternalDef, partition: u32) {
    let depot = thread.layout.depot_index(external.log);
    loop {
        let taking = Taking {
            thread: &thread,
            task,
            depot,
            external: &external,
        };
        match taking.take(partition).await {
            Ok(true) => thread.env.yield_now().await,
            Ok(false) => thread.env.sleep(POLL).await,
            Err(error) => {
                warn(&thread, task, &external, &error);
                thread.env.sleep(AFTER_FAILURE).await;
            }
        }
        if thread.commit.poison().is_some() {
            return;
        }
    }
}

fn warn<E: Env>(thread: &Thread<E>, task: u32, external: &ExternalDef, error: &MakeError) {
    let depot = thread.layout.depot_index(external.log);
    let name = &thread.layout.depots[usize::from(depot)].name;
    tracing::warn!(depot = %name, task, %error, "could not take records from outside");
}

struct Taking<'a, E: Env> {
    thread: &'a Thread<E>,
    task: u32,
    depot: u16,
    external: &'a ExternalDef,
}

impl<E: Env> Taking<'_, E> {
    /// Takes what is there next; `false` when it was nothing.
    async fn take(&self, partition: u32) -> Result<bool, MakeError> {
        if self.backlog()? > limits::EXTERNAL_BACKLOG_MAX {
            return Ok(false);
        }
        let from = match self.position(partition)? {
            Some(from) => from,
            None => {
                // "At the end" is where that was the first time.
                let (start, now_ms) = (self.external.start, self.thread.env.wall_ms());
                let from = self.external.depot.begin(partition, start, now_ms).await?;
                self.store(partition, &Records::default(), from).await?;
                from
            }
        };
        let most = limits::EXTERNAL_FETCH_MAX;
        let (records, next) = self.external.depot.fetch(partition, from, most).await?;
        let moved = match records.len() {
            0 => next >= from,
            _ => next > from,
        };
        if !moved || records.len() > most || records.bytes_len() > limits::APPENDS_BYTES_MAX {
            let (count, bytes) = (records.len(), records.bytes_len());
            return Err(format!(
                "partition {partition} answered with {count} records of {bytes} bytes and offset \
                 {next} when it was asked for at most {most} from {from} on: a fetch answers with \
                 no more than that, and moves on"
            )
            .into());
        }
        if next > from {
            self.store(partition, &records, next).await?;
        }
        Ok(next > from)
    }

    /// Records that were taken and that some topology has not processed.
    fn backlog(&self) -> Result<u64, MakeError> {
        let layout = &self.thread.layout.depots[usize::from(self.depot)];
        let partition = &self.thread.local(self.task).partition;
        let end = partition.log_range(layout.log).end;
        let mut backlog = 0;
        for &(topology, source) in &layout.consumers {
            let processed = processed::range(self.thread, self.task, topology, source)?;
            backlog = backlog.max(end.saturating_sub(processed.end));
        }
        Ok(backlog)
    }

    fn position(&self, partition: u32) -> Result<Option<u64>, MakeError> {
        let log = self.thread.layout.depots[usize::from(self.depot)].log;
        let key = system_keys::external(log, partition);
        let decode = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes);
        Ok(self.thread.system_value(self.task, &key, decode)?)
    }

    /// Makes records and the place behind them durable, as one.
    async fn store(&self, partition: u32, records: &Records, next: u64) -> Result<(), MakeError> {
        let (thread, task, depot) = (self.thread, self.task, self.depot);
        let log = thread.layout.depots[usize::from(depot)].log;
        let mut batch = WriteBatch::new();
        let key = system_keys::external(log, partition);
        batch.put(SpaceId::SYSTEM, &key, &next.to_le_bytes());
        let write = Op::Write {
            partition: task,
            batch,
        };
        let append = DepotAppend {
            task,
            depot,
            records,
        };
        let appends = match records.len() {
            0 => &[][..],
            _ => {
                thread.local(task).note_record_bytes(depot, records);
                &[append][..]
            }
        };
        let index = append_entry(thread, appends, [write])?;
        Ok(thread.commit.applied(index).await?)
    }
}
