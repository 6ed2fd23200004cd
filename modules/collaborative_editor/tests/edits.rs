//! What a user of the module would check: edits of one version come together as their authors meant.
//!
//! Relies on an in-process cluster of random shape, on simulations, and for changes on a text whose
//! characters are known one by one. Values follow the survey's CollaborativeDocumentEditor (spec
//! 16.3), except that what is added within a part that is removed stays where that part was.

use std::collections::BTreeSet;
use std::time::Duration;

use collaborative_editor::{CHANGES, Change, CollaborativeEditor, DOCUMENT, EDITS, Edit};
use rama::prelude::*;

fn add(at: u64, text: &str) -> Change {
    Change::Add {
        at,
        text: text.into(),
    }
}

fn remove(at: u64, count: u64) -> Change {
    Change::Remove { at, count }
}

fn after_all(change: Change, missed: &[Change]) -> Vec<Change> {
    missed.iter().fold(vec![change], |changes, missed| {
        changes
            .into_iter()
            .flat_map(|change| change.after(missed))
            .collect()
    })
}

#[test]
fn a_change_is_moved_by_what_it_missed() {
    for (missed, at) in [
        (add(8, "...."), 14),
        (add(10, ".."), 12),
        (add(17, "..."), 10),
        (add(12, "."), 10),
        (remove(8, 3), 8),
        (remove(10, 4), 10),
        (remove(2, 3), 7),
        (remove(15, 2), 10),
    ] {
        assert_eq!(
            add(10, "abcde").after(&missed),
            [add(at, "abcde")],
            "{missed:?}"
        );
    }
    for (missed, expected) in [
        (add(8, "..."), vec![remove(13, 6)]),
        (add(10, "...."), vec![remove(14, 6)]),
        (add(16, "..."), vec![remove(10, 6)]),
        (add(20, "..."), vec![remove(10, 6)]),
        (add(12, "..."), vec![remove(15, 4), remove(10, 2)]),
        (remove(0, 2), vec![remove(8, 6)]),
        (remove(8, 5), vec![remove(8, 3)]),
        (remove(7, 100), vec![]),
        (remove(10, 1), vec![remove(10, 5)]),
        (remove(10, 6), vec![]),
        (remove(10, 10), vec![]),
        (remove(12, 2), vec![remove(10, 4)]),
        (remove(12, 10), vec![remove(10, 2)]),
        (remove(16, 1), vec![remove(10, 6)]),
        (remove(16, 10), vec![remove(10, 6)]),
        (remove(18, 10), vec![remove(10, 6)]),
    ] {
        assert_eq!(remove(10, 6).after(&missed), expected, "{missed:?}");
    }
    let missed = [
        add(10, "..."),
        remove(100, 10),
        remove(19, 5),
        add(20, ".."),
    ];
    assert_eq!(
        after_all(remove(20, 5), &missed),
        [remove(22, 3), remove(19, 1)]
    );
}

#[test]
fn a_change_is_refused_where_the_text_does_not_reach() {
    assert_eq!(add(3, "é").apply("añb"), Some("añbé".into()));
    assert_eq!(remove(1, 2).apply("añb"), Some("a".into()));
    for change in [
        add(4, "x"),
        remove(2, 2),
        remove(4, 0),
        remove(1, u64::MAX),
        add(u64::MAX, ""),
    ] {
        assert_eq!(change.apply("añb"), None, "{change:?}");
    }
    // What nobody should send moves nothing out of range.
    let end = u64::MAX;
    for missed in [
        add(0, "...."),
        add(end, "."),
        remove(0, end),
        remove(end, end),
        remove(5, 0),
    ] {
        for change in [
            add(end, "x"),
            remove(end, end),
            remove(0, end),
            remove(3, 0),
        ] {
            let _ = change.after(&missed);
        }
    }
}

/// Every character that is ever added is another one; so it can be said which are meant.
#[test]
fn edits_of_old_versions_do_what_their_authors_meant() {
    for seed in 1..=400_u64 {
        let mut random = seed;
        let mut below = |limit: usize| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) as usize % limit.max(1)
        };
        let mut next = 'a';
        let (mut versions, mut changes) = (vec![String::new()], Vec::<Change>::new());
        let (mut added, mut removed) = (BTreeSet::new(), BTreeSet::new());
        for _ in 0..12 {
            let version = below(versions.len());
            let seen: Vec<char> = versions[version].chars().collect();
            let at = below(seen.len() + 1);
            let change = if below(2) == 0 {
                let text: String = (0..1 + below(4)).map(|_| advance(&mut next)).collect();
                added.extend(text.chars());
                add(at as u64, &text)
            } else {
                let count = below(seen.len() - at + 1);
                removed.extend(&seen[at..at + count]);
                remove(at as u64, count as u64)
            };
            for change in after_all(change, &changes[version..]) {
                let last = versions.last().expect("the empty one");
                let text = change.apply(last).expect("it reaches that far");
                versions.push(text);
                changes.push(change);
            }
            let text: BTreeSet<char> = versions[versions.len() - 1].chars().collect();
            let expected: BTreeSet<char> = added.difference(&removed).copied().collect();
            assert_eq!(text, expected, "seed {seed}: {changes:?}");
        }
    }
}

