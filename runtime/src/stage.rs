//! One fused run of author code between two asynchronous boundaries, erased so that the engine can
//! carry it.
//!
//! Relies on `task` and on the failure contract of `failure`: a stage never catches; what unwinds
//! out of `run` is an event failure, and [`Outbox::current`] then names the record it happened for.
//! What must stay true: items run in order; what is emitted for one destination keeps that order
//! (spec O-9, R-10); a stage given items of another type panics, because that is a bug of the
//! engine.
//!
//! ```text
//! depot records ── SourceStage::run_records ─┐
//!                                            ├─► Outbox: per (stage, task) a Batch ─► Stage::run …
//! Batch of a hop ── Stage::run ──────────────┘           per item an Ack (streams)
//! ```
//!
//! After a failure the engine drops the outbox's content with [`Outbox::clear`].

mod fan;

use std::any::Any;
use std::fmt;

use rama_wire::{Record, RecordError};

use crate::task::Task;
use crate::waits::Wait;

pub(crate) use fan::Fan;

/// Items of one batch. A stage that emits more for one destination starts another batch, so that
/// the receiver can yield in between.
pub const BATCH_ITEMS_MAX: usize = 4096;

/// A stage behind a partitioner, by its place in [`crate::definition::TopologyDef::stages`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageIndex(pub u16);

/// The code between a partitioner and the next boundary.
pub trait Stage: Send + Sync {
    /// Runs author code for each item of the batch, in order; emissions go to `out`.
    ///
    /// # Panics
    /// Unwinds when author code fails or panics; `out.current()` is then the failing record. Panics
    /// when the batch holds another type than the stage takes.
    fn run(&self, task: &Task, batch: Batch, out: &mut Outbox);

    /// Reads a batch for this stage that another process encoded with [`Batch::encode`].
    ///
    /// # Errors
    /// When the bytes of an item are not a value of the type this stage takes.
    fn decode(
        &self,
        items: &mut dyn ExactSizeIterator<Item = EncodedItem<'_>>,
    ) -> Result<Batch, RecordError>;
}

/// An item of a batch that travels between processes: its value as the bytes of a record.
#[derive(Clone, Copy, Debug)]
pub struct EncodedItem<'a> {
    /// As [`Item::origin`].
    pub origin: Origin,
    /// As [`Item::edge`].
    pub edge: u64,
    /// As [`Item::value`].
    pub value: &'a [u8],
}

/// The code between a depot and the first boundary.
pub trait SourceStage: Send + Sync {
    /// Decodes each record, checked, and runs author code for it, in order; emissions go to `out`.
    ///
    /// # Panics
    /// Unwinds when a record does not decode, or author code fails or panics; `out.current()` is
    /// then the failing record.
    fn run_records(&self, task: &Task, records: &mut dyn Records, out: &mut Outbox);
}

/// Records of one depot partition, handed to a source stage one after the other.
pub trait Records {
    /// Calls `each` for every record, in offset order.
    fn visit(&mut self, each: &mut dyn FnMut(SourceRecord<'_>));
}

impl Records for &[SourceRecord<'_>] {
    fn visit(&mut self, each: &mut dyn FnMut(SourceRecord<'_>)) {
        self.iter().copied().for_each(each);
    }
}

/// The depot record that an item descends from. Opaque to stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The tree (stream) or the ordinal of the record in its range (microbatch).
    pub record: u64,
    /// The source partition that `record` counts in: who tracks it. The engine packs what it likes.
    pub home: u32,
}

/// One depot record on its way into a source stage. A tick has the bytes of `()`.
#[derive(Clone, Copy, Debug)]
pub struct SourceRecord<'a> {
    /// The name under which the record and all its descendants are tracked.
    pub origin: Origin,
    /// The edge by which the tree's tracker knows this work; 0 in a microbatch.
    pub edge: u64,
    /// Where the record stands in its depot partition; for failures.
    pub offset: u64,
    /// The record as it was appended.
    pub bytes: &'a [u8],
}

/// A value on its way between two stages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<T> {
    /// The record this descends from.
    pub origin: Origin,
    /// The edge by which the tree's tracker knows this item; 0 in a microbatch.
    pub edge: u64,
    /// What flows.
    pub value: T,
}

impl<T> Item<T> {
    /// A value that came of an item, whose edge stays with that.
    pub(crate) fn of(origin: Origin, value: T) -> Item<T> {
        let edge = 0;
        Item {
            origin,
            edge,
            value,
        }
    }
}

