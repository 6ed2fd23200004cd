//! Programs that handle some kinds of diffs and leave the expansion of the others to us.
//!
//! Relies on `Diff::expansion`. What must stay true (P-49): parts are delivered in order; when any
//! part can be handled by nobody, nothing is delivered, and `unhandled` is called once.

use std::borrow::Cow;

use super::Diff;

/// Handles a part of a diff.
pub type Handler<P, K, V> = fn(&mut P, &Diff<K, V>);

/// The kinds of diffs that a program handles: what it answers for a kind is called with each part
/// of that kind, and what it does not answer for is expanded into simpler kinds.
///
/// ```
/// use rama_runtime::{Diff, Handler, Processor};
///
/// /// Keeps names that were added.
/// #[derive(Default)]
/// struct Names {
///     added: Vec<String>,
///     read_again: bool,
/// }
///
/// impl Processor<String, ()> for Names {
///     fn set_add(&self) -> Option<Handler<Names, String, ()>> {
///         Some(|names, diff| {
///             if let Diff::SetAdd { element } = diff {
///                 names.added.push(element.clone());
///             }
///         })
///     }
///
///     fn unhandled(&mut self) {
///         self.read_again = true;
///     }
/// }
///
/// let element = |name: &str| Diff::SetAdd { element: name.to_owned() };
/// let diff = Diff::Multi { diffs: vec![element("a"), element("b")] };
/// let mut names = Names::default();
/// diff.process(&mut names);
/// assert_eq!(names.added, ["a", "b"]);
/// diff_of_nothing_known().process(&mut names);
/// assert!(names.read_again);
/// # fn diff_of_nothing_known() -> Diff<String, ()> { Diff::Unknown }
/// ```
pub trait Processor<K, V>: Sized {
    /// Some part is of a kind that is not handled, and nothing was delivered: read the whole value
    /// again, as after a resync.
    fn unhandled(&mut self);

    /// Who handles [`Diff::Key`].
    fn key(&self) -> Option<Handler<Self, K, V>> {
        None
    }

    /// Who handles [`Diff::Keys`].
    fn keys(&self) -> Option<Handler<Self, K, V>> {
        None
    }

    /// Who handles [`Diff::KeyRemove`].
    fn key_remove(&self) -> Option<Handler<Self, K, V>> {
        None
    }

    /// Who handles [`Diff::KeysRemove`].
    fn keys_remove(&self) -> Option<Handler<Self, K, V>> {
        None
    }

    /// Who handles [`Diff::KeyChange`].
    fn key_change(&self) -> Option<Handler<Self, K, V>> {
        None
    }

    /// Who handles [`Diff::NewValue`].
    fn new_value(&self) -> Option<Handler<Self, K, V>> {
        None
    }

    /// Who handles [`Diff::Multi`].
    fn multi(&self) -> Option<Handler<Self, K, V>> {
        None
    }

    /// Who handles [`Diff::SetAdd`].
    fn set_add(&self) -> Option<Handler<Self, K, V>> {
        None
    }

    /// Who handles [`Diff::SetRemove`].
    fn set_remove(&self) -> Option<Handler<Self, K, V>> {
        None
    }

    /// Who handles [`Diff::MultiSetAdd`].
    fn multi_set_add(&self) -> Option<Handler<Self, K, V>> {
        None
    }

    /// Who handles [`Diff::MultiSetRemove`].
    fn multi_set_remove(&self) -> Option<Handler<Self, K, V>> {
        None
    }

    /// Who handles [`Diff::SequenceInsert`].
    fn sequence_insert(&self) -> Option<Handler<Self, K, V>> {
        None
    }

    /// Who handles [`Diff::SequenceInserts`].
    fn sequence_inserts(&self) -> Option<Handler<Self, K, V>> {
        None
    }

    /// Who handles [`Diff::IndexChange`].
    fn index_change(&self) -> Option<Handler<Self, K, V>> {
        None
    }

