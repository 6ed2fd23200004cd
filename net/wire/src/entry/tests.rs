//! Tests of the entry layout: round trips, golden bytes, and damage of every kind.

use super::*;

fn sample_payload() -> Vec<u8> {
    let mut payload = Vec::new();
    let to = AppendTo {
        partition: 3,
        log: LogId(7),
        time_ms: 1_700_000_000_123,
        first_offset: 41,
    };
    encode_append(&mut payload, to, &[b"one", b"", b"three"]);
    encode_op(
        &mut payload,
        &Op::Write {
            partition: 3,
            batch: b"batch",
        },
    );
    let batch = b"prepared".as_slice();
    encode_op(
        &mut payload,
        &Op::Prepare {
            partition: 1,
            slot: 2,
            txn: 9,
            attempt: 4,
            batch,
        },
    );
    encode_op(
        &mut payload,
        &Op::Commit {
            partition: 1,
            slot: 2,
            txn: 9,
        },
    );
    encode_op(
        &mut payload,
        &Op::Abort {
            partition: 1,
            slot: 2,
            txn: 10,
            attempt: 1,
        },
    );
    encode_op(
        &mut payload,
        &Op::Trim {
            partition: 3,
            log: LogId(7),
            before: 40,
        },
    );
    payload
}

fn sample_entry() -> Vec<u8> {
    let payload = sample_payload();
    let header = Header {
        payload_bytes: payload.len() as u32,
        payload_crc: crc32c(&payload),
        previous_crc: 0xdead_beef,
        write_start: 512,
        position: 1024,
        op_count: 6,
        segment: 5,
        epoch: 2,
        index: Index(77),
    };
    let mut head = [0; HEADER_BYTES];
    header.encode(&mut head);
    let mut entry = head.to_vec();
    entry.extend_from_slice(&payload);
    entry
}

#[test]
fn an_entry_reads_back_as_written() {
    let entry = sample_entry();
    let (header, crc) = Header::decode(&entry).unwrap();
    assert_eq!(crc, crc32c(&entry[4..HEADER_BYTES]));
    assert_eq!(
        (header.index, header.epoch, header.segment),
        (Index(77), 2, 5)
    );
    assert_eq!(header.stride(), entry.len());
    let payload = header.payload(&entry).unwrap();
    let ops: Vec<_> = Ops::new(payload).map(|op| op.unwrap().1).collect();
    assert_eq!(ops.len(), header.op_count as usize);
    let Op::Append {
        first_offset: 41,
        records,
        ..
    } = ops[0]
    else {
        panic!("{:?}", ops[0])
    };
    assert_eq!(
        records.iter().collect::<Vec<_>>(),
        [b"one".as_slice(), b"", b"three"]
    );
    assert_eq!(records.get(2), b"three");
    assert_eq!(
        ops[1],
        Op::Write {
            partition: 3,
            batch: b"batch"
        }
    );
    assert_eq!(
        ops[3],
        Op::Commit {
            partition: 1,
            slot: 2,
            txn: 9
        }
    );
    assert_eq!(
        ops[5],
        Op::Trim {
            partition: 3,
            log: LogId(7),
            before: 40
        }
    );
}

#[test]
fn the_layout_never_changes() {
    let hex: String = sample_entry()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let lines: Vec<_> = hex
        .as_bytes()
        .chunks(64)
        .map(|c| String::from_utf8_lossy(c))
        .collect();
    assert_eq!(
        lines.join("\n"),
        include_str!("golden_entry.hex").trim_end()
    );
}

#[test]
fn every_flipped_bit_is_noticed() {
    let entry = sample_entry();
    for bit in 0..entry.len() * 8 {
        let mut damaged = entry.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let read = Header::decode(&damaged).and_then(|(header, _)| {
            header.payload(&damaged)?;
            Ok(())
        });
        assert!(read.is_err(), "bit {bit} flipped unnoticed");
    }
}

#[test]
fn no_bytes_make_the_decoder_panic() {
    let payload = sample_payload();
    for cut in 0..payload.len() {
        let _ = Ops::new(&payload[..cut]).count();
        for value in [0, 1, 0x7f, 0xff] {
            let mut damaged = payload.clone();
            damaged[cut] = value;
            for (_, op) in Ops::new(&damaged).flatten() {
                if let Op::Append { records, .. } = op {
                    assert_eq!(records.iter().count(), records.len());
                }
            }
        }
    }
}
