//! The `content_moderation` module as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    rama::main!(content_moderation::ContentModeration)
}
