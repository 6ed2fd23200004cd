//! Asking a running server or a cluster.
//!
//! Relies on `find` (where it is), `http` and `quic` (how it is asked). Read those three, then
//! `request`. What must stay true: nothing is repeated here, because only the caller knows whether
//! doing it twice is safe (spec D-16); an answer that sends elsewhere (308) is followed, and who
//! gave it is not asked for the same module again.

mod find;
mod http;
mod quic;
mod request;
mod token;

use std::cell::{OnceCell, RefCell};
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, Method, StatusCode, header};
use rama_gateway::problem::Problem;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use crate::args;
use crate::error::{Exit, Failure, Result};

pub use find::{Place, settings, settings_file};
pub use request::{Content, Effect, Request, Upload};

use find::Found;
use http::Http;
use quic::Quic;
use request::{Answer, Trouble};

/// Who sends a request elsewhere may be sent elsewhere, too.
const MOVES_MAX: usize = 3;

/// A server's address, and until when it is asked.
pub struct Client {
    given: args::Server,
    found: Found,
    http: OnceCell<Http>,
    quic: OnceCell<Quic>,
    /// Where the worker of a module is that answers instead.
    moved: RefCell<Option<Place>>,
    /// The time of `--timeout`, and when it is over.
    limit: Option<(Duration, Instant)>,
}

impl Client {
    /// The server of `--url` (or `RAMA_URL`), the conductor of the settings, the server of this
    /// directory, or the default one.
    pub fn new(server: &args::Server) -> Result<Client> {
        let limit = server.timeout.map(|time| (time, Instant::now() + time));
        Ok(Client {
            given: server.clone(),
            found: Found::look(server)?,
            http: OnceCell::new(),
            quic: OnceCell::new(),
            moved: RefCell::new(None),
            limit,
        })
    }

    /// Somebody else of the same cluster, asked in the same way and for as long.
    pub fn at(&self, place: Place, node: Option<Uuid>) -> Client {
        Client {
            given: self.given.clone(),
            found: self.found.instead(place, node),
            http: OnceCell::new(),
            quic: OnceCell::new(),
            moved: RefCell::new(None),
            limit: self.limit,
        }
    }

    /// Where the server is.
    pub fn place(&self) -> &Place {
        &self.found.place
    }

    /// Whether names inside of the cluster are wanted.
    pub fn internal(&self) -> bool {
        self.given.use_internal_hostnames
    }

    /// Looks for the server's address again.
    pub fn find_again(&mut self) -> Result<()> {
        let given = self.given.clone();
        *self = Client {
            limit: self.limit,
            ..Client::new(&given)?
        };
        Ok(())
    }

    /// Waits, but not longer than `--timeout` allows.
    pub fn pause(&self, pause: Duration) -> Result<()> {
        let left = self.left()?.unwrap_or(pause);
        std::thread::sleep(pause.min(left));
        self.left().map(drop)
    }

