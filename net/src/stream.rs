//! One ordered stream of messages, in both directions.
//!
//! Relies on `frame` for the bytes and on QUIC's per-stream windows for credits: the receiver
//! grants bytes as it takes messages, so a slow one holds back its own stream and no other. Reading
//! order: `sender`, `receiver`. What must stay true: messages arrive once, whole and in the order
//! sent, or the stream ends with an error on both sides.

mod receiver;
mod sender;

pub use receiver::MessageReceiver;
pub use sender::{MessageSender, TrySendError};
