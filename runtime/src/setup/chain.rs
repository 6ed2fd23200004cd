//! The untyped side of a chain of steps: where its nodes are drawn and where its code is put.
//!
//! Relies on the draft. What must stay true: a chain closes exactly one source or stage; one that
//! is never closed leaves its place empty, and the checks say so.

use std::any::TypeId;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use rama_wire::{LogId, Record, SpaceId};

use super::draft::{Draft, PathDraft, SourceDraft, StageDraft, TopologyDraft};
use crate::depot_def::Depot;
use crate::graph::{Node, NodeKind, Place, Unit};
use crate::pstate::PState;
use crate::schema::Root;
use crate::stage::{SourceStage, Stage, StageIndex};
use crate::topology_def::SourceOptions;

/// A chain under construction.
pub(crate) struct Chain {
    draft: Rc<RefCell<Draft>>,
    topology: usize,
    depot: &'static str,
    unit: Unit,
    last: u32,
}

impl Chain {
    /// Opens the chain of a new source.
    #[track_caller]
    pub(super) fn source<K, T: Record>(
        draft: &Rc<RefCell<Draft>>,
        topology: usize,
        depot: Depot<T>,
        options: SourceOptions<K>,
    ) -> Chain {
        let place = Place::of_caller();
        let mut borrowed = draft.borrow_mut();
        let log = LogId(borrowed.logs.of(depot.name()));
        let into = &mut borrowed.topologies[topology];
        let unit = Unit::Source(index(into.sources.len()));
        into.sources
            .push(SourceDraft::new(depot, log, options, place));
        let last = into.graph.add(|id| Node {
            id,
            kind: NodeKind::Source,
            name: Some(depot.name().to_owned()),
            emits: std::any::type_name::<T>(),
            unit,
            place,
            after: None,
        });
        Chain {
            draft: Rc::clone(draft),
            topology,
            depot: depot.name(),
            unit,
            last,
        }
    }

    /// The depot at the chain's beginning, before all hops.
    pub(crate) fn depot(&self) -> &'static str {
        self.depot
    }

    /// Draws a step.
    pub(crate) fn node(&mut self, kind: NodeKind, emits: &'static str, place: Place) {
        let (unit, after) = (self.unit, Some(self.last));
        self.last = self.with(|topology| {
            topology.graph.add(|id| Node {
                id,
                kind,
                name: None,
                emits,
                unit,
                place,
                after,
            })
        });
    }

    /// Names the step drawn last.
    pub(crate) fn rename(&self, name: String) {
        self.with(|topology| topology.graph.rename(self.last, name));
    }

    /// The id of a PState whose keys route the chain's values. It need not be declared yet.
    pub(crate) fn space_of<S: Root>(&self, pstate: PState<S>, place: Place) -> SpaceId {
        let mut draft = self.draft.borrow_mut();
        draft.paths.push(PathDraft {
            pstate: pstate.name(),
            topology: self.topology,
            schema_type: TypeId::of::<S>(),
            schema_name: pstate.desc().name(),
            place,
        });
        SpaceId(draft.spaces.of(pstate.name()))
    }

    /// Closes the chain with the code that is all of it.
    pub(crate) fn end<B: Stage + SourceStage + 'static>(self, body: B) {
        self.with(|topology| match self.unit {
            Unit::Source(at) => topology.sources[usize::from(at)].stage = Some(Arc::new(body)),
            Unit::Stage(at) => topology.stages[usize::from(at)].stage = Some(Arc::new(body)),
        });
    }

    /// Closes the chain with code that sends to a new stage, and opens that stage's chain. The
    /// partitioner is the node drawn last.
    pub(crate) fn hop<B: Stage + SourceStage + 'static>(
        self,
        body: impl FnOnce(StageIndex) -> B,
    ) -> Chain {
        let (last, depot) = (self.last, self.depot);
        let at = self.with(|topology| {
            let node = &topology.graph.nodes()[last as usize];
            let (opened_by, place) = (node.kind, node.place);
            topology.stages.push(StageDraft {
                stage: None,
                depot,
                opened_by,
                place,
            });
            index(topology.stages.len() - 1)
        });
        let next = Chain {
            draft: Rc::clone(&self.draft),
            topology: self.topology,
            depot,
            unit: Unit::Stage(at),
            last,
        };
        self.end(body(StageIndex(at)));
        next
    }

    fn with<R>(&self, change: impl FnOnce(&mut TopologyDraft) -> R) -> R {
        change(&mut self.draft.borrow_mut().topologies[self.topology])
    }
}

fn index(at: usize) -> u16 {
    u16::try_from(at).expect("a topology has under 65,536 sources and stages")
}
