//! The checks name what is wrong and what to do.

use std::path::Path;

use super::*;

#[test]
fn every_check_that_does_not_pass_names_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let found = checks(&dir.path().join("not/yet/there"));
    assert_eq!(found.len(), 9);
    for check in &found {
        assert_eq!(
            check.verdict == Verdict::Ok,
            check.remedy.is_empty(),
            "{check:?}"
        );
        assert!(!check.found.is_empty(), "{check:?}");
    }
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        0,
        "nothing is left behind"
    );
}

#[test]
fn a_missing_io_uring_is_an_error_with_a_remedy() {
    for (error, disabled, remedy) in [
        (rustix::io::Errno::PERM, 2, "sysctl"),
        (rustix::io::Errno::PERM, 0, "seccomp"),
        (rustix::io::Errno::NOSYS, 0, "Linux 5.14"),
        (rustix::io::Errno::NOMEM, 0, "memlock"),
        (rustix::io::Errno::MFILE, 0, "ulimit -n"),
    ] {
        let text = io_uring_remedy(&error.into(), disabled);
        assert!(text.contains(remedy), "{error}: {text}");
    }
    let refused = require_io_uring(|| Err(rustix::io::Errno::PERM.into())).unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("could not set up io_uring; "),
        "{refused}"
    );
    require_io_uring(|| Ok(())).unwrap();
}

/// Forbids io_uring to the calling thread for good, as a container's profile does.
fn forbid_io_uring(errno: rustix::io::Errno) {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    // io_uring_setup, io_uring_enter, io_uring_register: the same numbers on every architecture.
    let calls = [425, 426, 427].map(|call| (call, Vec::new()));
    let filter = SeccompFilter::new(
        calls.into_iter().collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(errno.raw_os_error() as u32),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

/// The kernel refuses, not the test: a thread under a seccomp filter looks at the machine and tries
/// to start a pool.
#[test]
fn a_machine_that_forbids_io_uring_is_told_apart_from_one_without_it() {
    use crate::glommio::{Pool, PoolConfig};
    let refused_with = |errno| {
        let refused = move || {
            forbid_io_uring(errno);
            let check = io_uring();
            let pool = Pool::start(PoolConfig::default(), |_, _| async {});
            (
                check,
                pool.map(drop).expect_err("no ring, no pool").to_string(),
            )
        };
        std::thread::spawn(refused).join().unwrap()
    };
    let forbidden = match io_uring_sysctl() {
        0 => "--security-opt seccomp=unconfined",
        _ => "sysctl -w kernel.io_uring_disabled=0",
    };
    for (errno, found, remedy) in [
        (rustix::io::Errno::PERM, "not permitted", forbidden),
        (rustix::io::Errno::NOSYS, "not implemented", "Linux 5.14"),
    ] {
        let (check, text) = refused_with(errno);
        assert_eq!(check.verdict, Verdict::Fail);
        assert!(check.found.contains(found), "{check:?}");
        assert!(
            check.remedy.contains(remedy) || io_uring_sysctl() > 0,
            "{check:?}"
        );
        assert_eq!(text, format!("could not set up io_uring; {}", check.remedy));
    }
    assert!(open_ring().is_ok(), "other threads are free");
}

#[test]
fn too_little_locked_memory_is_an_error_with_a_remedy() {
    let refused = require_memlock(Some(64 << 10)).unwrap_err();
    assert!(refused.to_string().contains("ulimit -l"), "{refused}");
    require_memlock(Some(MEMLOCK_MIN)).unwrap();
    require_memlock(None).unwrap();
    assert_eq!(memlock(Some(64 << 10)).verdict, Verdict::Fail);
    assert_eq!(memlock(Some(1 << 20)).verdict, Verdict::Warn);
    assert_eq!(memlock(None).verdict, Verdict::Ok);
}

#[test]
fn kernel_releases_are_understood() {
    assert_eq!(kernel_version("6.18.44-fc-v669"), Some((6, 18)));
    assert_eq!(kernel_version("5.10.0"), Some((5, 10)));
    assert_eq!(kernel_version("unknown"), None);
}

#[test]
fn a_place_that_cannot_be_written_fails_with_a_remedy() {
    let check = direct_io(Path::new("/proc"));
    assert_eq!(check.verdict, Verdict::Fail);
    assert!(check.remedy.contains("ext4"));
    assert_eq!(flush_latency(Path::new("/proc")).verdict, Verdict::Fail);
}
