//! Records of a session: round trips, versions, and bytes that are none.

use super::*;

fn hello() -> Hello {
    Hello {
        wire_min: 1,
        wire_max: 3,
        cluster: Uuid::from_u128(7),
        node: Uuid::from_u128(9),
        role: Role::Worker,
        incarnation: 0x0123_4567_89ab_cdef,
        release: "0.1.0".to_owned(),
    }
}

fn headers() -> Vec<StreamHeader> {
    let worp = WorpHeader {
        instance: Uuid::from_u128(1),
        source_thread: 2,
        destination_thread: 3,
        category: 4,
        epoch: 5,
        source_incarnation: 6,
        destination_incarnation: 7,
    };
    vec![
        StreamHeader::Worp(worp),
        StreamHeader::Rpc,
        StreamHeader::Weft,
    ]
}

/// A small generator, so that this crate needs none: xorshift.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn records_come_back_as_they_were_sent() {
    assert_eq!(Hello::decode(&hello().encode()).unwrap(), hello());
    let refused = Answer::Refused("no".to_owned());
    for answer in [Answer::Welcome(hello()), refused] {
        assert_eq!(Answer::decode(&answer.encode()).unwrap(), answer);
    }
    for header in headers() {
        let bytes = framed_header(&header);
        let length = header_length(bytes[..4].try_into().unwrap()).unwrap();
        assert_eq!(length, bytes.len() - 4);
        assert_eq!(StreamHeader::decode(&bytes[4..]).unwrap(), header);
    }
    let request = WeftRequest {
        path: "a/b".to_owned(),
        hash: Some([7; 32]),
        offset: 5,
        length: Some(6),
    };
    assert_eq!(WeftRequest::decode(&request.encode()).unwrap(), request);
}

#[test]
fn a_prelude_tells_versions_whatever_follows() {
    let versions = Versions { min: 4, max: 9 };
    let bytes = greeting(versions, b"unreadable to us");
    let prelude = bytes[..PRELUDE_BYTES].try_into().unwrap();
    assert_eq!(read_prelude(&prelude).unwrap(), (versions, 16));
    assert_eq!(versions.common(Versions { min: 1, max: 4 }), Some(4));
    assert_eq!(versions.common(Versions { min: 1, max: 3 }), None);
    assert_eq!(versions.common(Versions { min: 10, max: 12 }), None);
}

#[test]
fn lengths_above_their_limits_are_refused_before_anything_is_read() {
    let mut bytes = greeting(Versions::OURS, &[]);
    bytes[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    let bad = read_prelude(&bytes[..].try_into().unwrap()).unwrap_err();
    assert!(matches!(bad, BadRecord::TooLong { .. }), "{bad}");
    assert!(header_length(u32::MAX.to_le_bytes()).is_err());
    let http = read_prelude(b"GET / HTTP/1").unwrap_err();
    assert_eq!(http, BadRecord::Magic);
}

/// Random, truncated and flipped bytes: an error or a record, never a panic.
#[test]
fn bytes_that_are_no_record_are_errors() {
    let seed = 0x5eed_0001;
    println!("seed {seed:#x}");
    let mut state: u64 = seed;
    let mut refused = 0;
    for round in 0..4_000 {
        let mut bytes = match round % 4 {
            0 => hello().encode(),
            1 => Answer::Welcome(hello()).encode(),
            2 => headers()[0].encode(),
            _ => (0..next(&mut state) % 200)
                .map(|_| next(&mut state) as u8)
                .collect(),
        };
        if !bytes.is_empty() {
            bytes.truncate(1 + next(&mut state) as usize % bytes.len());
            let at = next(&mut state) as usize % bytes.len();
            bytes[at] ^= 1 << (next(&mut state) % 8);
        }
        refused += usize::from(Hello::decode(&bytes).is_err());
        refused += usize::from(Answer::decode(&bytes).is_err());
        refused += usize::from(StreamHeader::decode(&bytes).is_err());
        refused += usize::from(WeftRequest::decode(&bytes).is_err());
        refused += usize::from(WeftAnswer::decode(&bytes).is_err());
        // The root of a record lies at the end of its bytes, and any 32 of them are a hash.
        assert_eq!(WeftEnd::decode(&bytes).is_ok(), bytes.len() >= 32);
    }
    assert!(refused > 10_000, "only {refused} were refused");
}

#[test]
fn roles_have_names_and_form_sets() {
    for role in Role::ALL {
        assert_eq!(role.name().parse::<Role>().unwrap(), role);
        assert!(Roles::ALL.contains(role) && !Roles::NONE.contains(role));
    }
    let both = Roles::of(&[Role::Worker, Role::Conductor]);
    assert_eq!(both.to_string(), "conductor, worker");
    assert!("king".parse::<Role>().unwrap_err().contains("operator"));
}