/// A vector of items of one type, whose type only its two stages know.
pub struct Batch {
    items: Box<dyn Items>,
}

/// What the engine may ask of items without knowing their type.
trait Items: Send {
    fn len(&self) -> usize;
    fn origins(&self, visit: &mut dyn FnMut(Origin));
    fn encode(&self, bytes: &mut Vec<u8>, visit: &mut dyn FnMut(Origin, u64, usize));
    fn type_name(&self) -> &'static str;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<T: Record + Send> Items for Vec<Item<T>> {
    fn len(&self) -> usize {
        self.len()
    }

    fn origins(&self, visit: &mut dyn FnMut(Origin)) {
        self.iter().for_each(|item| visit(item.origin));
    }

    fn encode(&self, bytes: &mut Vec<u8>, visit: &mut dyn FnMut(Origin, u64, usize)) {
        for item in self {
            item.value.encode(bytes);
            visit(item.origin, item.edge, bytes.len());
        }
    }

    fn type_name(&self) -> &'static str {
        std::any::type_name::<T>()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl Batch {
    /// A batch of `items`.
    pub fn new<T: Record + Send>(items: Vec<Item<T>>) -> Batch {
        Batch {
            items: Box::new(items),
        }
    }

    /// How many items it holds.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether it holds nothing. No outbox ever holds such a batch.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Visits the origin of every item, in order. One origin may come several times.
    pub fn origins(&self, visit: &mut dyn FnMut(Origin)) {
        self.items.origins(visit);
    }

    /// Appends the values to `bytes`, one after the other; after each, visits the item's origin, its
    /// edge, and where its value ends in `bytes`.
    pub fn encode(&self, bytes: &mut Vec<u8>, visit: &mut dyn FnMut(Origin, u64, usize)) {
        self.items.encode(bytes, visit);
    }

    /// The items.
    ///
    /// # Panics
    /// When they are of another type: batches only go where the definition sends them.
    pub fn into_items<T: 'static>(self) -> Vec<Item<T>> {
        let found = self.items.type_name();
        match self.items.into_any().downcast::<Vec<Item<T>>>() {
            Ok(items) => *items,
            Err(_) => panic!(
                "a batch of {found} reached a stage that takes {}",
                std::any::type_name::<T>()
            ),
        }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch of {} {}", self.len(), self.items.type_name())
    }
}

/// A batch and where it goes.
#[derive(Debug)]
pub struct Outgoing {
    /// The stage of the same topology that takes it.
    pub stage: StageIndex,
    /// The task it runs on; below the task count.
    pub task: u32,
    /// The items, never none.
    pub batch: Batch,
}

/// What the tracker of a tree learns from one processed item: XOR of its own edge and of every edge
/// emitted for it. A tree is done when all of these XOR to zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The tree.
    pub origin: Origin,
    /// The edges, XORed.
    pub edges: u64,
}

/// Where stages put what leaves a task. One per topology and task, used again for every batch, so
/// that its buffers and the shuffle's turn live on.
#[derive(Debug)]
pub struct Outbox {
    tasks: u32,
    tracked: bool,
    rng: u64,
    shuffle_mask: u32,
    shuffle_turn: u32,
    outgoing: Vec<Outgoing>,
    acks: Vec<Ack>,
    answers: Vec<Vec<u8>>,
    waits: Vec<Wait>,
    current: Origin,
    key_scratch: Vec<u8>,
    lane_capacity: usize,
}

impl Outbox {
    /// For stream topologies: every emission gets a random edge and every item an [`Ack`].
    pub fn tracked(tasks: u32, seed: u64) -> Outbox {
        Outbox::new(tasks, true, seed)
    }

    /// For microbatch topologies: edges are 0 and nothing is acknowledged per item.
    pub fn untracked(tasks: u32, seed: u64) -> Outbox {
        Outbox::new(tasks, false, seed)
    }

    fn new(tasks: u32, tracked: bool, seed: u64) -> Outbox {
        assert!(tasks > 0, "a module has at least one task");
        let mut outbox = Outbox {
            tasks,
            tracked,
            rng: seed,
            shuffle_mask: 0,
            shuffle_turn: 0,
            outgoing: Vec::new(),
            acks: Vec::new(),
            answers: Vec::new(),
            waits: Vec::new(),
            current: Origin::default(),
            key_scratch: Vec::new(),
            lane_capacity: 0,
        };
        outbox.shuffle_mask = outbox.random() as u32;
        outbox
    }

