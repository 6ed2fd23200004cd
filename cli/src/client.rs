//! Asking a running server over HTTP.
//!
//! Relies on `ureq`. A server is found by `--url`, `RAMA_URL`, or the file that a dev server leaves
//! in its data directory. What must stay true: nothing is repeated here, because only the caller
//! knows whether doing it twice is safe (spec D-16).

use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rama_gateway::dev::ADDRESS_FILE;
use rama_gateway::problem::Problem;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::Agent;
use ureq::http::{HeaderMap, Response};

use crate::args;
use crate::error::{Exit, Failure, Result};

/// Where a server listens by default.
const DEFAULT_URL: &str = "http://127.0.0.1:8888";

/// A little more than the server's own bound, so that its answer is the one that is seen.
const ANSWER_MAX: Duration = Duration::from_secs(65);

const CONNECT_MAX: Duration = Duration::from_secs(5);

type Answered = Result<Response<ureq::Body>, ureq::Error>;

/// Whether a request may leave something behind, which decides what a lost answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It only reads.
    Reads,
    /// It changes something.
    Changes,
}

/// A server's address, and until when it is asked.
pub struct Client {
    given: Option<String>,
    url: String,
    /// Who said so, for the error text.
    source: String,
    agent: Agent,
    /// The time of `--timeout`, and when it is over.
    limit: Option<(Duration, Instant)>,
}

impl Client {
    /// The server of `--url` (or `RAMA_URL`), of this directory, or the default one.
    pub fn new(server: &args::Server) -> Client {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_recv_response(Some(ANSWER_MAX));
        let limit = server.timeout.map(|time| (time, Instant::now() + time));
        let (url, source) = find(server.url.as_deref());
        Client {
            given: server.url.clone(),
            url,
            source,
            agent: config.build().into(),
            limit,
        }
    }

    /// Where the server is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Looks for the server's address again.
    pub fn find_again(&mut self) {
        (self.url, self.source) = find(self.given.as_deref());
    }

    /// Waits, but not longer than `--timeout` allows.
    pub fn pause(&self, pause: Duration) -> Result<()> {
        let left = self.left()?.unwrap_or(pause);
        std::thread::sleep(pause.min(left));
        self.left().map(drop)
    }

