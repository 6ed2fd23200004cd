//! `rama destroy`: the end of a module and its data.
//!
//! Relies on `DELETE /v1/modules/{module}`. What must stay true: nothing is destroyed without its
//! name said twice.

use rama_api::{Accepted, paths};

use super::{confirm, no_conductor, operation};
use crate::args::Format;
use crate::args::deploy::Destroy;
use crate::client::Client;
use crate::error::Result;
use crate::output;

pub fn run(format: Format, args: &Destroy) -> Result<()> {
    let module = &args.module;
    let consequence = format!("Destroying {module} deletes all its data for good.");
    confirm(module, args.yes.as_deref(), &consequence)?;
    let client = Client::new(&args.server)?;
    let begun = operation::begun(client.delete(&paths::fill(paths::MODULE, &[module])));
    let accepted: Accepted = begun.map_err(|failure| no_conductor(&client, failure))?;
    let id = accepted.operation;
    if !args.waiting.waits() {
        return output::print(format, &accepted, || {
            format!("destruction of {module} has begun: operation {id}")
        });
    }
    let done = operation::follow(&client, id, &format!("destruction of {module}"))?;
    output::print(format, &done, || format!("{module} is destroyed"))
}
