//! The untyped side of a chain of steps: where its nodes are drawn and where its code is put.
//!
//! Relies on the draft. What must stay true: a chain closes exactly one source or stage; one that
//! is never closed leaves its place empty, and the checks say so.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use rama_wire::{LogId, Record, SpaceId};

use super::draft::{
    Draft, JointDraft, Kinded, PathDraft, SourceDraft, StageDraft, TopologyDraft, UseDraft,
};
use crate::dataflow::{Body, Hook, Joint};
use crate::definition::Fault;
use crate::gather::{Gather, GatherDef, Reach, SlotIndex};
use crate::graph::{Node, NodeKind, Place, Unit};
use crate::message::AckLevel;
use crate::mirror::{self, SourceDepot};
use crate::pstate::PState;
use crate::query_def::{Leading, Query};
use crate::schema::Root;
use crate::stage::{SourceStage, Stage, StageIndex};
use crate::topology_def::SourceOptions;

/// A chain under construction.
pub(crate) struct Chain {
    draft: Rc<RefCell<Draft>>,
    topology: usize,
    /// What it descends from, for messages.
    depot: &'static str,
    unit: Unit,
    last: u32,
    /// How many gatherings its values have passed.
    level: u16,
    reach: Reach,
    /// The joint of a chain that others run in their event.
    joint: Option<Box<dyn Any>>,
    /// How what travels to this chain may be combined before; gone after its first step.
    hook: Option<Box<dyn Any>>,
}

impl Chain {
    /// Opens the chain of a new source.
    #[track_caller]
    pub(super) fn source<K, D: SourceDepot>(
        draft: &Rc<RefCell<Draft>>,
        topology: usize,
        depot: D,
        options: SourceOptions<K>,
    ) -> Chain {
        let place = Place::of_caller();
        let (depot, module) = (depot.depot(), depot.module());
        let mut borrowed = draft.borrow_mut();
        let log = match module {
            None => borrowed.logs.of(depot.name()),
            Some(module) => {
                let topology = borrowed.topologies[topology].name.clone();
                let copy =
                    mirror::copy_name(&topology, module, depot.name(), options.id.as_deref());
                borrowed.logs.of(&copy)
            }
        };
        let into = &mut borrowed.topologies[topology];
        let unit = Unit::Source(index(into.sources.len()));
        let source = SourceDraft::new((depot, module), LogId(log), options, place);
        let name = source.name();
        into.sources.push(source);
        let chain = Chain::first(
            (draft, topology, into),
            (depot.name(), unit),
            (NodeKind::Source, std::any::type_name::<D::Record>()),
            place,
        );
        drop(borrowed);
        chain.rename(name);
        chain
    }

    /// Opens the chain of a step, at what it is called with, and the stage it is.
    pub(super) fn step<A>(
        draft: &Rc<RefCell<Draft>>,
        topology: usize,
        place: Place,
    ) -> (StageIndex, Chain) {
        let (kind, emits) = (NodeKind::Step, std::any::type_name::<A>());
        let mut borrowed = draft.borrow_mut();
        let into = &mut borrowed.topologies[topology];
        into.stages.push(StageDraft {
            stage: None,
            depot: "a step",
            opened_by: kind,
            place,
        });
        let at = index(into.stages.len() - 1);
        let unit = ("step", Unit::Stage(at));
        let chain = Chain::first((draft, topology, into), unit, (kind, emits), place);
        (StageIndex(at), chain)
    }

    /// The same for a step of the topology that this chain belongs to.
    pub(crate) fn apart<A>(&self, place: Place) -> (StageIndex, Chain) {
        Chain::step::<A>(&self.draft, self.topology, place)
    }

    /// Opens the chain of a query, at its arguments.
    pub(super) fn query(
        draft: &Rc<RefCell<Draft>>,
        topology: usize,
        name: &'static str,
        emits: &'static str,
        place: Place,
    ) -> Chain {
        let mut borrowed = draft.borrow_mut();
        let into = &mut borrowed.topologies[topology];
        let emits = (NodeKind::Source, emits);
        Chain::first((draft, topology, into), (name, Unit::Query), emits, place)
    }

