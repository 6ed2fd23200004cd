//! What a configuration may say, and how it is refused.

use std::path::PathBuf;

use super::*;

fn load(file: &str, environment: &[(&str, &str)]) -> Result<Layers, Error> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("some.toml");
    std::fs::write(&path, file).expect("a file");
    let environment = environment
        .iter()
        .map(|(name, text)| (name.to_string(), text.to_string()));
    Layers::load(Some(&path), environment)
}

#[test]
fn the_repositorys_rama_toml_lists_every_default_and_nothing_else() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../rama.toml");
    let text = std::fs::read_to_string(path).expect("rama.toml");
    let table: Table = text.parse().expect("TOML");
    let listed: BTreeMap<_, _> = flatten(&table).into_iter().collect();
    let defaults = Table::try_from(Config::default()).expect("plain values");
    let known: BTreeMap<_, _> = flatten(&defaults).into_iter().collect();
    assert_eq!(listed, known);
    for key in known.keys() {
        let name = key.split('.').next_back().expect("a name");
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name} = ")));
        assert!(
            line.is_some_and(|line| line.contains(" # ")),
            "{key} has no comment"
        );
    }
}

#[test]
fn later_layers_win_and_origins_are_kept() {
    let file = "[http]\nport = 7000\nhost = \"0.0.0.0\"\n";
    let mut layers = load(
        file,
        &[
            ("RAMA_HTTP__PORT", "7001"),
            ("RAMA_URL", "x"),
            ("PATH", "y"),
        ],
    )
    .expect("fine");
    assert_eq!(layers.config().expect("fine").http.port, 7001);
    layers
        .set("http.port", Value::Integer(7002), Origin::Flag)
        .expect("fine");
    let config = layers.config().expect("fine");
    assert_eq!(
        (config.http.port, config.http.host.to_string()),
        (7002, "0.0.0.0".to_owned())
    );
    let origins: Vec<String> = layers
        .entries()
        .filter(|(key, ..)| ["http.port", "http.threads"].contains(key))
        .map(|(key, _, origin)| format!("{key} {origin}"))
        .collect();
    assert_eq!(origins, ["http.port flag", "http.threads default"]);
}

#[test]
fn mistakes_are_refused_with_their_place_and_the_fix() {
    let check = |file: &str, environment: &[(&str, &str)], what: &str, hint: &str| {
        let error = load(file, environment).expect_err(file);
        assert!(error.what.contains(what), "{error:?}");
        assert!(error.hint.contains(hint), "{error:?}");
    };
    check(
        "[http]\nprot = 1\n",
        &[],
        "no setting http.prot",
        "did you mean http.port?",
    );
    check(
        "[clutser]\ntasks = 1\n",
        &[],
        "no setting clutser.tasks",
        "did you mean cluster.tasks?",
    );
    check("colour = 1\n", &[], "no setting colour", "lists every key");
    check(
        "[http]\nport = \"x\"\n",
        &[],
        "http.port is a integer",
        "default is 8888",
    );
    check(
        "[http]\nport = 70000\n",
        &[],
        "could not use 70000 for http.port",
        "default is 8888",
    );
    check(
        "[http]\nhost = \"here\"\n",
        &[],
        "for http.host",
        "127.0.0.1",
    );
    check("[log]\nformat = \"xml\"\n", &[], "for log.format", "auto");
    check("[cluster]\ntasks = 3\n", &[], "not a power of two", "");
    check(
        "",
        &[("RAMA_HTTP__PROT", "1")],
        "environment RAMA_HTTP__PROT",
        "did you mean http.port?",
    );
    check(
        "",
        &[("RAMA_HTTP__PORT", "x")],
        "environment RAMA_HTTP__PORT",
        "8888",
    );
    check("[http\n", &[], "could not read the configuration file", "");
}

#[test]
fn a_missing_file_that_was_asked_for_is_an_error() {
    let error = Layers::load(
        Some(&PathBuf::from("/nonexistent/x.toml")),
        std::iter::empty(),
    );
    assert!(
        error
            .expect_err("no file")
            .what
            .contains("/nonexistent/x.toml")
    );
}

#[test]
fn certificates_lie_beside_the_file_that_names_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("rama.toml");
    let file = "[security]\nca = \"certs/ca.pem\"\ncert = \"/etc/me.pem\"\nkey = \"me.key\"\n";
    std::fs::write(&path, file).expect("a file");
    let named = [(FILE_VARIABLE.to_owned(), path.display().to_string())];
    let layers = Layers::load(None, named.into_iter()).expect("the file of the variable");
    let security = layers.config().expect("fine").security;
    let files = Protection::Certificates {
        ca: dir.path().join("certs/ca.pem"),
        cert: PathBuf::from("/etc/me.pem"),
        key: dir.path().join("me.key"),
    };
    assert_eq!(security.protection(), Ok(files));
    let (value, origin) = layers.entry("security.cert").expect("a key");
    assert_eq!(value.as_str(), Some("/etc/me.pem"));
    assert_eq!(*origin, Origin::File(path));
    let unknown = layers.entry("security.crt").expect_err("no key");
    assert_eq!(unknown.hint, "did you mean security.cert?");
}

