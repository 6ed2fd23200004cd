//! The `top_users` module as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    rama::main!(top_users::TopUsers { count: 500 })
}
