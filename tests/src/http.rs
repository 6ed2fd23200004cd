//! A small blocking JSON client for tests against real processes.
//!
//! Relies on ureq. One agent per thread keeps one connection alive. An answer that never came is
//! told apart from a refusal: only the first leaves the outcome unknown.

use std::time::Duration;

use serde_json::Value;
use ureq::Agent;

/// Why a call has no result.
#[derive(Debug)]
pub enum CallError {
    /// The server answered with an error status: nothing of the call's effect is promised.
    Refused(u16, String),
    /// No answer: the call may have happened or not.
    Unknown(String),
}

/// A keep-alive connection to one server.
pub struct Http {
    agent: Agent,
    base: String,
}

impl Http {
    /// A client of `base`, such as `http://127.0.0.1:8888`.
    pub fn new(base: impl Into<String>) -> Http {
        let config = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(30)))
            .http_status_as_error(false)
            .build();
        Http {
            agent: config.into(),
            base: base.into(),
        }
    }

    /// Posts `body` and returns the JSON answer.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, CallError> {
        let sent = self
            .agent
            .post(format!("{}{path}", self.base))
            .send_json(body);
        Self::answer(sent)
    }

    /// Gets a JSON answer.
    pub fn get(&self, path: &str) -> Result<Value, CallError> {
        Self::answer(self.agent.get(format!("{}{path}", self.base)).call())
    }

    /// Deletes, and gets a JSON answer.
    pub fn delete(&self, path: &str) -> Result<Value, CallError> {
        Self::answer(self.agent.delete(format!("{}{path}", self.base)).call())
    }

    /// Whether the server says it is ready.
    pub fn ready(&self) -> bool {
        let answer = self.agent.get(format!("{}/readyz", self.base)).call();
        answer.is_ok_and(|response| response.status().is_success())
    }

    fn answer(
        sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Value, CallError> {
        let mut response = sent.map_err(|error| CallError::Unknown(error.to_string()))?;
        let text = response
            .body_mut()
            .read_to_string()
            .map_err(|error| CallError::Unknown(error.to_string()))?;
        if !response.status().is_success() {
            return Err(CallError::Refused(response.status().as_u16(), text));
        }
        serde_json::from_str(&text).map_err(|error| CallError::Unknown(error.to_string()))
    }
}