    fn first(
        (draft, topology, into): (&Rc<RefCell<Draft>>, usize, &mut TopologyDraft),
        (name, unit): (&'static str, Unit),
        (kind, emits): (NodeKind, &'static str),
        place: Place,
    ) -> Chain {
        let last = into.graph.add(|id| Node {
            id,
            kind,
            name: Some(name.to_owned()),
            emits,
            unit,
            place,
            after: None,
        });
        Chain {
            draft: Rc::clone(draft),
            topology,
            depot: name,
            unit,
            last,
            level: 0,
            reach: Reach::Everywhere,
            joint: None,
            hook: None,
        }
    }

    /// The depot or the query at the chain's beginning, before all hops.
    pub(crate) fn depot(&self) -> &'static str {
        self.depot
    }

    /// How many gatherings its values have passed.
    pub(crate) fn level(&self) -> u16 {
        self.level
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
    pub(crate) fn end<B: Stage + SourceStage + 'static>(self, body: Arc<B>) {
        self.with(|topology| match self.unit {
            Unit::Source(at) => topology.sources[usize::from(at)].stage = Some(body),
            Unit::Stage(at) => topology.stages[usize::from(at)].stage = Some(body),
            Unit::Query => topology.first = Some(body),
            Unit::Joint(_) => unreachable!("values that arrive at a joint are no records"),
        });
    }

    /// The same for a chain that others run in their event.
    pub(crate) fn end_local<T: 'static>(mut self, body: Arc<dyn Body<T>>) {
        let joint = self.joint.take().expect("a local chain has a joint");
        let joint: Box<Joint<T>> = joint
            .downcast()
            .expect("a joint takes what its chain begins with");
        joint.close(body);
        let Unit::Joint(at) = self.unit else {
            unreachable!("a local chain begins at a joint");
        };
        self.with(|topology| topology.joints[usize::from(at)].closed = true);
    }

    /// A new stage, opened by the node drawn last, and the chain that begins there. This chain goes on
    /// to send to it.
    pub(crate) fn stage(&self) -> (StageIndex, Chain) {
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
        let next = self.following(Unit::Stage(at));
        (StageIndex(at), next)
    }

