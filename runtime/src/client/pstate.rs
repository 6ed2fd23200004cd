//! Reading and watching a PState, typed.
//!
//! Relies on typed paths for plan and decoding. What must stay true: a path goes to the one
//! partition that is home to its leading key (P-33), and shows committed data only (P-29).

use std::marker::PhantomData;
use std::time::Duration;

use super::proxy::{self, Proxy};
use super::watch::{self, Watch};
use crate::cluster::{Cluster, Running};
use crate::error::{Error, ErrorKind, Result};
use crate::message::ClientRequest;
use crate::plan::{Plan, Selectable, Selection};
use crate::proxy::Proxied;
use crate::pstate::PState;
use crate::schema::Root;

/// Reads one PState. Survives restarts of the module.
pub struct PStateClient<S> {
    cluster: Cluster,
    module: Option<String>,
    name: &'static str,
    within: Option<Duration>,
    schema: PhantomData<fn() -> S>,
}

impl<S> Clone for PStateClient<S> {
    fn clone(&self) -> PStateClient<S> {
        let (cluster, module) = (self.cluster.clone(), self.module.clone());
        PStateClient {
            cluster,
            module,
            name: self.name,
            within: self.within,
            schema: PhantomData,
        }
    }
}

impl<S: Root> PStateClient<S> {
    pub(crate) fn new(
        cluster: Cluster,
        module: Option<String>,
        pstate: PState<S>,
    ) -> PStateClient<S> {
        PStateClient {
            cluster,
            module,
            name: pstate.name(),
            within: None,
            schema: PhantomData,
        }
    }

    /// The same PState; each read ends after `deadline` at the latest, instead of the connection's
    /// deadline, or none within a process.
    #[must_use]
    pub fn within(self, deadline: Duration) -> PStateClient<S> {
        let within = Some(deadline);
        PStateClient { within, ..self }
    }

