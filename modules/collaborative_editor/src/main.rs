//! The `collaborative_editor` module as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    rama::main!(collaborative_editor::CollaborativeEditor)
}
