//! Follows one module: its routes while an instance runs, and the next instance after it.
//!
//! Relies on the directory for news. What must stay true: links lead to one instance at a time, the
//! newest that is known and whose code is the program's; what the cluster cannot be asked about stays
//! as it was, so that the loss of all daemons stops nothing; an older answer never replaces a newer
//! one.

use std::rc::Rc;
use std::sync::Arc;

use futures_channel::oneshot;
use tokio::task::AbortHandle;
use uuid::Uuid;

use super::ground::{OnTokio, Pauses};
use super::{Code, Shared};
use crate::catalog::Catalog;
use crate::cluster::{Cluster, Deadline, Numbers, Running, WeakCluster};
use crate::definition::Definition;
use crate::directory::Routing;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{self, Layout};
use crate::message::{Message, Post};
use crate::metrics::ModuleMetrics;
use crate::remote::peer::{self, WhileDown};
use crate::remote::quic::{QuicDial, Routes};

pub(super) struct Follower {
    shared: Rc<Shared>,
    cluster: WeakCluster,
    code: Code,
    current: Option<Current>,
    /// The newest that was heard.
    revision: u64,
}

/// An instance that links lead to.
struct Current {
    instance: Uuid,
    tasks: u32,
    threads: u32,
    routes: Routes,
    loops: Vec<AbortHandle>,
}

impl Drop for Current {
    fn drop(&mut self) {
        for work in &self.loops {
            work.abort();
        }
    }
}

impl Follower {
    pub(super) fn new(shared: Rc<Shared>, cluster: WeakCluster, code: Code) -> Follower {
        Follower {
            shared,
            cluster,
            code,
            current: None,
            revision: 0,
        }
    }

    /// Tells `opened` when the module can be used or why not; then follows it for as long as somebody
    /// has a handle.
    pub(super) async fn run(mut self, opened: oneshot::Sender<Result<()>>) {
        let mut trouble = None;
        let (deadline, first) = (self.shared.config.deadline, self.first(&mut trouble));
        let found = match tokio::time::timeout(deadline, first).await {
            Ok(found) => found,
            Err(_) => Err(self.late(trouble)),
        };
        let Some(cluster) = self.cluster.upgrade() else {
            return;
        };
        let begun = found.and_then(|routing| self.adopt(&cluster, routing));
        let fails = begun.is_err();
        if opened.send(begun).is_err() || fails {
            // Nobody knows of it, so nobody uses it.
            return cluster.remove(self.code.module());
        }
        drop(cluster);
        let mut pauses = Pauses::default();
        while let Some(heard) = self.listen().await {
            if heard {
                pauses = Pauses::default();
            } else {
                tokio::time::sleep(pauses.next_pause()).await;
            }
        }
    }

