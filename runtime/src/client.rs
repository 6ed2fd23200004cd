//! Clients: typed and JSON calls into a cluster, from any program and any executor.
//!
//! Relies on messages and oneshot replies only, so that its futures run anywhere. Reading order:
//! `depot` and `pstate` (typed handles), `json` (the same by names, for HTTP and the command line),
//! `watch` (values that follow changes), `service` (what the task thread does with requests).
//! What must stay true: a dropped reply means "unknown" for an append and "unavailable" for a read;
//! a handle survives restarts of its module.

pub(crate) mod depot;
pub(crate) mod json;
pub(crate) mod pstate;
pub(crate) mod service;
pub(crate) mod watch;

pub use depot::DepotClient;
pub use pstate::PStateClient;
pub use watch::Watch;
