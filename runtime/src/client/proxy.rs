//! The handle of a proxy: a value that is kept current, and the stream of its changes.
//!
//! Relies on `proxy` for the copy and its checksums. Nothing runs in the background: updates wait in
//! a bounded queue until the handle is asked. What must stay true: changes come in commit order, each
//! with the value before and after (P-41, P-42); what may have been missed comes as a resync (P-43);
//! dropping the handle ends it on its task (P-44).

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream};

use super::pstate::route;
use crate::cluster::running::Deadline;
use crate::cluster::{Cluster, Running};
use crate::error::{Error, ErrorKind, Result};
use crate::message::ClientRequest;
use crate::plan::{Plan, SelectError};
use crate::proxy::footprint::Footprint;
use crate::proxy::replica::Replica;
use crate::proxy::slot::{self, Fed, Feed};
use crate::proxy::update::Update;
use crate::proxy::{Diff, Following};

/// So many errors in a window end a proxy (P-45).
const ERRORS_MAX: u32 = 10;
const ERROR_WINDOW: Duration = Duration::from_secs(120);

/// Pauses between attempts to find the task again.
const PAUSE_FIRST: Duration = Duration::from_millis(5);
const PAUSE_LONGEST: Duration = Duration::from_secs(1);

/// Whether a proxy still follows its path (P-40).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyStatus {
    /// It follows; while its module is down it waits for it.
    Active,
    /// It was closed, or its module destroyed.
    Terminated,
    /// It was given up: see [`Proxy::error`].
    TerminatedUngracefully,
}

/// One change of a followed value.
#[derive(Debug, PartialEq, Eq)]
pub struct Change<T, K = (), V = T> {
    /// The value now.
    pub new: Arc<T>,
    /// How it changed.
    pub diff: Diff<K, V>,
    /// The value before; `None` the first time.
    pub old: Option<Arc<T>>,
}

/// A value that follows its path: [`Proxy::get`] is the current one, [`Proxy::next`] the next
/// change of it. A stream of changes, too.
///
/// # Ordering
/// Changes come in the order of commits, the first is a [`Diff::Resync`] without an old value.
/// An append may be acknowledged before the proxy shows what came of it.
///
/// # Errors
/// Each update carries a checksum of the value it leads to; one that does not fit is answered by
/// reading the value again, which shows as a resync. So do a restart of the module or its worker, a
/// link that broke, and a reader who is more than `pstate.reactivity.queue.limit` changes behind.
/// While the module is down the proxy keeps its value and waits. After ten errors in two minutes, or
/// when the value outgrows what may be followed, it ends with [`Diff::UngracefulTermination`].
#[must_use = "a proxy that is dropped follows nothing"]
pub struct Proxy<T, K = (), V = T> {
    source: Source,
    following: Following<T, K, V>,
    state: Mutex<State<T>>,
}

/// Where updates come from.
struct Source {
    cluster: Cluster,
    module: Option<String>,
    pstate: String,
    route: Option<Vec<u8>>,
    plan: Plan,
}

struct State<T> {
    status: ProxyStatus,
    /// Whether the end was told as a change.
    end_told: bool,
    feed: Option<Feed>,
    /// As of the last change that was taken.
    taken: Held<T>,
    /// Whether the first change was taken.
    begun: bool,
    /// As of the newest update that was looked at, and the number of the next.
    seen: Option<(u64, Held<T>)>,
    /// What was seen last of a feed that is gone.
    latest: Option<Arc<T>>,
    errors: u32,
    window: Option<BoxFuture<'static, ()>>,
    pause: Option<BoxFuture<'static, ()>>,
    pause_next: Duration,
    error: Option<String>,
}

struct Held<T> {
    replica: Replica,
    value: Arc<T>,
}

impl<T> Clone for Held<T> {
    fn clone(&self) -> Held<T> {
        Held {
            replica: self.replica.clone(),
            value: self.value.clone(),
        }
    }
}

impl Source {
    fn running(&self) -> Result<(Arc<Running>, u16)> {
        self.cluster.pstate_of(self.module.as_deref(), &self.pstate)
    }

    /// Asks the path's task to tell. Never waits.
    fn subscribe(&self) -> Result<Feed> {
        let (running, pstate) = self.running()?;
        let task = route(&running, pstate, self.route.as_deref())?;
        let (subscription, feed) = slot::pair();
        let request = ClientRequest::Follow {
            task,
            pstate,
            plan: self.plan.clone(),
            subscription,
        };
        running.post(task, request)?;
        Ok(feed)
    }
}

fn unreadable(source: &Source, cause: SelectError) -> Error {
    if matches!(cause, SelectError::NotOne { .. }) {
        let text = format!("could not follow a path of {}", source.pstate);
        return Error::invalid(text).caused_by(cause);
    }
    bad(source, cause)
}

