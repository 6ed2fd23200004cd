//! Which rules of the programming model the tests of the workspace prove, by the ids they quote.
//!
//! Relies on `rules.toml`, which says how many rules each section has, which are different here on
//! purpose, and which are still open. What must stay true: every rule is quoted by a test, different,
//! or open; one that a test quotes is not open, so that a rule which is proven once stays proven.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

/// What `rules.toml` holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// The last rule of each section, by the section's letter.
    pub sections: BTreeMap<String, u32>,
    /// Rules between two others, such as `P-39a`.
    pub further: Vec<String>,
    /// Rules that hold in another way, or not at all, and why.
    pub different: BTreeMap<String, String>,
    /// Rules without a test.
    pub open: Vec<String>,
}

/// How far the rules are proven.
#[derive(Debug, Default)]
pub struct Coverage {
    /// Files that quote each rule.
    pub quoted: BTreeMap<String, BTreeSet<String>>,
    /// What is wrong with the list.
    pub mistakes: Vec<String>,
}

impl Rules {
    /// Reads the list.
    ///
    /// # Errors
    /// What the file system said, or where the file is not as it should be.
    pub fn read(path: &Path) -> io::Result<Rules> {
        toml::from_str(&fs::read_to_string(path)?).map_err(io::Error::other)
    }

    /// Every rule, in the order of the specification.
    pub fn all(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for (section, last) in &self.sections {
            for number in 1..=*last {
                let id = format!("{section}-{number}");
                let further = self.further.iter();
                let further = further.filter(|other| {
                    let rest = other.strip_prefix(&id);
                    rest.is_some_and(|rest| rest.chars().all(char::is_alphabetic))
                });
                all.push(id.clone());
                all.extend(further.cloned());
            }
        }
        all
    }

    /// Compares the list with what the tests below `root` quote.
    ///
    /// # Errors
    /// What the file system said.
    pub fn coverage(&self, root: &Path) -> io::Result<Coverage> {
        let all: BTreeSet<String> = self.all().into_iter().collect();
        let mut coverage = Coverage::default();
        for path in crate::files(root, ".rs") {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy();
            let is_test = name.contains("tests/") || name.ends_with("tests.rs");
            // The examples of this file prove nothing.
            if !is_test || name == "tests/src/rules.rs" {
                continue;
            }
            let text = fs::read_to_string(&path)?;
            for id in ids(&text).filter(|id| all.contains(*id)) {
                let files = coverage.quoted.entry(id.to_owned()).or_default();
                files.insert(name.to_string());
            }
        }
        for id in &all {
            let quoted = coverage.quoted.contains_key(id);
            let open = self.open.contains(id);
            if open && (quoted || self.different.contains_key(id)) {
                let mistake = format!("{id} is not open any more: take it out of the list");
                coverage.mistakes.push(mistake);
            } else if !quoted && !open && !self.different.contains_key(id) {
                let mistake = format!("no test quotes {id}: one did, or it never was in the list");
                coverage.mistakes.push(mistake);
            }
        }
        let named = self.different.keys().chain(&self.open);
        for id in named.filter(|id| !all.contains(*id)) {
            coverage.mistakes.push(format!("there is no rule {id}"));
        }
        Ok(coverage)
    }
}

/// The rule ids in a text: a capital letter, a hyphen, a number, perhaps a letter.
fn ids(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words.filter(|word| {
        let number = word.get(1..).and_then(|rest| rest.strip_prefix('-'));
        let capital = word.starts_with(|c: char| c.is_ascii_uppercase());
        capital && number.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_prose() {
        let text = "(D-14, P-39a): see S-3. Not UTF-8, x-1, A-, or T-x.";
        assert_eq!(ids(text).collect::<Vec<_>>(), ["D-14", "P-39a", "S-3"]);
    }

    #[test]
    fn a_rule_that_loses_its_test_is_a_mistake() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir(root.path().join("tests")).expect("it takes a directory");
        fs::write(root.path().join("tests/one.rs"), "// A-1, A-2").expect("it takes a file");
        let rules = Rules {
            sections: BTreeMap::from([("A".to_owned(), 4)]),
            further: Vec::new(),
            different: BTreeMap::from([("A-4".to_owned(), "for a reason".to_owned())]),
            open: vec!["A-2".to_owned()],
        };
        let found = rules
            .coverage(root.path())
            .expect("the sources can be read")
            .mistakes;
        let stale = "A-2 is not open any more: take it out of the list";
        let lost = "no test quotes A-3: one did, or it never was in the list";
        assert_eq!(found, [stale, lost]);
    }
}
