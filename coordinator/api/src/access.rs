//! What a caller may do: scopes of tokens, and what a route asks for.
//!
//! Relies on nothing. What must stay true: no scope contains another one but `operate`, which
//! contains `status`; who holds a scope for one module holds nothing of any other.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a token may be good for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Reading data: select, watch, dead letters, schemas.
    Read,
    /// Appending records.
    Append,
    /// Seeing what runs where.
    Status,
    /// Changing what runs, logs and dead letters included; and all of `status`.
    Operate,
    /// Scraping metrics.
    Metrics,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 5] = [
        Scope::Read,
        Scope::Append,
        Scope::Status,
        Scope::Operate,
        Scope::Metrics,
    ];

    /// Its name in files, headers and flags.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Append => "append",
            Scope::Status => "status",
            Scope::Operate => "operate",
            Scope::Metrics => "metrics",
        }
    }

    /// Whether who holds this scope may do what `wanted` stands for.
    pub fn covers(self, wanted: Scope) -> bool {
        self == wanted || (self, wanted) == (Scope::Operate, Scope::Status)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Scope, String> {
        let found = Scope::ALL.into_iter().find(|scope| scope.name() == text);
        found.ok_or_else(|| {
            let names: Vec<&str> = Scope::ALL.iter().map(|scope| scope.name()).collect();
            format!("{text} is no scope; there are {}", names.join(", "))
        })
    }
}

/// What a route asks of who calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: it says up or down and no more.
    Open,
    /// Any token or certificate.
    Known,
    /// A scope.
    Scope(Scope),
    /// A scope, or to be a process of the cluster.
    ScopeOrProcess(Scope),
}

impl Access {
    /// The scope that opens it.
    pub fn scope(self) -> Option<Scope> {
        match self {
            Access::Open | Access::Known => None,
            Access::Scope(scope) | Access::ScopeOrProcess(scope) => Some(scope),
        }
    }
}
