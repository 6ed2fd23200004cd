//! A generic record.

#[rama::record]
struct Versioned<T> {
    value: T,
}

fn main() {}
