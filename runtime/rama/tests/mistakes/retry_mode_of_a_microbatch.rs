//! A microbatch retries as a whole.

use rama::prelude::*;

const LINES: Depot<String> = Depot::named("*lines");

fn define(m: &mut Setup) {
    m.microbatch("mb").source_with(LINES, SourceOptions::new().retry_all_after()).done();
}

fn main() {}
