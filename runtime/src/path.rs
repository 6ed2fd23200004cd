//! Typed paths into PStates: the same path reads and writes on its task and is sent by clients.
//!
//! A path is a [`Cursor`] (an encoded key prefix and what must be counted along it) inside a type
//! that knows what lies there: [`ValuePath`], [`MapPath`], [`SetPath`], [`ListPath`], or the path
//! type that `#[derive(Schema)]` makes. Building a path touches nothing and, for short keys,
//! allocates nothing. What takes a `&Task` acts at once, on that task; what starts with `select_`
//! makes a [`Selection`] for a client.
//!
//! What must stay true: results are complete before author code sees them (spec P-20), so a loop
//! may change what it iterates; every read of every path goes through `Access`.

mod cursor;
mod list;
mod map;
mod range;
mod set;
mod value;
mod walk;

pub use cursor::Cursor;
pub use list::{ListPath, ListRange};
pub use map::MapPath;
pub use range::MapRange;
pub use set::{SetPath, SetRange};
pub use value::ValuePath;

pub(crate) use walk::{Child, Span, bounds, walk};

/// A path that can be read and written as one value.
#[diagnostic::on_unimplemented(
    message = "`{Self}` leads to a subindexed structure, which is not read or written whole",
    label = "not a single value",
    note = "navigate to an element first: `.key(&k)` of a map, `.at(i)` of a list",
    note = "for many elements use `.range(a..b)`, `.first_n(n)`, `.keys(task)`, `.entries(task)`",
    note = "for a collection that is one value, use `BTreeMap`, `BTreeSet` or `Vec` in the schema"
)]
pub trait WholeValue {
    /// Never called: no structure implements this.
    #[doc(hidden)]
    fn whole(&self) -> !;
}

/// A path that says where something is stored, for a [migration](crate::Topology::migrate).
pub trait Located {
    /// Where that is.
    #[doc(hidden)]
    fn into_cursor(self) -> Cursor;
}

/// Gives a structure's path the verbs of a value, for the sake of the message they end in.
macro_rules! not_a_value {
    () => {
        /// Refused at compile time: a structure is not one value.
        #[doc(hidden)]
        pub fn get(&self, _task: &Task)
        where
            Self: WholeValue,
        {
            self.whole()
        }

        /// Refused at compile time: a structure is not one value.
        #[doc(hidden)]
        pub fn set<W>(&self, _task: &Task, _value: W)
        where
            Self: WholeValue,
        {
            self.whole()
        }

        /// Refused at compile time: a structure is not one value.
        #[doc(hidden)]
        pub fn update<F>(&self, _task: &Task, _change: F)
        where
            Self: WholeValue,
        {
            self.whole()
        }
    };
}

/// The opt out of the home check.
macro_rules! unaligned {
    () => {
        /// The same path without the check that its key lives on the current task. What is written
        /// here by a task that is not the key's home cannot be found through clients.
        pub fn unaligned(mut self) -> Self {
            self.cursor.unaligned();
            self
        }
    };
}

pub(crate) use {not_a_value, unaligned};

#[cfg(test)]
pub(crate) mod tests;
