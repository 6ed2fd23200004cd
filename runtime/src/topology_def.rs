//! What an author can say about a topology and its sources besides their code.
//!
//! Relies on `rama_core` for the words of retries and failure policies. Pure data: who reads a
//! definition decides by it. Options that make no sense for a kind of topology do not exist there.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use rama_core::policy::{Exhausted, FailurePolicy};
use rama_core::stream::RetryMode;
use rama_wire::{Record, RecordError};
use serde_json::Value;

/// The two kinds of topologies that consume depots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TopologyKind {
    /// Record by record, within milliseconds, at least once (spec §7).
    Stream,
    /// In numbered transactions over all tasks, exactly once (spec §8).
    Microbatch,
}

impl TopologyKind {
    /// `stream` or `microbatch`.
    pub fn as_str(self) -> &'static str {
        match self {
            TopologyKind::Stream => "stream",
            TopologyKind::Microbatch => "microbatch",
        }
    }
}

/// Marks builders of stream topologies.
#[derive(Clone, Copy, Debug)]
pub enum Stream {}

/// Marks builders of microbatch topologies.
#[derive(Clone, Copy, Debug)]
pub enum Microbatch {}

/// Marks builders of query topologies.
#[derive(Clone, Copy, Debug)]
pub enum Asked {}

/// [`Stream`], [`Microbatch`] or [`Asked`].
pub trait Kind: sealed::Sealed + 'static {}

impl Kind for Stream {}
impl Kind for Microbatch {}
impl Kind for Asked {}

/// Topologies that consume depots.
pub trait Consumes: Kind {
    /// The same as a value.
    const KIND: TopologyKind;
}

impl Consumes for Stream {
    const KIND: TopologyKind = TopologyKind::Stream;
}

impl Consumes for Microbatch {
    const KIND: TopologyKind = TopologyKind::Microbatch;
}

/// Topologies whose steps may wait for all values: microbatches and queries (spec §4.5).
#[diagnostic::on_unimplemented(
    message = "a stream topology processes record by record: it has no moment at which all are there",
    label = "only for microbatch and query topologies",
    note = "declare the topology with `m.microbatch(…)`, which processes in batches, exactly once",
    note = "or keep the aggregate in a PState: `.each(move |task, v| totals.key(&v.id).update(task, …))`"
)]
pub trait Gathers: Kind {}

impl Gathers for Microbatch {}
impl Gathers for Asked {}

/// Topologies whose appenders wait: streams.
#[diagnostic::on_unimplemented(
    message = "nobody waits for a microbatch topology: it has neither ack returns nor retry modes",
    label = "only for stream topologies",
    note = "a microbatch retries as a whole until it commits; choose `.retries(n)` and \
            `.then_dead_letter()`, `.then_skip()` or `.then_pause()`",
    note = "to tell a client something, write it to a PState that the client reads or watches",
    note = "or declare the topology with `m.stream(…)`"
)]
pub trait Awaited: Kind {}

impl Awaited for Stream {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Stream {}
    impl Sealed for super::Microbatch {}
    impl Sealed for super::Asked {}
}

/// Where a *new* source starts; ignored once it has progress (spec S-21, S-22).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Start {
    /// At the first record still there.
    Beginning,
    /// After the last record: only what is appended from now on.
    #[default]
    End,
    /// At this offset of every partition.
    Offset(u64),
    /// At the first record appended at or after this time (milliseconds since the Unix epoch).
    Timestamp(u64),
    /// At the first record appended at most so long ago.
    Ago(Duration),
    /// So many records before the end of each partition.
    RecordsAgo(u64),
}

/// Combines two ack returns of one record into one (spec S-18).
pub type AckAggregate = Arc<dyn Fn(Value, Value) -> Result<Value, RecordError> + Send + Sync>;

/// How a topology consumes a depot.
///
/// Defaults: starts at the end; a stream retries failed records individually; a failing record is
/// retried ten times from 10 ms doubling to 10 s and then put into the dead-letter depot.
///
/// ```
/// use rama_runtime::SourceOptions;
///
/// # fn check(_: SourceOptions<rama_runtime::Stream>) {}
/// check(SourceOptions::new().start_from_beginning().retry_all_after().retries(3).then_skip());
/// ```
pub struct SourceOptions<K> {
    pub(crate) start: Start,
    pub(crate) retry: RetryMode,
    pub(crate) policy: FailurePolicy,
    pub(crate) ack_aggregate: Option<AckAggregate>,
    pub(crate) id: Option<String>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Default for SourceOptions<K> {
    fn default() -> SourceOptions<K> {
        SourceOptions {
            start: Start::default(),
            retry: RetryMode::Individual,
            policy: FailurePolicy::default(),
            ack_aggregate: None,
            id: None,
            kind: PhantomData,
        }
    }
}

impl<K> SourceOptions<K> {
    /// The defaults.
    pub fn new() -> SourceOptions<K> {
        SourceOptions::default()
    }

