//! The example programs of the survey (spec 16.1), said in Rust: each shows what the survey's table says
//! that it shows. Those not here are tests of what they are about, and the modules.
//!
//! Relies on in-process clusters of random shape: nothing may depend on the number of tasks.

mod batches;
mod paths;
mod queries;
mod space;
mod streams;
