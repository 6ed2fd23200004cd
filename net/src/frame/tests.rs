//! Messages in any portions, and bytes that are no messages.

use super::*;

const LIMIT: usize = 1 << 20;

/// A small generator, so that a seed is all a failure needs: xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        self.next() as usize % limit
    }

    fn bytes(&mut self, len: usize) -> Bytes {
        let start = self.next() as u8;
        (0..len).map(|at| start.wrapping_add(at as u8)).collect()
    }
}

fn encode(messages: &[Bytes]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    for message in messages {
        encoder.push(message.clone());
    }
    let (len, mut parts) = (encoder.len(), Vec::new());
    encoder.take(&mut parts);
    let bytes = parts.concat();
    assert_eq!(bytes.len(), len, "the encoder knows how much it holds");
    assert!(encoder.is_empty());
    bytes
}

/// All messages in `bytes` given in portions; what the decoder held at most.
fn decode(
    bytes: &[u8],
    mut portion: impl FnMut() -> usize,
) -> Result<(Vec<Bytes>, usize), BadFrame> {
    let (mut decoder, mut messages, mut held) = (Decoder::new(LIMIT), Vec::new(), 0);
    let mut rest = Bytes::copy_from_slice(bytes);
    while !rest.is_empty() {
        decoder.push(rest.split_to(portion().clamp(1, rest.len())));
        while let Some(message) = decoder.poll()? {
            messages.push(message);
        }
        held = held.max(decoder.held_bytes());
    }
    decoder.finish()?;
    Ok((messages, held))
}

#[test]
fn messages_of_every_size_arrive_whole_in_any_portions() {
    let chunk = CHUNK_BYTES_MAX;
    let sizes = [
        0,
        1,
        7,
        8192,
        8193,
        chunk - 1,
        chunk,
        chunk + 1,
        2 * chunk - 4,
        3 * chunk,
        LIMIT,
    ];
    let mut random = Random(0x5eed_0002);
    let messages: Vec<Bytes> = sizes.iter().map(|len| random.bytes(*len)).collect();
    let bytes = encode(&messages);
    for portion in [1, 3, 4, 1200, 65_536, usize::MAX] {
        let (found, _) = decode(&bytes, || portion).unwrap();
        assert!(found == messages, "in portions of {portion}");
    }
}

#[test]
fn random_messages_in_random_portions_arrive_whole() {
    let seed = 0x5eed_0003;
    println!("seed {seed:#x}");
    let mut random = Random(seed);
    for _ in 0..200 {
        let count = random.below(20);
        let messages: Vec<Bytes> = (0..count)
            .map(|_| {
                let scale = 1 << random.below(18);
                let len = random.below(scale);
                random.bytes(len)
            })
            .collect();
        let bytes = encode(&messages);
        let (found, held) = decode(&bytes, || 1 + random.below(5_000)).unwrap();
        assert!(found == messages);
        assert!(held <= 2 * bytes.len() + CHUNK_BYTES_MAX, "held {held}");
    }
}

/// Small ones leave together in one portion, long ones are passed on without a copy.
#[test]
fn messages_are_gathered_where_they_are_small_and_not_copied_where_they_are_long() {
    let mut encoder = Encoder::default();
    for _ in 0..1000 {
        encoder.push(Bytes::from_static(b"ten bytes!"));
    }
    let long = Bytes::from(vec![7; 3 * CHUNK_BYTES_MAX - TOTAL_BYTES]);
    encoder.push(long.clone());
    encoder.push(Bytes::from_static(b"the end"));
    let mut parts = Vec::new();
    encoder.take(&mut parts);
    assert!(parts[0].len() > 14 * 1000, "{}", parts[0].len());
    let within = |part: &&Bytes| long.as_ptr_range().contains(&part.as_ptr());
    let passed: usize = parts.iter().filter(within).map(Bytes::len).sum();
    assert_eq!(passed, long.len());
    // Three chunks with heads between them; what comes before and after.
    assert_eq!(parts.len(), 3 + 2 + 2);
}

