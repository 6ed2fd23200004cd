//! The `page_analytics` module as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    rama::main!(page_analytics::PageAnalytics)
}
