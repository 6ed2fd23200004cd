//! Values combined before they travel (spec A-13).
//!
//! Relies on aggregations whose parts can be merged in any grouping. What must stay true: what is
//! combined carries the edges of all its parts, so that trees stay complete; a hook is set by the
//! definition, before anything runs.

use std::sync::{Arc, OnceLock};

use crate::origin;
use crate::stage::{Batch, Item, Origin, StageIndex};

/// Makes the items of one lane into fewer, for a stage that takes those.
pub(crate) trait Combine<T>: Send + Sync {
    /// `current` is told whose value author code looks at, for its failure.
    fn combine(&self, items: Vec<Item<T>>, current: &mut Origin) -> (StageIndex, Batch);
}

/// Set when what follows a partitioner combines.
pub(crate) struct Hook<T>(Arc<OnceLock<Box<dyn Combine<T>>>>);

impl<T> Clone for Hook<T> {
    fn clone(&self) -> Self {
        Hook(self.0.clone())
    }
}

impl<T> Hook<T> {
    pub(crate) fn new() -> Hook<T> {
        Hook(Arc::new(OnceLock::new()))
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<&dyn Combine<T>> {
        self.0.get().map(|combine| &**combine)
    }

    pub(crate) fn set(&self, combine: impl Combine<T> + 'static) {
        let set = self.0.set(Box::new(combine));
        assert!(set.is_ok(), "values are combined once");
    }
}

/// Origin and edge of what several items became.
pub(crate) struct Joined {
    origin: Option<Origin>,
    edge: u64,
}

impl Joined {
    pub(crate) fn new() -> Joined {
        Joined {
            origin: None,
            edge: 0,
        }
    }

    /// One more part.
    #[inline]
    pub(crate) fn add<T>(&mut self, item: &Item<T>) {
        self.edge ^= item.edge;
        self.origin = match self.origin {
            None => Some(item.origin),
            Some(origin) if origin == item.origin => Some(origin),
            // Of several records none is to blame.
            Some(_) => Some(origin::NOBODY),
        };
    }

    pub(crate) fn into_item<T>(self, value: T) -> Item<T> {
        Item {
            origin: self.origin.unwrap_or(origin::NOBODY),
            edge: self.edge,
            value,
        }
    }
}
