//! What a dead-letter depot holds: one record for each letter, in versions.
//!
//! Relies on the record codec. A version stands behind a pointer, so that every version of the enum
//! has the same root and old letters stay readable when one is added. What must stay true: a version
//! that was ever written is never changed or removed.

#![allow(
    missing_docs,
    reason = "rkyv's derive does not document the fields of its resolvers"
)]

/// A letter of any version.
#[crate::record(crate = crate)]
pub enum DeadLetterRecord {
    /// The first version.
    V1(Box<DeadLetterV1>),
}

/// A record that was given up, with everything that was known then.
#[crate::record(crate = crate)]
pub struct DeadLetterV1 {
    /// Who gave up.
    pub topology: String,
    /// The depot it came from.
    pub depot: String,
    /// Its partition there.
    pub partition: u32,
    /// Its offset there.
    pub offset: u64,
    /// How often it was tried.
    pub attempts: u32,
    /// The last failure.
    pub error: String,
    /// When it was given up, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Its bytes, unless they could not be read any more.
    pub record: Option<Vec<u8>>,
}

#[cfg(test)]
mod tests {
    use rama_wire::Record;

    use super::*;

    fn letter(record: Option<Vec<u8>>) -> DeadLetterRecord {
        DeadLetterRecord::V1(Box::new(DeadLetterV1 {
            topology: "jobs".to_owned(),
            depot: "*jobs".to_owned(),
            partition: 2,
            offset: 1 << 40,
            attempts: 11,
            error: "poison".to_owned(),
            time_ms: 1_700_000_000_000,
            record,
        }))
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Changes never: letters of this version lie in depots.
    #[test]
    fn the_first_version_keeps_its_bytes() {
        insta::assert_snapshot!(hex(&letter(Some(vec![1, 2, 3])).to_bytes()));
    }

    #[test]
    fn what_is_encoded_comes_back() {
        for record in [None, Some(Vec::new()), Some(vec![7; 100])] {
            let letter = letter(record);
            assert_eq!(DeadLetterRecord::decode(&letter.to_bytes()), Ok(letter));
        }
        assert!(DeadLetterRecord::decode(&[0; 12]).is_err());
    }
}
