//! HTTP JSON over one cluster, and the development server around it.
//!
//! Relies on `rama-runtime` for everything that is durable; holds no state of its own. Read in this
//! order: `routes` (which path asks the cluster what), `refusal` and `problem` (errors), `server` (sockets), `config` (every setting with its default), `dev` (all of it as one
//! command). What must stay true: no author code and no storage runs on these threads.

pub mod config;
pub mod dev;
pub mod logging;
pub mod metrics;
pub mod names;
pub mod problem;
pub mod refusal;
pub mod routes;
pub mod server;
pub mod tagged;
#[cfg(test)]
mod testing;
