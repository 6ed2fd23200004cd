//! One key with what a layer says about it, in one cache line.
//!
//! Relies on nothing. What must stay true: an entry is 64 bytes, so that a lookup that found its
//! slot touches one more line; keys and values of up to 30 bytes need no allocation.

const INLINE: usize = 30;

const _: () = assert!(size_of::<Entry>() == 64);

/// A key and its state.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(crate) struct Entry {
    key: Key,
    state: State,
}

#[derive(Clone, Debug)]
enum Key {
    Inline(u8, [u8; INLINE]),
    Heap(Box<[u8]>),
}

#[derive(Clone, Debug)]
enum State {
    /// This layer says nothing about the key: it was looked up, or removed by a range delete.
    Absent,
    Deleted,
    Inline(u8, [u8; INLINE]),
    Heap(Vec<u8>),
}

/// What a layer says about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// The key has this value.
    Value(&'a [u8]),
    /// The key is removed, whatever older layers say.
    Deleted,
    /// Ask older layers.
    Unknown,
}

impl Entry {
    /// An entry that says nothing yet.
    #[inline]
    pub fn absent(key: &[u8]) -> Entry {
        let key = if key.len() <= INLINE {
            let mut inline = [0; INLINE];
            inline[..key.len()].copy_from_slice(key);
            Key::Inline(key.len() as u8, inline)
        } else {
            Key::Heap(key.into())
        };
        Entry {
            key,
            state: State::Absent,
        }
    }

    #[inline]
    pub fn key(&self) -> &[u8] {
        match &self.key {
            Key::Inline(len, bytes) => &bytes[..usize::from(*len)],
            Key::Heap(bytes) => bytes,
        }
    }

    #[inline]
    pub fn found(&self) -> Found<'_> {
        match &self.state {
            State::Absent => Found::Unknown,
            State::Deleted => Found::Deleted,
            State::Inline(len, bytes) => Found::Value(&bytes[..usize::from(*len)]),
            State::Heap(bytes) => Found::Value(bytes),
        }
    }

    #[inline]
    pub fn is_absent(&self) -> bool {
        matches!(self.state, State::Absent)
    }

    #[inline]
    pub fn put(&mut self, value: &[u8]) {
        if value.len() <= INLINE {
            let mut inline = [0; INLINE];
            inline[..value.len()].copy_from_slice(value);
            self.state = State::Inline(value.len() as u8, inline);
        } else if let State::Heap(bytes) = &mut self.state
            && bytes.capacity() >= value.len()
        {
            bytes.clear();
            bytes.extend_from_slice(value);
        } else {
            self.state = State::Heap(value.to_vec());
        }
    }

    #[inline]
    pub fn delete(&mut self) {
        self.state = State::Deleted;
    }

    #[inline]
    pub fn forget(&mut self) {
        self.state = State::Absent;
    }

    /// Bytes held outside of the entry itself.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        let key = match &self.key {
            Key::Inline(..) => 0,
            Key::Heap(bytes) => bytes.len(),
        };
        key + self.value_heap_bytes()
    }

    /// Bytes the value holds outside of the entry itself.
    #[inline]
    pub fn value_heap_bytes(&self) -> usize {
        match &self.state {
            State::Heap(bytes) => bytes.capacity(),
            _ => 0,
        }
    }
}
