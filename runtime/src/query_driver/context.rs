//! What code of a query stands on: committed data of one task, and nothing to write but depots.
//!
//! Relies on the task's store. What must stay true: every write to a PState fails the event (spec
//! Q-11); records that an event appends go when it has succeeded.

use std::any::Any;
use std::rc::Rc;
use std::sync::Arc;

use rama_io::Env;
use rama_storage::lsm::Store;
use rama_wire::{LogId, SpaceId};

use crate::access::{Access, Order, ReadAccess, Visit};
use crate::appends::Appends;
use crate::context::ExternalView;
use crate::failure::{EventFailure, raise};
use crate::layout::Layout;
use crate::message::Records;
use crate::task_global::Instances;

/// Queries on one task.
pub(crate) struct QueryContext<E: Env> {
    env: E,
    store: Store<E>,
    layout: Arc<Layout>,
    task: u32,
    globals: Rc<Instances>,
    appends: Appends,
}

impl<E: Env> QueryContext<E> {
    pub(crate) fn new(
        env: E,
        store: Store<E>,
        layout: Arc<Layout>,
        (task, globals): (u32, Rc<Instances>),
    ) -> QueryContext<E> {
        QueryContext {
            env,
            store,
            layout,
            task,
            globals,
            appends: Appends::default(),
        }
    }

    /// An event begins.
    pub(super) fn begin(&self) {
        self.appends.take();
    }

    /// What the event appended to depot partitions of this task (D-35).
    pub(super) fn take_appends(&self) -> Vec<(u16, Records)> {
        self.appends.take()
    }

    fn view(&self) -> ExternalView<'_, Store<E>> {
        ExternalView {
            store: &self.store,
            layout: &self.layout,
        }
    }

    fn refuse(&self, space: SpaceId) -> ! {
        let pstate = &self.layout.pstates[usize::from(self.layout.pstate_index(space))];
        let owner = &self.layout.topologies[usize::from(pstate.owner)].name;
        raise(EventFailure::NotOwner {
            pstate: pstate.name.clone(),
            writer: "a query".to_owned(),
            owner: owner.clone(),
        })
    }
}

impl<E: Env> ReadAccess for QueryContext<E> {
    fn get(&self, space: SpaceId, key: &[u8], with: &mut dyn FnMut(Option<&[u8]>)) {
        self.view().get(space, key, with);
    }

    fn scan(
        &self,
        space: SpaceId,
        lo: &[u8],
        hi: Option<&[u8]>,
        order: Order,
        visit: &mut Visit<'_>,
    ) {
        self.view().scan(space, lo, hi, order, visit);
    }
}

impl<E: Env> Access for QueryContext<E> {
    fn put(&self, space: SpaceId, _: &[u8], _: &[u8]) {
        self.refuse(space)
    }

    fn delete(&self, space: SpaceId, _: &[u8]) {
        self.refuse(space)
    }

    fn delete_range(&self, space: SpaceId, _: &[u8], _: Option<&[u8]>) {
        self.refuse(space)
    }

    fn home(&self, space: SpaceId, key: &[u8]) -> u32 {
        self.layout.home(space, key)
    }

    fn task_id(&self) -> u32 {
        self.task
    }

    fn task_count(&self) -> u32 {
        self.layout.tasks
    }

    fn now_ms(&self) -> u64 {
        self.layout.clock.now_ms(self.env.wall_ms())
    }

    fn random_u64(&self) -> u64 {
        self.env.random_u64()
    }

    fn microbatch_id(&self) -> Option<u64> {
        None
    }

    fn ack_return(&self, _: serde_json::Value) {
        raise(EventFailure::Unsupported {
            message: "a query gives nothing back to appenders: let it come out of the query"
                .to_owned(),
        })
    }

    fn partitions_of(&self, module: &str, object: &str) -> u32 {
        self.layout.partitions_of(module, object)
    }

    fn append(&self, depot: LogId, record: &[u8]) {
        self.appends.push((&self.layout, self.task), depot, record);
    }

    fn task_global(&self, index: u16) -> Option<Rc<dyn Any>> {
        self.globals.get(index)
    }
}
