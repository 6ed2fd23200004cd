//! The `music_catalog` module as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    rama::main!(music_catalog::MusicCatalog)
}
