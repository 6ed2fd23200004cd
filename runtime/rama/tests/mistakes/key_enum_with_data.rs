//! An enum with data as a key.

use rama::prelude::*;

#[derive(Key, Clone, Debug)]
enum Target {
    User(u64),
    Everybody,
}

fn main() {}
