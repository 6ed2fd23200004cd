//! The guide tells the truth: what it names exists, and the texts that it quotes are those that are
//! told.
//!
//! Relies on the form of its tables: the first column is Rama's or the mistake, what is ours stands in
//! backticks behind it. That its programs compile is a matter of its doc-tests.

use std::fs;
use std::path::{Path, PathBuf};

fn at(path: &str) -> PathBuf {
    rama_tests::workspace().join(path)
}

/// All files below a directory with one of these endings, as one text.
fn texts(dir: &Path, endings: &[&str]) -> String {
    let mut all = String::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        let mut entries: Vec<PathBuf> = fs::read_dir(&dir)
            .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
            .map(|entry| entry.expect("readable").path())
            .collect();
        entries.sort();
        for path in entries {
            if path.is_dir() && !path.ends_with("guide") {
                dirs.push(path);
            } else if endings
                .iter()
                .any(|ending| path.to_string_lossy().ends_with(ending))
            {
                all.push_str(&fs::read_to_string(&path).expect("UTF-8"));
            }
        }
    }
    all
}

/// The rows of a page's tables: their cells, without the heads.
fn rows(page: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(at("runtime/rama/src/guide").join(page)).expect("a page");
    // A bar within a cell is escaped.
    let lines = text.lines().filter(|line| line.starts_with("| "));
    let rows = lines.map(|line| {
        let cells = line.trim_matches('|').replace("\\|", "\u{1}");
        let cells = cells
            .split(" | ")
            .map(|cell| cell.trim().replace('\u{1}', "|"));
        cells.collect::<Vec<_>>()
    });
    let head = |row: &Vec<String>| matches!(row[0].as_str(), "Rama" | "Mistake");
    rows.filter(|row| !head(row)).collect()
}

/// What stands in backticks.
fn quoted(cell: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = cell;
    while let Some(start) = rest.find('`') {
        let ticks = rest[start..].len() - rest[start..].trim_start_matches('`').len();
        let fence = "`".repeat(ticks);
        let inner = &rest[start + ticks..];
        let Some(end) = inner.find(&fence) else { break };
        found.push(inner[..end].to_owned());
        rest = &inner[end + ticks..];
    }
    found
}

/// The names of what is called in a piece of code: `name(`, `name!(`.
fn called(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices('(') {
        let before = code[..at].trim_end_matches('!');
        let name: String = before
            .chars()
            .rev()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        let name: String = name.chars().rev().collect();
        let begins = name.chars().next();
        // A capital begins a variant or a type, one letter the author's own closure.
        if begins.is_some_and(char::is_lowercase) && name.len() > 1 {
            names.push(name);
        }
    }
    names
}

#[test]
fn everything_that_the_table_of_rama_names_exists() {
    let source = texts(&at("runtime"), &[".rs"]);
    let rows = rows("rama-for-rustaceans.md");
    assert!(rows.len() > 60, "{} rows", rows.len());
    let mut missing = Vec::new();
    for row in &rows {
        for code in row[1..].iter().flat_map(|cell| quoted(cell)) {
            for name in called(&code) {
                let known = ["derive", "iter"].contains(&name.as_str());
                if !known && !source.contains(&format!("fn {name}")) {
                    missing.push(format!("{name} (for {})", row[0]));
                }
            }
        }
    }
    assert!(
        missing.is_empty(),
        "the guide names what is not there: {missing:#?}"
    );
}

#[test]
fn the_texts_of_the_index_of_errors_are_told() {
    let told = texts(&at("runtime"), &[".rs", ".stderr"])
        + &texts(&at("coordinator/planner/src"), &[".rs"]);
    // What is broken over lines in the source is one text.
    let told = told.replace("\\\n", "");
    let told: Vec<&str> = told.split_whitespace().collect();
    let told = told.join(" ");
    let rows = rows("errors.md");
    assert!(rows.len() > 40, "{} rows", rows.len());
    let mut missing = Vec::new();
    for row in &rows {
        for text in quoted(&row[1]) {
            for part in text
                .split('…')
                .map(str::trim)
                .filter(|part| !part.is_empty())
            {
                if !told.contains(part) {
                    missing.push(format!("{part:?} (of {})", row[0]));
                }
            }
        }
    }
    assert!(
        missing.is_empty(),
        "the guide quotes what nobody says: {missing:#?}"
    );
}
