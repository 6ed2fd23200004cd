//! The builder that an author's `define` talks to.
//!
//! Relies on `dataflow` for chains and on `definition` for what comes out. Builders share one draft
//! and record mistakes instead of stopping, so that all of them are told together. What must stay
//! true: ids are given in the order of mention, which is the same in every worker.

mod chain;
mod check;
mod draft;
mod external;
mod globals;
mod migrations;
mod mirrors;
mod options;

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rama_wire::{Key, Record};

use crate::dataflow::{Begin, Entrance, Flow, Steps};
use crate::definition::{Definition, DefinitionError, DepotKind, KeyPlacement};
use crate::depot_def::{Depot, DepotHandle, Partition, PlacementError, RecordDesc};
use crate::graph::Place;
use crate::migration::{Changing, Elements, RecordMigrationDef, Subindexed};
use crate::mirror::SourceDepot;
use crate::path::{Cursor, Located};
use crate::plan::{Function, FunctionDef};
use crate::pstate::{LocalPState, PState};
use crate::query_def::Query;
use crate::schema::{Map, Root, Schema, Tracking};
use crate::step::Step;
use crate::task::Task;
use crate::topology_def::{Asked, Consumes, Microbatch, SourceOptions, Stream};

pub(crate) use chain::Chain;
use draft::{DepotDraft, Draft, Kinded, MigrationDraft, QueryDraft, TopologyDraft};

pub use mirrors::Mirrors;

/// Where a module declares its depots and topologies.
pub struct Setup {
    draft: Rc<RefCell<Draft>>,
}

impl Setup {
    pub(crate) fn new(module: String) -> Setup {
        Setup {
            draft: Rc::new(RefCell::new(Draft::new(module))),
        }
    }

    /// Declares a depot and how clients' appends choose a partition.
    ///
    /// ```
    /// # use rama_runtime::{Depot, Module, Partition, Setup};
    /// const LINES: Depot<String> = Depot::named("*lines");
    /// const ALERTS: Depot<String> = Depot::named("*alerts");
    ///
    /// # struct M;
    /// # impl Module for M {
    /// fn define(&self, m: &mut Setup) {
    ///     m.depot(LINES, Partition::hash_by(|line: &String| line.len() as u64));
    ///     m.depot(ALERTS, Partition::disallow()).global();
    /// }
    /// # }
    /// # rama_runtime::Definition::of(&M)?;
    /// # Ok::<(), rama_runtime::DefinitionError>(())
    /// ```
    #[track_caller]
    pub fn depot<T: Record + Send>(
        &mut self,
        depot: Depot<T>,
        partition: Partition<T>,
    ) -> DepotDecl<T> {
        let kind = DepotKind::Partitioned;
        let declared = DepotDraft::new(depot, kind, partition.into_placement());
        let index = self.draft.borrow_mut().declare_depot(declared);
        DepotDecl {
            draft: Rc::clone(&self.draft),
            index,
            record: PhantomData,
        }
    }