fn advance(next: &mut char) -> char {
    let this = *next;
    *next = char::from_u32(u32::from(this) + 1).expect("few characters");
    this
}

async fn edit(cluster: &Cluster, version: u64, change: Change) -> serde_json::Value {
    let edit = Edit {
        document: 123,
        version,
        change,
    };
    let edited = cluster.depot(EDITS).append(&edit).await.expect("append");
    edited.returns["edits"].clone()
}

async fn document(cluster: &Cluster, document: u64) -> (String, u64) {
    cluster
        .query(DOCUMENT)
        .invoke(document)
        .await
        .expect("an answer")
}

/// T-5, D-19, S-18: an edit that is acknowledged is in the document; the ack says the version.
#[tokio::test]
async fn six_edits_of_three_versions_come_together() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(CollaborativeEditor).await.expect("launch");
    assert_eq!(document(&cluster, 123).await, (String::new(), 0));
    for (version, change, text) in [
        (0, add(0, "Hellox"), "Hellox"),
        (1, remove(5, 1), "Hello"),
        (1, add(6, " world"), "Hello world"),
        (3, add(11, "!"), "Hello world!"),
        (3, add(11, "abcd"), "Hello world!abcd"),
        (3, remove(0, 4), "o world!abcd"),
    ] {
        let (_, before) = document(&cluster, 123).await;
        assert_eq!(edit(&cluster, version, change).await, before + 1);
        assert_eq!(document(&cluster, 123).await, (text.into(), before + 1));
    }
    // All that it removes is gone already: nothing to do, nothing refused.
    assert_eq!(edit(&cluster, 5, remove(1, 2)).await, 6);
    for (version, change) in [(7, add(0, "x")), (6, add(13, "x")), (6, remove(12, 1))] {
        assert!(
            edit(&cluster, version, change.clone()).await.is_null(),
            "{change:?} of {version}"
        );
    }
    assert_eq!(document(&cluster, 123).await, ("o world!abcd".into(), 6));
}

/// S-11: every edit is made once, whatever fails, and the changes on record make the text.
#[test]
fn each_edit_is_made_once_under_faults() {
    for seed in 0..100 {
        let simulation = Simulation::seed(seed)
            .tasks(1 << (seed % 4))
            .faults(Faults::all());
        simulation.run(CollaborativeEditor, |cluster| async move {
            for number in 0..25 {
                let random = |below: u64| cluster.random_u64() % below;
                let change = match random(3) {
                    0 => remove(random(20), random(5)),
                    _ => add(random(10), &format!("<{number}>")),
                };
                let edit = Edit {
                    document: random(2),
                    version: random(6),
                    change,
                };
                let append = cluster.depot(EDITS).append_with(&edit, AckLevel::AppendAck);
                // Whether it was taken is asked of the depot, below.
                if append.await.is_err() {
                    cluster.sleep(Duration::from_millis(5)).await;
                }
            }
            cluster.calm().await;
            let edits = cluster.depot(EDITS).read_all().await.expect("read");
            for number in 0..2 {
                let (mut text, mut changes) = (String::new(), Vec::<Change>::new());
                for edit in edits.iter().filter(|edit| edit.document == number) {
                    let Some(missed) = changes.get(edit.version as usize..) else {
                        continue;
                    };
                    let made = after_all(edit.change.clone(), missed);
                    let new = made
                        .iter()
                        .try_fold(text.clone(), |text, made| made.apply(&text));
                    if let Some(new) = new {
                        text = new;
                        changes.extend(made);
                    }
                }
                let expected = (text, changes.len() as u64);
                for _ in 0..200 {
                    if document(&cluster, number).await == expected {
                        break;
                    }
                    cluster.sleep(Duration::from_millis(50)).await;
                }
                assert_eq!(document(&cluster, number).await, expected, "seed {seed}");
                let recorded = CHANGES.key(&number).all();
                let recorded = cluster
                    .pstate(CHANGES)
                    .select(recorded)
                    .await
                    .expect("select");
                assert_eq!(recorded, changes, "seed {seed}");
            }
        });
    }
}
