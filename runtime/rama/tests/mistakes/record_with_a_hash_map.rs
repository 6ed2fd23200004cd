//! Equal records have equal bytes; a hash map has no order to write them in.

use std::collections::HashMap;

#[rama::record]
struct Page {
    links: Option<HashMap<String, u64>>,
}

fn main() {}