/// Opens a proxy and waits for its first value.
pub(crate) async fn open<T, K, V>(
    cluster: Cluster,
    module: Option<String>,
    within: Option<Duration>,
    following: Following<T, K, V>,
) -> Result<Proxy<T, K, V>> {
    let source = Source {
        cluster,
        module,
        pstate: following.pstate.clone(),
        route: following.route.clone(),
        plan: following.plan.clone(),
    };
    let (running, _) = source.running()?;
    let running = source.cluster.bounded(running, within);
    let first = first(&source, &following);
    let late = |after| {
        let name = &source.pstate;
        Error::unavailable(format!("{name} told no value within {after:?}; retry"))
    };
    let (feed, held) = Deadline::bound(running.deadline(), first, late).await?;
    let state = State {
        status: ProxyStatus::Active,
        end_told: false,
        feed: Some(feed),
        taken: held,
        begun: false,
        seen: None,
        latest: None,
        errors: 0,
        window: None,
        pause: None,
        pause_next: PAUSE_FIRST,
        error: None,
    };
    Ok(Proxy {
        source,
        following,
        state: Mutex::new(state),
    })
}

/// The feed of a path, and the value it begins with.
async fn first<T, K, V>(
    source: &Source,
    following: &Following<T, K, V>,
) -> Result<(Feed, Held<T>)> {
    let mut replica = Replica::of(&Footprint::of(&following.plan));
    let mut pause = PAUSE_FIRST;
    loop {
        let feed = source.subscribe()?;
        match feed.next().await {
            Fed::Update(update) => {
                replica.apply(&update).map_err(|error| bad(source, error))?;
                let value = (following.value)(&replica.answer());
                let value = Arc::new(value.map_err(|error| unreadable(source, error))?);
                return Ok((feed, Held { replica, value }));
            }
            Fed::Refused(error) => return Err(error),
            // Another instance may have taken its place.
            Fed::Gone => source.cluster.sleep(pause).await,
        }
        pause = (pause * 2).min(PAUSE_LONGEST);
    }
}

fn bad(source: &Source, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    let text = format!("could not read what {} told a proxy", source.pstate);
    Error::new(ErrorKind::Corrupt, text).caused_by(cause)
}

impl<T, K, V> Proxy<T, K, V> {
    /// The current value, as far as it was told here. No I/O, never waits (P-40).
    pub fn get(&self) -> Arc<T> {
        let mut state = self.lock();
        if state.status == ProxyStatus::Active {
            self.look(&mut state);
        }
        let seen = state.seen.as_ref().map(|(_, held)| &held.value);
        let newest = seen.or(state.latest.as_ref());
        newest.unwrap_or(&state.taken.value).clone()
    }

    /// Whether it still follows.
    pub fn status(&self) -> ProxyStatus {
        self.lock().status
    }

    /// The last error: why it was given up, if it was.
    pub fn error(&self) -> Option<String> {
        self.lock().error.clone()
    }

    /// The checksum of the value of the last change that was taken.
    pub fn checksum(&self) -> u64 {
        self.lock().taken.replica.checksum()
    }

    /// The next change; `None` after the end. Only dropping or closing the proxy, or errors, end it.
    pub async fn next(&mut self) -> Option<Change<T, K, V>> {
        std::future::poll_fn(|cx| self.poll_change(cx)).await
    }

    /// Ends it: its task forgets it, and the next change is a [`Diff::Destroyed`].
    pub fn close(&mut self) {
        let mut state = self.lock();
        if state.status == ProxyStatus::Active {
            state.end(ProxyStatus::Terminated);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings what was seen up to what waits; asks anew when nobody tells any more.
    fn look(&self, state: &mut State<T>) {
        let mut cx = Context::from_waker(Waker::noop());
        let Some(feed) = &state.feed else {
            if state.poll_pause(&mut cx).is_ready() {
                self.subscribe(state);
            }
            return;
        };
        if feed.is_over() {
            match feed.poll_next(&mut cx) {
                Poll::Ready(Fed::Refused(error)) => self.on_error(state, &error),
                _ => {
                    state.lose();
                    self.subscribe(state);
                }
            }
            return;
        }
        let passed = feed.passed();
        let known = match state.seen.take() {
            Some((number, held)) if number < passed => {
                // What came after it was thrown away; a whole value is on its way.
                state.latest = Some(held.value);
                None
            }
            known => known,
        };
        let number = known.as_ref().map_or(passed, |(number, _)| *number);
        let (first, updates) = feed.waiting(number);
        if updates.is_empty() {
            state.seen = known;
            return;
        }
        let number = first + updates.len() as u64;
        let mut held = known.map_or_else(|| state.taken.clone(), |(_, held)| held);
        for update in updates {
            if let Err(error) = self.apply(&mut held, &update) {
                return self.on_error(state, &error);
            }
        }
        state.latest = None;
        state.seen = Some((number, held));
    }

    fn apply(&self, held: &mut Held<T>, update: &Update) -> Result<Option<Diff<K, V>>> {
        let old_len = held.replica.len();
        let applied = held.replica.apply(update);
        let applied = applied.map_err(|error| bad(&self.source, error))?;
        let diff = self.following.diff(applied, old_len, &held.replica);
        let diff = diff.map_err(|error| unreadable(&self.source, error))?;
        if diff.is_some() {
            let value = (self.following.value)(&held.replica.answer());
            held.value = Arc::new(value.map_err(|error| unreadable(&self.source, error))?);
        }
        Ok(diff)
    }

    fn subscribe(&self, state: &mut State<T>) {
        match self.source.subscribe() {
            Ok(feed) => {
                state.feed = Some(feed);
            }
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                if self.source.cluster.is_over() {
                    state.give_up(&error);
                } else {
                    state.pause(&self.source.cluster);
                }
            }
            // It was destroyed: an end like any other.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                state.error = Some(format!("{error:#}"));
                state.end(ProxyStatus::Terminated);
            }
            Err(error) => state.give_up(&error),
        }
    }

