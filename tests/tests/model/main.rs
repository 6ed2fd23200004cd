//! Rules of the programming model that are about no example and no module in particular, by noun.
//!
//! Relies on what authors and clients use alone: clusters of this process where threads matter,
//! simulations where time does. What must stay true: a test quotes the rules it proves, so that
//! `tests/rules.toml` knows them.

mod batches;
mod depots;
mod events;
mod instances;
mod lifecycle;
mod pstates;
mod queries;
mod sources;
