//! Records of a log, handed to a source stage where they lie.
//!
//! Relies on the storage's synchronous read of tail memory and mapped segments. What must stay
//! true: an event ends when it has taken its time; a record that the range promises and the log
//! does not have ends the event with a storage failure; it is never silently left out.

use rama_io::Env;
use rama_storage::Partition;
use rama_wire::LogId;

use crate::failure::{EventFailure, raise};
use crate::stage::{Origin, Records, SourceRecord};

/// Records between two looks at the clock, at most.
const CHUNK_MAX: usize = 64;

/// The origin and the edge of a record, or `None` to leave it out.
pub(crate) type Naming<'a> = &'a mut dyn FnMut(u64) -> Option<(Origin, u64)>;

/// A slice of one log partition.
pub(crate) struct LogRecords<'a, E: Env> {
    pub(crate) partition: &'a Partition<E>,
    pub(crate) log: LogId,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) bytes_max: usize,
    /// Whether the event has taken its time. Asked after records, ever less often, so that many small
    /// ones do not pay for it.
    pub(crate) over: &'a dyn Fn() -> bool,
    /// After the visit: the first offset not visited.
    pub(crate) next: &'a mut u64,
    pub(crate) name: Naming<'a>,
    /// Is told of records that a migration made nothing of.
    pub(crate) vanished: &'a mut dyn FnMut(u64),
}

impl<E: Env> Records for LogRecords<'_, E> {
    fn visit(&mut self, each: &mut dyn FnMut(SourceRecord<'_>)) {
        *self.next = self.from;
        let (mut chunk, mut bytes) = (1, 0);
        loop {
            let at = *self.next;
            let count = chunk.min((self.to - at) as usize);
            let bytes_max = self.bytes_max - bytes;
            let (partition, log) = (self.partition, self.log);
            let read = partition.read_log(log, at, count, bytes_max, &mut |record| {
                *self.next = record.offset + 1;
                bytes += record.bytes.len();
                if record.vanished {
                    (self.vanished)(record.offset);
                } else if let Some((origin, edge)) = (self.name)(record.offset) {
                    each(SourceRecord {
                        origin,
                        edge,
                        offset: record.offset,
                        bytes: record.bytes,
                    });
                }
            });
            let cause = match read {
                Ok(()) if *self.next > at => None,
                Ok(()) => Some("the log has no such record".to_owned()),
                Err(error) => Some(error.to_string()),
            };
            let Some(cause) = cause else {
                let full = *self.next >= self.to || bytes >= self.bytes_max;
                if full || (self.over)() {
                    return;
                }
                chunk = CHUNK_MAX.min(chunk * 2);
                continue;
            };
            if at > self.from {
                // The next event finds it first, and brings it into memory if that is all.
                return;
            }
            raise(EventFailure::Storage {
                attempted: format!("read record {at} of log {log}"),
                cause,
            })
        }
    }
}
