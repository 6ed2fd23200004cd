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

use std::any::Any;
use std::fmt;

use rama_wire::{Record, RecordError};

use crate::task::Task;
use crate::waits::Wait;

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

/// The typed inside of one run of a stage: one lane per destination, handed to the outbox at the
/// end.
pub(crate) struct Fan<'o, T> {
    out: &'o mut Outbox,
    to: StageIndex,
    lanes: Vec<Vec<Item<T>>>,
    origin: Origin,
    edges: u64,
    /// Values that stay on this task, for a chain that ends in a [`crate::dataflow`] sink.
    kept: Vec<Item<T>>,
    /// A value whose buffers the next copy is made into.
    copy: Option<T>,
}

impl<'o, T> Fan<'o, T> {
    /// Opens no lane: for a chain that ends here.
    pub(crate) fn closed(out: &'o mut Outbox) -> Fan<'o, T> {
        Fan {
            out,
            to: StageIndex(0),
            lanes: Vec::new(),
            origin: Origin::default(),
            edges: 0,
            kept: Vec::new(),
            copy: None,
        }
    }

    /// Keeps a value on this task, as a part of the item begun last. `true` when there are as many as
    /// a batch may have.
    #[inline]
    pub(crate) fn keep(&mut self, value: T) -> bool {
        let (origin, edge) = (self.origin, 0);
        self.kept.push(Item {
            origin,
            edge,
            value,
        });
        self.kept.len() == BATCH_ITEMS_MAX
    }

    /// What was kept, and where what becomes of it goes.
    pub(crate) fn take_kept(&mut self) -> (Vec<Item<T>>, &mut Outbox) {
        (std::mem::take(&mut self.kept), self.out)
    }

    /// Goes on with the item begun last after others were run.
    pub(crate) fn resume(&mut self, task: &Task) {
        task.set_origin(self.origin.record);
        self.out.current = self.origin;
    }

    /// The record that the item begun last descends from.
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// Starts the item that descends from `origin` and is known by `edge`.
    #[inline]
    pub(crate) fn begin(&mut self, task: &Task, origin: Origin, edge: u64) {
        task.set_origin(origin.record);
        self.out.current = origin;
        self.origin = origin;
        self.edges = edge;
    }

    /// Ends the item begun last.
    #[inline]
    pub(crate) fn end(&mut self) {
        if !self.out.tracked {
            return;
        }
        match self.out.acks.last_mut() {
            Some(last) if last.origin == self.origin => last.edges ^= self.edges,
            _ => self.out.acks.push(Ack {
                origin: self.origin,
                edges: self.edges,
            }),
        }
    }

    pub(crate) fn tasks(&self) -> u32 {
        self.out.tasks
    }

    /// The next task in round-robin order over a permutation that differs from outbox to outbox
    /// (spec R-4), so that many senders do not start with the same receiver.
    #[inline]
    pub(crate) fn next_shuffled(&mut self) -> u32 {
        let turn = self.out.shuffle_turn;
        self.out.shuffle_turn = if turn + 1 == self.out.tasks {
            0
        } else {
            turn + 1
        };
        let mask = self.out.shuffle_mask;
        if self.out.tasks.is_power_of_two() {
            (turn ^ mask) & (self.out.tasks - 1)
        } else {
            ((u64::from(turn) + u64::from(mask)) % u64::from(self.out.tasks)) as u32
        }
    }

    /// An empty buffer for an encoded key, kept from key to key.
    #[inline]
    pub(crate) fn key_scratch(&mut self) -> &mut Vec<u8> {
        self.out.key_scratch.clear();
        &mut self.out.key_scratch
    }
}

impl<'o, T: Record + Send> Fan<'o, T> {
    /// Opens lanes to every task of stage `to`.
    pub(crate) fn new(out: &'o mut Outbox, to: StageIndex) -> Fan<'o, T> {
        let mut lanes = Vec::new();
        lanes.resize_with(out.tasks as usize, Vec::new);
        Fan {
            out,
            to,
            lanes,
            origin: Origin::default(),
            edges: 0,
            kept: Vec::new(),
            copy: None,
        }
    }

    /// Emits to a task.
    ///
    /// # Panics
    /// When the task does not exist; partitioners check what authors answer.
    #[inline]
    pub(crate) fn push(&mut self, task: u32, value: T) {
        let mut edge = 0;
        if self.out.tracked {
            edge = self.out.random();
            self.edges ^= edge;
        }
        let lane = &mut self.lanes[task as usize];
        if lane.capacity() == 0 {
            lane.reserve_exact(self.out.lane_capacity.max(4));
        }
        lane.push(Item {
            origin: self.origin,
            edge,
            value,
        });
        if lane.len() == BATCH_ITEMS_MAX {
            let batch = Batch::new(std::mem::take(lane));
            self.out.outgoing.push(Outgoing {
                stage: self.to,
                task,
                batch,
            });
        }
    }

    /// A copy of a value for a key closure to take apart, in the buffers of the one before where
    /// that came back.
    #[inline]
    pub(crate) fn copy_of(&mut self, value: &T) -> T
    where
        T: Clone,
    {
        match self.copy.take() {
            Some(mut copy) => {
                copy.clone_from(value);
                copy
            }
            None => value.clone(),
        }
    }

    /// Takes a copy back, if the key is of the type of the values: most often it is the copy.
    #[inline]
    pub(crate) fn keep_copy<K: 'static>(&mut self, key: K) {
        let mut key = Some(key);
        let key: &mut dyn Any = &mut key;
        if let Some(copy) = key.downcast_mut::<Option<T>>() {
            self.copy = copy.take();
        }
    }

    /// Hands the lanes over, each made into a batch for a stage by `combine`.
    pub(crate) fn finish_with(self, combine: &dyn Fn(Vec<Item<T>>) -> (StageIndex, Batch)) {
        for (task, items) in self.lanes.into_iter().enumerate() {
            if items.is_empty() {
                continue;
            }
            let (stage, batch) = combine(items);
            let task = task as u32;
            self.out.outgoing.push(Outgoing { stage, task, batch });
        }
    }

    /// Hands the lanes over.
    pub(crate) fn finish(self) {
        // The next run will likely emit as much: lanes of that size never grow. A quarter more
        // covers most of what hashing spreads unevenly.
        let emitted: usize = self.lanes.iter().map(Vec::len).sum();
        let even = emitted / self.lanes.len();
        self.out.lane_capacity = (even + even / 4).min(BATCH_ITEMS_MAX);
        for (task, items) in self.lanes.into_iter().enumerate() {
            if !items.is_empty() {
                let batch = Batch::new(items);
                self.out.outgoing.push(Outgoing {
                    stage: self.to,
                    task: task as u32,
                    batch,
                });
            }
        }
    }
}
