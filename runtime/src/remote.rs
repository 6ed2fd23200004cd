//! Task threads of one module in several processes: what they say to each other, and how.
//!
//! Relies on ordered links between two task threads (`link`), which QUIC streams and simulated
//! channels both are. A task thread of another process is a [`crate::message::Post`] like one of
//! this process: its messages are encoded (`encode`), travel as frames (`frame`), are checked and
//! decoded (`decode`) and land in the other thread's inbox. What must stay true: messages of one
//! thread to another arrive in the order sent, or not at all (O-9): a link that breaks loses what
//! it carried and never shows an older message after a newer one; bytes of a peer are believed only
//! as far as they were checked; an answer that will not come is an error, never a silence.

pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod frame;
pub(crate) mod link;
pub(crate) mod peer;
pub(crate) mod quic;
pub(crate) mod serve;

#[cfg(test)]
mod tests;
