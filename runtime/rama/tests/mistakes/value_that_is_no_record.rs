//! What is stored must be a record.

use rama::prelude::*;

struct Profile {
    name: String,
}

const PROFILES: PState<Map<u64, Profile>> = PState::named("$$profiles");

fn main() {
    PROFILES.name();
}
