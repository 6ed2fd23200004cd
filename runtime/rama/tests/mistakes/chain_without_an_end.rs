//! What comes out of the last step goes nowhere.

#![deny(unused_must_use)]

use rama::prelude::*;

const LINES: Depot<String> = Depot::named("*lines");

fn define(m: &mut Setup) {
    m.stream("s").source(LINES).hash_partition(|line| line);
}

fn main() {}
