//! The `word_count` module as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    rama::main!(word_count::WordCount)
}
