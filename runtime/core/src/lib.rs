//! Pure protocol machines: they decide, others wait.
//!
//! (Reading order and protocol steps follow.)

pub mod ids;
pub mod microbatch;
pub mod mutants;
pub mod policy;
pub mod stream;
#[cfg(test)]
mod testing;
pub mod time;
pub mod watermarks;
