//! The README's first command as a newcomer runs it, against an independent count in Python.
//!
//! Relies on the built `rama` binary and on `python3`. Every word of the book must agree, not a
//! sample.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use rama_tests::{rama_binary, workspace};

fn quickstart(arguments: &[&str]) -> Output {
    Command::new(rama_binary())
        .arg("quickstart")
        .args(arguments)
        .output()
        .expect("the rama binary starts")
}

fn counts(json: &[u8]) -> BTreeMap<String, u64> {
    serde_json::from_slice(json).expect("counts are a JSON object of numbers")
}

fn python_counts(file: &Path) -> BTreeMap<String, u64> {
    let output = Command::new("python3")
        .arg(workspace().join("tests/count_words.py"))
        .arg(file)
        .output()
        .expect("python3 starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    counts(&output.stdout)
}

fn assert_counts_agree(file: &Path, arguments: &[&str]) -> String {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let out = scratch.path().join("counts.json");
    let out_text = out.display().to_string();
    let data = scratch.path().join("data").display().to_string();
    let mut all = vec!["--counts", &out_text, "--data-dir", &data];
    all.extend(arguments);
    let output = quickstart(&all);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "quickstart failed:\n{printed}\n{errors}"
    );
    let ours = counts(&std::fs::read(&out).expect("--counts writes the file"));
    assert_eq!(ours, python_counts(file));
    printed
}

#[test]
fn the_bundled_book_is_counted_exactly() {
    let book = workspace().join("modules/word_count/data/kjv.txt");
    assert!(book.metadata().expect("the book is bundled").len() >= 500_000);
    let printed = assert_counts_agree(&book, &[]);
    assert!(printed.contains("the"), "top words are printed:\n{printed}");
    assert!(
        printed.contains("words/s"),
        "the rate is printed:\n{printed}"
    );
    assert!(
        printed.contains("http://127.0.0.1:"),
        "the address is printed:\n{printed}"
    );
}

#[test]
fn any_utf8_text_is_counted_exactly() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let file = scratch.path().join("text.txt");
    let text = "Ça va? ÇA VA!\n\nДва дня, два ДНЯ – 42 дня.\r\nnaïve\u{00a0}naïve'naïve\nlast line";
    std::fs::write(&file, text).expect("the scratch directory is writable");
    assert_counts_agree(&file, &["--file", &file.display().to_string()]);
}

#[test]
fn a_text_that_is_not_utf8_is_refused_with_its_place() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let file = scratch.path().join("latin1.txt");
    std::fs::write(&file, b"caf\xe9 au lait\n").expect("the scratch directory is writable");
    let output = quickstart(&["--file", &file.display().to_string()]);
    assert!(!output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("UTF-8") && errors.contains("latin1.txt"),
        "{errors}"
    );
}
