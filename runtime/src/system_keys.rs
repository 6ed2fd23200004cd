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
//! 'q' slot                        what a prepared microbatch appends              outbox.rs
//! 'i' space                       the PState has got its initial value            nothing
//! 'a' log producer place          an append of a program outside                  2 × u64 LE
//! 'c' slot source                 how far a microbatch has committed a source      u64 LE
//! 'x' log partition               where to go on in an external partition          u64 LE
//! 'z' log offset                  bytes of the records before the offset          u64 LE
//! 'h' log consumer                what a mirror of another module needs            u64 LE
//! 'o' log partition offset        an open dead letter: its offset in that log     u64 LE
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

/// How far a microbatch topology has committed a source on this task.
pub(crate) fn consumed(slot: u16, source: u16) -> [u8; 5] {
    let ([a, b], [c, d]) = (slot.to_be_bytes(), source.to_be_bytes());
    [b'c', a, b, c, d]
}

/// Where to go on in a partition of the external depot that a log takes its records from.
pub(crate) fn external(log: LogId, partition: u32) -> [u8; 7] {
    let mut key = [b'x'; 7];
    key[1..3].copy_from_slice(&log.0.to_be_bytes());
    key[3..].copy_from_slice(&partition.to_be_bytes());
    key
}

/// From where on a mirror in another module needs the records of a log.
pub(crate) fn mirror(log: LogId, consumer: &str) -> Vec<u8> {
    let [a, b] = log.0.to_be_bytes();
    [&[b'h', a, b], consumer.as_bytes()].concat()
}

/// The range of all mirrors of one log: no name has the last byte in it.
pub(crate) fn mirrors_of(log: LogId) -> ([u8; 3], [u8; 4]) {
    let [a, b] = log.0.to_be_bytes();
    ([b'h', a, b], [b'h', a, b, 0xff])
}

/// The bytes of the records of a log before an offset.
pub(crate) fn bytes_before(log: LogId, offset: u64) -> [u8; 11] {
    let mut key = [b'z'; 11];
    key[1..3].copy_from_slice(&log.0.to_be_bytes());
    key[3..].copy_from_slice(&offset.to_be_bytes());
    key
}

/// The range of all of those of one log.
pub(crate) fn bytes_of(log: LogId) -> ([u8; 11], [u8; 12]) {
    let mut end = [0; 12];
    end[..11].copy_from_slice(&bytes_before(log, u64::MAX));
    (bytes_before(log, 0), end)
}

/// The ranges of everything that is kept about one log.
pub(crate) fn all_of(log: LogId) -> [([u8; 3], [u8; 3]); 5] {
    [b'a', b'h', b'o', b'x', b'z'].map(|kind| {
        let [a, b] = log.0.to_be_bytes();
        let end = match log.0.checked_add(1).map(u16::to_be_bytes) {
            Some([a, b]) => [kind, a, b],
            None => [kind + 1, 0, 0],
        };
        ([kind, a, b], end)
    })
}

/// The stream topology is paused on this task.
pub(crate) fn paused(slot: u16) -> [u8; 3] {
    let [a, b] = slot.to_be_bytes();
    [b'p', a, b]
}

/// What a prepared microbatch appends; in no store, only in what is prepared.
pub(crate) fn outbox(slot: u16) -> [u8; 3] {
    let [a, b] = slot.to_be_bytes();
    [b'q', a, b]
}

/// Whether a key is that of what some microbatch appends.
pub(crate) fn is_outbox(key: &[u8]) -> bool {
    matches!(key, [b'q', _, _])
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

/// Length of the key of an open dead letter.
pub(crate) const DEAD_LETTER_BYTES: usize = 15;

/// An open dead letter: the log it is in, and where its record stands.
pub(crate) fn dead_letter(log: LogId, partition: u32, offset: u64) -> [u8; DEAD_LETTER_BYTES] {
    let mut key = [b'o'; DEAD_LETTER_BYTES];
    key[1..3].copy_from_slice(&log.0.to_be_bytes());
    key[3..7].copy_from_slice(&partition.to_be_bytes());
    key[7..].copy_from_slice(&offset.to_be_bytes());
    key
}

/// The range of all open dead letters.
pub(crate) const DEAD_LETTERS: (&[u8], &[u8]) = (b"o", b"p");

/// The range of those in one log.
pub(crate) fn dead_letters_of(log: LogId) -> ([u8; 3], Vec<u8>) {
    let [a, b] = log.0.to_be_bytes();
    let last = dead_letter(log, u32::MAX, u64::MAX);
    ([b'o', a, b], [&last[..], &[0]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_log_is_in_its_ranges_and_nothing_else() {
        for log in [0, 1, 255, 256, u16::MAX] {
            let of = |log: u16| {
                let log = LogId(log);
                let keys = [
                    append(log, u64::MAX, 65_535).to_vec(),
                    mirror(log, "Other/topology"),
                    dead_letter(log, u32::MAX, u64::MAX).to_vec(),
                    external(log, 0).to_vec(),
                    bytes_before(log, u64::MAX).to_vec(),
                ];
                keys.to_vec()
            };
            let ranges = all_of(LogId(log));
            let within = |key: &Vec<u8>| {
                let within =
                    |(from, to): &&([u8; 3], [u8; 3])| from[..] <= key[..] && key[..] < to[..];
                ranges.iter().find(within).is_some()
            };
            assert!(of(log).iter().all(within));
            for other in [log.wrapping_sub(1), log.wrapping_add(1)] {
                assert!(!of(other).iter().any(within));
            }
            assert!(
                ![&ledger(log)[..], &outbox(log), &initialized(log)]
                    .iter()
                    .any(|key| within(&key.to_vec()))
            );
        }
    }

    #[test]
    fn dead_letters_lie_in_their_ranges_in_order_of_offsets() {
        let (low, high) = (dead_letter(LogId(2), 3, 255), dead_letter(LogId(2), 3, 256));
        assert!(low < high);
        let (from, to) = DEAD_LETTERS;
        assert!(from <= &low[..] && &high[..] < to);
        assert!(!(from..to).contains(&&ledger(9)[..]));
        let (from, to) = dead_letters_of(LogId(2));
        assert!(from[..] <= low[..] && high[..] < to[..]);
        for other in [
            dead_letter(LogId(1), u32::MAX, u64::MAX),
            dead_letter(LogId(3), 0, 0),
        ] {
            assert!(other[..] < from[..] || other[..] >= to[..]);
        }
    }
}
