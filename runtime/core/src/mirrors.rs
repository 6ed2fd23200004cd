//! What modules use of each other, by their manifests: what is missing, and who would miss it.
//!
//! Relies on nothing. The same rules hold for a launch in one process and for one of a conductor
//! (spec X-8…X-10). What must stay true: types are compared by their fingerprints, and every text
//! names both modules, the object and what to do.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An object that a module has and others may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// `depot`, `PState` or `query`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Fingerprints of its types.
    pub types: Vec<String>,
    /// The same for people.
    pub shown: String,
    /// Why others may not use it, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<String>,
    /// Whether it has one partition only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub global: bool,
    /// Whether code of its module says where a key of it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub custom: bool,
}

/// An object of another module that a module uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The module that has it.
    pub module: String,
    /// `depot`, `PState` or `query`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Fingerprints of its types.
    pub types: Vec<String>,
    /// The same for people.
    pub shown: String,
}

/// What a module has for others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offers(Vec<Offer>);

/// Something that a module uses and the other does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    used: Use,
    why: String,
}

impl Offers {
    /// What the manifest of a module says it has.
    #[must_use]
    pub fn of_manifest(manifest: &Value) -> Offers {
        let depots = list(manifest, "depots").map(|depot| Offer {
            kind: "depot".to_owned(),
            global: depot["kind"] == "global depot",
            custom: false,
            name: text(depot, "name"),
            types: vec![text(&depot["record"], "fingerprint")],
            shown: text(&depot["record"], "type"),
            withheld: (depot["kind"] == "tick depot").then(|| {
                "it is a tick depot, which has no records; declare one of your own".into()
            }),
        });
        let pstates = list(manifest, "pstates").map(|pstate| Offer {
            kind: "PState".to_owned(),
            global: pstate["global"] == true,
            custom: pstate["partitioner"] == "custom",
            name: text(pstate, "name"),
            types: vec![text(pstate, "fingerprint")],
            shown: text(pstate, "type"),
            withheld: (pstate["private"] == true).then(|| {
                "it is private; drop .private() there, or use a query that reads it".into()
            }),
        });
        let queries = list(manifest, "queries").map(|query| Offer {
            kind: "query".to_owned(),
            global: false,
            custom: false,
            name: text(query, "name"),
            types: vec![
                text(&query["arguments"], "fingerprint"),
                text(&query["result"], "fingerprint"),
            ],
            shown: format!(
                "{} -> {}",
                text(&query["arguments"], "type"),
                text(&query["result"], "type")
            ),
            withheld: None,
        });
        Offers(depots.chain(pstates).chain(queries).collect())
    }

    /// Whether there are none, as where nobody told them.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of one kind, in the order of the module's definition.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Offer> {
        self.0.iter().filter(move |offer| offer.kind == kind)
    }

    /// What of `uses` is not there, or is something else.
    #[must_use]
    pub fn lacks(&self, uses: &[Use]) -> Vec<Lack> {
        let lack = |used: &Use| {
            Some(Lack {
                used: used.clone(),
                why: self.why_not(used)?,
            })
        };
        uses.iter().filter_map(lack).collect()
    }

    fn why_not(&self, used: &Use) -> Option<String> {
        let of_kind = || self.0.iter().filter(|offer| offer.kind == used.kind);
        let Some(offer) = of_kind().find(|offer| offer.name == used.name) else {
            let names: Vec<&str> = of_kind().map(|offer| offer.name.as_str()).collect();
            let known = match names.is_empty() {
                true => "none".to_owned(),
                false => names.join(", "),
            };
            return Some(format!("it has no such {} (it has {known})", used.kind));
        };
        if offer.withheld.is_some() {
            return offer.withheld.clone();
        }
        (offer.types != used.types).then(|| {
            format!(
                "its type is {} there and {} here; build both from the same constant",
                offer.shown, used.shown
            )
        })
    }
}

/// What the manifest of a module says it uses of others.
#[must_use]
pub fn uses_of_manifest(manifest: &Value) -> Vec<Use> {
    let used = list(manifest, "mirrors").map(|mirror| Use {
        module: text(mirror, "module"),
        kind: text(mirror, "kind"),
        name: text(mirror, "name"),
        types: mirror["types"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|found| found.as_str().unwrap_or_default().to_owned())
            .collect(),
        shown: text(mirror, "type"),
    });
    used.collect()
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Use {
            module, kind, name, ..
        } = &self.used;
        write!(f, "{kind} {name} of module {module}: {}", self.why)
    }
}

fn list<'a>(manifest: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    manifest[name].as_array().into_iter().flatten()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
