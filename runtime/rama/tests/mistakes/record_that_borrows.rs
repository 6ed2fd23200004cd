//! A record owns its data.

use rama::prelude::*;

const LINES: Depot<&'static str> = Depot::named("*lines");

fn define(m: &mut Setup) {
    m.depot(LINES, Partition::random());
}

fn main() {}
