//! What `deploy/` ships: settings, units, images, manifests, packages. Everything there that names a
//! setting, a command or a file of ours is compared with what there is.
//!
//! Relies on the built command for what it accepts. What must stay true: a flag, a setting or a route that
//! is renamed here fails before anybody deploys it. systemd, Docker and Kubernetes themselves are not run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

#[cfg(target_arch = "x86_64")]
use seccompiler::{BpfProgram, apply_filter, compile_from_json};
use serde_json::Value;
#[cfg(target_arch = "x86_64")]
use serde_json::json;
use yaml_rust2::{Yaml, YamlLoader};

use crate::command::{directory, run_in, run_with};

/// Files of the directory, by their names in it.
fn shipped() -> BTreeMap<String, String> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).expect("listed") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => walk(&path, found),
                false => found.push(path),
            }
        }
    }
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let mut found = Vec::new();
    walk(&top, &mut found);
    let text = |path: PathBuf| {
        let name = path.strip_prefix(&top).expect("below it").display();
        (
            name.to_string(),
            std::fs::read_to_string(&path).expect("a text"),
        )
    };
    found.into_iter().map(text).collect()
}

fn yaml(name: &str) -> Vec<Yaml> {
    let text = &shipped()[name];
    YamlLoader::load_from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn words(yaml: &Yaml) -> Vec<String> {
    let words = yaml.as_vec().into_iter().flatten();
    words
        .map(|word| word.as_str().expect("a word").to_owned())
        .collect()
}

/// The command takes these words: what follows them is only asked for help.
fn accepted(args: &[&str]) {
    let seen = run_with(
        &std::env::temp_dir(),
        &[],
        &[args, &["--help"]].concat(),
        "",
    );
    assert!(seen.ends_with("--- exit 0\n"), "{seen}");
}

fn setting(name: &str) -> String {
    let seen = run_in(directory().path(), "http://x", &["conf-value", name], "");
    let value = seen.lines().nth(1).unwrap_or_default().to_owned();
    assert!(seen.ends_with("--- exit 0\n"), "{seen}");
    value
}

#[test]
fn shipped_settings_are_known_and_checked() {
    let dir = directory();
    let file = dir.path().join("rama.toml");
    let text = &shipped()["rama.toml"];
    std::fs::write(&file, text).expect("written");
    // What is commented out is there to be used.
    let all = text
        .replace("\n# ca =", "\nca =")
        .replace("\n# cert", "\ncert");
    let all = all
        .replace("\n# key", "\nkey")
        .replace("insecure = true", "");
    std::fs::write(dir.path().join("all.toml"), all).expect("written");
    for file in ["rama.toml", "all.toml"] {
        let seen = run_in(dir.path(), "http://x", &["config", "check", file], "");
        assert!(seen.ends_with("--- exit 0\n"), "{seen}");
    }
}

#[test]
fn every_variable_that_is_shipped_is_a_setting() {
    let mut names = BTreeSet::new();
    for (file, text) in shipped() {
        let word =
            |char: char| !(char.is_ascii_uppercase() || char.is_ascii_digit() || char == '_');
        let variables = text.split(word).filter(|word| word.starts_with("RAMA_"));
        let variables = variables.filter(|name| name.contains("__") && !name.ends_with("__"));
        names.extend(variables.map(|name| (name.to_owned(), file.clone())));
    }
    assert!(names.len() > 20, "{names:?}");
    let distinct: BTreeSet<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
    for name in distinct {
        let name = name.trim_start_matches("RAMA_").to_lowercase();
        setting(&name.replace("__", "."));
    }
}

#[test]
fn units_run_commands_that_there_are_and_leave_workers_alone() {
    let files = shipped();
    for daemon in ["conductor", "supervisor"] {
        let unit = &files[&format!("systemd/rama-{daemon}.service")];
        let has = |line: &str| unit.lines().any(|other| other == line);
        let start = unit
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart="));
        let start: Vec<&str> = start.expect("a command").split(' ').collect();
        assert_eq!(start[..2], ["/usr/bin/rama", daemon]);
        accepted(&start[1..]);
        for line in [
            "Type=notify",
            "Restart=always",
            "User=rama",
            "WatchdogSec=30",
        ] {
            assert!(has(line), "{daemon} has no {line}");
        }
        assert_eq!(has("KillMode=process"), daemon == "supervisor");
        for line in unit.lines() {
            let plain = line.is_empty() || line.starts_with(['#', '[']);
            assert!(plain || line.contains('='), "{line}");
        }
    }
    let supervisor = &files["systemd/rama-supervisor.service"];
    for line in [
        "Delegate=cpu memory",
        "DelegateSubgroup=supervisor",
        "LimitMEMLOCK=infinity",
        "LimitNOFILE=1048576",
    ] {
        assert!(supervisor.lines().any(|other| other == line), "{line}");
    }
    for line in [
        "PrivateTmp=",
        "ProtectControlGroups=",
        "MemoryDenyWriteExecute=",
    ] {
        let used = supervisor.lines().any(|other| other.starts_with(line));
        assert!(!used, "workers could not live with {line}");
    }
}

#[test]
fn every_kernel_setting_and_limit_has_its_reason() {
    for name in ["systemd/sysctl.conf", "systemd/limits.conf"] {
        let text = &shipped()[name];
        for part in text.trim_end().split("\n\n") {
            let lines: Vec<&str> = part.lines().collect();
            assert!(lines[0].starts_with("# "), "{name}: {part}");
        }
        let settings = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty());
        assert!(settings.count() >= 2, "{name}");
    }
}