    /// A new source starts there.
    pub fn start(mut self, start: Start) -> SourceOptions<K> {
        self.start = start;
        self
    }

    /// A new source starts at the first record still there.
    pub fn start_from_beginning(self) -> SourceOptions<K> {
        self.start(Start::Beginning)
    }

    /// A source beside another one of the same topology over the same depot (spec S-24): it has a start,
    /// progress and dead letters of its own, under this id, for ever. Code that is new can so begin at
    /// the beginning of a depot that other chains of its topology are long past.
    ///
    /// A microbatch that both sources have caught up with takes the same records through both. Then
    /// their chains may become one: pause the topology, and update it to code without the second source.
    ///
    /// ```
    /// # use rama_runtime::{Depot, Map, Module, Partition, PState, Setup, SourceOptions};
    /// # const VISITS: Depot<(String, u64)> = Depot::named("*visits");
    /// # const COUNTS: PState<Map<String, u64>> = PState::named("$$counts");
    /// const SUMS: PState<Map<String, u64>> = PState::named("$$sums");
    ///
    /// # struct M;
    /// # impl Module for M {
    /// # fn define(&self, m: &mut Setup) {
    /// # m.depot_by(VISITS, |(user, _)| user);
    /// # let mut mb = m.microbatch("visits");
    /// # let counts = mb.pstate(COUNTS);
    /// mb.source(VISITS)
    ///     .each(move |task, (user, _)| counts.key(&user).modify(task, |count| *count += 1));
    /// // New with this version, over all visits there ever were:
    /// let sums = mb.pstate(SUMS);
    /// mb.source_with(VISITS, SourceOptions::new().source_id("sums").start_from_beginning())
    ///     .each(move |task, (user, ms)| sums.key(&user).modify(task, |sum| *sum += ms));
    /// # }
    /// # }
    /// # rama_runtime::Definition::of(&M)?;
    /// # Ok::<(), rama_runtime::DefinitionError>(())
    /// ```
    pub fn source_id(mut self, id: impl Into<String>) -> SourceOptions<K> {
        self.id = Some(id.into());
        self
    }

    /// So many retries before giving up on a record; `u32::MAX` for no limit.
    pub fn retries(mut self, retries: u32) -> SourceOptions<K> {
        self.policy.retries = retries;
        self
    }

    /// The delay before the first retry; each further one is twice as long, up to `longest`.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> SourceOptions<K> {
        self.policy.backoff_base_ms = millis(first);
        self.policy.backoff_factor = 2;
        self.policy.backoff_max_ms = millis(longest);
        self
    }

    /// After the last retry, put the record into the dead-letter depot and go on. The default.
    pub fn then_dead_letter(mut self) -> SourceOptions<K> {
        self.policy.then = Exhausted::DeadLetter;
        self
    }

    /// After the last retry, leave the record out and go on.
    pub fn then_skip(mut self) -> SourceOptions<K> {
        self.policy.then = Exhausted::Skip;
        self
    }

    /// After the last retry, stop the topology until someone resumes it.
    pub fn then_pause(mut self) -> SourceOptions<K> {
        self.policy.then = Exhausted::Pause;
        self
    }
}

impl<K: Awaited> SourceOptions<K> {
    /// Retry failed records alone; newer ones may overtake them (spec S-12). The default.
    pub fn retry_individual(mut self) -> SourceOptions<K> {
        self.retry = RetryMode::Individual;
        self
    }

    /// Retry a failed record and everything after it on its partition, in order (spec S-12).
    pub fn retry_all_after(mut self) -> SourceOptions<K> {
        self.retry = RetryMode::AllAfter;
        self
    }

    /// Never retry: at most once (spec S-12).
    pub fn retry_none(mut self) -> SourceOptions<K> {
        self.retry = RetryMode::None;
        self
    }

    /// Combines the ack returns of one record; without it the last one counts (spec S-18).
    pub fn ack_return_agg<V: Record>(
        mut self,
        combine: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> SourceOptions<K> {
        self.ack_aggregate = Some(Arc::new(move |so_far, next| {
            combine(V::from_json(&so_far)?, V::from_json(&next)?).to_json()
        }));
        self
    }
}

impl<K> fmt::Debug for SourceOptions<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceOptions")
            .field("start", &self.start)
            .field("retry", &self.retry)
            .field("policy", &self.policy)
            .field("ack_aggregate", &self.ack_aggregate.is_some())
            .field("id", &self.id)
            .finish()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
