//! The token of whoever asks over HTTP, and whom it may be shown.
//!
//! Relies on `--token-file`, RAMA_TOKEN and the settings, in this order. What must stay true: a
//! token is never sent over plain HTTP to another machine, and never printed.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use axum::http::Uri;
use rama_gateway::config::Config;

use super::find::Found;
use crate::error::{Exit, Failure, Result};

const VARIABLE: &str = "RAMA_TOKEN";

/// The token to be shown, if there is one.
pub fn find(found: &Found, config: &Config) -> Result<Option<String>> {
    if let Some(path) = &found.token_file {
        return read(path).map(Some);
    }
    if let Ok(token) = std::env::var(VARIABLE) {
        return checked(&token, VARIABLE).map(Some);
    }
    let path = &config.security.token_file;
    match path.as_os_str().is_empty() {
        true => Ok(None),
        false => read(path).map(Some),
    }
}

fn read(path: &Path) -> Result<String> {
    let shown = path.display();
    let unread = |cause: std::io::Error| {
        let text = format!("could not read the token in {shown}: {cause}");
        Failure::new(Exit::Usage, text, "`rama tokens create` makes one")
    };
    let mode = fs::metadata(path).map_err(unread)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        let text = format!("the token in {shown} may be read by others (mode {mode:04o})");
        return Err(Failure::new(
            Exit::Refused,
            text,
            format!("run `chmod 600 {shown}`"),
        ));
    }
    checked(
        &fs::read_to_string(path).map_err(unread)?,
        &shown.to_string(),
    )
}

fn checked(text: &str, source: &str) -> Result<String> {
    let token = text.trim();
    if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(token.to_owned());
    }
    let text = format!("{source} holds no token");
    Err(Failure::new(
        Exit::Usage,
        text,
        "`rama tokens create` prints one",
    ))
}

/// Refuses to show a token over plain HTTP to another machine.
pub fn may_be_shown(url: &str) -> Result<()> {
    if is_protected(url) {
        return Ok(());
    }
    let text = format!("a token would travel to {url} where others can read it");
    Err(Failure::new(
        Exit::Refused,
        text,
        "use https://, or leave the token out",
    ))
}

/// Whether nobody between here and there can listen.
fn is_protected(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else {
        // It is no address, which whoever speaks HTTP says.
        return true;
    };
    let host = uri.host().unwrap_or("").trim_matches(['[', ']']);
    let loopback = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    uri.scheme_str() == Some("https") || loopback || host == "localhost"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_over_tls_or_stays_on_this_machine() {
        for url in [
            "https://example.org",
            "http://127.0.0.1:8888",
            "http://127.7.0.1",
            "http://[::1]:8888",
            "http://localhost:1",
        ] {
            assert!(is_protected(url), "{url}");
        }
        for url in [
            "http://example.org",
            "http://10.0.0.1:8888",
            "http://[fe80::1]:8888",
            "http://localhost.example.org",
            "http://127.0.0.1.example.org",
            "http://localhost@example.org",
        ] {
            assert!(!is_protected(url), "{url}");
        }
    }
}
