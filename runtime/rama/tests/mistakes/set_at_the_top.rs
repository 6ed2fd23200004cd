//! A PState has keys, fields, or one value (P-5).

use rama::prelude::*;

const SEEN: PState<Set<String>> = PState::named("$$seen");

fn main() {
    SEEN.name();
}
