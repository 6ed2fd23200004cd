//! Depots as authors name and declare them, and where a record of one goes.
//!
//! Relies on `rama_wire` for encodings and for the one hash (spec R-13). What must stay true: the
//! partition of a record depends on nothing but the record, the task count and, for random depots,
//! the caller's random number, so that every client agrees (spec §1.1).

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use rama_wire::{Key, KeyError, LogId, Record, RecordError, hash};
use serde_json::Value;

use crate::task::Task;

/// A depot by name and record type: a partitioned, durable, append-only log (spec D-2).
///
/// A constant shared by the module, its tests and its clients; the name appears nowhere else and
/// starts with `*` (spec O-10).
///
/// ```
/// use rama_runtime::Depot;
///
/// pub const LINES: Depot<String> = Depot::named("*lines");
/// assert_eq!(LINES.name(), "*lines");
/// ```
pub struct Depot<T> {
    name: &'static str,
    record: PhantomData<fn() -> T>,
}

impl<T> Depot<T> {
    /// A depot called `name`, with records of type `T`.
    pub const fn named(name: &'static str) -> Depot<T> {
        Depot {
            name,
            record: PhantomData,
        }
    }

    /// Its name, with the leading `*`.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<T> Clone for Depot<T> {
    fn clone(&self) -> Depot<T> {
        *self
    }
}

impl<T> Copy for Depot<T> {}

impl<T> fmt::Debug for Depot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A depot as topology code of its own module may append to it.
///
/// Comes from [`crate::setup::DepotDecl::handle`]; `Copy`, so that closures can move it in.
pub struct DepotHandle<T> {
    pub(crate) log: LogId,
    pub(crate) record: PhantomData<fn() -> T>,
}

impl<T: Record> DepotHandle<T> {
    /// Appends to the depot's partition on this task, whatever the depot's partitioner says (spec
    /// D-30); disallowed depots accept it too.
    ///
    /// # Durability
    /// The record comes into the depot with the event's other writes: a reader that sees one can
    /// see the other, and what a failed event appended is gone with what it wrote. In a microbatch
    /// that is once, however often it is attempted (Rama: at least once, spec D-34); a stream that
    /// tries a record again appends again.
    ///
    /// # Errors
    /// The event fails on a task where the depot has no partition: a global one is on task 0.
    pub fn append(&self, task: &Task, record: &T) {
        task.append_record(self.log, record);
    }
}

impl<T> Clone for DepotHandle<T> {
    fn clone(&self) -> DepotHandle<T> {
        *self
    }
}

impl<T> Copy for DepotHandle<T> {}

impl<T> fmt::Debug for DepotHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DepotHandle({})", self.log.0)
    }
}

type KeyOf<T> = Arc<dyn Fn(&T, &mut Vec<u8>) + Send + Sync>;
type IndexOf<T> = Arc<dyn Fn(&T, u32) -> u32 + Send + Sync>;

/// Which partition of a depot a client's append goes to.
pub struct Partition<T> {
    rule: Rule<T>,
}

enum Rule<T> {
    Random,
    Hash(KeyOf<T>),
    Custom(IndexOf<T>),
    Disallow,
}

impl<T: Record> Partition<T> {
    /// Each append goes to a random partition. No order holds between two appends.
    pub fn random() -> Partition<T> {
        Partition { rule: Rule::Random }
    }

    /// The partition is the home of a key of the record, by the same hash as `hash_partition` and
    /// PState keys: records are then already where `$$p` keyed by that key lives.
    ///
    /// The closure needs its parameter's type: `Partition::hash_by(|t: &Transfer| t.from)`. For a
    /// key that stands in the record see [`Setup::depot_by`](crate::Setup::depot_by), which infers
    /// it.
    pub fn hash_by<K: Key>(key: impl Fn(&T) -> K + Send + Sync + 'static) -> Partition<T> {
        let encode = move |record: &T, bytes: &mut Vec<u8>| key(record).encode_key(bytes);
        Partition {
            rule: Rule::Hash(Arc::new(encode)),
        }
    }

    /// As [`Partition::hash_by`], for a key that stands in the record: it is borrowed, not copied.
    pub(crate) fn hash_by_part<K, F>(key: F) -> Partition<T>
    where
        K: Key,
        F: for<'a> Fn(&'a T) -> &'a K + Send + Sync + 'static,
    {
        let encode = move |record: &T, bytes: &mut Vec<u8>| key(record).encode_key(bytes);
        Partition {
            rule: Rule::Hash(Arc::new(encode)),
        }
    }

    /// The closure chooses: it gets the record and the number of partitions, and answers below it.
    /// An append for which it does not is refused.
    pub fn custom(index: impl Fn(&T, u32) -> u32 + Send + Sync + 'static) -> Partition<T> {
        Partition {
            rule: Rule::Custom(Arc::new(index)),
        }
    }

    /// Clients may not append; topology code of the module may (spec D-30).
    pub fn disallow() -> Partition<T> {
        Partition {
            rule: Rule::Disallow,
        }
    }

    pub(crate) fn into_placement(self) -> Placement
    where
        T: Send,
    {
        Placement {
            kind: self.kind(),
            rule: Arc::new(self.rule),
        }
    }

    fn kind(&self) -> PlacementKind {
        match self.rule {
            Rule::Random => PlacementKind::Random,
            Rule::Hash(_) => PlacementKind::Hash,
            Rule::Custom(_) => PlacementKind::Custom,
            Rule::Disallow => PlacementKind::Disallow,
        }
    }
}

