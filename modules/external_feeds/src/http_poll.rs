//! Events of a server that answers ranges of them, as an external depot.
//!
//! Relies on the server numbering its events from 0 without gaps and never changing one. What must
//! stay true: an answer that fails, or is none, is asked for again.

use std::sync::Arc;
use std::time::Duration;

use rama::external::{ExternalDepot, Fetched, Fetching, blocking};
use ureq::Agent;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One partition: the events at a URL. `GET URL?from=7&most=100` answers with JSON,
/// `{"events": ["…", …], "end": 9}`: the events from number 7 on, and how many there are in all.
pub struct HttpPoll {
    agent: Agent,
    url: Arc<str>,
}

/// What the server answers.
#[derive(serde::Deserialize)]
struct Answer {
    events: Vec<String>,
    end: u64,
}

impl HttpPoll {
    /// The events at `url`.
    pub fn new(url: &str) -> HttpPoll {
        let config = Agent::config_builder().timeout_global(Some(TIMEOUT));
        HttpPoll {
            agent: config.build().into(),
            url: url.into(),
        }
    }

    fn ask(&self, from: u64, most: usize) -> Fetching<Answer> {
        let (agent, url) = (self.agent.clone(), self.url.clone());
        blocking(move || {
            let call = agent.get(format!("{url}?from={from}&most={most}"));
            Ok(call.call()?.body_mut().read_json()?)
        })
    }
}

impl ExternalDepot for HttpPoll {
    type Record = String;

    fn partitions(&self) -> Fetching<u32> {
        Box::pin(async { Ok(1) })
    }

    fn start_offset(&self, _: u32) -> Fetching<u64> {
        Box::pin(async { Ok(0) })
    }

    fn end_offset(&self, _: u32) -> Fetching<u64> {
        let asked = self.ask(0, 0);
        Box::pin(async move { Ok(asked.await?.end) })
    }

    fn offset_after(&self, _: u32, _: u64) -> Fetching<Option<u64>> {
        // Events have no times: only new ones are after one.
        Box::pin(async { Ok(None) })
    }

    fn fetch(&self, _: u32, from: u64, most: usize) -> Fetching<Fetched<String>> {
        let asked = self.ask(from, most);
        Box::pin(async move {
            let records = asked.await?.events;
            let next = from + records.len() as u64;
            Ok(Fetched { records, next })
        })
    }
}
