//! A launched module, and how its task threads are reached.
//!
//! Relies on posts, which never wait. What must stay true: a call to another process ends within its
//! deadline; an append that was still waiting to be sent then is taken back, so that its caller may be
//! told that nothing was done.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_channel::oneshot;
use futures_util::future::{Either, select};

use crate::error::{Error, ErrorKind, Result};
use crate::host::Timer;
use crate::layout::Layout;
use crate::message::{AppendRequest, ClientRequest, Control, Message, Post, Reply};
use crate::metrics::ModuleMetrics;
use crate::producers::Numbered;

/// A launched module and how to reach it.
pub(crate) struct Running {
    pub(crate) layout: Arc<Layout>,
    pub(crate) metrics: Arc<ModuleMetrics>,
    /// Empty while it is stopped.
    posts: Arc<[Arc<dyn Post>]>,
    /// None within a process, whose task threads answer or are gone.
    deadline: Option<Deadline>,
    /// None where nothing is ever sent twice.
    numbers: Option<Arc<Numbers>>,
    /// Whether it runs in other processes alone, which measure it.
    outside: bool,
    /// Why it is stopped, where that is known.
    reason: Option<(ErrorKind, String)>,
}

/// Answers of task threads that are still to come.
#[derive(Default)]
pub(crate) struct Answers(Vec<oneshot::Receiver<Result<()>>>);

/// Numbers the appends of a program to each partition, so that they may be sent again.
pub(crate) struct Numbers {
    producer: u64,
    /// The last number, by task and depot.
    last: Mutex<BTreeMap<(u32, u16), u64>>,
}

impl Numbers {
    /// For a program with a random id; 0 is none.
    pub(crate) fn new(producer: u64) -> Numbers {
        Numbers {
            producer: producer.max(1),
            last: Mutex::default(),
        }
    }
}

/// When a call is given up.
#[derive(Clone)]
pub(crate) struct Deadline {
    pub(crate) after: Duration,
    pub(crate) timer: Arc<dyn Timer>,
}

impl Deadline {
    /// Waits for `answer`, or until it is too late for it.
    pub(crate) async fn bound<T>(
        this: Option<&Deadline>,
        answer: impl Future<Output = Result<T>>,
        late: impl FnOnce(Duration) -> Error,
    ) -> Result<T> {
        let Some(Deadline { after, timer }) = this else {
            return answer.await;
        };
        match select(pin!(answer), timer.sleep(*after)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => Err(late(*after)),
        }
    }
}

impl Running {
    pub(crate) fn new(
        layout: Arc<Layout>,
        metrics: Arc<ModuleMetrics>,
        posts: Arc<[Arc<dyn Post>]>,
    ) -> Running {
        Running {
            layout,
            metrics,
            posts,
            deadline: None,
            numbers: None,
            outside: false,
            reason: None,
        }
    }

    /// For a program that is no part of the cluster.
    pub(crate) fn outside(self, deadline: Deadline, numbers: Numbers) -> Running {
        Running {
            deadline: Some(deadline),
            outside: true,
            ..self.with_numbers(numbers)
        }
    }

    /// Appends carry numbers from now on.
    pub(crate) fn with_numbers(self, numbers: Numbers) -> Running {
        let numbers = Some(Arc::new(numbers));
        Running { numbers, ..self }
    }

    /// The same module with another deadline.
    pub(crate) fn within(&self, deadline: Deadline) -> Running {
        Running {
            layout: self.layout.clone(),
            metrics: self.metrics.clone(),
            posts: self.posts.clone(),
            deadline: Some(deadline),
            numbers: self.numbers.clone(),
            outside: self.outside,
            reason: self.reason.clone(),
        }
    }

    /// The same module without its threads.
    pub(crate) fn stopped(&self) -> Running {
        self.metrics.on_stop();
        Running {
            layout: self.layout.clone(),
            metrics: self.metrics.clone(),
            posts: Arc::new([]),
            deadline: self.deadline.clone(),
            numbers: None,
            outside: self.outside,
            reason: None,
        }
    }

