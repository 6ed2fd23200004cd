//! The `timed_notifications` module as a program.

use std::process::ExitCode;

use timed_notifications::TimedNotifications;

fn main() -> ExitCode {
    rama::main!(TimedNotifications::default())
}
