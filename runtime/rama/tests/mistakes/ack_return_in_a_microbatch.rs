//! Nobody waits for a microbatch.

use rama::prelude::*;

const LINES: Depot<String> = Depot::named("*lines");

fn define(m: &mut Setup) {
    m.microbatch("mb").source(LINES).ack_return(|_, line| line.clone()).done();
}

fn main() {}