    /// What the path leads to, as committed: a value or `None`, a size, the elements of a range. A
    /// tuple or a `Vec` of paths into one partition answers all of them as of one moment.
    ///
    /// # Errors
    /// `Invalid` when the path belongs to another PState, does not begin with a key or calls a
    /// function that the module does not register; `Rejected` when the PState is private or such a
    /// function failed; `Unavailable` while the module is down.
    pub fn select<P: Selectable>(
        &self,
        path: P,
    ) -> impl Future<Output = Result<P::Output>> + Send + use<P, S>
    where
        P::Output: Send,
    {
        let selection = path.selection();
        let client = self.clone();
        async move {
            loop {
                let (running, pstate, task) = client.target(&selection)?;
                let plan = selection.plan().clone();
                match select_plan(&running, pstate, task, plan).await {
                    Ok(answer) => return decode(&selection, &answer),
                    // Another instance has taken its place meanwhile: a read may be asked again.
                    Err(error) if client.is_replaced(&running, &error) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// The same as [`PStateClient::select`]; reads well for paths to one value.
    ///
    /// # Errors
    /// As [`PStateClient::select`].
    pub fn select_one<P: Selectable>(
        &self,
        path: P,
    ) -> impl Future<Output = Result<P::Output>> + Send + use<P, S>
    where
        P::Output: Send,
    {
        self.select(path)
    }

    /// Follows a path to one value: opens a proxy, which has the value from then on and tells each
    /// change. See [`Proxied`] for what can be followed and which changes are told.
    ///
    /// # Errors
    /// As [`PStateClient::select`]; `Unavailable` also when the task has too many proxies of the
    /// PState (`pstate.proxy.limit`); `Invalid` when the value is too large to be followed. Later
    /// failures are those of [`Proxy`].
    pub fn proxy<P: Proxied>(
        &self,
        path: P,
    ) -> impl Future<Output = Result<Proxy<P::Output, P::Key, P::Value>>> + Send + use<P, S>
    where
        P::Output: Send + Sync,
    {
        let following = path.proxied();
        let client = self.clone();
        async move {
            client.check(&following.pstate)?;
            if let Some(fault) = following.fault.clone() {
                let text = format!("could not follow several paths of {}", client.name);
                return Err(Error::invalid(text).caused_by(fault));
            }
            proxy::open(client.cluster, client.module, client.within, following).await
        }
    }

    /// Follows a path: its value now, and again after each commit that changed it.
    ///
    /// # Errors
    /// As [`PStateClient::select`]; later failures come through the stream.
    pub fn watch<P: Selectable>(&self, path: P) -> Result<Watch<P::Output>>
    where
        P::Output: 'static,
    {
        let selection = path.selection();
        let (running, pstate, task) = self.target(&selection)?;
        let plan = selection.plan().clone();
        let decode = move |answer: &[u8]| decode(&selection, answer);
        let (subscription, watch) = watch::pair(&plan, Box::new(decode));
        running.post(
            task,
            ClientRequest::Follow {
                task,
                pstate,
                plan,
                subscription,
            },
        )?;
        Ok(watch)
    }

    /// Whether a read failed because its instance went, and there is another one now.
    fn is_replaced(&self, asked: &Running, error: &Error) -> bool {
        let now = self.cluster.running(&asked.layout.module);
        error.kind() == ErrorKind::Unavailable
            && now.is_ok_and(|now| now.is_up() && !now.is_same(asked))
    }

    fn check(&self, pstate: &str) -> Result<()> {
        if pstate == self.name {
            return Ok(());
        }
        let text = format!("could not read {} by a path of {pstate}", self.name);
        Err(Error::invalid(text))
    }

    fn target<O>(&self, selection: &Selection<O>) -> Result<(std::sync::Arc<Running>, u16, u32)> {
        selection.check().map_err(|fault| {
            let text = format!("could not read {} by several paths at once", self.name);
            Error::invalid(text).caused_by(fault)
        })?;
        self.check(selection.pstate())?;
        let (running, pstate) = self.cluster.pstate_of(self.module.as_deref(), self.name)?;
        let running = self.cluster.bounded(running, self.within);
        let task = route(&running, pstate, selection.route())?;
        Ok((running, pstate, task))
    }
}

/// A PState of a module that runs, and that `selection` is a read of it.
pub(crate) fn checked<O>(
    cluster: &Cluster,
    module: &str,
    name: &str,
    selection: &Selection<O>,
) -> Result<(std::sync::Arc<Running>, u16)> {
    selection.check().map_err(|fault| {
        let text = format!("could not read {name} by several paths at once");
        Error::invalid(text).caused_by(fault)
    })?;
    if selection.pstate() != name {
        let path = selection.pstate();
        return Err(Error::invalid(format!(
            "could not read {name} by a path of {path}"
        )));
    }
    cluster.pstate_of(Some(module), name)
}

pub(crate) fn decode<O>(selection: &Selection<O>, answer: &[u8]) -> Result<O> {
    selection.decode(answer).map_err(|error| {
        let text = format!("could not read what {} answered", selection.pstate());
        Error::new(ErrorKind::Corrupt, text).caused_by(error)
    })
}

/// The task with the data of a route (P-33).
pub(crate) fn route(running: &Running, pstate: u16, key: Option<&[u8]>) -> Result<u32> {
    let definition = &running.layout.definition.pstates[usize::from(pstate)];
    let tasks = running.layout.tasks;
    if definition.private {
        let (name, module) = (&definition.name, &running.layout.module);
        let text = format!("{name} of {module} is private: only its module reads it");
        return Err(Error::rejected(text));
    }
    match key {
        Some(key) => definition.home(key, tasks).map_err(|error| {
            Error::invalid(format!(
                "could not find the partition of a key of {}",
                definition.name
            ))
            .caused_by(error)
        }),
        None if definition.global || tasks == 1 => Ok(0),
        None => Err(Error::invalid(format!(
            "could not read {}: the path must begin with a key, which says on which of the {tasks} \
             tasks to look; begin with .key(..), or use .routed_by(&key)",
            definition.name
        ))),
    }
}

/// Evaluates a plan that was made elsewhere.
pub(crate) async fn select_plan(
    running: &Running,
    pstate: u16,
    task: u32,
    plan: Plan,
) -> Result<Vec<u8>> {
    running
        .ask(task, |reply| ClientRequest::Select {
            task,
            pstate,
            plan,
            reply,
        })
        .await
}
