//! The untyped part of a path: where it is, and what has to be counted when something appears
//! there.
//!
//! Relies on the key space described in `schema`. What must stay true: `marks` lists, outermost
//! first, exactly the headers along the key; `last` is where the last component of the key begins.

use std::ops::{Bound, ControlFlow};

use rama_wire::key::successor;
use rama_wire::{AsKey, Key, KeySink, SpaceId};
use smallvec::SmallVec;

use super::bounds;
use crate::access::{Access, Order};
use crate::failure::{EventFailure, raise};
use crate::task::Task;

/// The store has 16 bits for the length of a key; some are left for bounds made from it.
const KEY_BYTES_MAX: usize = 65_000;

/// An encoded key; inline up to 40 bytes.
#[derive(Clone, Default)]
struct KeyBuf(SmallVec<[u8; 40]>);

impl KeySink for KeyBuf {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// A header along a path.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark {
    /// The header's key is the path's key up to here.
    end: u32,
    kind: Header,
}

/// What a header holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    /// The number of elements of a map or set.
    Count,
    /// The length of a list.
    Length,
    /// Nothing: it only says that a struct or an untracked structure is there.
    Present,
}

/// How the path finds its task.
#[derive(Clone)]
enum Route {
    /// It does not say.
    Unknown,
    /// By the first component of the key.
    FirstKey { len: u32, show: fn(&[u8]) -> String },
    /// By a key given apart from the path.
    Given {
        key: Vec<u8>,
        show: fn(&[u8]) -> String,
    },
}

/// Where a path has come to. Module authors meet it only inside typed paths.
#[derive(Clone)]
pub struct Cursor {
    pstate: &'static str,
    space: Option<SpaceId>,
    global: bool,
    unaligned: bool,
    key: KeyBuf,
    last: u32,
    marks: SmallVec<[Mark; 2]>,
    /// Components that stand for any element.
    any_count: u8,
    route: Route,
}

fn show_key<K: Key>(bytes: &[u8]) -> String {
    match K::from_key_bytes(bytes) {
        Ok(key) => key.key_to_json().to_string(),
        Err(_) => format!("{bytes:02x?}"),
    }
}

impl Cursor {
    /// The top of a PState. Without a space the path can only be sent by a client.
    pub(crate) fn top(pstate: &'static str, space: Option<SpaceId>, global: bool) -> Cursor {
        Cursor {
            pstate,
            space,
            global,
            unaligned: false,
            key: KeyBuf::default(),
            last: 0,
            marks: SmallVec::new(),
            any_count: 0,
            route: Route::Unknown,
        }
    }

    /// The same top, routed by a key of its own.
    pub(crate) fn routed_by<K: Key>(mut self, key: &K) -> Cursor {
        self.route = Route::Given {
            key: key.key_bytes(),
            show: show_key::<K>,
        };
        self
    }

    /// Without the home check. For the code `#[derive(Schema)]` writes.
    #[doc(hidden)]
    pub fn unaligned(&mut self) {
        self.unaligned = true;
    }