    /// Declares a depot whose partition is the home of a key that stands in the record:
    /// `m.depot_by(PURCHASES, |purchase| &purchase.user)`. As [`depot`](Setup::depot) with
    /// [`Partition::hash_by`], but the closure's parameter needs no type, and no append copies a
    /// key.
    #[track_caller]
    pub fn depot_by<T, K, F>(&mut self, depot: Depot<T>, key: F) -> DepotDecl<T>
    where
        T: Record + Send,
        K: Key,
        F: for<'a> Fn(&'a T) -> &'a K + Send + Sync + 'static,
    {
        self.depot(depot, Partition::hash_by_part(key))
    }

    /// Declares a depot that nobody appends to: it emits `()` on task 0 at an interval (spec D-8…
    /// D-11). Fan out with `all_partition`.
    ///
    /// A stream gets each tick; a microbatch at most one, if the interval has passed since the
    /// last. Missed ticks are not made up.
    #[track_caller]
    pub fn tick_depot(&mut self, depot: Depot<()>, every: Duration) {
        let every_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
        let kind = DepotKind::Tick { every_ms };
        let placement = Partition::<()>::disallow().into_placement();
        self.draft
            .borrow_mut()
            .declare_depot(DepotDraft::new(depot, kind, placement));
    }

    /// Registers the code of a function that clients name in filters and views (spec P-34). It runs
    /// on the task that has the data and should be short; a panic ends the one select.
    #[track_caller]
    pub fn function<I: Record, O: Record, A: Record>(
        &mut self,
        function: Function<I, O, A>,
        run: impl Fn(&I, &A) -> O + Send + Sync + 'static,
    ) {
        let declared = (FunctionDef::of(function, run), Place::of_caller());
        self.draft.borrow_mut().functions.push(declared);
    }

    /// Declares a stream topology: record by record, in milliseconds, at least once (spec §7).
    #[track_caller]
    pub fn stream(&mut self, name: impl Into<String>) -> Topology<Stream> {
        self.topology(name.into())
    }

    /// Declares a microbatch topology: exactly once, atomically over all tasks (spec §8).
    #[track_caller]
    pub fn microbatch(&mut self, name: impl Into<String>) -> Topology<Microbatch> {
        self.topology(name.into())
    }

    /// Declares a query topology: a read over any tasks, run on demand (spec §9). What `build` answers
    /// is the result, which must come out exactly once, on the task where the query began.
    ///
    /// ```
    /// # use rama_runtime::{Module, Setup, PState, Map, Set, Query};
    /// const FOLLOWERS: PState<Map<u64, Set<u64>>> = PState::named("$$followers");
    /// const REACH: Query<Vec<u64>, u64> = Query::named("reach");
    ///
    /// # struct M;
    /// # impl Module for M {
    /// fn define(&self, m: &mut Setup) {
    ///     let mut s = m.stream("follows");
    ///     let followers = s.pstate(FOLLOWERS);
    ///     m.query(REACH, |q| {
    ///         q.flat_map(|_, users| users)
    ///             .hash_partition(|user| user)
    ///             .flat_map(move |task, user| followers.key(&user).elements(task))
    ///             .origin_partition()
    ///             .agg(|of| of.set(|follower| *follower))
    ///             .map(|_, distinct| distinct.len() as u64)
    ///     });
    /// }
    /// # }
    /// # rama_runtime::Definition::of(&M)?;
    /// # Ok::<(), rama_runtime::DefinitionError>(())
    /// ```
    #[track_caller]
    pub fn query<A, R, In, S>(
        &mut self,
        query: Query<A, R>,
        build: impl FnOnce(Flow<Asked, A, Begin, A>) -> Flow<Asked, In, S, R>,
    ) where
        A: Record + Send,
        R: Record + Send,
        In: Entrance,
        S: Steps<In::Value, Out = R>,
    {
        let place = Place::of_caller();
        let kind = Kinded::Answers(QueryDraft {
            args: RecordDesc::of::<A>(),
            result: RecordDesc::of::<R>(),
            leading: None,
        });
        let declared = TopologyDraft::new(query.name().to_owned(), kind, place);
        let index = self.draft.borrow_mut().declare_topology(declared);
        let emits = std::any::type_name::<A>();
        let chain = Chain::query(&self.draft, index, query.name(), emits, place);
        build(Flow::begin(chain)).answer(place);
    }

    #[track_caller]
    fn topology<K: Consumes>(&mut self, name: String) -> Topology<K> {
        let kind = Kinded::Consumes(K::KIND);
        let declared = TopologyDraft::new(name, kind, Place::of_caller());
        let index = self.draft.borrow_mut().declare_topology(declared);
        Topology {
            draft: Rc::clone(&self.draft),
            index,
            kind: PhantomData,
        }
    }

    /// Checks everything that was declared.
    pub(crate) fn finish(self) -> Result<Definition, DefinitionError> {
        let draft = self.draft.replace(Draft::new(String::new()));
        check::finish(draft)
    }
}

/// A depot just declared, for what else there is to say about it.
pub struct DepotDecl<T> {
    draft: Rc<RefCell<Draft>>,
    index: usize,
    record: PhantomData<fn() -> T>,
}

impl<T> DepotDecl<T> {
    /// One partition, on task 0 (spec D-6): total order at the throughput of one task.
    pub fn global(self) -> DepotDecl<T> {
        self.draft.borrow_mut().depots[self.index].kind = DepotKind::Global;
        self
    }

