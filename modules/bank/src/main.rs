//! The `bank` module as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    rama::main!(bank::Bank)
}