impl<T: Record> fmt::Debug for Partition<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Partition::{:?}", self.kind())
    }
}

/// The kind of a [`Placement`], for people and manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PlacementKind {
    /// Any partition.
    Random,
    /// By the hash of a key.
    Hash,
    /// By the author's closure.
    Custom,
    /// No client appends.
    Disallow,
}

/// A [`Partition`] whose record type is known only to who appends.
#[derive(Clone)]
pub struct Placement {
    kind: PlacementKind,
    rule: Arc<dyn ErasedRule>,
}

/// An append has no partition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// The depot does not take appends of clients.
    #[error("clients may not append to this depot; only topologies of its module do")]
    Disallowed,
    /// The author's closure answered with a partition that does not exist.
    #[error(
        "a custom partitioner chose partition {index} of {partitions}; it must answer below the \
         number of partitions it is given"
    )]
    OutOfRange {
        /// What it answered.
        index: u32,
        /// How many there are.
        partitions: u32,
    },
    /// The caller's record type is not the depot's.
    #[error("the depot holds records of another type than {given}")]
    WrongType {
        /// What was given.
        given: String,
    },
    /// The author's closure is in another program.
    #[error(
        "its keys are placed by code of its module, which is not here; choose the partition, with \
         `select_at`"
    )]
    Elsewhere,
    /// The record could not be understood.
    #[error(transparent)]
    Undecodable(#[from] RecordError),
    /// The key could not be understood.
    #[error(transparent)]
    UndecodableKey(#[from] KeyError),
}

trait ErasedRule: Any + Send + Sync {
    fn place_encoded(&self, bytes: &[u8], tasks: u32, random: u64) -> Result<u32, PlacementError>;
}

impl<T: Record> ErasedRule for Rule<T> {
    fn place_encoded(&self, bytes: &[u8], tasks: u32, random: u64) -> Result<u32, PlacementError> {
        match self {
            Rule::Random | Rule::Disallow => self.place(None, tasks, random),
            Rule::Hash(_) | Rule::Custom(_) => self.place(Some(&T::decode(bytes)?), tasks, random),
        }
    }
}

impl<T> Rule<T> {
    /// `record` is there whenever the rule looks at it.
    fn place(&self, record: Option<&T>, tasks: u32, random: u64) -> Result<u32, PlacementError> {
        match (self, record) {
            (Rule::Hash(encode), Some(record)) => {
                let mut key = Vec::with_capacity(32);
                encode(record, &mut key);
                Ok(hash::task_of(&key, tasks))
            }
            (Rule::Custom(choose), Some(record)) => match choose(record, tasks) {
                index if index < tasks => Ok(index),
                index => Err(PlacementError::OutOfRange {
                    index,
                    partitions: tasks,
                }),
            },
            (Rule::Disallow, _) => Err(PlacementError::Disallowed),
            (Rule::Random | Rule::Hash(_) | Rule::Custom(_), _) => {
                Ok((random % u64::from(tasks)) as u32)
            }
        }
    }
}

impl Placement {
    /// What kind of rule it is.
    pub fn kind(&self) -> PlacementKind {
        self.kind
    }

    /// The partition for a typed record, out of `tasks`.
    pub fn place<T: Record>(
        &self,
        record: &T,
        tasks: u32,
        random: u64,
    ) -> Result<u32, PlacementError> {
        let rule: &dyn Any = &*self.rule;
        match rule.downcast_ref::<Rule<T>>() {
            Some(rule) => rule.place(Some(record), tasks, random),
            None => Err(PlacementError::WrongType {
                given: T::type_name(),
            }),
        }
    }

    /// The partition for an encoded record, out of `tasks`.
    pub fn place_encoded(
        &self,
        bytes: &[u8],
        tasks: u32,
        random: u64,
    ) -> Result<u32, PlacementError> {
        self.rule.place_encoded(bytes, tasks, random)
    }
}

impl fmt::Debug for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Placement::{:?}", self.kind)
    }
}

/// A record type as the engine, the CLI and HTTP see it.
#[derive(Clone)]
pub struct RecordDesc {
    /// The Rust type, for people.
    pub type_name: String,
    /// Differs when the encoded bytes may differ.
    pub fingerprint: u64,
    /// Schema of its JSON form.
    pub json_schema: fn() -> Value,
    /// Encodes a JSON form.
    pub from_json: fn(&Value) -> Result<Vec<u8>, RecordError>,
    /// Decodes, checked, to the JSON form.
    pub to_json: fn(&[u8]) -> Result<Value, RecordError>,
}

impl RecordDesc {
    /// The description of `T`.
    pub fn of<T: Record>() -> RecordDesc {
        RecordDesc {
            type_name: T::type_name(),
            fingerprint: T::fingerprint(),
            json_schema: T::json_schema,
            from_json: |json| Ok(T::from_json(json)?.to_bytes()),
            to_json: |bytes| T::decode(bytes)?.to_json(),
        }
    }
}

impl fmt::Debug for RecordDesc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RecordDesc({}, {:016x})",
            self.type_name, self.fingerprint
        )
    }
}

#[cfg(test)]
mod tests;