    /// Who handles [`Diff::IndexChanges`].
    fn index_changes(&self) -> Option<Handler<Self, K, V>> {
        None
    }

    /// Who handles [`Diff::IndexRemove`].
    fn index_remove(&self) -> Option<Handler<Self, K, V>> {
        None
    }

    /// Who handles [`Diff::Reorder`].
    fn reorder(&self) -> Option<Handler<Self, K, V>> {
        None
    }

    /// Who handles [`Diff::SequenceChange`].
    fn sequence_change(&self) -> Option<Handler<Self, K, V>> {
        None
    }

    /// Who handles [`Diff::Append`].
    fn append(&self) -> Option<Handler<Self, K, V>> {
        None
    }

    /// Who handles [`Diff::Unknown`].
    fn unknown(&self) -> Option<Handler<Self, K, V>> {
        None
    }

    /// Who handles [`Diff::Resync`].
    fn resync(&self) -> Option<Handler<Self, K, V>> {
        None
    }

    /// Who handles [`Diff::Destroyed`].
    fn destroyed(&self) -> Option<Handler<Self, K, V>> {
        None
    }

    /// Who handles [`Diff::UngracefulTermination`].
    fn ungraceful_termination(&self) -> Option<Handler<Self, K, V>> {
        None
    }
}

impl<K: Clone + 'static, V: Clone> Diff<K, V> {
    /// Delivers the diff to a program in parts that it handles; when it does not handle all of
    /// them, calls `unhandled` once and delivers nothing.
    pub fn process<P: Processor<K, V>>(&self, program: &mut P) {
        let mut parts = Vec::new();
        if !collect(Cow::Borrowed(self), program, &mut parts) {
            return program.unhandled();
        }
        for (handler, part) in parts {
            handler(program, &part);
        }
    }

    fn handler<P: Processor<K, V>>(&self, program: &P) -> Option<Handler<P, K, V>> {
        match self {
            Diff::Key { .. } => program.key(),
            Diff::Keys { .. } => program.keys(),
            Diff::KeyRemove { .. } => program.key_remove(),
            Diff::KeysRemove { .. } => program.keys_remove(),
            Diff::KeyChange { .. } => program.key_change(),
            Diff::NewValue { .. } => program.new_value(),
            Diff::Multi { .. } => program.multi(),
            Diff::SetAdd { .. } => program.set_add(),
            Diff::SetRemove { .. } => program.set_remove(),
            Diff::MultiSetAdd { .. } => program.multi_set_add(),
            Diff::MultiSetRemove { .. } => program.multi_set_remove(),
            Diff::SequenceInsert { .. } => program.sequence_insert(),
            Diff::SequenceInserts { .. } => program.sequence_inserts(),
            Diff::IndexChange { .. } => program.index_change(),
            Diff::IndexChanges { .. } => program.index_changes(),
            Diff::IndexRemove { .. } => program.index_remove(),
            Diff::Reorder { .. } => program.reorder(),
            Diff::SequenceChange { .. } => program.sequence_change(),
            Diff::Append { .. } => program.append(),
            Diff::Unknown => program.unknown(),
            Diff::Resync => program.resync(),
            Diff::Destroyed => program.destroyed(),
            Diff::UngracefulTermination => program.ungraceful_termination(),
        }
    }
}

type Parts<'a, P, K, V> = Vec<(Handler<P, K, V>, Cow<'a, Diff<K, V>>)>;

/// Collects the parts that are handled, in order; false when some part is not.
fn collect<'a, K: Clone + 'static, V: Clone, P: Processor<K, V>>(
    diff: Cow<'a, Diff<K, V>>,
    program: &P,
    parts: &mut Parts<'a, P, K, V>,
) -> bool {
    if let Some(handler) = diff.handler(program) {
        parts.push((handler, diff));
        return true;
    }
    let Some(expansion) = diff.expansion() else {
        return false;
    };
    let mut expansion = expansion.into_iter();
    expansion.all(|part| collect(Cow::Owned(part), program, parts))
}

#[cfg(test)]
mod tests;
