//! Mistakes in a module's `define`: found together, told together, each with its fix.
//!
//! Relies on the builder for places in the source. The texts are part of the product and held by
//! snapshot tests: they name the module, the object, the place and what to do.

use std::fmt;

use crate::graph::Place;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it is about: `depot *lines`, `topology count` …
    pub object: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub fix: String,
    /// The builder call that shows it.
    pub place: Place,
    /// An earlier call it collides with.
    pub first: Option<Place>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.object, self.problem)?;
        write!(f, "     at {}", self.place)?;
        if let Some(first) = &self.first {
            write!(f, " (first at {first})")?;
        }
        write!(f, "\n     fix: {}", self.fix)
    }
}

/// Why a module has no definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefinitionError {
    /// Name of the module.
    pub module: String,
    /// Every mistake found, in the order of the source.
    pub faults: Vec<Fault>,
}

impl fmt::Display for DefinitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mistakes = if self.faults.len() == 1 {
            "mistake"
        } else {
            "mistakes"
        };
        write!(
            f,
            "module {} has {} {mistakes}",
            self.module,
            self.faults.len()
        )?;
        for (index, fault) in self.faults.iter().enumerate() {
            write!(f, "\n{:>3}. {fault}", index + 1)?;
        }
        Ok(())
    }
}

impl std::error::Error for DefinitionError {}