    /// Changes the type of the records that are there (spec D-40…D-44): from the instant of the update
    /// topologies and clients get them as `change` makes them; for `None` a record vanishes, and its
    /// offset stays. Clients append the new type from then on, which does not pass.
    ///
    /// The old type stays declared in the code for as long as the migration; records of another type
    /// than it takes are refused at the update. `id` names the migration within the depot, for ever: an
    /// update with the same id goes on, and a further change is another migration behind it. Old
    /// records stay as they are on disk and pass at each read, so that the migration may be left out
    /// when the last of them is trimmed; before that the update is refused.
    ///
    /// ```
    /// # use rama_runtime::{Depot, Module, Partition, Setup};
    /// // Until version 2 it was Depot<String>: user and page with a space between.
    /// const VIEWS: Depot<(String, String)> = Depot::named("*views");
    ///
    /// # struct M;
    /// # impl Module for M {
    /// fn define(&self, m: &mut Setup) {
    ///     m.depot(VIEWS, Partition::random()).migrate("split", |old: String| {
    ///         let (user, page) = old.split_once(' ')?;
    ///         Some((user.to_owned(), page.to_owned()))
    ///     });
    /// }
    /// # }
    /// # rama_runtime::Definition::of(&M)?;
    /// # Ok::<(), rama_runtime::DefinitionError>(())
    /// ```
    #[track_caller]
    pub fn migrate<Old: Record, New: Record>(
        self,
        id: impl Into<String>,
        change: impl Fn(Old) -> Option<New> + Send + Sync + 'static,
    ) -> DepotDecl<T> {
        let migration = RecordMigrationDef::of(id.into(), change, Place::of_caller());
        self.draft.borrow_mut().depots[self.index]
            .migrations
            .push(migration);
        self
    }

    /// The depot for topology code to append to (spec D-30). `Copy`.
    pub fn handle(&self) -> DepotHandle<T> {
        let log = self.draft.borrow().depots[self.index].log;
        DepotHandle {
            log,
            record: PhantomData,
        }
    }
}

/// A topology under construction. It owns the PStates it declares: it alone writes them (spec P-1).
pub struct Topology<K> {
    draft: Rc<RefCell<Draft>>,
    index: usize,
    kind: PhantomData<fn() -> K>,
}

impl<K: Consumes> Topology<K> {
    /// Declares a PState of this topology and answers with what its code uses: `Copy`, so that
    /// closures move it in. Other topologies of the module may read through the same (spec P-2);
    /// a write by them fails the event.
    ///
    /// Being global or private and having an initial value are options of the [`PState`] constant.
    #[track_caller]
    pub fn pstate<S: Root>(&mut self, pstate: PState<S>) -> LocalPState<S> {
        self.draft
            .borrow_mut()
            .declare_pstate(self.index, pstate, None)
    }

    /// As [`pstate`](Topology::pstate), with the author's choice of the task that holds a key: from
    /// the key and the number of tasks, below the latter. Clients and `path_partition` follow it;
    /// `hash_partition` does not.
    #[track_caller]
    pub fn pstate_placed<Q: Key, S: Schema, T: Tracking>(
        &mut self,
        pstate: PState<Map<Q, S, T>>,
        index: impl Fn(&Q, u32) -> u32 + Send + Sync + 'static,
    ) -> LocalPState<Map<Q, S, T>> {
        let place: KeyPlacement = Arc::new(move |mut key, tasks| {
            let key = Q::decode_key(&mut key)?;
            match index(&key, tasks) {
                task if task < tasks => Ok(task),
                task => Err(PlacementError::OutOfRange {
                    index: task,
                    partitions: tasks,
                }),
            }
        });
        self.draft
            .borrow_mut()
            .declare_pstate(self.index, pstate, Some(place))
    }

