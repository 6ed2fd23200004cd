//! The `time_series` module as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    rama::main!(time_series::TimeSeries)
}
