//! On plain files: what is written where, and what is refused. The kernel itself is asked only where
//! it hands a cgroup down, which no test can count on.

use super::*;

const MOUNTS: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
31 25 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
";

/// A cgroup as a service gets it.
fn service(controllers: &str, processes: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("cgroup.controllers"), controllers).unwrap();
    fs::write(dir.path().join("cgroup.procs"), processes).unwrap();
    dir
}

fn read(dir: &Path, file: &str) -> String {
    fs::read_to_string(dir.join(file)).unwrap()
}

#[test]
fn the_own_cgroup_is_found_below_its_mount() {
    let found = |mounts: &str, cgroup: &str| own(mounts, cgroup).map_err(|text| text.to_owned());
    let service = "0::/system.slice/rama-supervisor.service\n";
    let path = "/sys/fs/cgroup/system.slice/rama-supervisor.service";
    assert_eq!(found(MOUNTS, service), Ok(PathBuf::from(path)));
    assert_eq!(
        found(MOUNTS, "0::/\n"),
        Ok(PathBuf::from("/sys/fs/cgroup/"))
    );
    // Both versions at once: the second one elsewhere.
    let both = MOUNTS.replace("/sys/fs/cgroup rw", "/sys/fs/cgroup/unified rw");
    let one = "4:memory:/x\n0::/y\n";
    assert_eq!(
        found(&both, one),
        Ok(PathBuf::from("/sys/fs/cgroup/unified/y"))
    );
    let inner = MOUNTS.replace("0:27 / ", "0:27 /docker/7 ");
    let path = PathBuf::from("/sys/fs/cgroup/a");
    assert_eq!(found(&inner, "0::/docker/7/a\n"), Ok(path));
    assert!(found(&inner, "0::/docker/8\n").is_err());
    assert!(found(MOUNTS, "0::/../outside\n").is_err());
    assert!(found(MOUNTS, "4:memory:/x\n").is_err());
    assert!(found("", service).is_err());
}

#[test]
fn a_worker_gets_a_cgroup_beside_the_supervisors_with_its_limits() {
    let dir = service("cpuset cpu io memory pids\n", "7\n");
    let cgroups = Cgroups::below(dir.path(), 7).unwrap();
    assert_eq!(read(dir.path(), "supervisor/cgroup.procs"), "7");
    assert_eq!(read(dir.path(), "cgroup.subtree_control"), "+cpu +memory");
    let limits = Limits {
        memory_bytes_max: Some(1 << 30),
        cpus: 2,
        cpu_weight: 50,
    };
    cgroups.confine("a-0", 8, limits).unwrap();
    let of = dir.path().join("worker-a-0-8");
    let files = [
        "memory.max",
        "memory.oom.group",
        "cpu.max",
        "cpu.weight",
        "cgroup.procs",
    ];
    let written = files.map(|file| read(&of, file));
    assert_eq!(written, ["1073741824", "1", "200000 100000", "50", "8"]);
    cgroups.end("a-0", 8);
    assert_eq!(read(&of, "cgroup.kill"), "1");
    // Once more, with other limits.
    let limits = Limits {
        memory_bytes_max: None,
        cpus: 0,
        ..limits
    };
    let of = dir.path().join("worker-a-0-9");
    cgroups.confine("a-0", 9, limits).unwrap();
    assert_eq!(read(&of, "memory.max"), "max");
    assert_eq!(read(&of, "cpu.max"), "max 100000");

    // After a restart it is where it was, or where systemd put it: beside its workers.
    let again = Cgroups::below(&dir.path().join("supervisor"), 10).unwrap();
    assert_eq!(again.of("a-0", 9), of);
    assert_eq!(read(dir.path(), "supervisor/cgroup.procs"), "7");
    // Only what is empty and its own goes.
    for name in ["worker-a-0-1", "worker-a-01-1"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    again.sweep("a-0");
    assert!(!again.of("a-0", 1).exists());
    assert!(of.exists() && again.of("a-01", 1).exists());
}

#[test]
fn nothing_is_changed_where_others_live_or_controllers_are_missing() {
    let refused = |dir: &tempfile::TempDir, what: &str| {
        let text = Cgroups::below(dir.path(), 7).unwrap_err();
        assert!(text.contains(what), "{text}");
        assert!(!dir.path().join("supervisor").exists());
    };
    refused(&service("cpu memory", "1\n7\n"), "other processes are in");
    refused(&service("cpu io", "7\n"), "no controllers cpu and memory");
    refused(&tempfile::tempdir().unwrap(), "could not read");
}

#[test]
fn a_cgroup_that_was_not_handed_down_is_left_as_it_was() {
    let dir = service("cpu memory", "7\n");
    // Nothing can be written here, as where systemd did not delegate.
    fs::create_dir(dir.path().join("cgroup.subtree_control")).unwrap();
    let text = Cgroups::below(dir.path(), 7).unwrap_err();
    assert!(text.contains("cgroup.subtree_control"), "{text}");
    assert_eq!(read(dir.path(), "cgroup.procs"), "7");
}