    /// Registers code that handlers of this topology call on other tasks: one event there, with all
    /// that an event may do, and an answer for the caller. A failure in it fails the record.
    #[track_caller]
    pub fn step<A, R>(&mut self, f: impl Fn(&Task, A) -> R + Send + Sync + 'static) -> Step<A, R>
    where
        A: Record + Send,
        R: Record + Send,
    {
        let chain = Chain::step::<A>(&self.draft, self.index, Place::of_caller());
        crate::dataflow::step(chain, f)
    }

    /// Changes the type of stored values (spec P-50…P-53): from the instant of the update every read
    /// passes what was stored before through `change`, which in the background is written again for
    /// good. Values that are written from now on are of the new type and do not pass.
    ///
    /// `at` is where the values are: any value under a map's or list's
    /// [`each_value`](crate::PState::each_value), a field of a fixed-keys struct, or the
    /// whole of a PState that is one value (P-52). What is a structure by now leads there as well, for a
    /// change before the one [`to_subindexed`](Topology::migrate_to_subindexed). The old type stays declared in the code for as long
    /// as the migration; bytes of another type than it takes are refused at the update.
    ///
    /// `id` names the migration within the PState, for ever. An update with the same id goes on where
    /// it was; a further change is another migration behind it, also while this one is under way.
    /// It may be left out when it is complete, as
    /// [`migrations`](crate::InProcessCluster::migrations) shows; before that the update is refused.
    /// A new PState has nothing to migrate (P-57).
    ///
    /// ```
    /// # use rama_runtime::{Map, Module, PState, Setup};
    /// // Until version 2 it was PState<Map<String, Map<String, String>>>: artist, song, album.
    /// const SONGS: PState<Map<String, Map<String, (String, u64)>>> = PState::named("$$songs");
    ///
    /// # struct M;
    /// # impl Module for M {
    /// fn define(&self, m: &mut Setup) {
    ///     let mut mb = m.microbatch("catalog");
    ///     let songs = mb.pstate(SONGS);
    ///     let at = SONGS.each_value().each_value();
    ///     mb.migrate("count plays", at, |album: String| (album, 0u64));
    /// }
    /// # }
    /// # rama_runtime::Definition::of(&M)?;
    /// # Ok::<(), rama_runtime::DefinitionError>(())
    /// ```
    #[track_caller]
    pub fn migrate<Old: Record, New: Record>(
        &mut self,
        id: impl Into<String>,
        at: impl Located,
        change: impl Fn(Old) -> New + Send + Sync + 'static,
    ) {
        self.declare_migration(id.into(), at.into_cursor(), Changing::value(change));
    }

    /// As [`migrate`](Topology::migrate), from a value that was stored whole to a subindexed structure
    /// (spec P-50, Rama's `migrateToSubindexed`): `change` gives its elements, as a `BTreeMap` for a
    /// [`Map`], a `BTreeSet` for a [`Set`](crate::Set), a `Vec` for a [`List`](crate::List). From the
    /// instant of the update each is read and written on its own, and the size is known.
    ///
    /// Until it was written again, reading one element of what was a large value converts all of it.
    ///
    /// ```
    /// # use rama_runtime::{List, Map, Module, PState, Setup};
    /// // Until version 2 it was PState<Map<String, Vec<String>>>: the songs of an artist.
    /// const SONGS: PState<Map<String, List<String>>> = PState::named("$$songs");
    ///
    /// # struct M;
    /// # impl Module for M {
    /// fn define(&self, m: &mut Setup) {
    ///     let mut mb = m.microbatch("catalog");
    ///     let songs = mb.pstate(SONGS);
    ///     mb.migrate_to_subindexed("any number", SONGS.each_value(), |old: Vec<String>| old);
    /// }
    /// # }
    /// # rama_runtime::Definition::of(&M)?;
    /// # Ok::<(), rama_runtime::DefinitionError>(())
    /// ```
    #[track_caller]
    pub fn migrate_to_subindexed<Old: Record, New: Elements>(
        &mut self,
        id: impl Into<String>,
        at: impl Located,
        change: impl Fn(Old) -> New + Send + Sync + 'static,
    ) {
        self.declare_migration(id.into(), at.into_cursor(), Changing::spread(change));
    }

    /// As [`migrate`](Topology::migrate), from a subindexed structure to a value that is stored whole:
    /// `change` gets all that the structure holds, a [`Map`] as a `BTreeMap`, a [`Set`](crate::Set) as a
    /// `BTreeSet`, a [`List`](crate::List) as a `Vec`, also one in the other. `Old` is the structure as
    /// it was; of one that was not there nothing becomes.
    ///
    /// Until it was written again, reading such a value reads all elements from all tables that are older
    /// than the update. They are written again all together, at the pace of every migration, once for
    /// each task.
    ///
    /// ```
    /// # use rama_runtime::{List, Map, Module, PState, Setup};
    /// // Until version 2 it was PState<Map<String, Map<String, u64>>>: how often each song was played.
    /// const PLAYS: PState<Map<String, u64>> = PState::named("$$plays");
    ///
    /// # struct M;
    /// # impl Module for M {
    /// fn define(&self, m: &mut Setup) {
    ///     let mut mb = m.microbatch("catalog");
    ///     let plays = mb.pstate(PLAYS);
    ///     let all = PLAYS.each_value();
    ///     mb.migrate_from_subindexed::<Map<String, u64>, _>("all songs together", all, |songs| {
    ///         songs.into_values().sum::<u64>()
    ///     });
    /// }
    /// # }
    /// # rama_runtime::Definition::of(&M)?;
    /// # Ok::<(), rama_runtime::DefinitionError>(())
    /// ```
    #[track_caller]
    pub fn migrate_from_subindexed<Old: Subindexed, New: Record>(
        &mut self,
        id: impl Into<String>,
        at: impl Located,
        change: impl Fn(Old::Value) -> New + Send + Sync + 'static,
    ) {
        let changing = Changing::merged::<Old, New>(change);
        self.declare_migration(id.into(), at.into_cursor(), changing);
    }

    /// Changes the fixed keys of a struct with `#[derive(Schema)]` (spec P-50, Rama's `addFixedKeys` and
    /// `removeFixedKeys`): until now it was `Old`. A field that both have, by name, stays as it is, and
    /// has the same type in both. What only `Old` has is gone from the instant of the update, and from
    /// disk when tables were written again; what only the new struct has begins with nothing. The fields
    /// that stay keep their order.
    ///
    /// Fields that are added behind all others need no migration (P-55). For ids and for how it goes on
    /// see [`migrate`](Topology::migrate).
    ///
    /// ```
    /// # use rama_runtime::{List, Map, Module, PState, Schema, Setup};
    /// #[derive(Schema)]
    /// # #[rama(crate = rama_runtime)]
    /// struct ArtistV1 {
    ///     name: String,
    ///     notes: List<String>,
    ///     songs: List<String>,
    /// }
    ///
    /// #[derive(Schema)]
    /// # #[rama(crate = rama_runtime)]
    /// struct Artist {
    ///     name: String,
    ///     country: String,
    ///     songs: List<String>,
    /// }
    ///
    /// const ARTISTS: PState<Map<String, Artist>> = PState::named("$$artists");
    ///
    /// # struct M;
    /// # impl Module for M {
    /// fn define(&self, m: &mut Setup) {
    ///     let mut mb = m.microbatch("catalog");
    ///     let artists = mb.pstate(ARTISTS);
    ///     mb.migrate_keys::<ArtistV1>("countries, no notes", ARTISTS.each_value());
    /// }
    /// # }
    /// # rama_runtime::Definition::of(&M)?;
    /// # Ok::<(), rama_runtime::DefinitionError>(())
    /// ```
    #[track_caller]
    pub fn migrate_keys<Old: Schema>(&mut self, id: impl Into<String>, at: impl Located) {
        self.declare_migration(id.into(), at.into_cursor(), Changing::fields::<Old>());
    }

    #[track_caller]
    fn declare_migration(&mut self, id: String, at: Cursor, changing: Changing) {
        self.draft.borrow_mut().migrations.push(MigrationDraft {
            topology: self.index,
            id,
            at,
            changing,
            place: Place::of_caller(),
        });
    }

    /// Consumes a depot of the module, or of another one ([`Setup::mirror`]), with the default
    /// [`SourceOptions`]. Steps follow.
    ///
    /// A topology may have several sources, each with a chain of its own (spec S-1, M-11).
    #[track_caller]
    pub fn source<D: SourceDepot>(&mut self, depot: D) -> Flow<K, D::Record, Begin, D::Record> {
        self.source_with(depot, SourceOptions::new())
    }

    /// Consumes a depot, as `options` say.
    #[track_caller]
    pub fn source_with<D: SourceDepot>(
        &mut self,
        depot: D,
        options: SourceOptions<K>,
    ) -> Flow<K, D::Record, Begin, D::Record> {
        Flow::begin(Chain::source(&self.draft, self.index, depot, options))
    }
}

#[cfg(test)]
mod tests;
