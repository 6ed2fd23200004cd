//! Keys of the system space: what the engine itself keeps in a task's store.
//!
//! Relies on nothing. Each kind of key begins with its own letter; numbers are big-endian, so that
//! a scan of one kind runs in order. Slots are the durable numbers of topologies, sources are the
//! durable numbers of depots: both survive updates of the module.
//!
//! ```text
//! 'm' slot                        last committed microbatch id (every task)       u64 LE
//! 'l' slot                        ledger of the microbatch coordinator (task 0)   rama-core Ledger
//! 's' slot source                 progress and start of a stream source           2 × u64 LE
//! 'b' slot source                 where a microbatch source begins                u64 LE
//! 'p' slot                        the stream topology is paused (every task)      nothing
//! 'i' space                       the PState has got its initial value            nothing
//! 'a' log producer place          an append of a program outside                  2 × u64 LE
//! 'd' slot source partition offset  a dead letter                                 JSON
//! ```

use rama_wire::LogId;

/// Last committed microbatch id of a topology on this task.
pub(crate) fn committed(slot: u16) -> [u8; 3] {
    let [a, b] = slot.to_be_bytes();
    [b'm', a, b]
}

/// The ledger of a microbatch topology.
pub(crate) fn ledger(slot: u16) -> [u8; 3] {
    let [a, b] = slot.to_be_bytes();
    [b'l', a, b]
}

/// Progress of one source of a stream topology on this task.
pub(crate) fn stream_progress(slot: u16, source: u16) -> [u8; 5] {
    let ([a, b], [c, d]) = (slot.to_be_bytes(), source.to_be_bytes());
    [b's', a, b, c, d]
}

/// Where one source of a microbatch topology begins on this task, while it has no progress.
pub(crate) fn microbatch_begin(slot: u16, source: u16) -> [u8; 5] {
    let ([a, b], [c, d]) = (slot.to_be_bytes(), source.to_be_bytes());
    [b'b', a, b, c, d]
}

/// The stream topology is paused on this task.
pub(crate) fn paused(slot: u16) -> [u8; 3] {
    let [a, b] = slot.to_be_bytes();
    [b'p', a, b]
}

/// The PState of this space has got its initial value.
pub(crate) fn initialized(space: u16) -> [u8; 3] {
    let [a, b] = space.to_be_bytes();
    [b'i', a, b]
}

/// An append of a program outside, at one of the places that its numbers go round.
pub(crate) fn append(log: LogId, producer: u64, place: u64) -> [u8; 13] {
    let mut key = [b'a'; 13];
    key[1..3].copy_from_slice(&log.0.to_be_bytes());
    key[3..11].copy_from_slice(&producer.to_be_bytes());
    key[11..].copy_from_slice(&(place as u16).to_be_bytes());
    key
}

/// The log and the producer of such a key.
pub(crate) fn parse_append(key: &[u8]) -> Option<(LogId, u64)> {
    let key: &[u8; 13] = key.try_into().ok()?;
    let log = LogId(u16::from_be_bytes([key[1], key[2]]));
    Some((log, u64::from_be_bytes(key[3..11].try_into().ok()?)))
}

/// The range of all appends of one producer to one depot.
pub(crate) fn appends_of(log: LogId, producer: u64) -> ([u8; 13], [u8; 14]) {
    let mut end = [0; 14];
    end[..13].copy_from_slice(&append(log, producer, u64::from(u16::MAX)));
    (append(log, producer, 0), end)
}

/// The range of all appends.
pub(crate) const APPENDS: (&[u8], &[u8]) = (b"a", b"b");

/// Length of the key of a dead letter.
pub(crate) const DEAD_LETTER_BYTES: usize = 17;

/// A dead letter: where its record stands.
pub(crate) fn dead_letter(slot: u16, source: u16, partition: u32, offset: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(DEAD_LETTER_BYTES);
    key.push(b'd');
    key.extend_from_slice(&slot.to_be_bytes());
    key.extend_from_slice(&source.to_be_bytes());
    key.extend_from_slice(&partition.to_be_bytes());
    key.extend_from_slice(&offset.to_be_bytes());
    debug_assert_eq!(key.len(), DEAD_LETTER_BYTES);
    key
}

/// The range of all dead letters.
pub(crate) const DEAD_LETTERS: (&[u8], &[u8]) = (b"d", b"e");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_letters_lie_in_their_range_in_order_of_offsets() {
        let (low, high) = (dead_letter(1, 2, 3, 255), dead_letter(1, 2, 3, 256));
        assert!(low < high);
        let (from, to) = DEAD_LETTERS;
        assert!(from <= &low[..] && &high[..] < to);
        assert!(!(from..to).contains(&&ledger(9)[..]));
    }
}
