//! What an event, or a batch of them, appends to depot partitions of its task (D-30).
//!
//! Relies on the layout for what there is. What must stay true: records keep their order within a
//! depot; there is never more than one log entry can take.

use std::cell::RefCell;

use rama_wire::LogId;

use crate::failure::{EventFailure, raise};
use crate::layout::Layout;
use crate::limits;
use crate::message::Records;

/// Records by depot.
#[derive(Default)]
pub(crate) struct Appends(RefCell<Vec<(u16, Records)>>);

impl Appends {
    /// Adds a record; ends the event when it cannot go there.
    pub(crate) fn push(&self, (layout, task): (&Layout, u32), depot: LogId, record: &[u8]) {
        let depot = layout.depot_index(depot);
        let found = &layout.depots[usize::from(depot)];
        if task >= found.partitions {
            refuse(format!(
                "could not append to {} on task {task}: it is global, so that its only partition is \
                 on task 0; go there first, with global_partition",
                found.name
            ));
        }
        let mut appends = self.0.borrow_mut();
        let known = appends.iter().map(|(_, records)| records.stored_bytes());
        if known.sum::<usize>() + record.len() > limits::APPENDS_BYTES_MAX {
            refuse(format!(
                "could not append to depots of task {task}: the batch has given them {} MiB already; \
                 let it take fewer records, with depot.microbatch.max.records or \
                 topology.stream.max.events.per.batch",
                limits::APPENDS_BYTES_MAX >> 20
            ));
        }
        let at = appends.iter().position(|(known, _)| *known == depot);
        let at = at.unwrap_or_else(|| {
            appends.push((depot, Records::default()));
            appends.len() - 1
        });
        let records = &mut appends[at].1;
        records.push_with(|bytes| bytes.extend_from_slice(record));
    }

    /// All records, by depot.
    pub(crate) fn take(&self) -> Vec<(u16, Records)> {
        self.0.take()
    }
}

fn refuse(message: String) -> ! {
    raise(EventFailure::Author { message })
}
