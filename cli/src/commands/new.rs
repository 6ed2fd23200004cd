//! `rama new`: a project with a module, its program and a test, from templates in this command.
//!
//! Relies on nothing but the file system: no network, no git. What must stay true: an existing
//! directory is never touched, and `cargo test` in the project works offline, which is why the
//! checkout's `Cargo.lock` comes along (cargo drops what the project does not use).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::args::{Format, New, Template};
use crate::error::{Exit, Failure, Result};
use crate::output;

/// A file of a template: where it goes, and its text with `{{name}}`, `{{crate}}` and `{{rama}}`.
type File = (&'static str, &'static str);

const COMMON: [File; 3] = [
    ("Cargo.toml", include_str!("../../templates/Cargo.toml.in")),
    (".gitignore", "/target\n/.rama\n"),
    ("README.md", include_str!("../../templates/README.md.in")),
];

const COUNTER: [File; 3] = [
    (
        "src/lib.rs",
        include_str!("../../templates/counter/lib.rs.in"),
    ),
    (
        "src/main.rs",
        include_str!("../../templates/counter/main.rs.in"),
    ),
    (
        "tests/counter.rs",
        include_str!("../../templates/counter/test.rs.in"),
    ),
];

const BANK: [File; 3] = [
    ("src/lib.rs", include_str!("../../templates/bank/lib.rs.in")),
    (
        "src/main.rs",
        include_str!("../../templates/bank/main.rs.in"),
    ),
    (
        "tests/bank.rs",
        include_str!("../../templates/bank/test.rs.in"),
    ),
];

pub fn run(format: Format, args: &New) -> Result<()> {
    let name = checked(&args.name)?;
    let rama = checkout(args.rama.as_deref())?;
    let dir = PathBuf::from(name);
    if dir.exists() {
        let text = format!("{name} exists already");
        return Err(Failure::new(
            Exit::Refused,
            text,
            "choose another name, or remove it",
        ));
    }
    let template = match args.template {
        Template::Counter => COUNTER,
        Template::Bank => BANK,
    };
    write(&dir, name, &rama, &template).map_err(|cause| {
        let text = format!("could not create the project {name}: {cause}");
        Failure::new(Exit::Failed, text, "go to a directory that can be written")
    })?;
    output::print(
        format,
        &json!({"project": name, "rama": rama.display().to_string()}),
        || format!("Created {name}. Next:\n  cd {name}\n  cargo test\n  rama dev"),
    )
}

fn write(dir: &Path, name: &str, rama: &Path, template: &[File]) -> io::Result<()> {
    for (path, text) in COMMON.iter().chain(template) {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap_or(dir))?;
        let text = text
            .replace("{{name}}", name)
            .replace("{{crate}}", &name.replace('-', "_"))
            .replace("{{version}}", env!("CARGO_PKG_VERSION"))
            .replace("{{rama}}", &rama.join("runtime/rama").display().to_string());
        fs::write(path, text)?;
    }
    fs::copy(rama.join("Cargo.lock"), dir.join("Cargo.lock")).map(drop)
}

/// A name that cargo takes for a package.
fn checked(name: &str) -> Result<&str> {
    let first = name
        .chars()
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic());
    if first
        && name
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || "-_".contains(char))
    {
        return Ok(name);
    }
    let text = format!("{name} cannot be the name of a package");
    Err(Failure::new(
        Exit::Usage,
        text,
        "use letters, digits, - and _, a letter first",
    ))
}

/// The checkout that the project depends on: the one named, or the one this command was built from.
fn checkout(named: Option<&Path>) -> Result<PathBuf> {
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let dir = named.unwrap_or(&built_from);
    match dir.canonicalize() {
        Ok(dir) if dir.join("runtime/rama/Cargo.toml").exists() => Ok(dir),
        _ => Err(Failure::new(
            Exit::NotFound,
            format!("{} is not a checkout of Rama", dir.display()),
            "clone the repository and name it with --rama DIR",
        )),
    }
}