#[test]
fn the_composed_cluster_has_all_its_parts() {
    let all = yaml("docker/compose.yaml");
    let services = &all[0]["services"];
    let names = services.as_hash().expect("services").keys();
    let names: Vec<&str> = names.filter_map(Yaml::as_str).collect();
    let expected = [
        "etcd1",
        "etcd2",
        "etcd3",
        "certs",
        "conductor",
        "supervisor1",
        "supervisor2",
        "supervisor3",
        "rama",
    ];
    assert_eq!(names, expected);
    for name in names.iter().filter(|name| name.starts_with(['c', 's'])) {
        let volumes = words(&services[*name]["volumes"]);
        assert!(
            volumes[0].starts_with("certs:/certs"),
            "{name}: {volumes:?}"
        );
        if *name != "certs" {
            let command = words(&services[*name]["command"]);
            assert!(name.starts_with(&command[0]), "{name}: {command:?}");
            accepted(&[&command[0]]);
        }
    }
    let script = words(&services["certs"]["command"]).join("\n");
    let lines = script.lines().filter_map(|line| line.strip_prefix("rama "));
    let lines: Vec<Vec<&str>> = lines.map(|line| line.split(' ').collect()).collect();
    assert_eq!(lines.len(), 6);
    for line in lines {
        accepted(&line);
    }
    let text = &shipped()["docker/compose.yaml"];
    assert!(text.contains("- seccomp=./seccomp.json"));
}

#[test]
fn images_and_manifests_use_the_ports_and_routes_that_there_are() {
    let ports = [
        "conductor.port",
        "conductor.http_port",
        "supervisor.port",
        "supervisor.http_port",
    ];
    let ports = ports.map(|name| setting(name).parse::<i64>().expect("a port"));
    assert_eq!(ports, [1973, 8888, 3000, 3001]);
    assert!(
        shipped()["docker/Dockerfile"].contains("EXPOSE 1973/udp 8888/tcp 3000-3100/udp 3001/tcp")
    );
    for (daemon, ports) in [("conductor", &ports[..2]), ("supervisor", &ports[2..])] {
        let all = yaml(&format!("kubernetes/{daemon}.yaml"));
        let of = |kind: &str| {
            let mut found = all.iter().filter(|it| it["kind"].as_str() == Some(kind));
            let found = found.next();
            found.unwrap_or_else(|| panic!("{daemon} has no {kind}"))
        };
        let service = of("Service")["spec"]["ports"].as_vec().expect("ports");
        let service: Vec<i64> = service
            .iter()
            .filter_map(|port| port["port"].as_i64())
            .collect();
        assert_eq!(service, ports);
        let pod = &of("StatefulSet")["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let args = words(&container["args"]);
        assert_eq!(args, [daemon]);
        accepted(&[&args[0]]);
        let probe = |name: &str| container[name]["httpGet"]["path"].as_str();
        assert_eq!(probe("livenessProbe"), Some("/livez"));
        assert_eq!(probe("readinessProbe"), Some("/readyz"));
        let profile = &pod["securityContext"]["seccompProfile"];
        assert_eq!(profile["localhostProfile"].as_str(), Some("rama.json"));
        let security = &container["securityContext"];
        assert_eq!(security["readOnlyRootFilesystem"].as_bool(), Some(true));
        assert_eq!(security["allowPrivilegeEscalation"].as_bool(), Some(false));
        if daemon == "supervisor" {
            assert_eq!(
                of("PodDisruptionBudget")["spec"]["maxUnavailable"].as_i64(),
                Some(1)
            );
        }
    }
    let etcd = yaml("kubernetes/etcd.yaml");
    assert_eq!(etcd[1]["spec"]["replicas"].as_i64(), Some(3));
}

/// What the package installs is made or there, and its manual has a page for each command.
#[test]
fn the_package_names_files_that_there_are() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(dir.join("Cargo.toml")).expect("a manifest");
    let manifest: toml::Table = text.parse().expect("TOML");
    let package = &manifest["package"]["metadata"]["deb"];
    let assets = package["assets"].as_array().expect("assets");
    let mut made = BTreeSet::new();
    for asset in assets {
        let from = asset[0].as_str().expect("a path");
        match from.strip_prefix("../target/package/") {
            Some(name) => drop(made.insert(name.to_owned())),
            None if from == "target/release/rama" => {}
            None => assert!(dir.join(from).is_file(), "{from} is not there"),
        }
    }
    let script = &shipped()["package"];
    for name in ["rama.bash", "_rama", "rama.fish"] {
        assert!(
            made.remove(name) && script.contains(&format!("\"$made/{name}\"")),
            "{name}"
        );
    }
    assert_eq!(made, BTreeSet::from(["man/*.1".to_owned()]));
    let scripts = dir.join(package["maintainer-scripts"].as_str().expect("a path"));
    for name in ["postinst", "prerm", "postrm"] {
        assert!(scripts.join(name).is_file(), "{name}");
    }
}

