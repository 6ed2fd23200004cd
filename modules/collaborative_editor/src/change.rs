//! Changes of a text, and what becomes of one when another was made to the same text before it.
//!
//! Positions count characters. Relies on nothing. What must stay true: whatever was changed before, a
//! change removes those characters that its author meant, as far as they are still there, and no
//! others, and what it adds stands between the same neighbors.

/// A change of a text.
#[rama::record]
pub enum Change {
    /// Puts a text before the character at a position, or at the end.
    Add {
        /// The position.
        at: u64,
        /// The text.
        text: String,
    },
    /// Takes characters away.
    Remove {
        /// The position of the first one.
        at: u64,
        /// How many.
        count: u64,
    },
}

impl Change {
    /// This change, made to the same text as `first`, as it is to be made after it: several, one after
    /// the other, when what it removes was torn apart; none when all of it is gone.
    pub fn after(self, first: &Change) -> Vec<Change> {
        match (self, first) {
            (Change::Add { at, text }, _) => vec![Change::Add {
                at: first.moved(at),
                text,
            }],
            // The rear part first, so that the front one is where it was.
            (Change::Remove { at, count }, Change::Add { at: added, .. })
                if at < *added && *added < at.saturating_add(count) =>
            {
                let front = *added - at;
                let rear = Change::Remove {
                    at: first.moved(*added),
                    count: count - front,
                };
                vec![rear, Change::Remove { at, count: front }]
            }
            (Change::Remove { at, count }, _) => {
                let (from, last) = (first.moved(at), at.saturating_add(count).saturating_sub(1));
                let end = match first {
                    // What is added behind the last one is not meant.
                    Change::Add { .. } => first.moved(last).saturating_add(1),
                    Change::Remove { .. } => first.moved(at.saturating_add(count)),
                };
                let count = end.saturating_sub(from).min(count);
                Vec::from_iter((count > 0).then_some(Change::Remove { at: from, count }))
            }
        }
    }

    /// Where a position is after this change.
    fn moved(&self, position: u64) -> u64 {
        match self {
            Change::Add { at, .. } if *at > position => position,
            Change::Add { text, .. } => position.saturating_add(text.chars().count() as u64),
            Change::Remove { at, count } => position - position.saturating_sub(*at).min(*count),
        }
    }

    /// The text with this change, if the text reaches that far.
    pub fn apply(&self, text: &str) -> Option<String> {
        let (from, to, added) = match self {
            Change::Add { at, text } => (*at, *at, text.as_str()),
            Change::Remove { at, count } => (*at, at.checked_add(*count)?, ""),
        };
        let byte = |position: u64| {
            let bytes = text
                .char_indices()
                .map(|(byte, _)| byte)
                .chain([text.len()]);
            bytes.into_iter().nth(usize::try_from(position).ok()?)
        };
        Some([&text[..byte(from)?], added, &text[byte(to)?..]].concat())
    }
}
