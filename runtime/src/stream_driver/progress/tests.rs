//! What is stored, when, and that it never goes back.

use super::*;

const OWNER: Owner = Owner {
    topology: 1,
    task: 2,
    source: 0,
};

fn taken(progress: &Progress) -> Vec<u64> {
    let saved = |(saved, _): &(Saved, WriteBatch)| saved.progress;
    progress.take().iter().map(saved).collect()
}

#[test]
fn progress_is_taken_once_and_never_goes_back() {
    let progress = Progress::default();
    let place = progress.add(OWNER, *b"s0102", 3, 10);
    assert_eq!(taken(&progress), [0; 0]);
    progress.reach(place, 12);
    progress.reach(place, 15);
    assert_eq!(taken(&progress), [15]);
    assert_eq!(taken(&progress), [0; 0]);
    let mut batch = WriteBatch::new();
    assert!(progress.put_into(place, 20, &mut batch));
    progress.on_saved(place, 20);
    progress.reach(place, 18);
    assert_eq!(taken(&progress), [0; 0]);
    assert!(!progress.put_into(place, 20, &mut batch));
}

#[test]
fn a_write_that_failed_stores_nothing() {
    let progress = Progress::default();
    let place = progress.add(OWNER, *b"s0102", 0, 0);
    assert!(progress.put_into(place, 5, &mut WriteBatch::new()));
    progress.reach(place, 2);
    assert_eq!(taken(&progress), [2]);
}

#[test]
fn what_is_encoded_comes_back() {
    assert_eq!(decode(&encode(7, 3)), Ok((7, 3)));
    assert!(decode(&[0; 15]).is_err() && decode(&[0; 17]).is_err() && decode(&[0; 3]).is_err());
}