/// The profile as two filters of the kernel: what is allowed, and what is said not to exist. Other
/// machines do not have all of the calls, which container runtimes pass over and this does not.
#[cfg(target_arch = "x86_64")]
fn filters(profile: &Value) -> [BpfProgram; 2] {
    let rules = profile["syscalls"].as_array().expect("rules");
    let mut allowed = Vec::new();
    for rule in rules
        .iter()
        .filter(|rule| rule["action"] == "SCMP_ACT_ALLOW")
    {
        for name in rule["names"].as_array().expect("names") {
            match &rule["args"][0] {
                Value::Null => allowed.push(json!({"syscall": name})),
                arg => {
                    let op = json!({"masked_eq": arg["value"]});
                    let arg = json!({"index": arg["index"], "type": "qword", "op": op, "val": 0});
                    allowed.push(json!({"syscall": name, "args": [arg]}));
                }
            }
        }
    }
    let arch = std::env::consts::ARCH
        .try_into()
        .expect("a machine that is known");
    let program = |otherwise: Value, then: Value, rules: Vec<Value>| {
        let filter = json!({"mismatch_action": otherwise, "match_action": then, "filter": rules});
        let text = json!({"all": filter}).to_string();
        let mut made = compile_from_json(text.as_bytes(), arch).expect("it can be compiled");
        made.remove("all").expect("the only one")
    };
    [
        program(json!({"errno": 1}), json!("allow"), allowed),
        program(
            json!("allow"),
            json!({"errno": 38}),
            vec![json!({"syscall": "clone3"})],
        ),
    ]
}

fn profile() -> Value {
    serde_json::from_str(&shipped()["docker/seccomp.json"]).expect("JSON")
}

#[test]
fn the_profile_of_containers_allows_io_uring_and_nothing_of_the_host() {
    let profile = profile();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let rules = profile["syscalls"].as_array().expect("rules");
    let mut allowed = BTreeSet::new();
    for rule in rules {
        assert!(rule["comment"].is_string(), "every rule has its reason");
        for name in rule["names"].as_array().expect("names") {
            let name = name.as_str().expect("a name");
            assert!(allowed.insert(name.to_owned()), "{name} is there twice");
        }
    }
    let ring: Vec<&String> = allowed
        .iter()
        .filter(|name| name.starts_with("io_uring"))
        .collect();
    assert_eq!(
        ring,
        ["io_uring_enter", "io_uring_register", "io_uring_setup"]
    );
    for name in [
        "acct",
        "add_key",
        "bpf",
        "chroot",
        "delete_module",
        "fsopen",
        "init_module",
        "kexec_load",
        "keyctl",
        "mount",
        "move_mount",
        "name_to_handle_at",
        "open_by_handle_at",
        "perf_event_open",
        "pidfd_getfd",
        "pivot_root",
        "process_vm_readv",
        "process_vm_writev",
        "ptrace",
        "quotactl",
        "reboot",
        "request_key",
        "setns",
        "settimeofday",
        "swapon",
        "syslog",
        "umount2",
        "unshare",
        "userfaultfd",
    ] {
        assert!(!allowed.contains(name), "{name} is allowed");
    }
}

/// A cluster runs under the profile; without the calls of io_uring it would not.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_cluster_runs_under_the_profile_of_containers() {
    let whole = profile();
    let mut without = whole.clone();
    without["syscalls"].as_array_mut().expect("rules").remove(0);
    let run = |profile: &Value| {
        let programs = filters(profile);
        let under = std::thread::spawn(move || {
            for program in &programs {
                apply_filter(program).expect("the kernel takes it");
            }
            let dir = directory();
            std::fs::write(dir.path().join("text"), "to be or not to be").expect("written");
            let args = [
                "quickstart",
                "--file",
                "text",
                "--data-dir",
                "data",
                "--output",
                "json",
            ];
            run_with(dir.path(), &[], &args, "")
        });
        under.join().expect("the thread ends well")
    };
    let seen = run(&whole);
    assert!(seen.ends_with("--- exit 0\n"), "{seen}");
    let seen = run(&without);
    assert!(
        seen.contains("io_uring") && !seen.ends_with("--- exit 0\n"),
        "{seen}"
    );
}

/// Commands that the handbook of this directory tells to type.
#[test]
fn the_handbook_types_commands_that_there_are() {
    let text = &shipped()["README.md"];
    let quoted = text.split('`').skip(1).step_by(2);
    let lines = text.lines().map(str::trim);
    let typed = lines
        .chain(quoted)
        .filter_map(|line| line.strip_prefix("rama "));
    let typed: BTreeSet<&str> = typed.filter(|line| !line.contains('`')).collect();
    assert!(typed.len() >= 8, "{typed:?}");
    for line in typed {
        accepted(&line.split_whitespace().collect::<Vec<_>>());
    }
}