    /// The first answer that tells which code runs.
    async fn first(&mut self, trouble: &mut Option<Error>) -> Result<Routing> {
        let directory = self.shared.config.directory.clone();
        let mut pauses = Pauses::default();
        let mut after = None;
        loop {
            match directory.routing(self.code.module(), after).await {
                Ok(routing) if routing.interface.is_some() => return Ok(routing),
                Ok(routing) => {
                    *trouble = Some(Error::unavailable("none of its workers runs yet"));
                    after = Some(routing.revision);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(error),
                Err(error) if error.is_retryable() => *trouble = Some(error),
                Err(error) => return Err(error),
            }
            tokio::time::sleep(pauses.next_pause()).await;
        }
    }

    fn late(&self, trouble: Option<Error>) -> Error {
        let (module, deadline) = (self.code.module(), self.shared.config.deadline);
        let text = format!("could not find module {module} within {deadline:?}; retry");
        match trouble {
            Some(cause) => Error::unavailable(text).caused_by(cause),
            None => Error::unavailable(text),
        }
    }

    /// Waits for news and acts on them; false when there were none that could be used, none when
    /// nobody has a handle.
    async fn listen(&mut self) -> Option<bool> {
        let directory = self.shared.config.directory.clone();
        let after = match self.current {
            Some(_) => self.revision,
            None => 0,
        };
        let heard = directory.routing(self.code.module(), Some(after));
        let heard = heard.await;
        let cluster = self.cluster.upgrade()?;
        let module = self.code.module();
        Some(match heard {
            Ok(routing) if routing.revision < self.revision => false,
            Ok(routing) => {
                let adopted = self.adopt(&cluster, routing);
                if let Err(error) = &adopted {
                    self.lose(&cluster, error);
                }
                adopted.is_ok()
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let text = format!("module {module} does not run, nothing was done");
                self.lose(&cluster, &Error::unavailable(text).caused_by(error));
                false
            }
            Err(error) => {
                tracing::debug!(error = format!("{error:#}"), %module, "no news of a module");
                false
            }
        })
    }

    /// Goes where `routing` says.
    fn adopt(&mut self, cluster: &Cluster, routing: Routing) -> Result<()> {
        let module = self.code.module();
        self.revision = self.revision.max(routing.revision);
        routing.check(module)?;
        if let Some(current) = &self.current
            && (current.instance, current.tasks, current.threads)
                == (routing.instance, routing.tasks, routing.threads)
        {
            current.routes.set(routing.routes);
            return Ok(());
        }
        let definition = self.code.definition(&routing)?;
        let (running, current) = self.reach(&routing, definition)?;
        tracing::info!(%module, instance = %routing.instance, "uses an instance of a module");
        cluster.install(running);
        // The links of the one before end with it.
        self.current = Some(current);
        Ok(())
    }

    /// No instance can be used: calls answer with `reason`.
    fn lose(&mut self, cluster: &Cluster, reason: &Error) {
        let module = self.code.module().to_owned();
        if self.current.take().is_some() {
            tracing::info!(%module, error = format!("{reason:#}"), "a module cannot be used now");
        }
        cluster.stop_because(&module, reason);
    }

    /// Links to an instance.
    fn reach(&self, routing: &Routing, definition: Definition) -> Result<(Running, Current)> {
        let Shared {
            config,
            endpoint,
            endpoint_v6,
            incarnation,
            timer,
        } = &*self.shared;
        let (tasks, threads) = (routing.tasks, routing.threads);
        let declared = layout::declared(&definition, tasks, threads);
        // Ids of files mean nothing here; objects go over links by their index in the definition.
        let entry = Catalog::new(config.cluster.as_u128()).reconcile(&declared)?;
        let layout = Arc::new(Layout::new(definition, &entry));
        let metrics = Arc::new(ModuleMetrics::new(&layout));
        let routes = Routes::default();
        routes.set(routing.routes.clone());
        let nobody: Arc<dyn Post> = Arc::new(Nobody);
        let (mut posts, mut running) = (Vec::new(), Vec::new());
        for thread in 0..threads {
            let endpoints = (endpoint.clone(), endpoint_v6.clone());
            let routes = routes.clone();
            let (from, to) = (*incarnation, (routing.instance, thread));
            let dial = QuicDial::of_program(endpoints, routes, from, to);
            let (post, loops) = peer::open(&OnTokio, thread, &nobody, WhileDown::Wait, dial);
            posts.push(post);
            for (_, work) in loops {
                running.push(tokio::task::spawn_local(work).abort_handle());
            }
        }
        let deadline = Deadline {
            after: config.deadline,
            timer: timer.clone(),
        };
        let numbers = Numbers::new(Uuid::new_v4().as_u64_pair().0);
        let current = Current {
            instance: routing.instance,
            tasks,
            threads,
            routes,
            loops: running,
        };
        let running = Running::new(layout, metrics, posts.into());
        Ok((running.outside(deadline, numbers), current))
    }
}

/// A program has no task thread that would care for changes of links.
struct Nobody;

impl Post for Nobody {
    fn post(&self, _: Message) -> Result<(), Message> {
        Ok(())
    }
}
