//! The `external_feeds` module as a program: `FEED_FILES` and `FEED_URL` say what it reads.

use std::process::ExitCode;

use external_feeds::Feeds;

fn main() -> ExitCode {
    let files = std::env::var_os("FEED_FILES").unwrap_or_default();
    rama::main!(Feeds {
        files: std::env::split_paths(&files).collect(),
        url: std::env::var("FEED_URL").unwrap_or_else(|_| "http://127.0.0.1:8080/feed".into()),
    })
}