    /// How many tasks emissions can go to.
    pub fn tasks(&self) -> u32 {
        self.tasks
    }

    /// Takes what was emitted: in emission order per destination, destinations of one run
    /// ascending.
    pub fn drain_outgoing(&mut self) -> impl Iterator<Item = Outgoing> + '_ {
        self.outgoing.drain(..)
    }

    /// Makes one ack of all that an item has, also where its values went several ways: half of them
    /// would look as if the tree were done.
    pub(crate) fn merge_acks(&mut self) {
        if self
            .acks
            .is_sorted_by(|one, other| one.origin < other.origin)
        {
            return;
        }
        self.acks.sort_by_key(|ack| ack.origin);
        self.acks.dedup_by(|later, earlier| {
            let same = later.origin == earlier.origin;
            if same {
                earlier.edges ^= later.edges;
            }
            same
        });
    }

    /// The acks that wait to be taken.
    pub(crate) fn acks(&self) -> &[Ack] {
        &self.acks
    }

    /// Takes the acks of the items that were run, neighbors of one tree merged.
    pub fn drain_acks(&mut self) -> impl Iterator<Item = Ack> + '_ {
        self.acks.drain(..)
    }

    /// The edge of one more item of a tree, emitted now.
    pub(crate) fn edge_of(&mut self, origin: Origin) -> u64 {
        if !self.tracked {
            return 0;
        }
        let edges = self.random();
        self.acks.push(Ack { origin, edges });
        edges
    }

    /// Turns to an item outside of a fan: what fails now fails for its record.
    pub(crate) fn turn_to(&mut self, task: &Task, origin: Origin) {
        task.set_origin(origin.record);
        self.current = origin;
    }

    /// Emits values of one record to one task, in order.
    pub(crate) fn emit<T: Record + Send>(
        &mut self,
        origin: Origin,
        stage: StageIndex,
        task: u32,
        values: Vec<T>,
    ) {
        let mut items = Vec::with_capacity(values.len().min(BATCH_ITEMS_MAX));
        for value in values {
            let edge = self.edge_of(origin);
            items.push(Item {
                origin,
                edge,
                value,
            });
            if items.len() == BATCH_ITEMS_MAX {
                self.hand_over(stage, task, std::mem::take(&mut items));
            }
        }
        if !items.is_empty() {
            self.hand_over(stage, task, items);
        }
    }

    /// Hands items over that have their edges, some at least, and no more than a batch may have.
    pub(crate) fn hand_over<T: Record + Send>(
        &mut self,
        stage: StageIndex,
        task: u32,
        items: Vec<Item<T>>,
    ) {
        debug_assert!(task < self.tasks && !items.is_empty() && items.len() <= BATCH_ITEMS_MAX);
        let batch = Batch::new(items);
        self.outgoing.push(Outgoing { stage, task, batch });
    }

    /// A value that goes on when a future is done.
    pub(crate) fn wait(&mut self, wait: Wait) {
        self.waits.push(wait);
    }

    /// Takes what waits.
    pub(crate) fn take_waits(&mut self) -> Vec<Wait> {
        std::mem::take(&mut self.waits)
    }

    /// What a query answers, encoded.
    pub(crate) fn answer(&mut self, bytes: Vec<u8>) {
        self.answers.push(bytes);
    }

    /// Takes the answers of a query: to be right there is one in all.
    pub(crate) fn take_answers(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.answers)
    }

    /// Whether nothing waits to be taken.
    pub fn is_empty(&self) -> bool {
        self.outgoing.is_empty()
            && self.acks.is_empty()
            && self.answers.is_empty()
            && self.waits.is_empty()
    }

    /// The record whose item was begun last: after a failure, the failing one.
    pub fn current(&self) -> Origin {
        self.current
    }

    /// Names the record whose value author code gets next, to the task and for failures.
    #[inline]
    pub(crate) fn name(&mut self, task: &Task, origin: Origin) {
        task.set_origin(origin.record);
        self.current = origin;
    }

    /// Drops everything not yet taken: the batch it belongs to failed.
    pub fn clear(&mut self) {
        self.outgoing.clear();
        self.acks.clear();
        self.answers.clear();
        self.waits.clear();
    }

    /// The next number of a splitmix64 sequence; never 0, so that an edge is never invisible.
    fn random(&mut self) -> u64 {
        loop {
            self.rng = self.rng.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.rng;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            if mixed != 0 {
                return mixed;
            }
        }
    }
}
