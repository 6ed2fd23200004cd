//! How a followed value changed, in parts that a program can apply to what it made of the value.
//!
//! The classes are those of spec §2.7, whatever makes them: the engine makes some (see
//! [`Proxied`](super::Proxied)), modules and tests may make all. Relies on nothing. What must stay
//! true: a diff expands only into diffs that together say the same, or less.

use std::any::Any;

/// How a value changed. `K` is what its keys or elements are, `V` what its values are.
///
/// A program handles the kinds it knows with a [`Processor`](super::Processor); the others are
/// expanded into simpler ones until it knows them all (P-49).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
#[non_exhaustive]
pub enum Diff<K, V> {
    /// The value under a key changed, or appeared.
    Key {
        /// The key.
        key: K,
        /// How.
        diff: Box<Diff<K, V>>,
    },
    /// The values under several keys changed.
    Keys {
        /// How each did, in order of keys.
        diffs: Vec<(K, Diff<K, V>)>,
    },
    /// A key is gone.
    KeyRemove {
        /// The key.
        key: K,
    },
    /// Several keys are gone.
    KeysRemove {
        /// The keys, in order.
        keys: Vec<K>,
    },
    /// What was under one key is under another now.
    KeyChange {
        /// The key it was under.
        from: K,
        /// The key it is under.
        to: K,
        /// How it changed, if that is known.
        diff: Option<Box<Diff<K, V>>>,
    },
    /// It is another value now.
    NewValue {
        /// The value.
        value: V,
    },
    /// All of these, in order.
    Multi {
        /// The parts.
        diffs: Vec<Diff<K, V>>,
    },
    /// A set has a new element.
    SetAdd {
        /// The element.
        element: K,
    },
    /// A set lost an element.
    SetRemove {
        /// The element.
        element: K,
    },
    /// A multiset has an element more often.
    MultiSetAdd {
        /// The element.
        element: K,
        /// How often now.
        new_count: u64,
        /// How often before.
        old_count: u64,
    },
    /// A multiset has an element less often.
    MultiSetRemove {
        /// The element.
        element: K,
        /// How often now.
        new_count: u64,
        /// How often before.
        old_count: u64,
    },
    /// A sequence has a new element.
    SequenceInsert {
        /// The index it has now.
        before_index: u64,
        /// The element.
        element: V,
        /// The length before.
        old_size: u64,
    },
    /// A sequence has new elements, one after the other.
    SequenceInserts {
        /// The index the first has now.
        before_index: u64,
        /// The elements.
        elements: Vec<V>,
        /// The length before.
        old_size: u64,
    },
    /// An element of a sequence changed.
    IndexChange {
        /// Its index.
        index: u64,
        /// How.
        diff: Box<Diff<K, V>>,
    },
    /// Elements of a sequence changed.
    IndexChanges {
        /// How each did, in order of indices.
        diffs: Vec<(u64, Diff<K, V>)>,
    },
    /// Elements of a sequence are gone.
    IndexRemove {
        /// The index of the first.
        index: u64,
        /// How many.
        amount: u64,
        /// The length before.
        old_size: u64,
    },
    /// An element of a sequence is at another place.
    Reorder {
        /// Its index before.
        from_index: u64,
        /// Its index now.
        to_index: u64,
        /// The length.
        size: u64,
    },
    /// A sequence changed from an index on; how is not known.
    SequenceChange {
        /// The first index that may be different.
        from_index: u64,
        /// The length now.
        new_size: u64,
        /// The length before.
        old_size: u64,
    },
    /// A sequence has one more element; its value is not known.
    Append {
        /// Its index.
        index: u64,
    },
    /// It changed; how is not known.
    Unknown,
    /// The value was read as a whole: at the beginning, or because something may have been missed.
    Resync,
    /// The proxy was closed, or its module destroyed.
    Destroyed,
    /// The proxy was given up after too many errors.
    UngracefulTermination,
}

/// An index as a key: where keys are numbers, or JSON.
fn index_key<K: Clone + 'static>(index: u64) -> Option<K> {
    let json = serde_json::Value::from(index);
    let (number, json): (&dyn Any, &dyn Any) = (&index, &json);
    number.downcast_ref().or(json.downcast_ref()).cloned()
}

