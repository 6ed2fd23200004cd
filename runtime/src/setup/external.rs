//! Declaring depots whose records come from outside.
//!
//! Relies on `external`. What must stay true: such a depot is one like any other to its topologies.

use rama_wire::Record;

use super::{DepotDecl, Setup};
use crate::depot_def::{Depot, Partition};
use crate::external::{ExternalDef, ExternalDepot};
use crate::topology_def::Start;

impl Setup {
    /// Declares a depot that takes its records from another system, partition by partition, each
    /// exactly once, beginning at `start` where a partition is new (spec G-6). Topologies consume it
    /// as any depot; clients cannot append to it. When its topologies lag, nothing more is taken.
    ///
    /// All records stay unless its options say otherwise: with
    /// `.option("depot.max.entries.per.partition", 1)` they go once every topology is done with them.
    #[track_caller]
    pub fn external_depot<T, D>(
        &mut self,
        depot: Depot<T>,
        start: Start,
        external: D,
    ) -> DepotDecl<T>
    where
        T: Record + Send,
        D: ExternalDepot<Record = T>,
    {
        let declared = self.depot(depot, Partition::disallow());
        let log = declared.handle().log;
        let external = ExternalDef::new(log, start, external);
        self.draft.borrow_mut().externals.push(external);
        declared
    }
}
