//! A value that travels to another task must be a record.

use rama::prelude::*;

#[derive(Clone)]
struct Visit {
    url: String,
}

const LINES: Depot<String> = Depot::named("*lines");

fn define(m: &mut Setup) {
    m.stream("s")
        .source(LINES)
        .map(|_, url| Visit { url })
        .hash_partition(|visit| visit.url)
        .done();
}

fn main() {}