#[test]
fn a_claim_takes_no_memory_before_its_bytes_arrive() {
    let bytes = encode(&[Bytes::from(vec![1; LIMIT])]);
    let mut decoder = Decoder::new(LIMIT);
    decoder.push(Bytes::copy_from_slice(
        &bytes[..CHUNK_BYTES_MAX + CHUNK_HEAD_BYTES],
    ));
    assert_eq!(decoder.poll(), Ok(None));
    assert!(
        decoder.held_bytes() <= 2 * CHUNK_BYTES_MAX,
        "{}",
        decoder.held_bytes()
    );
    assert_eq!(decoder.finish(), Err(BadFrame::Truncated));
}

#[test]
fn what_breaks_a_rule_is_named() {
    let head = |kind: u8, len: u32| (len | u32::from(kind) << 24).to_le_bytes().to_vec();
    let first = |total: u32| [head(FIRST, 5), total.to_le_bytes().to_vec(), vec![0]].concat();
    let cases = [
        (head(0, 1), BadFrame::Kind(0)),
        (head(9, 1), BadFrame::Kind(9)),
        (head(MORE, 1), BadFrame::Order(MORE)),
        (head(LAST, 1), BadFrame::Order(LAST)),
        (head(FIRST, 3), BadFrame::ChunkLength(3)),
        (head(WHOLE, 65_537), BadFrame::ChunkLength(65_537)),
        (
            first(LIMIT as u32 + 1),
            BadFrame::MessageLength {
                bytes: LIMIT + 1,
                limit: LIMIT,
            },
        ),
        ([first(9), head(WHOLE, 1)].concat(), BadFrame::Order(WHOLE)),
        ([first(9), head(MORE, 0)].concat(), BadFrame::ChunkLength(0)),
        (
            [first(2), head(LAST, 2), vec![0; 2]].concat(),
            BadFrame::Sum { total: 2, found: 3 },
        ),
        (
            [first(9), head(LAST, 1), vec![0]].concat(),
            BadFrame::Sum { total: 9, found: 2 },
        ),
        (first(9), BadFrame::Truncated),
        (head(WHOLE, 1), BadFrame::Truncated),
        (vec![1, 0], BadFrame::Truncated),
    ];
    for (bytes, expected) in cases {
        assert_eq!(decode(&bytes, || 3).unwrap_err(), expected, "{bytes:?}");
    }
    let mut small = Decoder::new(10);
    small.push(Bytes::from(head(WHOLE, 11)));
    assert_eq!(
        small.poll(),
        Err(BadFrame::MessageLength {
            bytes: 11,
            limit: 10
        })
    );
}

/// Random, truncated and flipped bytes: messages or an error, no panic, and never more memory than
/// what came in asks for.
#[test]
fn hostile_bytes_neither_panic_nor_take_memory() {
    let seed = 0x5eed_0004;
    println!("seed {seed:#x}");
    let mut random = Random(seed);
    let mut refused = 0;
    for round in 0..3_000 {
        let mut bytes = if round % 3 == 0 {
            let len = random.below(300);
            (0..len).map(|_| random.next() as u8).collect()
        } else {
            let long = random.below(200_000);
            let messages = [random.bytes(20), random.bytes(long), random.bytes(0)];
            encode(&messages)
        };
        for _ in 0..random.below(4) {
            if !bytes.is_empty() {
                let at = random.below(bytes.len().min(80_000));
                bytes[at] ^= 1 << random.below(8);
            }
        }
        if random.below(2) == 0 {
            bytes.truncate(random.below(bytes.len() + 1));
        }
        match decode(&bytes, || 1 + random.below(3_000)) {
            Ok((_, held)) => assert!(held <= 2 * bytes.len() + CHUNK_BYTES_MAX, "held {held}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 500, "only {refused} were refused");
}