impl<K: Clone + 'static, V: Clone> Diff<K, V> {
    /// What says the same in simpler parts; `None` when nothing does.
    pub fn expansion(&self) -> Option<Vec<Diff<K, V>>> {
        match self {
            Diff::Keys { diffs } => {
                let each = |(key, diff): &(K, Diff<K, V>)| Diff::Key {
                    key: key.clone(),
                    diff: Box::new(diff.clone()),
                };
                Some(diffs.iter().map(each).collect())
            }
            Diff::KeysRemove { keys } => {
                let each = |key: &K| Diff::KeyRemove { key: key.clone() };
                Some(keys.iter().map(each).collect())
            }
            Diff::KeyChange { from, to, diff } => {
                let diff = diff.clone().unwrap_or(Box::new(Diff::Unknown));
                let key = to.clone();
                let gone = Diff::KeyRemove { key: from.clone() };
                Some(vec![gone, Diff::Key { key, diff }])
            }
            Diff::Multi { diffs } => Some(diffs.clone()),
            Diff::MultiSetAdd {
                element, old_count, ..
            } => {
                let element = element.clone();
                let add = (*old_count == 0).then_some(Diff::SetAdd { element });
                Some(add.into_iter().collect())
            }
            Diff::MultiSetRemove {
                element, new_count, ..
            } => {
                let element = element.clone();
                let remove = (*new_count == 0).then_some(Diff::SetRemove { element });
                Some(remove.into_iter().collect())
            }
            sequence => sequence.sequence_expansion(),
        }
    }

    fn sequence_expansion(&self) -> Option<Vec<Diff<K, V>>> {
        match self {
            Diff::IndexChange { index, diff } => {
                let (key, diff) = (index_key(*index)?, diff.clone());
                Some(vec![Diff::Key { key, diff }])
            }
            Diff::IndexChanges { diffs } => {
                let each = |(index, diff): &(u64, Diff<K, V>)| Diff::IndexChange {
                    index: *index,
                    diff: Box::new(diff.clone()),
                };
                Some(diffs.iter().map(each).collect())
            }
            Diff::SequenceChange {
                from_index,
                new_size,
                old_size,
            } => change_expansion(*from_index, *new_size, *old_size),
            other => {
                let (from_index, new_size, old_size) = other.extent()?;
                Some(vec![Diff::SequenceChange {
                    from_index,
                    new_size,
                    old_size,
                }])
            }
        }
    }

    /// Where a sequence may be different, its length now and before.
    fn extent(&self) -> Option<(u64, u64, u64)> {
        match self {
            Diff::SequenceInsert {
                before_index,
                old_size,
                ..
            } => Some((*before_index, old_size + 1, *old_size)),
            Diff::SequenceInserts {
                before_index,
                elements,
                old_size,
            } => Some((*before_index, old_size + elements.len() as u64, *old_size)),
            Diff::IndexRemove {
                index,
                amount,
                old_size,
            } => Some((*index, old_size.saturating_sub(*amount), *old_size)),
            Diff::Reorder {
                from_index,
                to_index,
                size,
            } => Some((*from_index.min(to_index), *size, *size)),
            _ => None,
        }
    }
}

/// What a change of unknown content comes to, index by index.
fn change_expansion<K: Clone + 'static, V>(
    from: u64,
    new_size: u64,
    old_size: u64,
) -> Option<Vec<Diff<K, V>>> {
    let mut parts = Vec::new();
    if new_size < old_size {
        let keys: Option<Vec<K>> = (new_size..old_size).map(index_key).collect();
        parts.push(Diff::KeysRemove { keys: keys? });
    }
    let kept = from..new_size.min(old_size);
    if !kept.is_empty() {
        let each = |index| Some((index_key(index)?, Diff::Unknown));
        let diffs: Option<Vec<_>> = kept.map(each).collect();
        parts.push(Diff::Keys { diffs: diffs? });
    }
    parts.extend((old_size..new_size).map(|index| Diff::Append { index }));
    Some(parts)
}

#[cfg(test)]
mod tests;
