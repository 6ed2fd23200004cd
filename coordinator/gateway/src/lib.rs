//! HTTP JSON over one cluster, and the development server around it.
//!
//! Relies on `rama-runtime` for everything that is durable; holds no state of its own. Read in this
//! order: `routes` (which path asks the cluster what), `gate` (who may ask), `tokens` and `bounded` (what it
//! looks at), `refusal` and `problem` (errors), `server` (sockets), `config` (every setting with its
//! default), `dev` (all of it as one command). What must stay true: no author code and no storage runs on these threads.

pub mod bounded;
pub mod config;
pub mod dev;
pub mod gate;
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
pub mod tokens;

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Some errors repeat their cause in their own words.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
