//! The `word_trends` module as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    rama::main!(word_trends::WordTrends)
}
