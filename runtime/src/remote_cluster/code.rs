//! What a program that is no part of a module knows of it: its code, or the names of what it uses.
//!
//! Relies on what the cluster says of the instance that runs. What must stay true: no instance is used
//! whose objects are other ones than the program means.

use rama_core::mirrors::Use;

use crate::cluster::check_code;
use crate::definition::Definition;
use crate::directory::Routing;
use crate::error::{Error, Result};
use crate::mirror;

/// How a module is known.
pub(crate) enum Code {
    /// The program has its code.
    Own(Box<Definition>),
    /// The program uses some of its objects by their names and types.
    Foreign {
        /// The module.
        module: String,
        /// What is used of it.
        uses: Vec<Use>,
    },
}

impl Code {
    pub(crate) fn module(&self) -> &str {
        match self {
            Code::Own(definition) => &definition.module,
            Code::Foreign { module, .. } => module,
        }
    }

    /// The definition by which an instance is spoken to.
    ///
    /// # Errors
    /// `Unavailable` while nobody told which code runs; `Rejected` when it is not what the program
    /// means.
    pub(super) fn definition(&self, routing: &Routing) -> Result<Definition> {
        let module = self.module();
        let Some(theirs) = routing.interface else {
            let text = format!("module {module} is being started, nothing was done; retry");
            return Err(Error::unavailable(text));
        };
        match self {
            Code::Own(definition) => {
                check_code(module, definition.interface(), theirs)?;
                Ok((**definition).clone())
            }
            Code::Foreign { uses, .. } => {
                let lacks = routing.offers.lacks(uses);
                if lacks.is_empty() {
                    return Ok(mirror::definition(module, &routing.offers));
                }
                let lacks: Vec<String> = lacks.iter().map(ToString::to_string).collect();
                Err(Error::rejected(format!(
                    "could not use module {module} as it runs: {}",
                    lacks.join("; ")
                )))
            }
        }
    }
}
