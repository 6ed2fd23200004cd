//! What launches, updates and destroys check of modules that use each other.

use super::*;
use crate::definition::Definition;
use crate::{InProcessCluster, block_on};

/// A module `Source` without the stream's PState, or with it hidden, or with other events.
struct OtherSource {
    events: bool,
    hidden: bool,
}

const OTHER_EVENTS: Depot<String> = Depot::named("*events");
const HIDDEN: PState<Map<u64, u64>> = PState::named("$$seen").private();
const SECRET: PState<Map<u64, u64>> = PState::named("$$seen");

impl Module for OtherSource {
    fn define(&self, m: &mut Setup) {
        match self.events {
            true => drop(m.depot(EVENTS, Partition::random())),
            false => drop(m.depot(OTHER_EVENTS, Partition::random())),
        }
        let mut s = m.stream("count");
        if self.hidden {
            s.pstate(HIDDEN);
        }
    }

    fn name(&self) -> String {
        "Source".to_owned()
    }
}

/// Uses everything of `Source`, in one topology.
struct UsesAll;

const GOT: PState<Map<u64, u64>> = PState::named("$$got");

impl Module for UsesAll {
    fn define(&self, m: &mut Setup) {
        let source = m.mirror("Source");
        let (events, seen) = (source.depot(EVENTS), source.pstate(SECRET));
        let seen_of = source.query(SEEN_OF);
        let mut s = m.stream("use");
        let got = s.pstate(GOT);
        s.source_with(events, SourceOptions::new().start_from_beginning())
            .select(seen, |(key, _)| SECRET.key(key))
            .query_of(seen_of, |((key, _), _)| *key)
            .hash_partition(|(((key, _), _), _)| key)
            .each(move |task, (((key, _), _), n)| got.key(&key).set(task, n));
    }
}

fn cluster() -> InProcessCluster {
    InProcessCluster::new(2, 1).unwrap()
}

/// X-8, X-9: a launch names each object that is missing, hidden or something else, and what to do.
#[test]
fn a_launch_says_what_it_misses_in_other_modules() {
    block_on(async {
        let cluster = cluster();
        let refused = cluster.launch(UsesAll).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Rejected);
        assert_eq!(
            refused.to_string(),
            "could not launch module UsesAll: what it uses of others is not there\n  \
             module Source is not running: launch it first"
        );
        let other = OtherSource {
            events: false,
            hidden: true,
        };
        cluster.launch(other).await.unwrap();
        let refused = cluster.launch(UsesAll).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "could not launch module UsesAll: what it uses of others is not there\n  \
             depot *events of module Source: its type is String there and (u64, u64) here; build \
             both from the same constant\n  \
             PState $$seen of module Source: it is private; drop .private() there, or use a query \
             that reads it\n  \
             query seen-of of module Source: it has no such query (it has none)"
        );
        assert_eq!(cluster.modules_here(), ["Source"], "nothing was done");
    });
}

/// X-9: an update may not take away what others use, and a module that is used may not be destroyed.
#[test]
fn what_others_use_stays() {
    block_on(async {
        let cluster = cluster();
        cluster.launch_with_tasks(Source, 4).await.unwrap();
        cluster.launch(UsesAll).await.unwrap();
        let less = OtherSource {
            events: true,
            hidden: false,
        };
        let refused = cluster.update(less).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Rejected);
        assert_eq!(
            refused.to_string(),
            "could not update module Source: others use what it would not have\n  \
             module UsesAll uses\n  \
             PState $$seen of module Source: it has no such PState (it has none)\n  \
             query seen-of of module Source: it has no such query (it has none)\n  \
             keep it, or update them first so that they use it no more"
        );
        let refused = cluster.destroy("Source").await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "could not destroy module Source: it is used by UsesAll; update them so that they use \
             it no more, or destroy them first"
        );
        // It still runs, and a used module may be updated to what has the same and more. What reads it
        // waits until it has counted the record.
        cluster.pause("UsesAll", "use").await.unwrap();
        cluster.depot(EVENTS).append(&(1, 1)).await.unwrap();
        cluster.update(Source).await.unwrap();
        cluster.resume("UsesAll", "use").await.unwrap();
        cluster
            .wait_for_processed("UsesAll", "use", 1)
            .await
            .unwrap();
        let got = cluster.pstate(GOT).select(GOT.key(&1)).await.unwrap();
        assert_eq!(got, Some(1));
        cluster.destroy("UsesAll").await.unwrap();
        cluster.destroy("Source").await.unwrap();
    });
}

const HERE: Depot<u64> = Depot::named("*here");
const DOUBLED: PState<Map<u64, u64>> = PState::named("$$doubled");
const THERE: Depot<u64> = Depot::named("*there");
const TRIPLED: PState<Map<u64, u64>> = PState::named("$$tripled");

/// Doubles what is appended here, and, later, what `Back` has.
struct Forth {
    circular: bool,
}