    /// What is left of `--timeout`.
    fn left(&self) -> Result<Option<Duration>> {
        let Some((_, end)) = self.limit else {
            return Ok(None);
        };
        match end.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(Some(left)),
            _ => Err(self.late("nothing more was sent")),
        }
    }

    fn late(&self, consequence: &str) -> Failure {
        let time = self.limit.map_or(Duration::ZERO, |(time, _)| time);
        let text = format!("no answer from {} within {time:?}: {consequence}", self.url);
        Failure::new(Exit::Late, text, "give it longer with --timeout")
    }

    fn is_late(&self) -> bool {
        self.limit.is_some_and(|(_, end)| Instant::now() >= end)
    }

    /// Reads a JSON document.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let request = self.agent.get(format!("{}{path}", self.url));
        let request = request.config().timeout_global(self.left()?).build();
        self.document(request.call(), Effect::Reads)
            .map(|(_, body)| body)
    }

    /// Sends a JSON document, reads another, with the headers.
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        effect: Effect,
    ) -> Result<(HeaderMap, T)> {
        self.document(self.send(path, body)?, effect)
    }

    /// Sends a JSON document and follows the server-sent events: `visit(event, data)` until it
    /// answers false or the stream ends.
    pub fn follow(
        &self,
        path: &str,
        body: &Value,
        mut visit: impl FnMut(&str, &str) -> Result<bool>,
    ) -> Result<()> {
        let response = self.checked(self.send(path, body)?, Effect::Reads)?;
        let mut event = String::new();
        for line in BufReader::new(response.into_body().into_reader()).lines() {
            let line = line.map_err(|cause| self.lost(&cause.to_string()))?;
            match line.split_once(": ") {
                Some(("event", name)) => event = name.to_owned(),
                Some(("data", data)) if !visit(&event, data)? => return Ok(()),
                _ => {}
            }
        }
        Err(self.lost("the server ended the stream"))
    }

    fn send(&self, path: &str, body: &Value) -> Result<Answered> {
        let request = self.agent.post(format!("{}{path}", self.url));
        let request = request.config().timeout_global(self.left()?).build();
        let request = request.header("content-type", "application/json");
        Ok(request.send(body.to_string()))
    }

    fn document<T: DeserializeOwned>(
        &self,
        answer: Answered,
        effect: Effect,
    ) -> Result<(HeaderMap, T)> {
        let (head, body) = self.checked(answer, effect)?.into_parts();
        let bytes = self.read(body, effect)?;
        let body = serde_json::from_slice(&bytes).map_err(|_| self.stranger())?;
        Ok((head.headers, body))
    }

    fn checked(&self, answer: Answered, effect: Effect) -> Result<Response<ureq::Body>> {
        let response = answer.map_err(|cause| self.unreached(&cause, effect))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let bytes = self.read(response.into_body(), effect)?;
        let problem: Problem = serde_json::from_slice(&bytes).map_err(|_| self.stranger())?;
        Err(Failure::from_problem(problem))
    }

    fn read(&self, mut body: ureq::Body, effect: Effect) -> Result<Vec<u8>> {
        let bytes = body.with_config().limit(u64::MAX).read_to_vec();
        bytes.map_err(|cause| self.unreached(&cause, effect))
    }

    fn unreached(&self, cause: &ureq::Error, effect: Effect) -> Failure {
        let url = &self.url;
        match cause {
            _ if self.is_late() && effect == Effect::Changes => self.late("it may have happened"),
            _ if self.is_late() => self.late("nothing was changed"),
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => Failure::new(
                Exit::Usage,
                format!("{url} (from {}) is not an address: {cause}", self.source),
                "use something like http://127.0.0.1:8888",
            ),
            cause if never_connected(cause) => Failure::new(
                Exit::Unreachable,
                format!(
                    "could not reach a server at {url} (from {}): {cause}",
                    self.source
                ),
                "start one with `rama dev --example word-count`, or name it with --url",
            ),
            cause if effect == Effect::Reads => self.lost(&cause.to_string()),
            cause => Failure::new(
                Exit::Unknown,
                format!("sent the request to {url} and got no answer: {cause}"),
                "it may have happened: read before you repeat it",
            ),
        }
    }

    fn lost(&self, cause: &str) -> Failure {
        if self.is_late() {
            return self.late("nothing was changed");
        }
        Failure::new(
            Exit::Unreachable,
            format!("lost the server at {}: {cause}", self.url),
            "start it again; its data is kept",
        )
    }

    fn stranger(&self) -> Failure {
        Failure::new(
            Exit::Failed,
            format!(
                "what answers at {} is not a rama server of this version",
                self.url
            ),
            "check --url, RAMA_URL and the file .rama/http",
        )
    }
}

/// The address that was given, that a server left here, or the default; and who says so.
fn find(given: Option<&str>) -> (String, String) {
    let (url, source) = match (given, address_file()) {
        (Some(url), _) => (url.to_owned(), "--url or RAMA_URL".to_owned()),
        (None, Some((url, path))) => (url, path.display().to_string()),
        (None, None) => (DEFAULT_URL.to_owned(), "the default address".to_owned()),
    };
    let url = url.trim_end_matches('/');
    match url.contains("://") {
        true => (url.to_owned(), source),
        false => (format!("http://{url}"), source),
    }
}

/// Nothing was sent.
fn never_connected(cause: &ureq::Error) -> bool {
    match cause {
        ureq::Error::Io(cause) => cause.kind() == ErrorKind::ConnectionRefused,
        ureq::Error::Timeout(timeout) => {
            matches!(timeout, ureq::Timeout::Connect | ureq::Timeout::Resolve)
        }
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => true,
        _ => false,
    }
}

/// The address that a dev server left in this directory or one above, and where.
fn address_file() -> Option<(String, PathBuf)> {
    let here = std::env::current_dir().ok()?;
    let mut files = here
        .ancestors()
        .map(|dir| dir.join(".rama").join(ADDRESS_FILE));
    files.find_map(|path| Some((read_address(&path)?, path)))
}

fn read_address(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|url| !url.is_empty())
}

/// Percent-encodes a name for one segment of a path.
pub fn segment(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~*$".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_one_segment() {
        assert_eq!(segment("$$a/b c"), "$$a%2Fb%20c");
        assert_eq!(segment("é"), "%C3%A9");
    }
}
