//! Asking the daemons of a cluster where modules run.
//!
//! Relies on every conductor and supervisor giving the same answers, each as far as it knows. What must
//! stay true: whoever had news last is asked first; one who is silent costs its time limit and no more;
//! that a module does not run is believed at once only of one who was to wait for it.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use rama_api::{ModuleRoutes, ThreadRoute, paths};
use rama_gateway::problem::Problem;
use rama_gateway::refusal::Code;
use rama_net::{Dial, Endpoint, EndpointConfig, NetError, Role, Roles, Security};
use rama_rpc::RpcError;
use rama_runtime::{Directory, Error, ErrorKind, Offers, Result, Route, Routing};
use uuid::Uuid;

/// An answer that does not wait for anything comes sooner.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The same for one that waits for news: half a minute, and the way there and back.
const NEWS_MAX: Duration = Duration::from_secs(40);

/// Routes of as many threads as a module may have fit.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Supervisors that are remembered, at most.
const LEARNED_MAX: usize = 256;

type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Who asks.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) cluster: Uuid,
    pub(super) node: Uuid,
    pub(super) role: Role,
    pub(super) security: Security,
}

/// The daemons of one cluster.
pub(super) struct Daemons {
    configured: Vec<String>,
    internal: bool,
    identity: Identity,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Who is asked first: one who answered.
    last: Option<String>,
    /// Supervisors, as one of them said last.
    learned: Vec<String>,
    /// One for addresses of each kind, IPv6 or not.
    endpoints: BTreeMap<bool, Endpoint>,
}

/// What became of a question to one daemon.
enum Reply<T> {
    Said(T),
    /// The module does not run, it says.
    Gone(String),
    /// It will not answer this program, whenever it is asked.
    Refused(String),
    /// Ask another one, or later.
    Silent(String),
}

impl Daemons {
    pub(super) fn new(configured: Vec<String>, internal: bool, identity: Identity) -> Daemons {
        Daemons {
            configured,
            internal,
            identity,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everyone who may be asked, each once, in a circle that begins with who is asked first.
    fn all(&self) -> Vec<String> {
        let state = self.state();
        let mut all: Vec<String> = Vec::new();
        for address in self.configured.iter().chain(&state.learned) {
            if !all.contains(address) {
                all.push(address.clone());
            }
        }
        let first = all.iter().position(|it| Some(it) == state.last.as_ref());
        all.rotate_left(first.unwrap_or(0));
        all
    }

    fn answered(&self, by: &str) {
        self.state().last = Some(by.to_owned());
    }

    /// Somebody else is asked first next time: who has no news may itself be cut off from them.
    fn had_no_news(&self, address: &str) {
        let all = self.all();
        let at = all.iter().position(|known| known == address);
        let next = at.and_then(|at| all.get((at + 1) % all.len()).cloned());
        self.state().last = next;
    }

    async fn try_reach(&self) -> Result<()> {
        let mut troubles = Troubles::default();
        for address in self.all() {
            for place in resolve(&address, &mut troubles).await {
                let connected = match self.endpoint(place) {
                    Ok(endpoint) => endpoint.connect(&dial(place)).await,
                    Err(error) => Err(error),
                };
                match connected {
                    Ok(_) => {
                        self.answered(&address);
                        return Ok(());
                    }
                    Err(error) => troubles.add(&address, &chain(&error), is_final(&error)),
                }
            }
        }
        Err(troubles.told())
    }

    async fn try_routing(&self, module: &str, after: Option<u64>) -> Result<Routing> {
        let (mut troubles, mut gone) = (Troubles::default(), None);
        let path = self.path(module, after);
        let limit = after.map_or(ANSWER_MAX, |_| NEWS_MAX);
        for address in self.all() {
            for place in resolve(&address, &mut troubles).await {
                let read = |bytes: &[u8]| serde_json::from_slice::<ModuleRoutes>(bytes);
                let asked = self.ask(place, &path, read);
                let asked = tokio::time::timeout(limit, asked).await;
                let silent = |_| Reply::Silent(format!("no answer within {limit:?}"));
                match asked.unwrap_or_else(silent) {
                    Reply::Said(routes) => {
                        match after {
                            Some(after) if routes.revision <= after => self.had_no_news(&address),
                            _ => self.answered(&address),
                        }
                        return self.understand(routes).await;
                    }
                    Reply::Gone(text) if after.is_some() => {
                        self.had_no_news(&address);
                        return Err(Error::new(ErrorKind::NotFound, text));
                    }
                    // It may not have heard of a launch a moment ago.
                    Reply::Gone(text) => gone = Some(text),
                    Reply::Refused(text) => troubles.add(&address, &text, true),
                    Reply::Silent(text) => troubles.add(&address, &text, false),
                }
            }
        }
        match gone {
            Some(text) => Err(Error::new(ErrorKind::NotFound, text)),
            None => Err(troubles.told()),
        }
    }

    async fn try_modules(&self) -> Result<Vec<String>> {
        let mut troubles = Troubles::default();
        for address in self.all() {
            for place in resolve(&address, &mut troubles).await {
                let read = |bytes: &[u8]| serde_json::from_slice::<Vec<String>>(bytes);
                let asked = self.ask(place, paths::MODULE_NAMES, read);
                let asked = tokio::time::timeout(ANSWER_MAX, asked).await;
                let silent = |_| Reply::Silent(format!("no answer within {ANSWER_MAX:?}"));
                match asked.unwrap_or_else(silent) {
                    Reply::Said(names) => {
                        self.answered(&address);
                        return Ok(names);
                    }
                    Reply::Gone(text) | Reply::Refused(text) => {
                        troubles.add(&address, &text, true);
                    }
                    Reply::Silent(text) => troubles.add(&address, &text, false),
                }
            }
        }
        Err(troubles.told())
    }

    fn path(&self, module: &str, after: Option<u64>) -> String {
        let mut path = paths::fill(paths::ROUTES, &[module]);
        let mut separator = '?';
        let after = after.map(|after| format!("after={after}"));
        let hosts = self.internal.then(|| "hosts=internal".to_owned());
        for wanted in after.into_iter().chain(hosts) {
            path.push(separator);
            path.push_str(&wanted);
            separator = '&';
        }
        path
    }

    async fn ask<T>(
        &self,
        place: SocketAddr,
        path: &str,
        read: fn(&[u8]) -> serde_json::Result<T>,
    ) -> Reply<T> {
        let endpoint = match self.endpoint(place) {
            Ok(endpoint) => endpoint,
            Err(error) => return Reply::Refused(chain(&error)),
        };
        let request = match Request::get(path).body(Body::empty()) {
            Ok(request) => request,
            Err(error) => return Reply::Refused(error.to_string()),
        };
        let answer = rama_rpc::request(&endpoint, &dial(place), request).await;
        let (head, body) = match answer {
            Ok(answer) => answer.into_parts(),
            Err(RpcError::NotSent(error)) if is_final(&error) => {
                return Reply::Refused(chain(&error));
            }
            Err(error) => return Reply::Silent(chain(&error)),
        };
        let bytes = match to_bytes(body, ANSWER_BYTES_MAX).await {
            Ok(bytes) => bytes,
            Err(error) => return Reply::Silent(chain(&error)),
        };
        if head.status.is_success() {
            return match read(&bytes) {
                Ok(said) => Reply::Said(said),
                Err(error) => Reply::Silent(format!("its answer cannot be read: {error}")),
            };
        }
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) if problem.code == Code::NotFound => Reply::Gone(problem.detail),
            Ok(problem) if problem.retryable => Reply::Silent(problem.detail),
            Ok(problem) => Reply::Refused(format!("{}; {}", problem.detail, problem.hint)),
            Err(_) => Reply::Silent(format!("it answered {}", head.status)),
        }
    }

