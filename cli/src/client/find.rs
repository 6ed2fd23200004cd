//! Where a server is, and who said so.
//!
//! Relies on the settings of `rama_gateway::config`. What must stay true: the order is `--url` or
//! `RAMA_URL`, then the conductor of the settings, then the file that a development server leaves in
//! its data directory, then the default address; and a failure tells which of them it was.

use std::fmt;
use std::path::{Path, PathBuf};

use rama_gateway::config::{self, Layers};
use rama_gateway::dev::ADDRESS_FILE;
use uuid::Uuid;

use crate::args;
use crate::error::{Exit, Failure, Result};

/// Where a server listens by default.
const DEFAULT_URL: &str = "http://127.0.0.1:8888";

const QUIC: &str = "quic://";

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A server that speaks HTTP.
    Http(String),
    /// A process of a cluster.
    Quic {
        /// Name or address.
        host: String,
        /// UDP port.
        port: u16,
    },
}

impl Place {
    /// Reads an address; one without a scheme is HTTP.
    pub fn read(text: &str) -> Place {
        let text = text.trim_end_matches('/');
        let quic = text.strip_prefix(QUIC).and_then(|rest| {
            let (host, port) = rest.rsplit_once(':')?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let port = port.parse().ok()?;
            let host = host.to_owned();
            Some(Place::Quic { host, port })
        });
        match quic {
            Some(place) => place,
            None if text.contains("://") => Place::Http(text.to_owned()),
            None => Place::Http(format!("http://{text}")),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Http(url) => f.write_str(url),
            Place::Quic { host, port } if host.contains(':') => write!(f, "{QUIC}[{host}]:{port}"),
            Place::Quic { host, port } => write!(f, "{QUIC}{host}:{port}"),
        }
    }
}

/// An address with its story.
pub struct Found {
    pub place: Place,
    /// Who said so, for the error text.
    pub source: String,
    /// Who has to answer, if that is known.
    pub node: Option<Uuid>,
    /// The file that was named with `--config`.
    pub config: Option<PathBuf>,
    /// The file that was named with `--token-file`.
    pub token_file: Option<PathBuf>,
}

impl Found {
    /// The address that was given, that the settings name, that a server left here, or the default.
    pub fn look(server: &args::Server) -> Result<Found> {
        let (place, source) = look(server)?;
        Ok(Found {
            place,
            source,
            node: None,
            config: server.config.clone(),
            token_file: server.token_file.clone(),
        })
    }

    /// Somebody else whom the server named.
    pub fn instead(&self, place: Place, node: Option<Uuid>) -> Found {
        Found {
            place,
            source: format!("what {} says", self.place),
            node,
            config: self.config.clone(),
            token_file: self.token_file.clone(),
        }
    }
}

fn look(server: &args::Server) -> Result<(Place, String)> {
    if let Some(url) = &server.url {
        return Ok((Place::read(url), "--url or RAMA_URL".to_owned()));
    }
    let layers = settings(server.config.as_deref())?;
    let conductor = layers.config().map_err(unusable)?.conductor;
    if let Some(host) = conductor.host(server.use_internal_hostnames) {
        let (_, origin) = layers.entry("conductor.host").map_err(unusable)?;
        let place = Place::Quic {
            host: host.to_owned(),
            port: conductor.port,
        };
        return Ok((place, format!("conductor.host of {origin}")));
    }
    Ok(match address_file() {
        Some((url, path)) => (Place::read(&url), path.display().to_string()),
        None => (Place::read(DEFAULT_URL), "the default address".to_owned()),
    })
}

/// The settings that hold here.
pub fn settings(file: Option<&Path>) -> Result<Layers> {
    let file = settings_file(file);
    Layers::load(file.as_deref(), std::env::vars()).map_err(unusable)
}

/// The file of the settings: the named one, that of `RAMA_CONFIG`, `./rama.toml` or one above.
pub fn settings_file(named: Option<&Path>) -> Option<PathBuf> {
    config::client::file(named)
}

/// A bad setting as a failed command.
fn unusable(error: config::Error) -> Failure {
    Failure::new(Exit::Usage, error.what, error.hint)
}

/// The address that a dev server left in this directory or one above, and where.
fn address_file() -> Option<(String, PathBuf)> {
    let path = config::client::above(&Path::new(".rama").join(ADDRESS_FILE))?;
    let text = std::fs::read_to_string(&path).ok()?;
    let url = text.trim();
    (!url.is_empty()).then(|| (url.to_owned(), path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_shown() {
        for (text, shown) in [
            ("127.0.0.1:9000/", "http://127.0.0.1:9000"),
            ("https://x", "https://x"),
            ("quic://[::1]:1973", "quic://[::1]:1973"),
            ("quic://host:1973", "quic://host:1973"),
        ] {
            assert_eq!(Place::read(text).to_string(), shown);
        }
        // Without a port it is no address, which whoever speaks HTTP says.
        assert_eq!(
            Place::read("quic://host"),
            Place::Http("quic://host".into())
        );
    }
}