    /// Reads a JSON document.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let request = self.request(Method::GET, path, Effect::Reads);
        self.document(&request).map(|(_, body)| body)
    }

    /// Sends a JSON document, reads another, with the headers.
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        effect: Effect,
    ) -> Result<(HeaderMap, T)> {
        let request = self.request(Method::POST, path, effect);
        self.document(&request.with(Content::Json(body)))
    }

    /// Ends something; reads a JSON document.
    pub fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let request = self.request(Method::DELETE, path, Effect::Changes);
        self.document(&request).map(|(_, body)| body)
    }

    /// Changes something; what is answered does not matter.
    pub fn change(&self, method: Method, path: &str, content: Content<'_>) -> Result<()> {
        let request = self.request(method, path, Effect::Changes).with(content);
        self.bytes(&request).map(drop)
    }

    /// Whether something is there.
    pub fn has(&self, path: &str) -> Result<bool> {
        let request = self.request(Method::HEAD, path, Effect::Reads);
        let answer = self.ask(&request)?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => Ok(true),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                // The same question with a body in its answer, which says more.
                let request = self.request(Method::GET, path, Effect::Reads);
                self.checked(&request).map(|_| true)
            }
            // Such an answer has no body that would say more.
            status => Err(Failure::new(
                Exit::Failed,
                format!("{} answered {status} to HEAD {path}", self.found.place),
                "see its log",
            )),
        }
    }

    /// Reads text as it comes.
    pub fn lines(&self, path: &str) -> Result<impl BufRead> {
        let answer = self.checked(&self.request(Method::GET, path, Effect::Reads))?;
        Ok(BufReader::new(answer.body))
    }

    /// Sends a JSON document and follows the server-sent events: `visit(event, data)` until it
    /// answers false or the stream ends.
    pub fn follow(
        &self,
        path: &str,
        body: &Value,
        mut visit: impl FnMut(&str, &str) -> Result<bool>,
    ) -> Result<()> {
        let request = self.request(Method::POST, path, Effect::Reads);
        let answer = self.checked(&request.with(Content::Json(body)))?;
        let mut event = String::new();
        for line in BufReader::new(answer.body).lines() {
            let line = line.map_err(|cause| self.lost(&cause.to_string()))?;
            match line.split_once(": ") {
                Some(("event", name)) => event = name.to_owned(),
                Some(("data", data)) if !visit(&event, data)? => return Ok(()),
                _ => {}
            }
        }
        Err(self.lost("the server ended the stream"))
    }

    /// The server is not there any more.
    pub fn lost(&self, cause: &str) -> Failure {
        if self.is_late() {
            return self.late("nothing was changed");
        }
        Failure::new(
            Exit::Unreachable,
            format!("lost the server at {}: {cause}", self.found.place),
            "start it again; its data is kept",
        )
    }

    fn request<'a>(&self, method: Method, path: &'a str, effect: Effect) -> Request<'a> {
        Request {
            internal: self.internal(),
            ..Request::new(method, path, effect)
        }
    }

    fn document<T: DeserializeOwned>(&self, request: &Request<'_>) -> Result<(HeaderMap, T)> {
        let (headers, bytes) = self.bytes(request)?;
        let body = serde_json::from_slice(&bytes).map_err(|_| self.stranger())?;
        Ok((headers, body))
    }

    fn bytes(&self, request: &Request<'_>) -> Result<(HeaderMap, Vec<u8>)> {
        let mut answer = self.checked(request)?;
        let bytes = self.read(&mut answer, request.effect)?;
        Ok((answer.headers, bytes))
    }

    fn checked(&self, request: &Request<'_>) -> Result<Answer> {
        let mut answer = self.ask(request)?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let bytes = self.read(&mut answer, request.effect)?;
        let problem: Problem = serde_json::from_slice(&bytes).map_err(|_| self.stranger())?;
        Err(Failure::from_problem(problem))
    }

    fn read(&self, answer: &mut Answer, effect: Effect) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = answer.body.read_to_end(&mut bytes);
        read.map_err(|cause| self.failure(Trouble::Broken(cause.to_string()), effect))?;
        Ok(bytes)
    }

    /// Asks, and asks whoever is named instead.
    fn ask(&self, request: &Request<'_>) -> Result<Answer> {
        let elsewhere = Some(())
            .filter(|()| request.path.starts_with("/rest/"))
            .and_then(|()| self.moved.borrow().clone());
        let mut place = elsewhere.unwrap_or_else(|| self.found.place.clone());
        for _ in 0..=MOVES_MAX {
            let answer = self.send(&place, request)?;
            if answer.status != StatusCode::PERMANENT_REDIRECT {
                return Ok(answer);
            }
            let location = answer.headers.get(header::LOCATION);
            let location = location.and_then(|text| text.to_str().ok());
            place = location
                .and_then(|url| base(url, request.path))
                .map(Place::read)
                .ok_or_else(|| self.stranger())?;
            self.moved.replace(Some(place.clone()));
        }
        let text = format!("{} and others send each other's requests", self.found.place);
        Err(Failure::new(
            Exit::Failed,
            text,
            "is the module being moved? try again",
        ))
    }

    fn send(&self, place: &Place, request: &Request<'_>) -> Result<Answer> {
        let left = self.left()?;
        let answer = match place {
            Place::Http(url) => {
                let http = self.http()?;
                http.check(url)?;
                http.send(url, request, left)
            }
            Place::Quic { host, port } => self.quic()?.send(host, *port, request, left),
        };
        answer.map_err(|trouble| {
            // The next request begins where the settings say.
            self.moved.replace(None);
            self.failure(trouble, request.effect)
        })
    }

    fn http(&self) -> Result<&Http> {
        if self.http.get().is_none() {
            let _ = self.http.set(Http::new(&self.found)?);
        }
        Ok(self.http.get().expect("it was set above"))
    }

    fn quic(&self) -> Result<&Quic> {
        if self.quic.get().is_none() {
            let _ = self.quic.set(Quic::new(&self.found)?);
        }
        Ok(self.quic.get().expect("it was set above"))
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
        let place = &self.found.place;
        let text = format!("no answer from {place} within {time:?}: {consequence}");
        Failure::new(Exit::Late, text, "give it longer with --timeout")
    }

    fn is_late(&self) -> bool {
        self.limit.is_some_and(|(_, end)| Instant::now() >= end)
    }

    fn failure(&self, trouble: Trouble, effect: Effect) -> Failure {
        let Found { place, source, .. } = &self.found;
        match trouble {
            _ if self.is_late() && effect == Effect::Changes => self.late("it may have happened"),
            _ if self.is_late() => self.late("nothing was changed"),
            Trouble::Address(cause) => Failure::new(
                Exit::Usage,
                format!("{place} (from {source}) is not an address: {cause}"),
                "use something like http://127.0.0.1:8888",
            ),
            Trouble::NotSent(cause) => Failure::new(
                Exit::Unreachable,
                format!("could not reach a server at {place} (from {source}): {cause}"),
                match place {
                    Place::Http(_) => {
                        "start one with `rama dev --example word-count`, or name it with --url"
                    }
                    Place::Quic { .. } => "is the conductor running? --url names another server",
                },
            ),
            Trouble::Broken(cause) if effect == Effect::Reads => self.lost(&cause),
            Trouble::Broken(cause) => Failure::new(
                Exit::Unknown,
                format!("sent the request to {place} and got no answer: {cause}"),
                "it may have happened: read before you repeat it",
            ),
        }
    }

    fn stranger(&self) -> Failure {
        Failure::new(
            Exit::Failed,
            format!(
                "what answers at {} is not a rama server of this version",
                self.found.place
            ),
            "check --url, RAMA_URL and the file .rama/http",
        )
    }
}

/// The address in a URL. What answers there may stand below a path of its own.
fn base<'a>(url: &'a str, path: &str) -> Option<&'a str> {
    if let Some(base) = url.strip_suffix(path) {
        return Some(base);
    }
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.find('/').unwrap_or(rest.len());
    Some(&url[..scheme.len() + "://".len() + host])
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
    fn a_redirect_names_an_address() {
        let path = "/rest/M/depot/d%24/append";
        assert_eq!(
            base("http://h:1/x/rest/M/depot/d%24/append", path),
            Some("http://h:1/x")
        );
        assert_eq!(
            base("http://h:1/rest/M/depot/d$/append", path),
            Some("http://h:1")
        );
        assert_eq!(base("quic://h:1", path), Some("quic://h:1"));
        assert_eq!(base("/rest", path), None);
    }

    #[test]
    fn names_become_one_segment() {
        assert_eq!(segment("$$a/b c"), "$$a%2Fb%20c");
        assert_eq!(segment("é"), "%C3%A9");
    }
}
