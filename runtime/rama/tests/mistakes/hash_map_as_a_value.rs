//! Equal values have equal bytes; a hash map has no order to write them in.

use std::collections::HashMap;

use rama::prelude::*;

pub const LINKS: PState<Map<u64, HashMap<String, u64>>> = PState::named("$$links");

fn main() {}
