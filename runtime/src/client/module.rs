//! The objects of one module, for clients.
//!
//! Relies on the cluster's handle. What must stay true: names need to be unique within the module
//! alone.

use std::time::Duration;

use rama_wire::Record;

use crate::client::{DepotClient, PStateClient, QueryClient};
use crate::cluster::Cluster;
use crate::depot_def::Depot;
use crate::pstate::PState;
use crate::query_def::Query;
use crate::schema::Root;

/// The objects of one module of a cluster.
#[derive(Clone, Debug)]
pub struct ModuleClient {
    cluster: Cluster,
    module: String,
    within: Option<Duration>,
}

impl ModuleClient {
    pub(crate) fn new(cluster: Cluster, module: String) -> ModuleClient {
        ModuleClient {
            cluster,
            module,
            within: None,
        }
    }

    /// The name under which it was launched.
    pub fn name(&self) -> &str {
        &self.module
    }

    /// The same module; calls of the clients made from it end after `deadline` at the latest.
    #[must_use]
    pub fn within(self, deadline: Duration) -> ModuleClient {
        let within = Some(deadline);
        ModuleClient { within, ..self }
    }

    /// A client of one of its depots.
    pub fn depot<T: Record>(&self, depot: Depot<T>) -> DepotClient<T> {
        let client = DepotClient::new(self.cluster.clone(), Some(self.module.clone()), depot);
        match self.within {
            Some(deadline) => client.within(deadline),
            None => client,
        }
    }

    /// A client of one of its queries.
    pub fn query<A: Record + Send, R: Record + Send>(
        &self,
        query: Query<A, R>,
    ) -> QueryClient<A, R> {
        let client = QueryClient::new(self.cluster.clone(), Some(self.module.clone()), query);
        match self.within {
            Some(deadline) => client.within(deadline),
            None => client,
        }
    }

    /// A client of one of its PStates.
    pub fn pstate<S: Root>(&self, pstate: PState<S>) -> PStateClient<S> {
        let client = PStateClient::new(self.cluster.clone(), Some(self.module.clone()), pstate);
        match self.within {
            Some(deadline) => client.within(deadline),
            None => client,
        }
    }
}
