//! The house rules as a test: layering, bans, file heads and file sizes (ARCHITECTURE.md, "The
//! house"). Relies on the sources alone. A rule that a reviewer had to repeat belongs here.

use std::collections::BTreeMap;
use std::fs;

use rama_tests::{files, relative, workspace};

/// Which workspace crates a crate may name in `[dependencies]`. The direction of the arrows.
const MAY_DEPEND: &[(&str, &[&str])] = &[
    ("rama-wire", &[]),
    ("rama-io", &[]),
    ("rama-macros", &[]),
    ("rama-net", &["rama-wire", "rama-io"]),
    ("rama-rpc", &["rama-net"]),
    ("rama-core", &["rama-wire"]),
    ("rama-storage", &["rama-wire", "rama-io"]),
    (
        "rama-runtime",
        &[
            "rama-wire",
            "rama-io",
            "rama-core",
            "rama-storage",
            "rama-net",
            "rama-macros",
        ],
    ),
    ("rama-planner", &["rama-core"]),
    (
        "rama-gateway",
        &["rama-api", "rama-wire", "rama-io", "rama-runtime"],
    ),
    ("rama-api", &[]),
    (
        "rama-control",
        &["rama-core", "rama-metastore", "rama-planner"],
    ),
    (
        "rama-coordinator",
        &[
            "rama-api",
            "rama-control",
            "rama-core",
            "rama-gateway",
            "rama-metastore",
            "rama-net",
            "rama-planner",
            "rama-rpc",
        ],
    ),
    ("rama-metastore", &[]),
    (
        "rama",
        &[
            "rama-wire",
            "rama-runtime",
            "rama-macros",
            "rama-gateway",
            "rama-api",
            "rama-control",
            "rama-metastore",
            "rama-net",
            "rama-planner",
            "rama-rpc",
        ],
    ),
];

/// Crates that decide: no clock, no randomness, no hash-ordered collection, no waiting.
const PURE: &[&str] = &[
    "net/wire/src",
    "runtime/core/src",
    "coordinator/planner/src",
];

/// What a pure crate must not name, and what to use instead.
const PURE_BANS: &[(&str, &str)] = &[
    ("std::time", "take the time as an input"),
    ("Instant::now", "take the time as an input"),
    ("SystemTime", "take the time as an input"),
    ("thread_rng", "take random numbers as inputs"),
    (
        "HashMap",
        "use BTreeMap: iteration order must not depend on a seed",
    ),
    (
        "HashSet",
        "use BTreeSet: iteration order must not depend on a seed",
    ),
    (
        "async fn",
        "deciders are synchronous: inputs in, effects out",
    ),
    (".await", "deciders are synchronous: inputs in, effects out"),
    ("std::fs", "deciders do no I/O: emit an effect"),
    ("std::net", "deciders do no I/O: emit an effect"),
];

/// Lines of a pure crate that may name a banned word, with the reason.
const PURE_EXCEPTIONS: &[(&str, &str)] = &[
    // (file, reason)
    (
        "net/wire/src/record.rs",
        "the message for a HashMap says why it is no record and what to use instead",
    ),
];

/// Files over 600 lines, with the reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Files that may contain `unsafe`, with the reason.
const UNSAFE_FILES: &[(&str, &str)] = &[
    (
        "runtime/io/src/glommio/mapping.rs",
        "memory maps of sealed files",
    ),
    ("bench/src/device.rs", "submission of raw io_uring requests"),
];

fn sources() -> Vec<(String, String)> {
    files(&workspace(), ".rs")
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path)
                .unwrap_or_else(|e| panic!("could not read {}: {e}", path.display()));
            (relative(&path), text)
        })
        .collect()
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs") || path.starts_with("tests/")
}

fn assert_none(rule: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

fn manifest(path: &std::path::Path) -> toml::Table {
    fs::read_to_string(path)
        .unwrap_or_else(|e| panic!("could not read {}: {e}", path.display()))
        .parse()
        .unwrap_or_else(|e| panic!("could not parse {}: {e}", path.display()))
}

fn crate_manifests() -> BTreeMap<String, (String, toml::Table)> {
    files(&workspace(), "Cargo.toml")
        .into_iter()
        .filter_map(|path| {
            let table = manifest(&path);
            let name = table.get("package")?.get("name")?.as_str()?.to_string();
            Some((name, (relative(&path), table)))
        })
        .collect()
}

fn dependency_names(table: &toml::Table) -> Vec<String> {
    let mut names = Vec::new();
    if let Some(deps) = table.get("dependencies").and_then(|d| d.as_table()) {
        names.extend(deps.keys().cloned());
    }
    names
}

#[test]
fn dependencies_point_one_way() {
    let manifests = crate_manifests();
    let mut broken = Vec::new();
    for (name, allowed) in MAY_DEPEND {
        let (path, table) = &manifests[*name];
        for dep in dependency_names(table) {
            if manifests.contains_key(&dep) && !allowed.contains(&dep.as_str()) {
                broken.push(format!("{path}: {name} must not depend on {dep}"));
            }
        }
    }
    assert_none("the arrows of ARCHITECTURE.md point one way", broken);
}

#[test]
fn glommio_is_named_in_one_crate() {
    let mut broken = Vec::new();
    for (name, (path, table)) in crate_manifests() {
        if name != "rama-io"
            && dependency_names(&table)
                .iter()
                .any(|d| d.contains("glommio"))
        {
            broken.push(path);
        }
    }
    for (path, text) in sources() {
        let outside = !path.starts_with("runtime/io/") && path != "tests/tests/tidy.rs";
        if outside && (text.contains("use glommio::") || text.contains("extern crate glommio")) {
            broken.push(path);
        }
    }
    assert_none("only rama-io names glommio", broken);
}

#[test]
fn pure_crates_stay_pure() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let excepted = PURE_EXCEPTIONS.iter().any(|(file, _)| *file == path);
        if !PURE.iter().any(|dir| path.starts_with(dir)) || is_test(&path) || excepted {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for (word, instead) in PURE_BANS {
                if line.contains(word) {
                    broken.push(format!("{path}:{}: {word}: {instead}", number + 1));
                }
            }
        }
    }
    assert_none(
        "pure crates name no clock, random source, hash order or I/O",
        broken,
    );
}

