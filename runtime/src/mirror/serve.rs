//! The side of the module that has a mirrored depot: where mirrors begin, what they fetch, what is
//! kept for them.
//!
//! Relies on the log for durability. A mirror is known by a key on each partition it reads, which
//! says from where on it needs records; how far it has come since is known as long as the thread
//! runs, and a mirror tells it with each fetch. What must stay true: what a mirror told is durable on
//! its side, so nothing before it is asked for again; a mirror that is known holds what it has not
//! fetched, whether it runs or not (D-39), until its module no longer declares it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot;
use futures_util::future::{Either, select};
use rama_io::{Category, Env};
use rama_storage::lsm::{self, Read, WriteBatch};
use rama_storage::{Entry, Op};
use rama_wire::SpaceId;

use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::message::{Records, Reply};
use crate::start;
use crate::system_keys;
use crate::task_thread::Thread;
use crate::topology_def::Start;

/// How long a mirror waits for a record before it is told that there is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a mirror asks of a partition.
pub(crate) enum Request {
    /// Where it begins there, and that it is known from now on.
    Begin { start: Start, reply: Reply<u64> },
    /// Records from an offset on, at most so many, once there are some. It has those before.
    Pull {
        from: u64,
        most: u32,
        reply: Reply<Pulled>,
    },
    /// It exists no more.
    Release { reply: Reply<()> },
}

/// Records that stand one behind the other.
pub(crate) struct Pulled {
    /// Offset of the first.
    pub(crate) first: u64,
    pub(crate) records: Records,
}

impl Request {
    /// Whether nobody waits for the answer any more.
    pub(crate) fn is_forgotten(&self) -> bool {
        match self {
            Request::Begin { reply, .. } => reply.is_canceled(),
            Request::Pull { reply, .. } => reply.is_canceled(),
            // It is to be done all the same.
            Request::Release { .. } => false,
        }
    }
}

/// One mirror of one depot partition: task, depot, who.
type Key = (u32, u16, String);

/// The mirrors that fetch from a thread.
#[derive(Default)]
pub(crate) struct Pulls {
    /// How far each has come, of those that have fetched since the start.
    read: RefCell<BTreeMap<Key, u64>>,
    /// Who waits for a partition to grow.
    waiting: RefCell<BTreeMap<(u32, u16), Vec<oneshot::Sender<()>>>>,
}

impl Pulls {
    fn growth(&self, task: u32, depot: u16) -> oneshot::Receiver<()> {
        let (grows, grown) = oneshot::channel();
        let mut waiting = self.waiting.borrow_mut();
        let waiting = waiting.entry((task, depot)).or_default();
        waiting.retain(|waits| !waits.is_canceled());
        waiting.push(grows);
        grown
    }

    /// A partition has grown.
    pub(crate) fn on_growth(&self, task: u32, depot: u16) {
        for waits in self
            .waiting
            .borrow_mut()
            .remove(&(task, depot))
            .into_iter()
            .flatten()
        {
            // Who gave up waits no more.
            let _ = waits.send(());
        }
    }

    /// Nothing grows any more.
    pub(crate) fn end(&self) {
        self.waiting.take();
    }
}

/// Answers a mirror.
pub(crate) fn serve<E: Env>(
    thread: &Rc<Thread<E>>,
    (task, depot, consumer): (u32, u16, String),
    request: Request,
) {
    let (of, key) = (thread.clone(), (task, depot, consumer));
    thread.env.spawn(Category::MirrorClient, async move {
        // Whoever asked may have gone away.
        match request {
            Request::Begin { start, reply } => drop(reply.send(begin(&of, key, start).await)),
            Request::Pull { from, most, reply } => {
                drop(reply.send(pull(&of, key, from, most).await));
            }
            Request::Release { reply } => drop(reply.send(release(&of, key).await)),
        }
    });
}

async fn begin<E: Env>(thread: &Thread<E>, key: Key, start: Start) -> Result<u64> {
    let (task, depot, _) = &key;
    let log = thread.layout.depots[usize::from(*depot)].log;
    let partition = thread.local(*task).partition.clone();
    let retention = thread.tuning().retention[usize::from(*depot)];
    let at = match start {
        Start::Beginning => retention.beginning(&thread.env, &partition, log).await?,
        start => start::offset(&thread.env, &partition, log, start).await?,
    };
    hold(thread, &key, at).await?;
    thread.pulls.read.borrow_mut().insert(key, at);
    Ok(at)
}

/// Makes it durable that a mirror needs records from an offset on.
async fn hold<E: Env>(thread: &Thread<E>, key: &Key, from: u64) -> Result<()> {
    write(thread, key, |key, batch| {
        batch.put(SpaceId::SYSTEM, key, &from.to_le_bytes());
    })
    .await
}

