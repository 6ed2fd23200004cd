//! The `rest_integration` module as a program.

use std::process::ExitCode;

use rest_integration::RestIntegration;

fn main() -> ExitCode {
    rama::main!(RestIntegration::default())
}
