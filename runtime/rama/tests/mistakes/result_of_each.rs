//! An error that nobody looks at would be lost.

use rama::prelude::*;

const LINES: Depot<String> = Depot::named("*lines");

fn define(m: &mut Setup) {
    m.stream("s").source(LINES).each(|_, line| line.parse::<u64>().map(|_| ()));
}

fn main() {}