async fn release<E: Env>(thread: &Thread<E>, key: Key) -> Result<()> {
    thread.pulls.read.borrow_mut().remove(&key);
    write(thread, &key, |key, batch| {
        batch.delete(SpaceId::SYSTEM, key)
    })
    .await
}

async fn write<E: Env>(
    thread: &Thread<E>,
    (task, depot, consumer): &Key,
    change: impl FnOnce(&[u8], &mut WriteBatch),
) -> Result<()> {
    let log = thread.layout.depots[usize::from(*depot)].log;
    let mut batch = WriteBatch::new();
    change(&system_keys::mirror(log, consumer), &mut batch);
    let partition = *task;
    let entry = Entry::new().with(Op::Write { partition, batch });
    let index = thread.try_append(entry)?.index;
    thread.commit.applied(index).await
}

async fn pull<E: Env>(thread: &Thread<E>, key: Key, from: u64, most: u32) -> Result<Pulled> {
    let (task, depot) = (key.0, key.1);
    let log = thread.layout.depots[usize::from(depot)].log;
    let partition = thread.local(task).partition.clone();
    if !thread.pulls.read.borrow().contains_key(&key) {
        // The first fetch since the start. Its key is gone if a mirror was dropped and came back.
        let decode = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes);
        let known = thread.system_value(task, &system_keys::mirror(log, &key.2), decode)?;
        if known.is_none() {
            hold(thread, &key, from).await?;
        }
    }
    thread.pulls.read.borrow_mut().insert(key, from);
    let until = thread.env.now().after(PATIENCE);
    loop {
        let grown = thread.pulls.growth(task, depot);
        let range = partition.log_range(log);
        if from > range.end {
            let name = &thread.layout.depots[usize::from(depot)].name;
            return Err(Error::rejected(format!(
                "could not read {name} of {} for a mirror from record {from} on: partition {task} \
                 ends at {}; was the module destroyed and launched anew? Destroy the mirroring \
                 module, too, or let it consume the depot in a topology of another name",
                thread.layout.module, range.end
            )));
        }
        if from < range.end {
            return read(
                thread,
                (task, depot),
                from.max(range.start)..range.end,
                most,
            )
            .await;
        }
        let left = until.since(thread.env.now());
        if left.is_zero() {
            let records = Records::default();
            return Ok(Pulled {
                first: from,
                records,
            });
        }
        let passed = pin!(thread.env.sleep(left));
        if let Either::Left((Err(_), _)) = select(grown, passed).await {
            return Err(Error::unavailable("the task thread stops; fetch again"));
        }
    }
}

async fn read<E: Env>(
    thread: &Thread<E>,
    (task, depot): (u32, u16),
    offsets: std::ops::Range<u64>,
    most: u32,
) -> Result<Pulled> {
    let log = thread.layout.depots[usize::from(depot)].log;
    let partition = &thread.local(task).partition;
    let mut first = offsets.start;
    partition.warm_log(log, first).await?;
    let count = (offsets.end - first).min(u64::from(most)) as usize;
    let mut records = Records::default();
    let bytes_max = limits::DEPOT_READ_BYTES_MAX;
    partition.read_log(log, first, count, bytes_max, &mut |record| {
        let next = first + records.len() as u64;
        if !record.vanished && record.offset == next {
            records.push_with(|bytes| bytes.extend_from_slice(record.bytes));
        } else if record.vanished && records.len() == 0 {
            // A migration made nothing of it: there is as little as where records are trimmed.
            first = record.offset + 1;
        }
    })?;
    Ok(Pulled { first, records })
}

/// The first offset that a mirror of a depot partition still needs, if it has any.
pub(crate) fn held<E: Env>(thread: &Thread<E>, task: u32, depot: u16) -> Result<Option<u64>> {
    let log = thread.layout.depots[usize::from(depot)].log;
    let (from, to) = system_keys::mirrors_of(log);
    let store = thread.local(task).partition.store();
    let (mut first, mut bad) = (None::<u64>, false);
    let read = thread.pulls.read.borrow();
    store.scan(
        SpaceId::SYSTEM,
        &from,
        Some(&to),
        lsm::Order::Ascending,
        &mut |key, value| {
            let consumer = std::str::from_utf8(&key[from.len()..]);
            let (Ok(consumer), Ok(stored)) = (consumer, value.try_into()) else {
                bad = true;
                return ControlFlow::Break(());
            };
            let read = read.get(&(task, depot, consumer.to_owned())).copied();
            let needs = read.unwrap_or(u64::from_le_bytes(stored));
            first = Some(first.map_or(needs, |first| first.min(needs)));
            ControlFlow::Continue(())
        },
    )?;
    if bad {
        let text = format!("could not read what mirrors of log {log} need on task {task}");
        return Err(Error::new(ErrorKind::Corrupt, text));
    }
    Ok(first)
}