    pub(crate) fn pstate(&self) -> &'static str {
        self.pstate
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key.0
    }

    /// One component further.
    #[inline]
    pub(crate) fn step<K: Key>(&self, key: &(impl AsKey<K> + ?Sized)) -> Cursor {
        let mut next = self.clone();
        next.last = next.key.0.len() as u32;
        key.encode_as_key(&mut next.key);
        if next.last == 0 && matches!(next.route, Route::Unknown) {
            next.route = Route::FirstKey {
                len: next.key.0.len() as u32,
                show: show_key::<K>,
            };
        }
        next
    }

    /// To any element: such a path says where values are, and reads none.
    pub(crate) fn any(&self) -> Cursor {
        let mut next = self.field(0);
        next.any_count = next.any_count.saturating_add(1);
        next
    }

    /// How often the path went to any element.
    pub(crate) fn any_count(&self) -> usize {
        usize::from(self.any_count)
    }

    /// Into a field of a fixed-keys struct. For the code `#[derive(Schema)]` writes.
    #[doc(hidden)]
    pub fn field(&self, tag: u8) -> Cursor {
        let mut next = self.clone();
        next.last = next.key.0.len() as u32;
        next.key.put(&[tag]);
        next
    }

    /// Arrived at a map or set.
    pub(crate) fn mark_collection(&mut self, tracked: bool) {
        if tracked && !self.key.0.is_empty() {
            self.mark(Header::Count);
        } else {
            self.mark_struct();
        }
    }

    /// Arrived at a list.
    pub(crate) fn mark_list(&mut self) {
        self.mark(Header::Length);
    }

    /// Arrived at a struct, or anything else without a count: it has a header only if something
    /// above it counts. For the code `#[derive(Schema)]` writes.
    #[doc(hidden)]
    pub fn mark_struct(&mut self) {
        if !self.marks.is_empty() {
            self.mark(Header::Present);
        }
    }

    fn mark(&mut self, kind: Header) {
        self.marks.push(Mark {
            end: self.key.0.len() as u32,
            kind,
        });
    }

    /// The key that decides the task, if the path says.
    pub(crate) fn route(&self) -> Option<&[u8]> {
        match &self.route {
            _ if self.global => None,
            Route::Unknown => None,
            Route::FirstKey { len, .. } => Some(&self.key.0[..*len as usize]),
            Route::Given { key, .. } => Some(key),
        }
    }

    /// Checks that the path may be used on the task, and gives what to use it with.
    #[inline]
    pub(crate) fn enter<'a>(&self, task: &'a Task) -> (&'a dyn Access, SpaceId) {
        let access = task.access();
        if self.key.0.len() > KEY_BYTES_MAX {
            self.too_long();
        }
        let Some(space) = self.space else {
            raise(EventFailure::Undeclared {
                pstate: self.pstate.to_owned(),
            });
        };
        if !self.unaligned {
            self.check_home(access, space);
        }
        (access, space)
    }

    #[inline]
    fn check_home(&self, access: &dyn Access, space: SpaceId) {
        let home = match self.route() {
            Some(key) => access.home(space, key),
            None if self.global => 0,
            None => return,
        };
        if home != access.task_id() {
            self.wrong_task(access.task_id(), home);
        }
    }

    #[cold]
    fn too_long(&self) -> ! {
        raise(EventFailure::Unsupported {
            message: format!(
                "a path into {} has a key of {} bytes, the limit is {KEY_BYTES_MAX}; keep large \
                 data in values",
                self.pstate,
                self.key.0.len()
            ),
        })
    }

    #[cold]
    fn wrong_task(&self, here: u32, home: u32) -> ! {
        let key = match &self.route {
            Route::Unknown => "(global)".to_owned(),
            Route::FirstKey { len, show } => show(&self.key.0[..*len as usize]),
            Route::Given { key, show } => show(key),
        };
        raise(EventFailure::WrongTask {
            pstate: self.pstate.to_owned(),
            key,
            here,
            home,
        })
    }

    #[cold]
    pub(crate) fn undecodable(&self, cause: impl ToString) -> ! {
        raise(EventFailure::Undecodable {
            pstate: self.pstate.to_owned(),
            cause: cause.to_string(),
        })
    }

    /// The header of the structure the path has come to, if it has one.
    pub(crate) fn has_header(&self) -> bool {
        self.marks
            .last()
            .is_some_and(|mark| mark.end as usize == self.key.0.len())
    }

    /// Whether anything is at this location, be it a value (`leaf`) or a structure.
    pub(crate) fn exists(&self, access: &dyn Access, space: SpaceId, leaf: bool) -> bool {
        let mut found = false;
        if leaf || self.has_header() {
            access.get(space, self.key(), &mut |value| found = value.is_some());
        } else {
            let hi = successor(self.key());
            access.scan(
                space,
                self.key(),
                hi.as_deref(),
                Order::Ascending,
                &mut |_, _| {
                    found = true;
                    ControlFlow::Break(())
                },
            );
        }
        found
    }

    /// Writes a value here. Reads nothing unless something above has to count.
    #[inline]
    pub(crate) fn put_value(&self, access: &dyn Access, space: SpaceId, value: &[u8]) {
        if !self.marks.is_empty() {
            let counted = matches!(self.parent(), Some(Header::Count));
            if !counted || !self.exists(access, space, true) {
                self.note_created(access, space);
            }
        }
        access.put(space, self.key(), value);
    }

    /// The same when the caller has read the old value already.
    #[inline]
    pub(crate) fn put_known(&self, access: &dyn Access, space: SpaceId, old: bool, value: &[u8]) {
        if !old && !self.marks.is_empty() {
            self.note_created(access, space);
        }
        access.put(space, self.key(), value);
    }

    /// The header of the container the last component is an element of.
    fn parent(&self) -> Option<Header> {
        let mark = self.marks.iter().rfind(|mark| mark.end <= self.last)?;
        (mark.end == self.last).then_some(mark.kind)
    }

    /// Something appeared below the headers along the key: counts it, creates missing structures
    /// and counts those, until one was there already.
    fn note_created(&self, access: &dyn Access, space: SpaceId) {
        for mark in self.marks.iter().rev() {
            let end = mark.end as usize;
            let header = &self.key.0[..end];
            let old = self.read_header(access, space, header);
            match mark.kind {
                Header::Present if old.is_some() => return,
                Header::Present => access.put(space, header, &[]),
                Header::Count => {
                    access.put(space, header, &(old.unwrap_or(0) + 1).to_le_bytes());
                }
                Header::Length => {
                    let len = old.unwrap_or(0);
                    let index = self.index_after(end);
                    if index < len {
                        return;
                    }
                    if index > len {
                        self.out_of_range(index, len);
                    }
                    access.put(space, header, &(len + 1).to_le_bytes());
                }
            }
            if old.is_some() {
                return;
            }
        }
    }

    /// The list index that follows a list's header in the key.
    fn index_after(&self, end: usize) -> u64 {
        let index = self.key.0[end..].first_chunk::<8>();
        u64::from_be_bytes(*index.expect("a list's element follows its header in the key"))
    }

    /// The count a header holds (0 when it holds none), or `None` when it is absent.
    fn read_header(&self, access: &dyn Access, space: SpaceId, header: &[u8]) -> Option<u64> {
        let mut found = None;
        access.get(space, header, &mut |value| {
            found = value.map(|bytes| match bytes {
                [] => Some(0),
                count => count.try_into().ok().map(u64::from_le_bytes),
            });
        });
        found.map(|count| count.unwrap_or_else(|| self.undecodable("a header of a wrong length")))
    }

    /// The size kept in this structure's own header.
    pub(crate) fn tracked_len(&self, access: &dyn Access, space: SpaceId) -> u64 {
        self.read_header(access, space, self.key()).unwrap_or(0)
    }

    /// Sets the size in this structure's own header, which must exist.
    pub(crate) fn set_len(&self, access: &dyn Access, space: SpaceId, len: u64) {
        access.put(space, self.key(), &len.to_le_bytes());
    }

    /// So many elements of this structure, which has a size, went.
    pub(crate) fn uncount(&self, access: &dyn Access, space: SpaceId, gone: u64) {
        if gone > 0 {
            let len = self.tracked_len(access, space);
            self.set_len(access, space, len.saturating_sub(gone));
        }
    }

    /// An index beyond the end of this list was written.
    #[cold]
    pub(crate) fn out_of_range(&self, index: u64, len: u64) -> ! {
        let pstate = self.pstate.to_owned();
        raise(EventFailure::OutOfRange { pstate, index, len })
    }

    /// Whether this structure has a header that holds its size.
    pub(crate) fn counts(&self) -> bool {
        self.has_header()
            && self
                .marks
                .last()
                .is_some_and(|mark| mark.kind != Header::Present)
    }

    /// Removes what is here, value or structure, and uncounts it.
    pub(crate) fn remove(&self, access: &dyn Access, space: SpaceId, leaf: bool) {
        match self.parent() {
            Some(Header::Length) => raise(EventFailure::Unsupported {
                message: format!(
                    "an element of a list of {} is not removed through its own path, because the \
                     later ones move up: use remove_at(task, index) or pop(task) of the list",
                    self.pstate
                ),
            }),
            Some(Header::Count) => {
                if !self.exists(access, space, leaf) {
                    return;
                }
                let header = &self.key.0[..self.last as usize];
                let len = self.read_header(access, space, header).unwrap_or(0);
                access.put(space, header, &len.saturating_sub(1).to_le_bytes());
            }
            Some(Header::Present) | None => {}
        }
        self.erase(access, space, leaf);
    }

    /// Removes the entries here without counting.
    pub(crate) fn erase(&self, access: &dyn Access, space: SpaceId, leaf: bool) {
        if leaf {
            access.delete(space, self.key());
        } else {
            access.delete_range(space, self.key(), successor(self.key()).as_deref());
        }
    }

    /// Removes all elements; the structure stays, with size 0.
    pub(crate) fn clear(&self, access: &dyn Access, space: SpaceId) {
        if let Some((lo, hi)) = bounds(self.key(), Bound::Unbounded, Bound::Unbounded) {
            access.delete_range(space, &lo, hi.as_deref());
        }
        if self.counts() && self.exists(access, space, true) {
            self.set_len(access, space, 0);
        }
    }
}
