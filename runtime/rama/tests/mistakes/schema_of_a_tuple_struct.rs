//! Fixed keys without names.

use rama::prelude::*;

#[derive(Schema)]
struct Profile(String, Set<u64>);

fn main() {}
