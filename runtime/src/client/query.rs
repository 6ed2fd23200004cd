//! Invoking queries, typed and by name.
//!
//! Relies on the query's own first step for where it begins, when that says so (spec Q-7). What must
//! stay true: nothing is asked twice by itself within a process; over a connection an
//! invocation whose link breaks is asked again, as every read.

use std::time::Duration;

use rama_wire::Record;
use serde_json::Value;

use crate::cluster::{Cluster, Running};
use crate::error::{Error, ErrorKind, Result};
use crate::message::ClientRequest;
use crate::query_def::Query;

/// Invokes one query. Survives restarts of the module.
pub struct QueryClient<A, R> {
    cluster: Cluster,
    module: Option<String>,
    query: Query<A, R>,
    within: Option<Duration>,
}

impl<A, R> Clone for QueryClient<A, R> {
    fn clone(&self) -> QueryClient<A, R> {
        let (cluster, module) = (self.cluster.clone(), self.module.clone());
        QueryClient {
            cluster,
            module,
            query: self.query,
            within: self.within,
        }
    }
}

impl<A: Record + Send, R: Record + Send> QueryClient<A, R> {
    pub(crate) fn new(
        cluster: Cluster,
        module: Option<String>,
        query: Query<A, R>,
    ) -> QueryClient<A, R> {
        QueryClient {
            cluster,
            module,
            query,
            within: None,
        }
    }

    /// The same query; each invocation ends after `deadline` at the latest, for who asks.
    #[must_use]
    pub fn within(self, deadline: Duration) -> QueryClient<A, R> {
        let within = Some(deadline);
        QueryClient { within, ..self }
    }

    /// Runs the query (spec Q-6). What it reads is committed; different tasks may be read at different
    /// moments. Dropping the future gives it up.
    ///
    /// # Errors
    /// `Failed` when code of the query failed, or came to no result or to several; `Unavailable` when it
    /// took longer than `topology.query.timeout.millis`, and while the module is down; `Rejected` when
    /// the result is too large.
    pub fn invoke(&self, args: A) -> impl Future<Output = Result<R>> + Send + use<A, R> {
        let client = self.clone();
        let args = args.to_bytes();
        async move {
            let name = client.query.name();
            let (running, query) = client.cluster.query_of(client.module.as_deref(), name)?;
            let running = client.cluster.bounded(running, client.within);
            let answer = invoke(&client.cluster, &running, query, args).await?;
            R::decode(&answer).map_err(|error| {
                let text = format!("could not read what query {name} answered");
                Error::new(ErrorKind::Corrupt, text).caused_by(error)
            })
        }
    }
}

impl Cluster {
    /// A client of a query. When several modules have a query of that name, go through
    /// [`Cluster::module`].
    pub fn query<A: Record + Send, R: Record + Send>(
        &self,
        query: Query<A, R>,
    ) -> QueryClient<A, R> {
        QueryClient::new(self.clone(), None, query)
    }

    /// Runs a query by name: from JSON to JSON. Several arguments are an array.
    ///
    /// # Errors
    /// `Invalid` when the arguments do not fit; otherwise as [`QueryClient::invoke`].
    pub async fn invoke_json(&self, module: &str, name: &str, args: &Value) -> Result<Value> {
        let (running, query) = self.query_of(Some(module), name)?;
        let definition = &running.layout.definition.queries[usize::from(query)];
        let encoded = (definition.args.from_json)(args).map_err(|error| {
            let (type_name, text) = (
                &definition.args.type_name,
                "could not read the arguments of",
            );
            Error::invalid(format!("{text} query {name}, which takes {type_name}")).caused_by(error)
        })?;
        let answer = invoke(self, &running, query, encoded).await?;
        (definition.result.to_json)(&answer).map_err(|error| {
            let text = format!("could not read what query {name} of {module} answered");
            Error::new(ErrorKind::Corrupt, text).caused_by(error)
        })
    }
}

/// Runs a query on the task where it begins.
async fn invoke(
    cluster: &Cluster,
    running: &Running,
    query: u16,
    args: Vec<u8>,
) -> Result<Vec<u8>> {
    let tasks = running.layout.tasks;
    let definition = &running.layout.definition.queries[usize::from(query)];
    let random = (cluster.random() % u64::from(tasks)) as u32;
    let task = definition.begins(&args, tasks)?.unwrap_or(random);
    let ask = |reply| ClientRequest::Invoke {
        task,
        query,
        args,
        reply,
    };
    running.ask(task, ask).await
}
