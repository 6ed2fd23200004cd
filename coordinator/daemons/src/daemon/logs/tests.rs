//! Logs of a worker that end, grow, and are longer than is looked at.

use super::*;

#[test]
fn the_last_lines_of_a_log_are_found_and_what_comes_after() {
    let dir = tempfile::tempdir().unwrap();
    let id = Uuid::from_u128(7);
    let path = dir.path().join(format!("M-{id}-2.log"));
    std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
    assert_eq!(find(dir.path(), id, 2).unwrap(), path);
    assert!(find(dir.path(), id, 3).is_err());
    let (text, end) = tail(&path, 2).unwrap();
    assert_eq!(text, b"two\nthree\n");
    assert_eq!(tail(&path, 100).unwrap().0, b"one\ntwo\nthree\n");
    assert_eq!(tail(&path, 0).unwrap().0, b"");
    std::fs::write(&path, "one\ntwo\nthree\nfour\n").unwrap();
    assert_eq!(since(&path, end).unwrap(), b"four\n");
    std::fs::write(&path, "one\nhalf").unwrap();
    assert_eq!(tail(&path, 1).unwrap().0, b"half");
    std::fs::write(&path, "").unwrap();
    assert_eq!(tail(&path, 3).unwrap(), (Vec::new(), 0));
}
