//! Running things on executors from anywhere: the same few lines over glommio and the simulator.
//!
//! Relies on the transport. Each executor serves an inbox of jobs; a job gets the executor's
//! environment and spawns what it wants there. What must stay true: a call whose executor is gone
//! answers with an error and never hangs.

use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use futures_channel::oneshot;
use futures_util::future::BoxFuture;
use rama_io::{Category, Env, Receiver, Sender, Transport};

use crate::error::{Error, Result};

/// Something to start on an executor; says whether the executor goes on.
pub(crate) type Job<E> = Box<dyn FnOnce(E) -> ControlFlow<()> + Send>;

type JobSender<E> = <<E as Env>::Transport as Transport>::Sender<Job<E>>;

/// The inbox an executor serves.
pub(crate) type JobReceiver<E> = <<E as Env>::Transport as Transport>::Receiver<Job<E>>;

/// The executors of one cluster.
pub(crate) struct Hosts<E: Env> {
    transport: E::Transport,
    senders: Arc<[JobSender<E>]>,
}

impl<E: Env> Clone for Hosts<E> {
    fn clone(&self) -> Hosts<E> {
        Hosts {
            transport: self.transport.clone(),
            senders: self.senders.clone(),
        }
    }
}

impl<E: Env> Hosts<E> {
    /// Inboxes for `count` executors; each is to be given to [`serve`].
    pub(crate) fn new(transport: E::Transport, count: u32) -> (Hosts<E>, Vec<JobReceiver<E>>) {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..count).map(|_| transport.channel::<Job<E>>()).unzip();
        (
            Hosts {
                transport,
                senders: senders.into(),
            },
            receivers,
        )
    }

    pub(crate) fn count(&self) -> u32 {
        self.senders.len() as u32
    }

    pub(crate) fn transport(&self) -> &E::Transport {
        &self.transport
    }

    /// Runs `start` on executor `index`; whatever it spawns stays there.
    pub(crate) fn run(&self, index: u32, start: impl FnOnce(E) + Send + 'static) -> Result<()> {
        let job: Job<E> = Box::new(|env| {
            start(env);
            ControlFlow::Continue(())
        });
        self.senders[index as usize]
            .send(job)
            .map_err(|_| gone(index))
    }

    /// Ends all executors: what runs there is dropped, as in a crash.
    pub(crate) fn quit(&self) {
        for sender in self.senders.iter() {
            // An executor that is gone already has quit.
            let _ = sender.send(Box::new(|_| ControlFlow::Break(())));
        }
    }

    /// Runs an asynchronous function on executor `index` and answers with what it returns.
    pub(crate) async fn call<T, F>(
        &self,
        index: u32,
        category: Category,
        work: impl FnOnce(E) -> F + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.run(index, move |env| {
            let work = work(env.clone());
            env.spawn(category, async move {
                let _ = reply.send(work.await);
            });
        })?;
        answer.await.map_err(|_| gone(index))?
    }
}

fn gone(index: u32) -> Error {
    Error::unknown(format!("executor {index} went away; restart the cluster"))
}

/// Runs the jobs of one executor until it is told to quit.
pub(crate) async fn serve<E: Env>(env: E, mut jobs: JobReceiver<E>) {
    while let Some(job) = jobs.recv().await {
        if job(env.clone()).is_break() {
            return;
        }
    }
}

/// Sleeping without knowing the executor one runs on: for clients.
pub(crate) trait Timer: Send + Sync {
    /// Completes after `duration`, or at once when the cluster is gone.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// Sleeps on the first executor.
pub(crate) struct HostTimer<E: Env>(pub(crate) Hosts<E>);

impl<E: Env> Timer for HostTimer<E> {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (done, slept) = oneshot::channel::<()>();
        let started = self.0.run(0, move |env: E| {
            let sleep = env.sleep(duration);
            env.spawn(Category::Client, async move {
                sleep.await;
                let _ = done.send(());
            });
        });
        Box::pin(async move {
            if started.is_ok() {
                let _ = slept.await;
            }
        })
    }
}