    /// Something went wrong that reading the value again may cure (P-43), up to a point (P-45).
    fn on_error(&self, state: &mut State<T>, error: &Error) {
        let mut cx = Context::from_waker(Waker::noop());
        if state
            .window
            .as_mut()
            .is_none_or(|window| window.poll_unpin(&mut cx).is_ready())
        {
            state.errors = 0;
            let window = self.source.cluster.sleep_boxed(ERROR_WINDOW);
            state.window = Some(window);
        }
        state.errors += 1;
        state.error = Some(format!("{error:#}"));
        state.lose();
        let hopeless = matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Rejected);
        if hopeless || state.errors >= ERRORS_MAX {
            state.give_up(error);
        } else {
            state.pause(&self.source.cluster);
        }
    }

    fn poll_change(&mut self, cx: &mut Context<'_>) -> Poll<Option<Change<T, K, V>>> {
        let mut state = self.lock();
        if !std::mem::replace(&mut state.begun, true) {
            let (new, diff) = (state.taken.value.clone(), Diff::Resync);
            return Poll::Ready(Some(Change {
                new,
                diff,
                old: None,
            }));
        }
        loop {
            if state.status != ProxyStatus::Active {
                return Poll::Ready(state.end_change());
            }
            ready!(state.poll_pause(cx));
            let Some(feed) = &state.feed else {
                self.subscribe(&mut state);
                continue;
            };
            match ready!(feed.poll_next(cx)) {
                Fed::Update(update) => {
                    let old = state.taken.value.clone();
                    let taken = feed.taken();
                    match self.apply(&mut state.taken, &update) {
                        Ok(diff) => {
                            state.seen = state.seen.take().filter(|(next, _)| *next > taken);
                            state.latest = None;
                            state.pause_next = PAUSE_FIRST;
                            let Some(diff) = diff else { continue };
                            let new = state.taken.value.clone();
                            let old = Some(old);
                            return Poll::Ready(Some(Change { new, diff, old }));
                        }
                        Err(error) => self.on_error(&mut state, &error),
                    }
                }
                Fed::Refused(error) => self.on_error(&mut state, &error),
                Fed::Gone => {
                    state.lose();
                    state.pause(&self.source.cluster);
                }
            }
        }
    }
}

impl<T> State<T> {
    fn end(&mut self, status: ProxyStatus) {
        self.status = status;
        self.lose();
        if let Some(value) = self.latest.take() {
            self.taken.value = value;
        }
    }

    /// Nobody tells any more. What was seen stays.
    fn lose(&mut self) {
        self.feed = None;
        if let Some((_, held)) = self.seen.take() {
            self.latest = Some(held.value);
        }
    }

    fn give_up(&mut self, error: &Error) {
        self.error = Some(format!("{error:#}"));
        self.end(ProxyStatus::TerminatedUngracefully);
    }

    fn pause(&mut self, cluster: &Cluster) {
        self.pause = Some(cluster.sleep_boxed(self.pause_next));
        self.pause_next = (self.pause_next * 2).min(PAUSE_LONGEST);
    }

    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.poll_unpin(cx));
            self.pause = None;
        }
        Poll::Ready(())
    }

    /// The change that tells the end, once.
    fn end_change<K, V>(&mut self) -> Option<Change<T, K, V>> {
        if std::mem::replace(&mut self.end_told, true) {
            return None;
        }
        let diff = match self.status {
            ProxyStatus::TerminatedUngracefully => Diff::UngracefulTermination,
            ProxyStatus::Active | ProxyStatus::Terminated => Diff::Destroyed,
        };
        let new = self.taken.value.clone();
        let old = Some(new.clone());
        Some(Change { new, diff, old })
    }
}

impl<T, K, V> Stream for Proxy<T, K, V> {
    type Item = Change<T, K, V>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_change(cx)
    }
}

#[cfg(test)]
mod tests;
