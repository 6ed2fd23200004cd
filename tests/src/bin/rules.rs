//! Prints which rules of the programming model are proven by which tests, which are different on
//! purpose, and which are open. Exits with 1 when the list and the tests contradict each other.

use std::process::ExitCode;

use rama_tests::rules::Rules;

fn main() -> ExitCode {
    let root = rama_tests::workspace();
    let read = Rules::read(&root.join("tests/rules.toml"))
        .and_then(|rules| Ok((rules.coverage(&root)?, rules)));
    let (coverage, rules) = match read {
        Ok(read) => read,
        Err(error) => {
            eprintln!("could not compare tests/rules.toml with the tests: {error}");
            return ExitCode::FAILURE;
        }
    };
    let all = rules.all();
    for id in &all {
        if let Some(files) = coverage.quoted.get(id) {
            let files: Vec<&str> = files.iter().map(String::as_str).collect();
            println!("{id:<6} proven     {}", files.join(" "));
        } else if let Some(why) = rules.different.get(id) {
            println!("{id:<6} different  {why}");
        } else {
            println!("{id:<6} open");
        }
    }
    let (proven, different) = (coverage.quoted.len(), rules.different.len());
    let count = all.len();
    println!(
        "{proven} of {count} rules proven, {different} different on purpose, {} open",
        rules.open.len()
    );
    for mistake in &coverage.mistakes {
        eprintln!("{mistake}");
    }
    match coverage.mistakes.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