impl Module for Forth {
    fn define(&self, m: &mut Setup) {
        m.depot(HERE, Partition::hash_by(|n: &u64| *n));
        let mut s = m.stream("double");
        let doubled = s.pstate(DOUBLED);
        s.source(HERE)
            .each(move |task, n| doubled.key(&n).set(task, 2 * n));
        if self.circular {
            let there = m.mirror("Back").depot(THERE);
            let mut more = m.stream("more");
            let options = SourceOptions::new().start_from_beginning();
            let tripled = more.pstate(TRIPLED);
            more.source_with(there, options)
                .hash_partition(|n| n)
                .each(move |task, n| tripled.key(&n).set(task, 3 * n));
        }
    }
}

const READ_BACK: Query<u64, u64> = Query::named("read-back");

/// Has numbers, and reads what `Forth` doubled.
struct Back;

impl Module for Back {
    fn define(&self, m: &mut Setup) {
        m.depot(THERE, Partition::hash_by(|n: &u64| *n));
        let doubled = m.mirror("Forth").pstate(DOUBLED);
        m.query(READ_BACK, |q| {
            q.select(doubled, |n| DOUBLED.key(n))
                .map(|_, (_, doubled)| doubled.unwrap_or(0))
                .origin_partition()
        });
    }
}

/// X-10, and mirrors.CircularDependencies of spec §16.1: two modules use each other after an update; over
/// their data they start in any order.
#[test]
fn modules_come_to_use_each_other_by_updates() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let start = || {
            InProcessCluster::builder()
                .tasks(2)
                .threads(1)
                .dir(dir.path())
                .start()
        };
        let cluster = start().unwrap();
        let refused = cluster.launch(Forth { circular: true }).await.unwrap_err();
        assert!(
            refused.to_string().contains("module Back is not running"),
            "{refused}"
        );
        cluster
            .launch_with_tasks(Forth { circular: false }, 4)
            .await
            .unwrap();
        cluster.launch(Back).await.unwrap();
        cluster.update(Forth { circular: true }).await.unwrap();
        cluster.depot(HERE).append(&7).await.unwrap();
        assert_eq!(cluster.query(READ_BACK).invoke(7).await.unwrap(), 14);
        cluster.depot(THERE).append(&5).await.unwrap();
        cluster
            .wait_for_processed("Forth", "more", 1)
            .await
            .unwrap();
        let tripled = cluster
            .pstate(TRIPLED)
            .select(TRIPLED.key(&5))
            .await
            .unwrap();
        assert_eq!(tripled, Some(15));
        for module in ["Forth", "Back"] {
            let refused = cluster.destroy(module).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Rejected);
        }
        cluster.shutdown().await.unwrap();

        let cluster = start().unwrap();
        cluster
            .launch_with_tasks(Forth { circular: true }, 4)
            .await
            .unwrap();
        cluster.launch(Back).await.unwrap();
        cluster.depot(THERE).append(&6).await.unwrap();
        cluster
            .wait_for_processed("Forth", "more", 1)
            .await
            .unwrap();
        let less = Forth { circular: false };
        let gone = cluster.update_deleting(less, &["$$tripled"]).await;
        gone.unwrap();
        cluster.destroy("Back").await.unwrap();
    });
}

/// Declares mirrors that cannot be.
struct Mistaken;

impl Module for Mistaken {
    fn define(&self, m: &mut Setup) {
        let source = m.mirror("Source");
        source.depot(EVENTS);
        source.depot(EVENTS);
        source.pstate(HIDDEN);
        m.mirror("Mistaken").query(SEEN_OF);
        m.mirror("").depot(EVENTS);
    }
}

/// X-8 and the errors of spec §19: what is wrong with a mirror by itself is told by the definition.
#[test]
fn a_definition_says_what_is_wrong_with_its_mirrors() {
    let error = Definition::of(&Mistaken).unwrap_err();
    let told: Vec<String> = error
        .faults
        .iter()
        .map(|fault| format!("{} {}; {}", fault.object, fault.problem, fault.fix))
        .collect();
    assert_eq!(
        told,
        [
            "mirror of PState $$seen of Source is private: only its own module reads it; drop \
             .private() from its constant, or mirror a query that reads it",
            "mirror of depot *events of Source is declared twice; declare it once and use what that \
             returned: it is Copy",
            "mirror of query seen-of of Mistaken is an object of this very module; use it as it is \
             declared, without a mirror",
            "module has no name; give it one, such as \"example\"",
        ]
    );
}

/// The manifest lists what a module uses of others, by which a conductor checks it.
#[test]
fn the_manifest_lists_what_is_used_of_others() {
    let manifest = Definition::of(&UsesAll).unwrap().manifest();
    let listed: Vec<String> = manifest["mirrors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mirror| format!("{} {} {}", mirror["module"], mirror["kind"], mirror["name"]))
        .collect();
    let expected = [
        r#""Source" "depot" "*events""#,
        r#""Source" "PState" "$$seen""#,
        r#""Source" "query" "seen-of""#,
    ];
    assert_eq!(listed, expected);
    assert_eq!(
        manifest["depots"],
        serde_json::json!([]),
        "copies are nobody's business"
    );
    let source = &manifest["topologies"][0]["sources"][0];
    assert_eq!(
        (&source["depot"], &source["start"]),
        (&"*Source/events".into(), &"beginning".into())
    );
}