#[test]
fn every_file_says_what_it_is() {
    let broken = sources()
        .into_iter()
        .filter(|(path, _)| !path.contains("/ui/"))
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| path)
        .collect();
    assert_none("every file opens with //!", broken);
}

#[test]
fn files_hold_one_noun_each() {
    let broken = sources()
        .into_iter()
        .filter(|(path, text)| {
            !is_test(path)
                && text.lines().count() > 600
                && !LONG_FILES.iter().any(|(file, _)| file == path)
        })
        .map(|(path, text)| format!("{path}: {} lines", text.lines().count()))
        .collect();
    assert_none("files over 600 lines need a listed reason", broken);
}

#[test]
fn no_module_is_a_mod_rs() {
    let broken = sources()
        .into_iter()
        .map(|(path, _)| path)
        .filter(|p| p.ends_with("/mod.rs"))
        .collect();
    assert_none("modules are foo.rs beside foo/", broken);
}

#[test]
fn unsafe_stands_only_in_listed_files() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        if path == "tests/tests/tidy.rs" || UNSAFE_FILES.iter().any(|(file, _)| *file == path) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            if code.contains("unsafe {")
                || code.contains("unsafe fn")
                || code.contains("unsafe impl")
            {
                broken.push(format!("{path}:{}", number + 1));
            }
        }
    }
    assert_none("unsafe stands only in listed files", broken);
}

#[test]
fn listed_exceptions_still_exist() {
    let exist: Vec<String> = sources().into_iter().map(|(path, _)| path).collect();
    let listed = PURE_EXCEPTIONS.iter().chain(LONG_FILES).chain(UNSAFE_FILES);
    let broken = listed
        .filter(|(file, _)| !exist.iter().any(|path| path == file))
        .map(|(file, _)| file.to_string())
        .collect();
    assert_none("an exception for a file that is gone", broken);
}

/// The numbered steps of a chapter (after its title), each joined to one line.
fn steps(chapter: &str) -> Vec<String> {
    let mut steps: Vec<String> = Vec::new();
    for line in chapter.lines().skip(1) {
        let number = line.split_once(". ").map(|(number, _)| number);
        match number.and_then(|number| number.parse::<usize>().ok()) {
            Some(number) => {
                assert_eq!(number, steps.len() + 1, "steps are numbered in order");
                steps.push(line.to_owned());
            }
            None if line.starts_with("   ") => {
                if let Some(step) = steps.last_mut() {
                    step.push_str(line.trim_start());
                }
            }
            None => {}
        }
    }
    steps
}

fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn one_append_is_followed_through_at_most_seven_files() {
    let path = workspace().join("ARCHITECTURE.md");
    let text = fs::read_to_string(path).expect("ARCHITECTURE.md is there");
    let chapter = text.split("\n## ").find(|part| part.starts_with("4. "));
    let chapter = chapter.expect("ARCHITECTURE.md has a chapter 4");
    let steps = steps(chapter);
    assert!((2..=7).contains(&steps.len()), "{steps:?}");
    let mut listed = Vec::new();
    for step in &steps {
        let mut words = quoted(step);
        let file = words.next().expect("a step names its file first");
        let source = fs::read_to_string(workspace().join(file))
            .unwrap_or_else(|e| panic!("chapter 4 names {file}: {e}"));
        let functions: Vec<&str> = words.filter(|word| word.ends_with("()")).collect();
        assert!(!functions.is_empty(), "step names no function: {step}");
        for function in functions {
            let called = &function[..function.len() - 1];
            let generic = called.replace('(', "<");
            let found = source.contains(called) || source.contains(&generic);
            assert!(found, "{function} is not in {file}, says chapter 4");
        }
        listed.push(file);
    }
    let hidden = quoted(chapter).filter(|word| word.ends_with(".rs") && !listed.contains(word));
    let hidden: Vec<String> = hidden.map(str::to_owned).collect();
    assert_none("chapter 4 names files that are not steps", hidden);
}

#[test]
fn nothing_is_left_unfinished() {
    let words = [
        concat!("tod", "o!("),
        concat!("unimple", "mented!("),
        concat!("FIX", "ME"),
    ];
    let ignored = concat!("#[ign", "ore");
    let mut broken = Vec::new();
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) || line.contains(ignored) {
                broken.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert_none("no stubs, no ignored tests", broken);
}
