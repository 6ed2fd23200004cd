//! Pure protocol machines: they decide, others wait.
//!
//! (Reading order and protocol steps follow.)

pub mod ids;
pub mod microbatch;
pub mod mutants;
pub mod policy;
pub mod stream;
pub mod time;
pub mod watermarks;
