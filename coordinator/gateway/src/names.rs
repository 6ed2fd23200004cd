//! Names in URLs: with or without their `*` or `$$`, percent-encoded or not.
//!
//! Relies on axum for the percent decoding. What must stay true: the hot path builds a name and
//! asks once; lists of what exists are made only for the error text.

use std::borrow::Cow;

use crate::backend::{Backend, Code, Refusal};

/// Which kind of object a URL names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `*name`
    Depot,
    /// `$$name`
    PState,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Kind::Depot => "*",
            Kind::PState => "$$",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Kind::Depot => "depot",
            Kind::PState => "PState",
        }
    }
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
pub fn no_module(backend: &dyn Backend, module: &str) -> Refusal {
    let detail = format!(
        "could not find module {module}; running: {}",
        list(&backend.modules())
    );
    Refusal::new(Code::NotFound, detail).hint("GET / lists the modules with their links")
}

/// Replaces a bare "not found" by one that lists what exists.
pub fn explain(
    refusal: Refusal,
    backend: &dyn Backend,
    module: &str,
    kind: Kind,
    name: &str,
) -> Refusal {
    if refusal.code != Code::NotFound {
        return refusal;
    }
    let Some(objects) = backend.objects(module) else {
        return no_module(backend, module);
    };
    let names = match kind {
        Kind::Depot => objects.depots,
        Kind::PState => objects.pstates,
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
