//! The newest layer of a store: writes that are in the replog and not yet in a table.
//!
//! Relies on `layer`. What must stay true: it knows the first and the last replog index it holds;
//! a frozen memtable is never written again, only dropped once a table holds its content.

use rama_wire::Index;

use crate::lsm::batch::Batch;
use crate::lsm::layer::Layer;

/// A layer and the replog indexes it came from.
#[derive(Debug, Default)]
pub(crate) struct Memtable {
    pub layer: Layer,
    /// The first and last index applied, `None` while empty.
    pub span: Option<(Index, Index)>,
}

impl Memtable {
    /// An empty memtable that keeps sorted what `other` kept sorted.
    pub fn like(other: &Memtable) -> Memtable {
        Memtable {
            layer: Layer::like(&other.layer),
            span: None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.span.is_none()
    }

    /// Takes over the writes of one entry.
    pub fn apply(&mut self, batch: Batch<'_>, index: Index) {
        let first = match self.span {
            Some((first, last)) => {
                assert!(
                    last <= index,
                    "entries are applied in the order of the replog"
                );
                first
            }
            None => index,
        };
        self.layer.apply(batch);
        self.span = Some((first, index));
    }
}
