//! `rama completions` and `rama man`: what is generated from the command line's own description.
//!
//! Relies on clap's generators, so that neither can differ from `--help`.

use std::io::{self, Write, stdout};
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Rama;
use crate::error::{Exit, Failure, Result};

/// Prints a completion script.
pub fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Rama::command(), "rama", &mut script);
    written(stdout().write_all(&script), "stdout")
}

/// Writes every page into a directory, or the main one to stdout.
pub fn manual(dir: Option<&Path>) -> Result<()> {
    let Some(dir) = dir else {
        let page = clap_mangen::Man::new(Rama::command());
        return written(page.render(&mut stdout()), "stdout");
    };
    let pages =
        std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Rama::command(), dir));
    written(pages, &dir.display().to_string())
}

fn written(outcome: io::Result<()>, place: &str) -> Result<()> {
    outcome.map_err(|cause| {
        let text = format!("could not write to {place}: {cause}");
        Failure::new(Exit::Failed, text, "choose a place that can be written")
    })
}
