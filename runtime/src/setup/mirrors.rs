//! Declaring what a module uses of other modules.
//!
//! Relies on `mirror`. What must stay true: another module is named once, types are those of the
//! constants; what is wrong with that alone is told with everything else, what only the other module
//! can tell, at the launch.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use rama_wire::Record;

use super::Setup;
use super::check::check_name;
use super::draft::{Draft, TopologyDraft};
use crate::definition::{DepotDef, Fault};
use crate::depot_def::{Depot, RecordDesc};
use crate::graph::Place;
use crate::mirror::{
    CopyDef, MirrorDef, MirrorDepot, MirrorPState, MirrorQuery, Mirrored, copy_depot,
};
use crate::pstate::PState;
use crate::query_def::Query;
use crate::schema::Root;

impl Setup {
    /// The objects of another module that this one uses (spec X-1). The other module is named here,
    /// its objects by the constants it was made with; a launch checks that it runs and has them.
    ///
    /// ```
    /// # use rama_runtime::{Depot, Map, Module, Partition, PState, Setup};
    /// // In the crate of module Profiles, or in one that both use:
    /// const EVENTS: Depot<u64> = Depot::named("*events");
    /// const NAMES: PState<Map<u64, String>> = PState::named("$$names");
    /// // Here:
    /// const GREETINGS: PState<Map<u64, String>> = PState::named("$$greetings");
    ///
    /// # struct M;
    /// # impl Module for M {
    /// fn define(&self, m: &mut Setup) {
    ///     let profiles = m.mirror("Profiles");
    ///     let (events, names) = (profiles.depot(EVENTS), profiles.pstate(NAMES));
    ///     let mut s = m.stream("greet");
    ///     let greetings = s.pstate(GREETINGS);
    ///     s.source(events)
    ///         .select(names, |user| NAMES.key(user))
    ///         .hash_partition(|(user, _)| user)
    ///         .each(move |task, (user, name)| {
    ///             let name = name.unwrap_or_else(|| "stranger".to_owned());
    ///             greetings.key(&user).set(task, format!("hello, {name}"));
    ///         });
    /// }
    /// # }
    /// # rama_runtime::Definition::of(&M)?;
    /// # Ok::<(), rama_runtime::DefinitionError>(())
    /// ```
    pub fn mirror(&mut self, module: &'static str) -> Mirrors {
        let draft = Rc::clone(&self.draft);
        Mirrors { draft, module }
    }
}

/// The objects of another module, to be declared before they are used. From [`Setup::mirror`].
pub struct Mirrors {
    draft: Rc<RefCell<Draft>>,
    module: &'static str,
}

impl Mirrors {
    /// A depot of the other module: a source for streams and microbatches, with all
    /// [options](crate::SourceOptions) (spec X-3). `Copy`.
    ///
    /// Each source partition is read by one task of this module, in order (spec X-6). Offsets and
    /// start positions are those of the other module. What is read is kept here, durably, until the
    /// topology has processed it: each record is taken once, and the other module need not be up to
    /// try one again. Whoever appends to the depot never waits for consumers in other modules (D-17).
    #[track_caller]
    pub fn depot<T: Record + Send>(&self, depot: Depot<T>) -> MirrorDepot<T> {
        self.declare(Mirrored::Depot {
            name: depot.name().to_owned(),
            record: RecordDesc::of::<T>(),
        });
        let module = self.module;
        MirrorDepot { module, depot }
    }

    /// A PState of the other module, to be read (spec X-2). What is read is committed there. `Copy`.
    #[track_caller]
    pub fn pstate<S: Root>(&self, pstate: PState<S>) -> MirrorPState<S> {
        self.declare(Mirrored::PState {
            name: pstate.name().to_owned(),
            schema: pstate.desc(),
        });
        if pstate.is_private() {
            let fault = Fault {
                object: format!("mirror of PState {} of {}", pstate.name(), self.module),
                problem: "is private: only its own module reads it".to_owned(),
                fix: "drop .private() from its constant, or mirror a query that reads it"
                    .to_owned(),
                place: Place::of_caller(),
                first: None,
            };
            self.draft.borrow_mut().faults.push(fault);
        }
        let module = self.module;
        MirrorPState { module, pstate }
    }

    /// A query of the other module, to be invoked (spec X-5). `Copy`.
    #[track_caller]
    pub fn query<A: Record + Send, R: Record + Send>(
        &self,
        query: Query<A, R>,
    ) -> MirrorQuery<A, R> {
        self.declare(Mirrored::Query {
            name: query.name().to_owned(),
            args: RecordDesc::of::<A>(),
            result: RecordDesc::of::<R>(),
        });
        let module = self.module;
        MirrorQuery { module, query }
    }

    #[track_caller]
    fn declare(&self, object: Mirrored) {
        let mirror = MirrorDef {
            module: self.module.to_owned(),
            object,
            place: Place::of_caller(),
        };
        self.draft.borrow_mut().mirrors.push(mirror);
    }
}

/// What can be told without the other modules.
pub(super) fn check(draft: &Draft, faults: &mut Vec<Fault>) {
    let mut first = BTreeMap::new();
    for mirror in &draft.mirrors {
        let (kind, name) = (mirror.object.kind(), mirror.object.name());
        let place = mirror.place;
        let object = format!("mirror of {kind} {name} of {}", mirror.module);
        check_name("module", &mirror.module, "", place, faults);
        if mirror.module == draft.module {
            faults.push(Fault {
                object: object.clone(),
                problem: "is an object of this very module".to_owned(),
                fix: "use it as it is declared, without a mirror".to_owned(),
                place,
                first: None,
            });
        }
        if let Some(earlier) = first.insert((&mirror.module, kind, name), place) {
            faults.push(Fault {
                object,
                problem: "is declared twice".to_owned(),
                fix: "declare it once and use what that returned: it is Copy".to_owned(),
                place,
                first: Some(earlier),
            });
        }
    }
}

/// What topologies keep of mirror depots, and the depots where they do.
pub(super) fn copies(topologies: &[TopologyDraft]) -> (Vec<CopyDef>, Vec<DepotDef>) {
    let (mut copies, mut depots) = (Vec::new(), Vec::new());
    for topology in topologies {
        for source in &topology.sources {
            let Some((module, record)) = &source.mirror else {
                continue;
            };
            let copy = CopyDef {
                log: source.log,
                module: (*module).to_owned(),
                depot: source.depot.to_owned(),
                topology: topology.name.clone(),
                id: source.id.clone(),
                start: source.start,
                record: record.fingerprint,
            };
            depots.push(copy_depot(&copy, record.clone(), source.place));
            copies.push(copy);
        }
    }
    (copies, depots)
}
