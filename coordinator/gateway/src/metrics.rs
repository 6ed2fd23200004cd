//! Every metric of the gateway, with its unit and meaning, and the text that scrapers read.
//!
//! Relies on `prometheus-client`. HTTP counters live here; what the engine knows is taken from one
//! status snapshot at scrape time, so that the engine knows nothing of metrics formats. What must
//! stay true: labels are names an operator gave (module, depot, topology, route), never keys.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::time::Duration;

use axum::http::StatusCode;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use rama_runtime::status::{ModuleStatus, Status, TopologyStatus};

/// The media type of `/metrics`.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the request histogram, seconds: from a flush to a time-out.
const SECONDS: [f64; 14] = [
    50e-6, 100e-6, 200e-6, 400e-6, 800e-6, 2e-3, 5e-3, 10e-3, 25e-3, 0.1, 0.5, 2.0, 10.0, 60.0,
];

/// A kind of request, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Route {
    /// `/`
    Index,
    /// `/rest/{module}`
    Describe,
    /// `…/append`
    Append,
    /// `…/select` and `…/selectOne`
    Select,
    /// `…/invoke`
    Invoke,
    /// `…/watch`: the time until the first event
    Watch,
    /// `…/proxy`: the time until the first value is known
    Proxy,
    /// `…/dead-letters`
    DeadLetters,
    /// `…/dead-letters/replay` and `/drop`
    Settle,
    /// `/rest/status`
    Status,
    /// `/metrics`
    Metrics,
}

impl Route {
    /// A request that got no answer may have changed something.
    pub fn changes_state(self) -> bool {
        matches!(self, Route::Append | Route::Settle)
    }

    fn label(self) -> &'static str {
        match self {
            Route::Index => "index",
            Route::Describe => "describe",
            Route::Append => "append",
            Route::Select => "select",
            Route::Invoke => "invoke",
            Route::Watch => "watch",
            Route::Proxy => "proxy",
            Route::DeadLetters => "dead_letters",
            Route::Settle => "settle",
            Route::Status => "status",
            Route::Metrics => "metrics",
        }
    }
}

impl EncodeLabelValue for Route {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.write_str(self.label())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    route: Route,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRoute {
    route: Route,
}

/// Counters of the HTTP side.
pub struct HttpMetrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    seconds: Family<ByRoute, Histogram, fn() -> Histogram>,
}

impl Default for HttpMetrics {
    fn default() -> HttpMetrics {
        let mut registry = Registry::with_prefix("rama_http");
        let requests = Family::<Request, Counter>::default();
        registry.register("requests", "HTTP requests answered", requests.clone());
        let make: fn() -> Histogram = || Histogram::new(SECONDS);
        let seconds = Family::<ByRoute, Histogram, fn() -> Histogram>::new_with_constructor(make);
        registry.register_with_unit(
            "request",
            "Time from the parsed request to the answer",
            Unit::Seconds,
            seconds.clone(),
        );
        HttpMetrics {
            registry,
            requests,
            seconds,
        }
    }
}

impl HttpMetrics {
    /// Counts one answered request.
    pub fn observe(&self, route: Route, status: StatusCode, took: Duration) {
        self.requests
            .get_or_create(&Request {
                route,
                status: status.as_u16(),
            })
            .inc();
        self.seconds
            .get_or_create(&ByRoute { route })
            .observe(took.as_secs_f64());
    }

