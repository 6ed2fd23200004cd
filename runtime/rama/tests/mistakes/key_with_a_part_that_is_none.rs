//! A part of a composite key that is no key.

use rama::prelude::*;

use std::collections::BTreeMap;

#[derive(Key, Clone, Debug)]
struct Position {
    tags: BTreeMap<String, String>,
}

fn main() {}
