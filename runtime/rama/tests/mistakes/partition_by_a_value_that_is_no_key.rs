//! Only what has an order-preserving encoding can be hashed.

use rama::prelude::*;

#[rama::record]
struct Place {
    x: i64,
    y: i64,
}

const PLACES: Depot<Place> = Depot::named("*places");

fn define(m: &mut Setup) {
    m.stream("s").source(PLACES).hash_partition(|place| place).done();
}

fn main() {}
