//! Whether modules of one cluster have what they use of each other (spec X-8…X-10).
//!
//! Relies on `rama_core::mirrors` for the rules, and on the handle of the cluster for the modules that
//! are launched. What must stay true: a launch or an update that is refused changes nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rama_core::mirrors::{Lack, Offers, Use, uses_of_manifest};

use crate::cluster::Cluster;
use crate::definition::Definition;
use crate::error::{Error, Result};

/// What a module uses, by the other module's name.
pub(crate) struct Uses(pub(super) BTreeMap<String, Vec<Use>>);

impl Uses {
    pub(crate) fn of(definition: &Definition) -> Uses {
        let mut uses: BTreeMap<String, Vec<Use>> = BTreeMap::new();
        for used in uses_of_manifest(&definition.manifest()) {
            uses.entry(used.module.clone()).or_default().push(used);
        }
        Uses(uses)
    }
}

/// Whether everything that a module uses is there. Over data it left, what it uses may come later:
/// two modules that use each other could not be started again otherwise.
///
/// # Errors
/// `Rejected`, with all that is missing.
pub(crate) fn check(cluster: &Cluster, definition: &Definition, over_data: bool) -> Result<()> {
    let module = &definition.module;
    let mut lacks = String::new();
    for (other, uses) in Uses::of(definition).0 {
        match cluster.running(&other) {
            Ok(running) => {
                let offers = Offers::of_manifest(&running.layout.definition.manifest());
                tell(&mut lacks, &offers.lacks(&uses));
            }
            Err(_) if over_data => {}
            Err(_) => {
                // Writing to a string cannot fail.
                let _ = write!(lacks, "\n  module {other} is not running: launch it first");
            }
        }
    }
    match lacks.is_empty() {
        true => Ok(()),
        false => Err(Error::rejected(format!(
            "could not launch module {module}: what it uses of others is not there{lacks}"
        ))),
    }
}

/// Whether the modules that use objects of `new` would find them there.
///
/// # Errors
/// `Rejected`, with all that they would miss.
pub(crate) fn check_dependents(cluster: &Cluster, new: &Definition) -> Result<()> {
    let offers = Offers::of_manifest(&new.manifest());
    let mut lacks = String::new();
    for (dependent, uses) in dependents(cluster, &new.module) {
        let missed = offers.lacks(&uses);
        if !missed.is_empty() {
            let _ = write!(lacks, "\n  module {dependent} uses");
            tell(&mut lacks, &missed);
        }
    }
    match lacks.is_empty() {
        true => Ok(()),
        false => Err(Error::rejected(format!(
            "could not update module {}: others use what it would not have{lacks}\n  keep it, or \
             update them first so that they use it no more",
            new.module
        ))),
    }
}

/// The modules that use objects of `module`, with what they use.
pub(crate) fn dependents(cluster: &Cluster, module: &str) -> BTreeMap<String, Vec<Use>> {
    let mut dependents = BTreeMap::new();
    for name in cluster
        .modules_here()
        .into_iter()
        .filter(|name| name != module)
    {
        let Ok(running) = cluster.running(&name) else {
            continue;
        };
        if let Some(uses) = Uses::of(&running.layout.definition).0.remove(module) {
            dependents.insert(name, uses);
        }
    }
    dependents
}

fn tell(text: &mut String, lacks: &[Lack]) {
    for lack in lacks {
        let _ = write!(text, "\n  {lack}");
    }
}