    /// The whole OpenMetrics text, with the engine's part from `status`.
    pub fn render(&self, status: &Status) -> String {
        let mut text = String::with_capacity(8192);
        let written = encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &engine(status)))
            .and_then(|()| encode_eof(&mut text));
        if written.is_err() {
            // Writing into a String fails only when a label's own encoder does.
            let _ = writeln!(text, "# EOF");
        }
        text
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByModule {
    module: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByDepot {
    module: String,
    depot: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByTopology {
    module: String,
    topology: String,
    kind: String,
}

/// The engine's metrics, one value each, made anew for each scrape.
#[derive(Default)]
struct Engine {
    tasks: Family<ByModule, Gauge>,
    appends: Family<ByModule, Counter>,
    append_bytes: Family<ByModule, Counter>,
    selects: Family<ByModule, Counter>,
    spilled: Family<ByModule, Counter>,
    records: Family<ByDepot, Gauge>,
    appended: Family<ByDepot, Counter>,
    processed: Family<ByTopology, Counter>,
    failures: Family<ByTopology, Counter>,
    skipped: Family<ByTopology, Counter>,
    dead_letters: Family<ByTopology, Counter>,
    microbatch_id: Family<ByTopology, Gauge>,
    lag: Family<ByTopology, Gauge>,
    paused: Family<ByTopology, Gauge>,
}

fn engine(status: &Status) -> Registry {
    let metrics = Engine::default();
    status
        .modules
        .iter()
        .for_each(|module| metrics.fill(module));
    metrics.registry()
}

impl Engine {
    fn fill(&self, module: &ModuleStatus) {
        let name = &module.name;
        let by_module = ByModule {
            module: name.clone(),
        };
        self.tasks
            .get_or_create(&by_module)
            .set(i64::from(module.tasks));
        self.appends
            .get_or_create(&by_module)
            .inc_by(module.appends);
        let bytes = module.append_bytes;
        self.append_bytes.get_or_create(&by_module).inc_by(bytes);
        self.selects
            .get_or_create(&by_module)
            .inc_by(module.selects);
        self.spilled
            .get_or_create(&by_module)
            .inc_by(module.spilled_bytes);
        for depot in &module.depots {
            let label = ByDepot {
                module: name.clone(),
                depot: depot.name.clone(),
            };
            self.records.get_or_create(&label).set(gauge(depot.records));
            let appended = depot.partitions.iter().map(|(_, next)| next).sum();
            self.appended.get_or_create(&label).inc_by(appended);
        }
        for topology in &module.topologies {
            self.fill_topology(name, topology);
        }
    }

    fn fill_topology(&self, module: &str, topology: &TopologyStatus) {
        let label = ByTopology {
            module: module.to_owned(),
            topology: topology.name.clone(),
            kind: topology.kind.clone(),
        };
        self.processed
            .get_or_create(&label)
            .inc_by(topology.processed);
        self.failures
            .get_or_create(&label)
            .inc_by(topology.failures);
        self.skipped.get_or_create(&label).inc_by(topology.skipped);
        self.dead_letters
            .get_or_create(&label)
            .inc_by(topology.dead_letters);
        self.lag.get_or_create(&label).set(gauge(topology.lag));
        self.paused
            .get_or_create(&label)
            .set(i64::from(topology.paused));
        if topology.kind == "microbatch" {
            let id = gauge(topology.microbatch_id);
            self.microbatch_id.get_or_create(&label).set(id);
        }
    }

    fn registry(self) -> Registry {
        let mut all = Registry::with_prefix("rama");
        all.register("module_tasks", "Tasks of a module", self.tasks);
        all.register("appends", "Records accepted from clients", self.appends);
        let bytes = "Bytes of records accepted from clients";
        all.register("append_bytes", bytes, self.append_bytes);
        all.register("selects", "Selects of clients answered", self.selects);
        all.register(
            "batch_spilled_bytes",
            "Rows of batches that waited on disk",
            self.spilled,
        );
        all.register("depot_records", "Records that can be read", self.records);
        all.register(
            "depot_appended_records",
            "Records ever appended",
            self.appended,
        );
        let processed = "Source records whose effects are visible";
        all.register("topology_processed_records", processed, self.processed);
        all.register(
            "topology_failures",
            "Failed events since start",
            self.failures,
        );
        all.register("topology_skipped_records", "Records left out", self.skipped);
        let letters = "Records given up since start";
        all.register("topology_dead_letters", letters, self.dead_letters);
        all.register(
            "topology_lag_records",
            "Source records still to do",
            self.lag,
        );
        all.register("topology_paused", "1 while paused", self.paused);
        let visible = "The last microbatch that is visible everywhere";
        all.register("topology_microbatch_id", visible, self.microbatch_id);
        all
    }
}

fn gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
