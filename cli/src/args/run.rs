//! What can be typed to run a program.
//!
//! Relies on clap's derive. What must stay true: everything after the program is the program's.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

pub const RUN: &str = works!(
    "\
The program becomes this process; RAMA_CONFIG names the file of the settings, if there is one. A
bare name is a file here. Exit code and output are the program's.

Examples:
  rama run ./target/release/my_client
  rama run --config cluster.toml ./my_client --port 8080"
);

/// `rama run`
#[derive(Args, Debug)]
pub struct Run {
    /// Settings from this file; otherwise from RAMA_CONFIG, ./rama.toml or one in a directory above.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The program.
    pub binary: PathBuf,
    /// What it is given.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}
