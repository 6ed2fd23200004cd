//! Schemas as types: what a PState holds, and where each part of it lies.
//!
//! [`Map`], [`Set`] and [`List`] are *subindexed*: every element is an entry of its own, sorted by
//! key, any number of them. Any [`Record`] is a *value*, read and written whole. A struct with
//! `#[derive(Schema)]` has *fixed keys*: its fields are schemas again.
//!
//! # Key space
//!
//! Each PState is one ordered space of entries per task. A path through the schema is a key prefix
//! `P`, empty at the top; `enc` is the key encoding of `rama_wire::key` (order-preserving, never
//! empty, never a prefix of another):
//!
//! ```text
//! value                  P             → the record's bytes
//! element k of a map     P ++ enc(k)   → where its schema continues
//! element k of a set     P ++ enc(k)   → empty
//! element i of a list    P ++ enc(i)   → i is a u64: 8 bytes, big endian
//! field n of a struct    P ++ [n]      → n is the field's position, from 0
//! ```
//!
//! A *header* is an entry at the `P` of a structure that is not the top level; it sorts before all
//! of the structure's elements, which are exactly the keys in `[P ++ [0], successor(P))`.
//!
//! ```text
//! map, set (tracked)     number of elements, u64 little endian (spec P-14)
//! list                   length, u64 little endian
//! untracked map or set, struct: empty, and only below a tracked map or set or a list, whose count
//!                        needs to know whether the element is there; otherwise no header
//! ```
//!
//! What must stay true: an element exists exactly when it is counted in its container's header; a
//! header, once written, stays until the structure itself is removed (an emptied structure is
//! present with size 0, spec P-19); removing an element removes every key that starts with its
//! prefix.

use std::marker::PhantomData;

use rama_wire::{Key, Record};

use crate::path::{Cursor, ListPath, MapPath, SetPath, ValuePath};
use crate::schema_desc::{KeyCodec, SchemaDesc, ValueCodec};

/// Names a type without holding a value of it.
pub(crate) type Marker<T> = PhantomData<fn() -> T>;

/// The shape of a PState or of a part of it.
///
/// Implemented by [`Map`], [`Set`], [`List`], every [`Record`], and `#[derive(Schema)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a PState's schema",
    label = "neither a record nor a schema",
    note = "for a value that is read and written whole, put `#[rama::record]` on `{Self}`",
    note = "for a struct whose fields are stored separately, put `#[derive(Schema)]` on it",
    note = "equal values have equal bytes: use `BTreeMap` for `HashMap`, `BTreeSet` for `HashSet`"
)]
pub trait Schema: 'static {
    /// What navigates there.
    type Path;

    /// Whether a location of this schema is one entry: a value.
    const LEAF: bool;

    /// Notes on the cursor that it has come to a location of this schema.
    #[doc(hidden)]
    fn arrive(cursor: Cursor) -> Cursor;

    /// The typed path to a location of this schema.
    #[doc(hidden)]
    fn path_at(cursor: Cursor) -> Self::Path;

    /// The schema at run time: for `describe`, JSON paths and fingerprints.
    fn desc() -> SchemaDesc;

    /// The bytes of a value; nothing for what is stored in parts.
    #[doc(hidden)]
    fn whole_bytes(&self) -> Option<Vec<u8>> {
        None
    }
}

/// A schema that a whole PState may have (spec P-5): a [`Map`], a fixed-keys struct or a value.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the schema of a PState",
    label = "not a top-level schema",
    note = "a `Set` or `List` stands under a key: `PState<Map<K, Set<E>>>`, `PState<Map<K, List<S>>>`",
    note = "to store a small one whole, as one value: `PState<BTreeSet<E>>`, `PState<Vec<T>>`",
    note = "keys need `#[derive(Key)]`, values `#[rama::record]`; for `HashMap` use `BTreeMap`"
)]
pub trait Root: Schema {}

