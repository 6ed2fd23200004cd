//! Clients: typed and JSON calls into a cluster, from any program and any executor.
//!
//! Relies on messages and oneshot replies only, so that its futures run anywhere. Reading order:
//! `module` (the objects of one), `depot` (appends, typed and JSON), `gathering` (appends that wait for
//! each other), `pstate` (typed reads), `query`
//! (invocations), `json` (the rest by names, for HTTP and the command line), `proxy` (values that
//! follow changes), `watch` (the same without the changes), `select` (a read on its task).
//! What must stay true: a dropped reply means "unknown" for an append and "unavailable" for a read;
//! a handle survives restarts of its module.

pub(crate) mod depot;
mod gathering;
pub(crate) mod json;
pub(crate) mod module;
pub(crate) mod proxy;
pub(crate) mod pstate;
pub(crate) mod query;
pub(crate) mod select;
pub(crate) mod watch;

pub use depot::DepotClient;
pub use module::ModuleClient;
pub use proxy::{Change, Proxy, ProxyStatus};
pub use pstate::PStateClient;
pub use query::QueryClient;
pub use watch::Watch;