    /// A new joint, opened by the node drawn last, and the chain that begins there.
    pub(crate) fn joint<T: 'static>(&self) -> (Joint<T>, Chain) {
        let (last, depot) = (self.last, self.depot);
        let at = self.with(|topology| {
            let node = &topology.graph.nodes()[last as usize];
            let (opened_by, place) = (node.kind, node.place);
            topology.joints.push(JointDraft {
                closed: false,
                depot,
                opened_by,
                place,
            });
            index(topology.joints.len() - 1)
        });
        let joint = Joint::<T>::new();
        let mut next = self.following(Unit::Joint(at));
        next.joint = Some(Box::new(joint.clone()));
        (joint, next)
    }

    fn following(&self, unit: Unit) -> Chain {
        Chain {
            draft: Rc::clone(&self.draft),
            topology: self.topology,
            depot: self.depot,
            unit,
            last: self.last,
            level: self.level,
            reach: self.reach,
            joint: None,
            hook: None,
        }
    }

    /// Lets what follows combine values before they travel here.
    pub(crate) fn set_hook<T: 'static>(&mut self, hook: Hook<T>, reach: Reach) {
        self.hook = Some(Box::new(hook));
        self.reach = reach;
    }

    /// How values may be combined before they travel here, if no step comes before.
    pub(crate) fn take_hook<T: 'static>(&mut self) -> Option<Hook<T>> {
        let hook: Box<Hook<T>> = self.hook.take()?.downcast().ok()?;
        Some(*hook)
    }

    /// A step follows: nothing combines before it.
    pub(crate) fn forget_hook(&mut self) {
        self.hook = None;
    }

    /// The topology it is a chain of, by its place in the module.
    pub(crate) fn topology(&self) -> usize {
        self.topology
    }

    /// A slot in memory for values of this topology.
    pub(crate) fn slot(&self) -> SlotIndex {
        self.with(|topology| {
            topology.slots += 1;
            SlotIndex(topology.slots - 1)
        })
    }

    /// The level at which what arrives here, and at `other`, is let go.
    pub(crate) fn gathered_with(&mut self, other: Option<&Chain>) {
        let other = other.map_or(0, |other| other.level);
        self.level = self.level.max(other) + 1;
    }

    /// Puts a gathering where the chain's last node is; `level` of this chain is its.
    pub(crate) fn gather(&self, gather: Arc<dyn Gather>) {
        let gather = GatherDef {
            gather,
            level: self.level,
            reach: self.reach,
        };
        self.with(|topology| topology.gathers.push(gather));
    }

    /// What arrives from `other` arrives here too.
    pub(crate) fn merged_with(&mut self, other: &Chain, place: Place) {
        if !Rc::ptr_eq(&self.draft, &other.draft) || self.topology != other.topology {
            let (one, two) = (self.depot, other.depot);
            self.fault(
                format!("chains of {one} and {two}"),
                "are brought together, but belong to different topologies".to_owned(),
                "let one topology consume both depots, or write a PState that the other reads"
                    .to_owned(),
                place,
            );
        }
        self.level = self.level.max(other.level);
        if self.reach != other.reach {
            self.reach = Reach::Everywhere;
        }
    }

    /// Where the tasks are that values of this chain reach.
    pub(crate) fn reach(&self) -> Reach {
        self.reach
    }

    pub(crate) fn set_reach(&mut self, reach: Reach) {
        self.reach = reach;
    }

    /// Whether nothing but a query's arguments came before.
    pub(crate) fn begins_query(&self) -> bool {
        self.unit == Unit::Query && self.with(|topology| topology.graph.nodes().len() == 1)
    }

    /// The client may find the first task of the query by itself.
    pub(crate) fn lead(&self, leading: Leading) {
        self.with(|topology| {
            if let Kinded::Answers(query) = &mut topology.kind {
                query.leading = Some(leading);
            }
        });
    }

    /// A query that the chain invokes. It need not be declared yet.
    pub(crate) fn uses_query<A: Record + Send, R: Record + Send>(
        &self,
        query: Query<A, R>,
        place: Place,
    ) {
        let used = UseDraft::Query {
            name: query.name(),
            args: A::fingerprint(),
            result: R::fingerprint(),
        };
        self.uses(used, place);
    }

    /// A depot that the chain appends to.
    pub(crate) fn appends_to(&self, depot: &'static str, level: AckLevel, place: Place) {
        self.uses(UseDraft::Append { depot, level }, place);
    }

    /// Notes that the chain aggregates into a PState.
    pub(crate) fn writes(&self, pstate: &'static str, place: Place) {
        self.uses(UseDraft::Write { pstate }, place);
    }

    fn uses(&self, used: UseDraft, place: Place) {
        let topology = self.topology;
        self.draft.borrow_mut().uses.push((topology, used, place));
    }

    /// A mistake that a builder's call found.
    pub(crate) fn fault(&self, object: String, problem: String, fix: String, place: Place) {
        let topology = self.with(|topology| topology.name.clone());
        self.draft.borrow_mut().faults.push(Fault {
            object: format!("{object} in {topology}"),
            problem,
            fix,
            place,
            first: None,
        });
    }

    fn with<R>(&self, change: impl FnOnce(&mut TopologyDraft) -> R) -> R {
        change(&mut self.draft.borrow_mut().topologies[self.topology])
    }
}

fn index(at: usize) -> u16 {
    u16::try_from(at).expect("a topology has under 65,536 sources and stages")
}
