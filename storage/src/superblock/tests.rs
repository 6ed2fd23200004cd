//! The superblock: golden bytes, damage, other owners.

use std::path::Path;

use super::*;

const OWNER: Identity = Identity {
    cluster: 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10,
    group: 0x1122_3344,
};

fn file() -> Vec<u8> {
    let mut bytes = vec![0; FILE_BYTES];
    for at in COPY_AT {
        bytes[at..at + COPY_BYTES].copy_from_slice(&encode(OWNER));
    }
    bytes
}

#[test]
fn the_layout_never_changes() {
    let head: String = encode(OWNER)[..48]
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(
        head,
        "52616d6147727570964730ed01000000100f0e0d0c0b0a0908070605040302014433221100000000\
         0000000000000000"
    );
    assert!(encode(OWNER)[48..].iter().all(|byte| *byte == 0));
}

#[test]
fn one_damaged_copy_does_no_harm_and_two_are_named() {
    let path = Path::new("superblock");
    for at in [0, 9, 20, 40, 511] {
        let mut bytes = file();
        bytes[COPY_AT[0] + at] ^= 4;
        verify(path, &bytes, OWNER).unwrap();
        bytes[COPY_AT[1] + at] ^= 4;
        let error = verify(path, &bytes, OWNER).unwrap_err();
        assert!(matches!(error, Error::Corrupt { offset: 0, .. }), "{error}");
    }
    verify(path, &file()[..100], OWNER).unwrap_err();
}

#[test]
fn another_owner_and_another_version_are_refused() {
    let path = Path::new("superblock");
    let other = Identity { group: 1, ..OWNER };
    let error = verify(path, &file(), other).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Mismatch {
                what: "its owner",
                ..
            }
        ),
        "{error}"
    );
    let mut bytes = file();
    bytes[12] = 2;
    let crc = crc32c(&bytes[12..COPY_BYTES]).to_le_bytes();
    bytes[8..12].copy_from_slice(&crc);
    let error = verify(path, &bytes, OWNER).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("format version is 2, expected 1"),
        "{error}"
    );
}
