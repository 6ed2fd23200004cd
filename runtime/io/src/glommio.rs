//! The production environment: one glommio executor per task thread.
//!
//! Reading order: `pool` starts executors, `executor` is one of them, `env` is what the engine
//! sees, `file` and `channel` are how it reaches disks and other threads, `readiness` how it waits
//! for sockets of others. `guard` is the answer to the executor that parks with work to do;
//! `durability` asks the device how it likes to be flushed. Relies on glommio, which no other crate names. What must stay true: whatever glommio
//! would panic about is checked before, and comes back as an error with a remedy.

mod blocking;
mod channel;
mod durability;
mod env;
mod executor;
mod file;
mod guard;
mod mapping;
mod pool;
mod readiness;
#[cfg(test)]
mod tests;

pub use channel::{GlommioReceiver, GlommioSender, GlommioTransport};
pub use durability::DurableWrite;
pub use env::GlommioEnv;
pub use file::{Buffer, GlommioFile};
pub use pool::{Counters, Pin, Pool, PoolConfig, PoolError};
pub use readiness::{Interest, Readiness};
