//! Messages as chunks of a byte stream.
//!
//! Relies on nothing but `bytes`; pure. A message is one or more chunks, so that a long one never
//! has to be held twice, and memory for it is taken as it arrives. What must stay true: the decoder
//! takes any bytes in any portions without a panic, checks a length before it allocates for it, and
//! holds at most about twice what it was given.
//!
//! ```text
//! chunk    0 length u24 | 3 kind u8 | 4 bytes
//! kind     1 a whole message | 2 its first chunk, with the message's length u32 in front of the
//!          bytes | 3 more of it | 4 the last of it
//! ```

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use crate::limits::CHUNK_BYTES_MAX;

/// Length of the head of a chunk.
pub const CHUNK_HEAD_BYTES: usize = 4;
const TOTAL_BYTES: usize = 4;
const WHOLE: u8 = 1;
const FIRST: u8 = 2;
const MORE: u8 = 3;
const LAST: u8 = 4;
/// Bytes up to here are copied together; longer ones are passed on as they are.
const COPY_BYTES_MAX: usize = 8 << 10;

const _: () = assert!(CHUNK_BYTES_MAX < 1 << 24);

/// Why bytes are no chunks of messages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// A kind that is none.
    #[error("a chunk of kind {0}")]
    Kind(u8),
    /// A chunk where another was due.
    #[error("a chunk of kind {0} is out of order")]
    Order(u8),
    /// A chunk above the limit.
    #[error("a chunk of {0} bytes")]
    ChunkLength(usize),
    /// A message above the limit.
    #[error("a message of {bytes} bytes, longer than {limit}")]
    MessageLength {
        /// Its claimed length.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Chunks that add up to something else than was claimed.
    #[error("chunks of a message of {total} bytes add up to {found}")]
    Sum {
        /// The claim.
        total: usize,
        /// The sum.
        found: usize,
    },
    /// The stream ended within a message.
    #[error("the stream ended within a message")]
    Truncated,
}

/// Turns messages into portions of bytes for one write.
#[derive(Debug, Default)]
pub struct Encoder {
    small: BytesMut,
    parts: Vec<Bytes>,
    byte_count: usize,
}

impl Encoder {
    /// Adds a message.
    pub fn push(&mut self, message: Bytes) {
        let mut rest = message;
        if rest.len() <= CHUNK_BYTES_MAX {
            self.head(WHOLE, rest.len());
            return self.bytes(rest);
        }
        let total = rest.len() as u32;
        let first = rest.split_to(CHUNK_BYTES_MAX - TOTAL_BYTES);
        self.head(FIRST, first.len() + TOTAL_BYTES);
        self.small.put_u32_le(total);
        self.byte_count += TOTAL_BYTES;
        self.bytes(first);
        while !rest.is_empty() {
            let chunk = rest.split_to(rest.len().min(CHUNK_BYTES_MAX));
            self.head(if rest.is_empty() { LAST } else { MORE }, chunk.len());
            self.bytes(chunk);
        }
    }

    /// How many bytes wait to be taken.
    pub fn len(&self) -> usize {
        self.byte_count
    }

    /// Whether nothing waits to be taken.
    pub fn is_empty(&self) -> bool {
        self.byte_count == 0
    }

    /// Moves what was added into `parts`.
    pub fn take(&mut self, parts: &mut Vec<Bytes>) {
        self.cut();
        parts.append(&mut self.parts);
        self.byte_count = 0;
    }

    fn head(&mut self, kind: u8, length: usize) {
        self.small.put_u32_le(length as u32 | u32::from(kind) << 24);
        self.byte_count += CHUNK_HEAD_BYTES;
    }

    fn bytes(&mut self, bytes: Bytes) {
        self.byte_count += bytes.len();
        if bytes.len() <= COPY_BYTES_MAX {
            self.small.put_slice(&bytes);
            return;
        }
        self.cut();
        self.parts.push(bytes);
    }

    fn cut(&mut self) {
        if !self.small.is_empty() {
            self.parts.push(self.small.split().freeze());
        }
    }
}

/// Turns portions of bytes into messages.
#[derive(Debug)]
pub struct Decoder {
    message_bytes_max: usize,
    portions: VecDeque<Bytes>,
    byte_count: usize,
    /// The head that was read last, while its bytes are not all there.
    head: Option<(u8, usize)>,
    /// The message whose chunks arrive, and its claimed length.
    partial: Option<(BytesMut, usize)>,
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    pub fn new(message_bytes_max: usize) -> Decoder {
        Decoder {
            message_bytes_max,
            portions: VecDeque::new(),
            byte_count: 0,
            head: None,
            partial: None,
        }
    }

    /// Takes what arrived.
    pub fn push(&mut self, portion: Bytes) {
        if !portion.is_empty() {
            self.byte_count += portion.len();
            self.portions.push_back(portion);
        }
    }

