//! Records of a log, handed to a source stage where they lie.
//!
//! Relies on the storage's synchronous read of tail memory and mapped segments. What must stay
//! true: a record that the range promises and the log does not have ends the event with a storage
//! failure; it is never silently left out.

use rama_io::Env;
use rama_storage::Partition;
use rama_wire::LogId;

use crate::failure::{EventFailure, raise};
use crate::stage::{Origin, Records, SourceRecord};

/// The origin and the edge of a record, or `None` to leave it out.
pub(crate) type Naming<'a> = &'a mut dyn FnMut(u64) -> Option<(Origin, u64)>;

/// A slice of one log partition.
pub(crate) struct LogRecords<'a, E: Env> {
    pub(crate) partition: &'a Partition<E>,
    pub(crate) log: LogId,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) bytes_max: usize,
    /// After the visit: the first offset not visited.
    pub(crate) next: &'a mut u64,
    pub(crate) name: Naming<'a>,
}

impl<E: Env> Records for LogRecords<'_, E> {
    fn visit(&mut self, each: &mut dyn FnMut(SourceRecord<'_>)) {
        *self.next = self.from;
        let count = (self.to - self.from) as usize;
        let read =
            self.partition
                .read_log(self.log, self.from, count, self.bytes_max, &mut |record| {
                    *self.next = record.offset + 1;
                    if let Some((origin, edge)) = (self.name)(record.offset) {
                        each(SourceRecord {
                            origin,
                            edge,
                            offset: record.offset,
                            bytes: record.bytes,
                        });
                    }
                });
        let cause = match read {
            Ok(()) if *self.next > self.from => return,
            Ok(()) => "the log has no such record".to_owned(),
            Err(error) => error.to_string(),
        };
        raise(EventFailure::Storage {
            attempted: format!("read record {} of log {}", self.from, self.log),
            cause,
        })
    }
}
