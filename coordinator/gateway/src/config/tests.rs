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
