//! Tests of the rules by which appends choose a partition.

use super::*;

fn place<T: Record + Send>(partition: Partition<T>, record: &T) -> Result<u32, PlacementError> {
    let placement = partition.into_placement();
    let typed = placement.place(record, 8, 13);
    assert_eq!(
        typed,
        placement.place_encoded(&record.to_bytes(), 8, 13),
        "both ways agree"
    );
    typed
}

/// the same hash as for keys of PStates.
#[test]
fn hashed_records_go_to_the_home_of_their_key() {
    let home = hash::task_of(&5u64.key_bytes(), 8);
    assert_eq!(
        place(
            Partition::hash_by(|pair: &(u64, String)| pair.0),
            &(5, "x".into())
        ),
        Ok(home)
    );
}

/// a key that is borrowed from the record is the same key.
#[test]
fn a_key_that_stands_in_the_record_is_hashed_where_it_is() {
    let pair = (5_u64, "x".to_owned());
    let by_name = |pair: &(u64, String)| pair.1.clone();
    assert_eq!(
        place(
            Partition::hash_by_part(|pair: &(u64, String)| &pair.1),
            &pair
        ),
        place(Partition::hash_by(by_name), &pair)
    );
}

#[test]
fn random_records_go_where_the_caller_s_number_says() {
    assert_eq!(place(Partition::random(), &1u64), Ok(5));
}

#[test]
fn a_custom_index_must_exist() {
    assert_eq!(
        place(Partition::custom(|n: &u64, tasks| *n as u32 % tasks), &11),
        Ok(3)
    );
    let refused = place(Partition::custom(|_: &u64, tasks| tasks), &11);
    assert_eq!(
        refused,
        Err(PlacementError::OutOfRange {
            index: 8,
            partitions: 8
        })
    );
}

#[test]
fn disallowed_depots_and_wrong_types_are_refused() {
    assert_eq!(
        place(Partition::disallow(), &1u64),
        Err(PlacementError::Disallowed)
    );
    let placement = Partition::<u64>::random().into_placement();
    let wrong = placement.place(&String::new(), 8, 0);
    assert_eq!(
        wrong,
        Err(PlacementError::WrongType {
            given: "String".to_owned()
        })
    );
}

#[test]
fn descriptions_translate_json_both_ways() {
    let desc = RecordDesc::of::<(u64, String)>();
    let json = serde_json::json!([5, "five"]);
    let bytes = (desc.from_json)(&json).unwrap();
    assert_eq!(bytes, (5u64, "five".to_owned()).to_bytes());
    assert_eq!((desc.to_json)(&bytes).unwrap(), json);
    assert!((desc.from_json)(&serde_json::json!("five")).is_err());
}
