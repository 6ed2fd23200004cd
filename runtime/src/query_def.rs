//! A query topology by name and types, and what a module says of it.
//!
//! Relies on records for arguments and result. What must stay true: who invokes a query by its constant
//! sends what its module takes; a leading partitioner that clients evaluate answers as the module's
//! own (spec Q-7).

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use rama_wire::{Record, RecordError};

use crate::depot_def::RecordDesc;
use crate::gather::GatherDef;
use crate::graph::{Graph, Place};
use crate::stage::Stage;

/// A distributed read that is run on demand: from arguments `A` to one result `R` (spec §9).
///
/// Several arguments are a tuple, none is `()`.
///
/// ```
/// use rama_runtime::Query;
/// pub const FRIENDS_OF_FRIENDS: Query<u64, Vec<u64>> = Query::named("friends-of-friends");
/// ```
pub struct Query<A, R> {
    name: &'static str,
    types: PhantomData<fn(A) -> R>,
}

impl<A, R> Clone for Query<A, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A, R> Copy for Query<A, R> {}

impl<A: Record + Send, R: Record + Send> Query<A, R> {
    /// The query of this name.
    pub const fn named(name: &'static str) -> Query<A, R> {
        Query {
            name,
            types: PhantomData,
        }
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// The task on which a query begins: from its encoded arguments and the number of tasks.
pub type Leading = Arc<dyn Fn(&[u8], u32) -> Result<u32, RecordError> + Send + Sync>;

/// A declared query.
#[derive(Clone)]
pub struct QueryDef {
    /// Its name.
    pub name: String,
    /// Its arguments.
    pub args: RecordDesc,
    /// Its result.
    pub result: RecordDesc,
    /// Where it begins, when its first step says so; else on any task.
    pub leading: Option<Leading>,
    /// Its code up to the first boundary.
    pub first: Arc<dyn Stage>,
    /// Its code behind partitioners, by [`crate::stage::StageIndex`].
    pub stages: Vec<Arc<dyn Stage>>,
    /// What its code gathers on the way.
    pub gathers: Vec<GatherDef>,
    /// The same for people.
    pub graph: Graph,
    /// Where it is declared.
    pub place: Place,
}

impl QueryDef {
    /// The task where it begins with these arguments, if its first step says so (spec Q-7).
    ///
    /// # Errors
    /// `Invalid` when the arguments are not the query's.
    pub(crate) fn begins(&self, args: &[u8], tasks: u32) -> crate::Result<Option<u32>> {
        let Some(leading) = &self.leading else {
            return Ok(None);
        };
        let task = leading(args, tasks).map_err(|error| {
            let text = format!("could not find where query {} begins", self.name);
            crate::Error::invalid(text).caused_by(error)
        })?;
        Ok(Some(task.min(tasks - 1)))
    }
}

impl fmt::Debug for QueryDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryDef")
            .field("name", &self.name)
            .field("args", &self.args)
            .field("result", &self.result)
            .field("leads", &self.leading.is_some())
            .field("stages", &self.stages.len())
            .finish_non_exhaustive()
    }
}