/// Implemented by nothing. Impls that depend on it exist for their message: with them, the compiler
/// reports the trait that was asked for and not one it was looking at on the way.
#[doc(hidden)]
pub trait Never {
    /// Never called.
    fn never() -> !;
}

/// Whether a map or a set keeps its size: [`Tracked`] or [`Untracked`].
pub trait Tracking: 'static {
    /// Whether a header holds the size.
    const TRACKED: bool;
}

/// The size is kept: `len` reads one entry, each write that may add or remove one costs a read.
pub struct Tracked;

/// The size is not kept: `len` visits every element, `set` and `remove` read nothing.
pub struct Untracked;

impl Tracking for Tracked {
    const TRACKED: bool = true;
}

impl Tracking for Untracked {
    const TRACKED: bool = false;
}

/// A subindexed map from `K` to `S`, sorted by key, of any size.
///
/// At the top level of a PState the size is never tracked; nested maps are [`Tracked`] unless the
/// third parameter says [`Untracked`].
pub struct Map<K: Key, S: Schema, T: Tracking = Tracked>(Marker<(K, S, T)>);

/// A subindexed sorted set of `K`, of any size.
pub struct Set<K: Key, T: Tracking = Tracked>(Marker<(K, T)>);

/// A subindexed list of `S`, of any length.
pub struct List<S: Schema>(Marker<S>);

#[diagnostic::do_not_recommend]
impl<V: Record> Schema for V {
    type Path = ValuePath<V>;

    const LEAF: bool = true;

    #[inline]
    fn arrive(cursor: Cursor) -> Cursor {
        cursor
    }

    #[inline]
    fn path_at(cursor: Cursor) -> ValuePath<V> {
        ValuePath::new(cursor)
    }

    fn desc() -> SchemaDesc {
        SchemaDesc::Value(ValueCodec::of::<V>())
    }

    fn whole_bytes(&self) -> Option<Vec<u8>> {
        Some(self.to_bytes())
    }
}

impl<K: Key, S: Schema, T: Tracking> Schema for Map<K, S, T> {
    type Path = MapPath<K, S, T>;

    const LEAF: bool = false;

    fn arrive(mut cursor: Cursor) -> Cursor {
        cursor.mark_collection(T::TRACKED);
        cursor
    }

    fn path_at(cursor: Cursor) -> MapPath<K, S, T> {
        MapPath::new(Self::arrive(cursor))
    }

    fn desc() -> SchemaDesc {
        SchemaDesc::Map {
            key: KeyCodec::of::<K>(),
            value: Box::new(S::desc()),
            tracked: T::TRACKED,
        }
    }
}

impl<K: Key, T: Tracking> Schema for Set<K, T> {
    type Path = SetPath<K, T>;

    const LEAF: bool = false;

    fn arrive(mut cursor: Cursor) -> Cursor {
        cursor.mark_collection(T::TRACKED);
        cursor
    }

    fn path_at(cursor: Cursor) -> SetPath<K, T> {
        SetPath::new(Self::arrive(cursor))
    }

    fn desc() -> SchemaDesc {
        SchemaDesc::Set {
            key: KeyCodec::of::<K>(),
            tracked: T::TRACKED,
        }
    }
}

impl<S: Schema> Schema for List<S> {
    type Path = ListPath<S>;

    const LEAF: bool = false;

    fn arrive(mut cursor: Cursor) -> Cursor {
        cursor.mark_list();
        cursor
    }

    fn path_at(cursor: Cursor) -> ListPath<S> {
        ListPath::new(Self::arrive(cursor))
    }

    fn desc() -> SchemaDesc {
        SchemaDesc::List {
            value: Box::new(S::desc()),
        }
    }
}

#[diagnostic::do_not_recommend]
impl<V: Record> Root for V {}

#[diagnostic::do_not_recommend]
impl<K: Key, S: Schema, T: Tracking> Root for Map<K, S, T> {}
