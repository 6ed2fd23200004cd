//! Real processes of the system: small shells.

use std::path::Path;

use super::*;

fn shell(dir: &Path, slot: &str, script: &str) -> Start {
    Start {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        dir: dir.to_owned(),
        log: dir.join("worker.log"),
        environment: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
        slot: slot.to_owned(),
    }
}

#[tokio::test]
async fn a_worker_runs_where_it_is_told_with_the_environment_it_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let script =
        "pwd; echo $GREETING $RAMA_SLOT ${CARGO_PKG_NAME:-nothing else}; echo no >&2; exit 7";
    let worker = start(&shell(dir.path(), "a/1", script)).unwrap();
    assert_eq!(worker.ended().await, "exit 7");
    let log = fs::read_to_string(dir.path().join("worker.log")).unwrap();
    let here = dir.path().canonicalize().unwrap();
    assert_eq!(
        log,
        format!("{}\nhello a/1 nothing else\nno\n", here.display())
    );
    assert_eq!(at(worker.name().pid), None, "it was waited for");
}

#[tokio::test]
async fn a_worker_is_found_by_its_slot_and_watched_again() {
    let dir = tempfile::tempdir().unwrap();
    let slot = format!("found/{}", std::process::id());
    // While a process becomes another program, as it does right after its start, its environment cannot
    // be read: it is one of ours once it says that it runs. It does so when it opens the pipe.
    let made = Command::new("mkfifo").arg(dir.path().join("pipe")).status();
    assert!(made.unwrap().success());
    let first = start(&shell(dir.path(), &slot, "read line < pipe")).unwrap();
    let pipe = OpenOptions::new().write(true).open(dir.path().join("pipe"));
    let _held_open = pipe.unwrap();
    assert_eq!(tagged(&slot), [first.name()]);
    assert_eq!(at(first.name().pid), Some(first.name()));
    let again = watch(first.name()).unwrap();
    let other = ProcessName {
        start_time: first.name().start_time + 1,
        ..first.name()
    };
    assert_eq!(watch(other).unwrap_err().kind(), io::ErrorKind::NotFound);
    again.signal(Signal::TERM).unwrap();
    assert_eq!(first.ended().await, "signal 15");
    // Who watches as well learns of the end, not of the cause.
    assert_eq!(again.ended().await, "ended");
    again.signal(Signal::KILL).unwrap();
    assert_eq!(tagged(&slot), []);
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Start {
        program: dir.path().join("nothing"),
        ..shell(dir.path(), "none", "")
    };
    assert_eq!(start(&missing).unwrap_err().kind(), io::ErrorKind::NotFound);
}
