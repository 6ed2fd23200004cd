//! An enum as fixed keys.

use rama::prelude::*;

#[derive(Schema)]
enum Profile {
    Person,
    Company,
}

fn main() {}
