//! How much one peer may ask of this process, and how long it may be silent.
//!
//! Relies on nothing. What must stay true: memory for one connection is bounded by
//! `connection_window` for what was received and not taken, one partial message per stream, and
//! `send_buffer` per stream for what was not sent; a peer that died is found within three seconds.

use std::time::Duration;

/// The longest chunk a message is cut into. Also what one write gathers, at most, of small ones.
pub const CHUNK_BYTES_MAX: usize = 64 << 10;

/// Limits of an endpoint. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest message.
    pub message_bytes_max: usize,
    /// Streams a peer may have open at once.
    pub stream_count_max: u32,
    /// Connections accepted at once; above them peers are refused.
    pub connection_count_max: usize,
    /// Handshakes under way above which a peer must prove its address first.
    pub handshake_count_max: usize,
    /// Credit of a sender on one stream: bytes the receiver has not taken yet.
    pub credit_window: u32,
    /// Credit of a peer on all streams of a connection together.
    pub connection_window: u32,
    /// Bytes of one connection that were sent and not confirmed.
    pub send_window: u64,
    /// Bytes of one stream that wait to be sent.
    pub send_buffer: usize,
    /// Socket buffers asked of the kernel, which may give less.
    pub socket_buffer: usize,
    /// How often a quiet connection shows that it lives.
    pub keep_alive: Duration,
    /// Silence after which a peer is taken for dead.
    pub idle_timeout: Duration,
    /// From the first packet to the answered greeting; also for the header of a stream.
    pub handshake_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message_bytes_max: 64 << 20,
            stream_count_max: 1024,
            connection_count_max: 4096,
            handshake_count_max: 64,
            credit_window: 1 << 20,
            connection_window: 64 << 20,
            send_window: 8 << 20,
            send_buffer: 1 << 20,
            socket_buffer: 8 << 20,
            keep_alive: Duration::from_millis(500),
            // A keep-alive that goes out last starts the count anew: 0.5 s + 2 s.
            idle_timeout: Duration::from_secs(2),
            handshake_timeout: Duration::from_secs(3),
        }
    }
}