    /// The next message, if it is there.
    ///
    /// # Errors
    /// [`BadFrame`]; the stream cannot be read any further.
    pub fn poll(&mut self) -> Result<Option<Bytes>, BadFrame> {
        loop {
            let (kind, length) = match self.head {
                Some(head) => head,
                None if self.byte_count < CHUNK_HEAD_BYTES => return Ok(None),
                None => {
                    let head = self.read_head()?;
                    self.head = Some(head);
                    head
                }
            };
            // A part of a long message is taken as it arrives, anything else as a whole.
            let ready = self.byte_count.min(length);
            if matches!(kind, WHOLE | FIRST) && ready < length {
                return Ok(None);
            }
            if kind == WHOLE {
                self.head = None;
                return Ok(Some(self.take(length)));
            }
            if let Some(message) = self.add(kind, length, ready)? {
                return Ok(Some(message));
            }
            if self.head.is_some() {
                return Ok(None);
            }
        }
    }

    /// The end of the stream.
    ///
    /// # Errors
    /// [`BadFrame::Truncated`] within a message.
    pub fn finish(&self) -> Result<(), BadFrame> {
        if self.byte_count > 0 || self.head.is_some() || self.partial.is_some() {
            return Err(BadFrame::Truncated);
        }
        Ok(())
    }

    /// Bytes this decoder holds.
    pub fn held_bytes(&self) -> usize {
        let partial = self.partial.as_ref();
        self.byte_count + partial.map_or(0, |(message, _)| message.capacity())
    }

    fn read_head(&mut self) -> Result<(u8, usize), BadFrame> {
        let word = self.take(CHUNK_HEAD_BYTES);
        let word = u32::from_le_bytes(word[..].try_into().expect("four were taken"));
        let (kind, length) = ((word >> 24) as u8, word as usize & 0x00ff_ffff);
        match kind {
            WHOLE | FIRST if self.partial.is_some() => return Err(BadFrame::Order(kind)),
            MORE | LAST if self.partial.is_none() => return Err(BadFrame::Order(kind)),
            WHOLE if length > self.message_bytes_max => {
                return Err(self.too_long(length));
            }
            WHOLE | MORE | LAST => {}
            FIRST if length >= TOTAL_BYTES => {}
            FIRST => return Err(BadFrame::ChunkLength(length)),
            other => return Err(BadFrame::Kind(other)),
        }
        if length > CHUNK_BYTES_MAX || (length == 0 && kind != WHOLE) {
            return Err(BadFrame::ChunkLength(length));
        }
        Ok((kind, length))
    }

    /// Adds the `ready` bytes of a chunk of `length` bytes to the message it belongs to.
    fn add(&mut self, kind: u8, length: usize, ready: usize) -> Result<Option<Bytes>, BadFrame> {
        let mut bytes = ready;
        if kind == FIRST {
            let total = self.take(TOTAL_BYTES);
            let total = u32::from_le_bytes(total[..].try_into().expect("four were taken")) as usize;
            if total > self.message_bytes_max {
                return Err(self.too_long(total));
            }
            bytes -= TOTAL_BYTES;
            self.partial = Some((BytesMut::with_capacity(bytes.min(total)), total));
        }
        let (mut message, total) = self.partial.take().expect("the head was checked");
        let found = message.len() + bytes;
        if found > total {
            return Err(BadFrame::Sum { total, found });
        }
        self.append(&mut message, bytes);
        self.head = (ready < length).then_some((kind, length - ready));
        if kind == LAST && self.head.is_none() {
            if message.len() != total {
                let found = message.len();
                return Err(BadFrame::Sum { total, found });
            }
            return Ok(Some(message.freeze()));
        }
        self.partial = Some((message, total));
        Ok(None)
    }

    fn too_long(&self, bytes: usize) -> BadFrame {
        let limit = self.message_bytes_max;
        BadFrame::MessageLength { bytes, limit }
    }

    fn append(&mut self, message: &mut BytesMut, count: usize) {
        let mut left = count;
        while left > 0 {
            let front = self.front(left);
            left -= front.len();
            message.put_slice(&front);
        }
    }

    /// The next `count` bytes, which are there; not copied when one portion holds them.
    fn take(&mut self, count: usize) -> Bytes {
        if count == 0 {
            return Bytes::new();
        }
        let front = self.front(count);
        if front.len() == count {
            return front;
        }
        let mut whole = BytesMut::with_capacity(count);
        whole.put_slice(&front);
        self.append(&mut whole, count - front.len());
        whole.freeze()
    }

    /// Up to `count` bytes of the first portion.
    fn front(&mut self, count: usize) -> Bytes {
        let front = self.portions.front_mut().expect("the bytes are there");
        let bytes = front.split_to(count.min(front.len()));
        if front.is_empty() {
            self.portions.pop_front();
        }
        self.byte_count -= bytes.len();
        bytes
    }
}
