//! Names in URLs: with or without their `*` or `$$`, percent-encoded or not.
//!
//! Relies on axum for the percent decoding. What must stay true: the hot path builds a name and
//! asks once; lists of what exists are made only for the error text.

use std::borrow::Cow;

use rama_runtime::Cluster;

use crate::refusal::{Code, Refusal};

/// Which kind of object a URL names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `*name`
    Depot,
    /// `$$name`
    PState,
    /// `name`
    Query,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Kind::Depot => "*",
            Kind::PState => "$$",
            Kind::Query => "",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Kind::Depot => "depot",
            Kind::PState => "PState",
            Kind::Query => "query",
        }
    }
}

/// Names that clients can use in one module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// Depot names with their `*`.
    pub depots: Vec<String>,
    /// PState names with their `$$`.
    pub pstates: Vec<String>,
    /// Names of query topologies.
    pub queries: Vec<String>,
}

/// What clients can name in a module; `None` when no such module is launched.
pub fn objects(cluster: &Cluster, module: &str) -> Option<Objects> {
    let definition = cluster.definition(module).ok()?;
    let depots = definition
        .declared_depots()
        .filter(|depot| depot.kind.tick().is_none());
    let pstates = definition.pstates.iter().filter(|pstate| !pstate.private);
    Some(Objects {
        depots: depots.map(|depot| depot.name.clone()).collect(),
        pstates: pstates.map(|pstate| pstate.name.clone()).collect(),
        queries: definition
            .queries
            .iter()
            .map(|query| query.name.clone())
            .collect(),
    })
}

/// The name with its prefix.
pub fn canonical(kind: Kind, name: &str) -> Cow<'_, str> {
    if name.starts_with(kind.prefix()) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(format!("{}{name}", kind.prefix()))
    }
}

/// The refusal that lists the modules that run.
pub fn no_module(cluster: &Cluster, module: &str) -> Refusal {
    let detail = format!(
        "could not find module {module}; running: {}",
        list(&cluster.modules_here())
    );
    Refusal::new(Code::NotFound, detail).hint("GET / lists the modules with their links")
}

/// Replaces a bare "not found" by one that lists what exists.
pub fn explain(
    refusal: Refusal,
    cluster: &Cluster,
    module: &str,
    kind: Kind,
    name: &str,
) -> Refusal {
    if refusal.code != Code::NotFound {
        return refusal;
    }
    let Some(objects) = objects(cluster, module) else {
        return no_module(cluster, module);
    };
    let names = match kind {
        Kind::Depot => objects.depots,
        Kind::PState => objects.pstates,
        Kind::Query => objects.queries,
    };
    if names.iter().any(|existing| existing == name) {
        return refusal;
    }
    let word = kind.word();
    let detail = format!(
        "could not find {word} {name} in module {module}; it has: {}",
        list(&names)
    );
    Refusal::new(Code::NotFound, detail).hint(format!(
        "GET /rest/{module} shows every object with its schema"
    ))
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