    /// The endpoint for addresses of this kind.
    fn endpoint(&self, place: SocketAddr) -> Result<Endpoint, NetError> {
        let mut state = self.state();
        if let Some(endpoint) = state.endpoints.get(&place.is_ipv6()) {
            return Ok(endpoint.clone());
        }
        let Identity {
            cluster,
            node,
            role,
            security,
        } = &self.identity;
        let host: IpAddr = match (security, place.is_ipv6()) {
            (Security::InsecureLoopback, false) => Ipv4Addr::LOCALHOST.into(),
            (Security::InsecureLoopback, true) => Ipv6Addr::LOCALHOST.into(),
            (Security::Mutual(_), false) => Ipv4Addr::UNSPECIFIED.into(),
            (Security::Mutual(_), true) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let bind = SocketAddr::new(host, 0);
        // Nobody sends this port anything but answers, so its start needs no number.
        let config = EndpointConfig::new(bind, security.clone(), *cluster, *node, *role, 0);
        let endpoint = Endpoint::on_tokio(config)?;
        state.endpoints.insert(place.is_ipv6(), endpoint.clone());
        Ok(endpoint)
    }

    /// An answer with hosts looked up; remembers who else may be asked.
    async fn understand(&self, routes: ModuleRoutes) -> Result<Routing> {
        let daemons = routes.daemons.iter().take(LEARNED_MAX);
        self.state().learned = daemons
            .map(|daemon| match daemon.host.contains(':') {
                true => format!("[{}]:{}", daemon.host, daemon.port),
                false => format!("{}:{}", daemon.host, daemon.port),
            })
            .collect();
        let odd = |cause| {
            let text = "could not read the interface of a module in an answer";
            Error::new(ErrorKind::Invalid, text).caused_by(cause)
        };
        let interface = routes.interface.as_deref();
        let interface = interface.map(|text| u64::from_str_radix(text, 16));
        Ok(Routing {
            revision: routes.revision,
            instance: routes.instance,
            tasks: routes.tasks,
            threads: routes.threads,
            interface: interface.transpose().map_err(odd)?,
            offers: offers_of(routes.offers)?,
            routes: look_up(routes.routes).await,
        })
    }
}

/// What a module has for others; nothing when nobody told.
fn offers_of(offers: serde_json::Value) -> Result<Offers> {
    if offers.is_null() {
        return Ok(Offers::default());
    }
    serde_json::from_value(offers).map_err(|cause| {
        let text = "could not read what a module offers in an answer";
        Error::new(ErrorKind::Invalid, text).caused_by(cause)
    })
}

/// Where threads are. One whose host has no address now is left out: calls to it wait for better news.
async fn look_up(routes: Vec<ThreadRoute>) -> BTreeMap<u32, Route> {
    let mut hosts: BTreeMap<String, Option<IpAddr>> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for route in routes {
        let address = match hosts.get(&route.host) {
            Some(address) => *address,
            None => {
                let mut troubles = Troubles::default();
                let places = resolve_host(&route.host, route.port, &mut troubles).await;
                let address = places.first().map(SocketAddr::ip);
                if address.is_none() {
                    tracing::warn!(
                        host = route.host,
                        "the host of a task thread has no address"
                    );
                }
                hosts.insert(route.host.clone(), address);
                address
            }
        };
        let Some(address) = address else { continue };
        let (node, incarnation, epoch) = (route.node, route.incarnation, route.epoch);
        let address = SocketAddr::new(address, route.port);
        let place = Route {
            address,
            node,
            incarnation,
            epoch,
        };
        found.insert(route.thread, place);
    }
    found
}

impl Directory for Daemons {
    fn reach(&self) -> Asked<'_, ()> {
        Box::pin(self.try_reach())
    }

