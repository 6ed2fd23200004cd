//! A collaborative editor: many people change one document at once, none waits for another.
//!
//! Relies on a document being on one task, so that its changes have one order. Who edits says which
//! version they saw; what came since then moves the edit to where it was meant. What must stay true:
//! the changes on record, made one after the other to an empty text, are the document; its version is
//! their number.

mod change;

use rama::prelude::*;

pub use change::Change;

/// Somebody changes a document.
#[rama::record]
pub struct Edit {
    /// Which.
    pub document: u64,
    /// The version that the change is made to.
    pub version: u64,
    /// What changes.
    pub change: Change,
}

/// Edits, partitioned by document. The ack returns the version that came of it, or none if there was
/// no such version or no such place in it.
pub const EDITS: Depot<Edit> = Depot::named("*edits");
/// Document to its text.
pub const TEXTS: PState<Map<u64, String>> = PState::named("$$texts");
/// Document to its changes, oldest first.
pub const CHANGES: PState<Map<u64, List<Change>>> = PState::named("$$changes");
/// The text of a document, and its version.
pub const DOCUMENT: Query<u64, (String, u64)> = Query::named("document");

/// The module.
pub struct CollaborativeEditor;

impl Module for CollaborativeEditor {
    fn define(&self, m: &mut Setup) {
        m.depot_by(EDITS, |edit| &edit.document);
        let mut s = m.stream("edits");
        let (texts, changes) = (s.pstate(TEXTS), s.pstate(CHANGES));
        s.source(EDITS).each(move |task, edit| {
            let (text, changes) = (texts.key(&edit.document), changes.key(&edit.document));
            let missed = changes.range(edit.version..).values(task);
            let made = missed.iter().fold(vec![edit.change], |made, missed| {
                made.into_iter()
                    .flat_map(|change| change.after(missed))
                    .collect()
            });
            let old = text.get(task).unwrap_or_default();
            let new = made
                .iter()
                .try_fold(old, |text, change| change.apply(&text));
            let taken = new
                .filter(|_| edit.version <= changes.len(task))
                .map(|new| {
                    text.set(task, new);
                    made.into_iter()
                        .for_each(|change| changes.append(task, change));
                    changes.len(task)
                });
            task.ack_return(&taken);
        });
        m.query(DOCUMENT, |q| {
            q.hash_partition(|document| document)
                .map(move |task, document| {
                    let text = texts.key(&document).get(task).unwrap_or_default();
                    (text, changes.key(&document).len(task))
                })
                .origin_partition()
        });
    }
}
