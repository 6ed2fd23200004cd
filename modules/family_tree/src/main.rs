//! The `family_tree` module as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    rama::main!(family_tree::FamilyTree)
}