#[test]
fn security_is_all_or_nothing() {
    let check = |file: &str, environment: &[(&str, &str)], hint: &str| {
        let config = load(file, environment).and_then(|layers| layers.config());
        let protection = config.expect("known keys").security.protection();
        match protection {
            Ok(protection) => assert_eq!((protection, hint), (Protection::Insecure, "")),
            Err(error) => assert!(!hint.is_empty() && error.hint.contains(hint), "{error:?}"),
        }
    };
    check("", &[("RAMA_SECURITY__INSECURE", "true")], "");
    check("", &[], "rama certs issue");
    check("[security]\nca = \"a\"\n", &[], "rama certs issue");
    check(
        "[security]\nca = \"a\"\ninsecure = true\n",
        &[],
        "leave out",
    );
}

#[test]
fn a_conductor_has_a_name_inside_and_one_outside() {
    let host = |file: &str, internal| {
        let config = load(file, &[]).and_then(|layers| layers.config());
        let conductor = config.expect("fine").conductor;
        conductor.host(internal).map(str::to_owned)
    };
    assert_eq!(host("", true), None);
    let one = "[conductor]\nhost = \"out\"\n";
    assert_eq!(host(one, true).as_deref(), Some("out"));
    let both = "[conductor]\nhost = \"out\"\nhost_internal = \"in\"\n";
    assert_eq!(host(both, true).as_deref(), Some("in"));
    assert_eq!(host(both, false).as_deref(), Some("out"));
}

#[test]
fn resources_of_workers_stand_below_a_section_and_variables_keep_their_names() {
    let file = "[worker.resources]\nmemory_max = \"2GiB\"\ncpus = 3\n\
                [worker.resources.env]\nTZ = \"UTC\"\n\"a.b\" = \"c\"\n\
                [supervisor]\nport_range = [20000, 21000]\n";
    let variables = [
        ("RAMA_WORKER__RESOURCES__CPU_WEIGHT", "250"),
        ("RAMA_SUPERVISOR__PORT_RANGE", "20000, 20500"),
    ];
    let config = load(file, &variables).and_then(|layers| layers.config());
    let config = config.expect("fine");
    let resources = config.worker.resources;
    assert_eq!(resources.memory_bytes_max(), Ok(Some(2 << 30)));
    assert_eq!((resources.cpus, resources.cpu_weight), (3, 250));
    let variables = [("TZ", "UTC"), ("a.b", "c")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(resources.env, BTreeMap::from(variables));
    assert_eq!(config.supervisor.port_range, [20000, 20500]);
}

#[test]
fn what_workers_may_take_is_checked_where_it_is_said() {
    let check = |file: &str, what: &str| {
        let error = load(file, &[]).expect_err(file);
        assert!(error.what.contains(what), "{error:?}");
    };
    let section = |line: &str| format!("[worker.resources]\n{line}\n");
    check(&section("memory_max = \"much\""), "is no size");
    check(&section("memory_max = \"99999999999GiB\""), "is no size");
    check(&section("memory_max = \"1KiB\""), "too little");
    check(&section("cpu_weight = 0"), "cannot be 0");
    check(&section("cpu = 1"), "no setting worker.resources.cpu");
    check(
        &section("env.RAMA_SLOT = \"x\""),
        "belongs to the supervisor",
    );
    check(&section("env.N = 1"), "worker.resources.env.N is a string");
    check("[supervisor]\nport_range = [9, 3]\n", "holds no ports");
    check("[supervisor]\nport_range = [0, 3]\n", "holds no ports");
    check("[supervisor]\nport_range = [3]\n", "supervisor.port_range");
    assert!(load("[supervisor]\nport_range = [0, 0]\n", &[]).is_ok());
}

#[test]
fn an_instance_differs_from_its_node_in_what_workers_may_take() {
    let node = resources::Resources {
        cpus: 2,
        env: BTreeMap::from([("TZ".to_owned(), "UTC".to_owned())]),
        ..resources::Resources::default()
    };
    let differ = |settings: &[(&'static str, serde_json::Value)]| {
        let settings = settings.iter().cloned();
        node.overridden(settings).map_err(|error| error.what)
    };
    let differs = differ(&[
        ("worker.resources.memory_max", "1GiB".into()),
        ("worker.resources.env.LANG", "C".into()),
    ]);
    let differs = differs.expect("fine");
    assert_eq!(differs.memory_bytes_max(), Ok(Some(1 << 30)));
    assert_eq!((differs.cpus, differs.env.len()), (2, 2));
    let refused = |key, value: serde_json::Value, what: &str| {
        let error = differ(&[(key, value)]).expect_err(key);
        assert!(error.contains(what), "{error}");
    };
    refused("http.port", 1.into(), "no setting http.port of workers");
    refused("worker.resources.cores", 1.into(), "no setting worker");
    refused("worker.resources.cpus", "many".into(), "could not use");
    refused("worker.resources.cpu_weight", 0.into(), "cannot be 0");
}
