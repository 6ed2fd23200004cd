//! Appends of a program that wait a moment for each other, to leave together (spec D-18).
//!
//! Relies on `depot::send` for everything behind that moment, and on those who wait for their appends
//! to let it pass: there is no thread here. What must stay true: records of one partition leave in the
//! order in which they were appended; each appender is told of its own record.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_channel::oneshot;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, Shared, select};

use super::depot::{Answer, send};
use crate::cluster::{Cluster, Running};
use crate::error::{Error, Result};
use crate::limits;
use crate::message::{AckLevel, Appended, Records};

/// The records that wait, by partition.
pub(crate) struct Gathering {
    delay: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: BTreeMap<u32, Open>,
    /// How many were opened.
    opened: u64,
}

/// Records of one partition that will be one message.
struct Open {
    number: u64,
    running: Arc<Running>,
    depot: u16,
    ack: AckLevel,
    records: Records,
    left: oneshot::Sender<Result<Answer>>,
    answer: Shared<BoxFuture<'static, Arc<Result<Appended>>>>,
}

impl Gathering {
    pub(crate) fn new(delay: Duration) -> Gathering {
        Gathering {
            delay,
            state: Mutex::default(),
        }
    }

    /// Adds a record to those that wait for a partition, or is the first of them.
    pub(crate) fn append(
        self: &Arc<Self>,
        cluster: &Cluster,
        (running, depot, task): (Arc<Running>, u16, u32),
        ack: AckLevel,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Answer {
        let mut state = self.state();
        let other =
            |open: &Open| open.ack != ack || !Arc::ptr_eq(&open.running.layout, &running.layout);
        if state.open.get(&task).is_some_and(other) {
            state.leave(task);
        }
        if !state.open.contains_key(&task) {
            let number = state.opened;
            state.opened += 1;
            let open = self.begin(cluster, (running, depot, task), ack, number);
            state.open.insert(task, open);
        }
        let open = state.open.get_mut(&task).expect("one was just opened");
        let place = open.records.len() as u64;
        open.records.push_with(encode);
        let answer = open.answer.clone();
        if open.is_full() {
            state.leave(task);
        }
        drop(state);
        let gathering = self.clone();
        Box::pin(async move {
            let answer = answer.await;
            drop(gathering);
            match &*answer {
                Ok(first) => Ok(Appended {
                    offset: first.offset.map(|offset| offset + place),
                    ..first.clone()
                }),
                Err(error) => Err(Error::new(error.kind(), format!("{error:#}"))),
            }
        })
    }

    /// Sends what waits for a partition, for something else is to follow it.
    pub(crate) fn leave(&self, task: u32) {
        self.state().leave(task);
    }

    fn begin(
        self: &Arc<Self>,
        cluster: &Cluster,
        (running, depot, task): (Arc<Running>, u16, u32),
        ack: AckLevel,
        number: u64,
    ) -> Open {
        let (left, leaving) = oneshot::channel();
        let (moment, me) = (cluster.sleep_boxed(self.delay), Arc::downgrade(self));
        let answer = async move {
            let left = match select(leaving, moment).await {
                Either::Left((left, _)) => left,
                Either::Right(((), leaving)) => {
                    // Whoever waits for an answer keeps it alive.
                    if let Some(me) = me.upgrade() {
                        me.state().leave_if(task, number);
                    }
                    leaving.await
                }
            };
            let gone = || Error::unavailable("the depot's handle went, nothing was done");
            let left = left.unwrap_or_else(|_| Err(gone()));
            Arc::new(match left {
                Ok(answer) => answer.await,
                Err(error) => Err(error),
            })
        };
        Open {
            number,
            running,
            depot,
            ack,
            records: Records::default(),
            left,
            answer: answer.boxed().shared(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn leave_if(&mut self, task: u32, number: u64) {
        if self
            .open
            .get(&task)
            .is_some_and(|open| open.number == number)
        {
            self.leave(task);
        }
    }

    fn leave(&mut self, task: u32) {
        if let Some(open) = self.open.remove(&task) {
            let sent = send(&open.running, open.depot, task, open.records, open.ack);
            // Nobody may be there any more to hear of it.
            drop(open.left.send(sent));
        }
    }
}

impl Open {
    fn is_full(&self) -> bool {
        self.records.len() >= limits::GATHERED_RECORDS_MAX
            || self.records.bytes_len() >= limits::GATHERED_BYTES_MAX
    }
}