    fn modules(&self) -> Asked<'_, Vec<String>> {
        Box::pin(self.try_modules())
    }

    fn routing(&self, module: &str, after: Option<u64>) -> Asked<'_, Routing> {
        let module = module.to_owned();
        Box::pin(async move { self.try_routing(&module, after).await })
    }
}

/// Why nobody could be asked.
#[derive(Default)]
struct Troubles {
    texts: Vec<String>,
    /// Somebody may answer later.
    passing: bool,
}

impl Troubles {
    fn add(&mut self, address: &str, why: &str, lasts: bool) {
        self.texts.push(format!("{address}: {why}"));
        self.passing |= !lasts;
    }

    fn told(self) -> Error {
        let kind = match self.passing || self.texts.is_empty() {
            true => ErrorKind::Unavailable,
            false => ErrorKind::Rejected,
        };
        let text = self.texts.join("; ");
        Error::new(kind, format!("no daemon of the cluster answers: {text}"))
    }
}

/// Host and port of an address.
pub(super) fn split(address: &str) -> Result<(&str, u16)> {
    let parts = address.rsplit_once(':').and_then(|(host, port)| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (!host.is_empty()).then_some((host, port.parse().ok()?))
    });
    parts.ok_or_else(|| {
        let text = format!("{address:?} is no address of a daemon: it must be HOST:PORT");
        Error::new(ErrorKind::Invalid, text)
    })
}

async fn resolve(address: &str, troubles: &mut Troubles) -> Vec<SocketAddr> {
    match split(address) {
        Ok((host, port)) => resolve_host(host, port, troubles).await,
        Err(error) => {
            troubles.add(address, &error.to_string(), true);
            Vec::new()
        }
    }
}

async fn resolve_host(host: &str, port: u16, troubles: &mut Troubles) -> Vec<SocketAddr> {
    match tokio::net::lookup_host((host, port)).await {
        Ok(found) => {
            let mut places: Vec<SocketAddr> = found.collect();
            // A name such as localhost has two addresses, of which the older one is the likelier.
            places.sort_by_key(SocketAddr::is_ipv6);
            places.dedup();
            places
        }
        Err(cause) => {
            let text = format!("could not look it up: {cause}");
            troubles.add(&format!("{host}:{port}"), &text, false);
            Vec::new()
        }
    }
}

fn dial(address: SocketAddr) -> Dial {
    Dial {
        address,
        roles: Roles::of(&[Role::Conductor, Role::Supervisor]),
        node: None,
    }
}

/// Whether asking again later is of no use: this program or its settings must change.
fn is_final(error: &NetError) -> bool {
    match error.root() {
        NetError::InsecureAddress(_)
        | NetError::Tls(_)
        | NetError::Certificate(_)
        | NetError::Version { .. }
        | NetError::Cluster { .. }
        | NetError::Unexpected { .. }
        | NetError::Identity { .. }
        | NetError::Record { .. } => true,
        // A daemon refuses whom it has no room for, too.
        NetError::Refused { .. }
        | NetError::Socket { .. }
        | NetError::Unreachable { .. }
        | NetError::Closed
        | NetError::Shared(_) => false,
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
