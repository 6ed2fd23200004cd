//! Golden values, and what readers refuse.

use serde_json::json;
use uuid::Uuid;

use super::*;

const ID: Uuid = Uuid::from_u128(0x0123_4567_89ab_4cde_8f01_2345_6789_abcd);
const GOLDEN: &str =
    r#"{"v":1,"id":"01234567-89ab-4cde-8f01-23456789abcd","generation":1,"created_ms":2}"#;

fn cluster_id() -> ClusterId {
    ClusterId {
        id: ID,
        generation: 1,
        created_ms: 2,
    }
}

fn read(bytes: &[u8]) -> Result<ClusterId, ValueError> {
    decode(&Key::ClusterId, bytes)
}

#[test]
fn values_have_their_golden_form() {
    let texts = [
        (encode(&cluster_id()), GOLDEN),
        (
            encode(&ClusterState {
                phase: Phase::Open,
                intent: None,
                operation: None,
            }),
            r#"{"v":1,"phase":"open"}"#,
        ),
        (
            encode(&ClusterVersion {
                running: "0.1.0".into(),
                available: vec![],
            }),
            r#"{"v":1,"running":"0.1.0","available":[]}"#,
        ),
        (
            encode(&Setting { value: json!([1]) }),
            r#"{"v":1,"value":[1]}"#,
        ),
        (
            encode(&Paused {
                since_ms: 3,
                by: "me".into(),
            }),
            r#"{"v":1,"since_ms":3,"by":"me"}"#,
        ),
    ];
    for (bytes, text) in texts {
        assert_eq!(String::from_utf8(bytes).unwrap(), text);
    }
    assert_eq!(read(GOLDEN.as_bytes()), Ok(cluster_id()));
}

#[test]
fn fields_of_a_newer_release_are_passed_over() {
    let more = GOLDEN.replacen('{', r#"{"new field":[{}],"#, 1);
    assert_eq!(read(more.as_bytes()), Ok(cluster_id()));
}

#[test]
fn another_version_is_refused_by_its_number() {
    for (other, says) in [
        ("\"v\":2", "its version is 2"),
        ("\"w\":1", "missing field `v`"),
    ] {
        let error = read(GOLDEN.replacen("\"v\":1", other, 1).as_bytes());
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains(says) && error.contains("cluster/id"),
            "{error}"
        );
    }
}

#[test]
fn broken_values_are_errors_and_never_a_crash() {
    for end in 0..GOLDEN.len() {
        assert!(read(&GOLDEN.as_bytes()[..end]).is_err(), "{end}");
    }
    for at in 0..GOLDEN.len() {
        for byte in [0, b'"', b'{', b'9', 0xff] {
            let mut bytes = GOLDEN.as_bytes().to_vec();
            bytes[at] = byte;
            // Some are still values; none may panic.
            let _ = read(&bytes);
        }
    }
    assert!(read(&vec![b' '; VALUE_BYTES_MAX + 1]).is_err());
    assert!(read("[".repeat(100_000).as_bytes()).is_err());
}
