//! REST integration: pages of the web that a topology fetches and keeps, one after the other's answer.
//!
//! Relies on a stream that waits for answers without holding up its task: other records go on
//! meanwhile. What must stay true: an append that is acknowledged has its page stored; a server that
//! does not answer, or answers with an error, is asked again as the source's options say, and the
//! record is a dead letter after that.

use std::sync::Arc;
use std::time::Duration;

use rama::external::{Fetching, blocking};
use rama::prelude::*;
use ureq::Agent;

/// Addresses to fetch, partitioned by themselves.
pub const FETCHES: Depot<String> = Depot::named("*fetches");
/// Address to what was there when it was fetched last.
pub const PAGES: PState<Map<String, String>> = PState::named("$$pages");

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The module, with what fetches a page.
pub struct RestIntegration(pub Arc<dyn Fn(String) -> Fetching<String> + Send + Sync>);

/// Over HTTP, with connections that are kept.
impl Default for RestIntegration {
    fn default() -> RestIntegration {
        let agent: Agent = Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .build()
            .into();
        RestIntegration(Arc::new(move |url| {
            let agent = agent.clone();
            blocking(move || Ok(agent.get(url).call()?.body_mut().read_to_string()?))
        }))
    }
}

impl Module for RestIntegration {
    fn define(&self, m: &mut Setup) {
        m.depot_by(FETCHES, |url| url);
        let mut s = m.stream("fetch");
        let (pages, fetch) = (s.pstate(PAGES), self.0.clone());
        s.source(FETCHES)
            .map_async(move |_, url: String| {
                let page = fetch(url.clone());
                async move { page.await.map(|page| (url, page)) }
            })
            .each(move |task, (url, page)| pages.key(&url).set(task, page));
    }
}