    /// The same module without its threads; calls answer with `reason`.
    pub(crate) fn stopped_because(&self, reason: &Error) -> Running {
        let reason = Some((reason.kind(), format!("{reason:#}")));
        Running {
            reason,
            ..self.stopped()
        }
    }

    pub(crate) fn deadline(&self) -> Option<&Deadline> {
        self.deadline.as_ref()
    }

    pub(crate) fn is_up(&self) -> bool {
        !self.posts.is_empty()
    }

    /// Whether what it does is measured elsewhere.
    pub(crate) fn is_outside(&self) -> bool {
        self.outside
    }

    /// Whether both reach the same instance in the same way.
    pub(crate) fn is_same(&self, other: &Running) -> bool {
        Arc::ptr_eq(&self.posts, &other.posts)
    }

    /// What is said to who calls while it is stopped.
    pub(crate) fn down(&self) -> Error {
        match &self.reason {
            Some((kind, text)) => Error::new(*kind, text.clone()),
            None => Error::unavailable(format!(
                "module {} is not running, nothing was done; retry when it is back",
                self.layout.module
            )),
        }
    }

    /// Sends an append that `request` makes of its number.
    pub(crate) fn post_append(
        &self,
        (task, depot): (u32, u16),
        request: impl FnOnce(Option<Numbered>) -> AppendRequest,
    ) -> Result<()> {
        let Some(numbers) = &self.numbers else {
            return self.post(task, ClientRequest::Append(request(None)));
        };
        let Numbers { producer, last } = &**numbers;
        // Held while it is sent, so that numbers arrive in their order.
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = last.entry((task, depot)).or_default();
        *sequence += 1;
        let numbered = Numbered {
            producer: *producer,
            sequence: *sequence,
        };
        self.post(task, ClientRequest::Append(request(Some(numbered))))
    }

    /// Sends a request to a task.
    pub(crate) fn post(&self, task: u32, request: ClientRequest) -> Result<()> {
        let post = self
            .posts
            .get(self.layout.thread_of(task) as usize)
            .ok_or_else(|| self.down())?;
        post.post(Message::Client(request)).map_err(|_| self.down())
    }

    /// Sends a read to a task and waits for its answer.
    pub(crate) async fn ask<T>(
        &self,
        task: u32,
        request: impl FnOnce(Reply<T>) -> ClientRequest,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.post(task, request(reply))?;
        let answer = async { answer.await.unwrap_or_else(|_| Err(self.down())) };
        Deadline::bound(self.deadline(), answer, |after| self.late(after)).await
    }

    /// Sends a command to every task thread and waits for all.
    pub(crate) async fn command(
        &self,
        threads: impl IntoIterator<Item = u32>,
        control: impl Fn(Reply<()>) -> Control,
    ) -> Result<()> {
        self.answered(self.order(threads, control)).await
    }

    /// Sends a command to every task thread, without waiting.
    pub(crate) fn order(
        &self,
        threads: impl IntoIterator<Item = u32>,
        control: impl Fn(Reply<()>) -> Control,
    ) -> Answers {
        let send = |thread| {
            let (reply, answer) = oneshot::channel();
            if let Some(post) = self.posts.get(thread as usize) {
                // A thread that is gone drops the reply, which whoever waits hears.
                let _ = post.post(Message::Control(control(reply)));
            }
            answer
        };
        Answers(threads.into_iter().map(send).collect())
    }

    /// Waits for the answers to a command.
    pub(crate) async fn answered(&self, answers: Answers) -> Result<()> {
        for answer in answers.0 {
            let answer = async { answer.await.unwrap_or_else(|_| Err(self.down())) };
            Deadline::bound(self.deadline(), answer, |after| self.late(after)).await?;
        }
        Ok(())
    }

    fn late(&self, after: Duration) -> Error {
        Error::unavailable(format!(
            "module {} did not answer within {after:?}; retry",
            self.layout.module
        ))
    }
}
