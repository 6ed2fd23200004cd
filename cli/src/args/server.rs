//! Which server a command asks, and for how long.
//!
//! Relies on clap's derive. What must stay true: every command that asks a server has these flags.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

const SERVER: &str = "The server";

/// Which server a command asks, and for how long.
#[derive(Args, Clone, Debug)]
pub struct Server {
    /// Address of the server, such as http://127.0.0.1:8888 or quic://127.0.0.1:1973 [env:
    /// RAMA_URL].
    #[arg(long, env = "RAMA_URL", hide_env = true, value_name = "URL")]
    #[arg(help_heading = SERVER, display_order = 800)]
    pub url: Option<String>,
    /// Give up after this long, such as 500ms, 10s or 2m, with exit code 7; what was sent by then
    /// may have happened [default: no limit for the command, 65s for each answer].
    #[arg(long, value_name = "TIME", value_parser = duration)]
    #[arg(help_heading = SERVER, display_order = 801)]
    pub timeout: Option<Duration>,
    /// Show the token in this file over HTTP(S); otherwise that of RAMA_TOKEN, or of
    /// security.token_file of the settings.
    #[arg(long, value_name = "FILE", help_heading = SERVER, display_order = 804)]
    pub token_file: Option<PathBuf>,
    /// Settings from this file; otherwise from RAMA_CONFIG, ./rama.toml or one in a directory above.
    #[arg(long, value_name = "FILE", help_heading = SERVER, display_order = 802)]
    pub config: Option<PathBuf>,
    /// Use the names that hosts have inside of the cluster.
    #[arg(long, alias = "useInternalHostnames")]
    #[arg(help_heading = SERVER, display_order = 803)]
    pub use_internal_hostnames: bool,
}

/// `500ms`, `10s`, `2m`; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let unit = text.find(|char: char| !char.is_ascii_digit() && char != '.');
    let (number, unit) = text.split_at(unit.unwrap_or(text.len()));
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        _ => return Err("write a number with ms, s or m".to_owned()),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "write a number with ms, s or m")?;
    Duration::try_from_secs_f64(number * seconds)
        .ok()
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "it is not a time that can pass".to_owned())
}
