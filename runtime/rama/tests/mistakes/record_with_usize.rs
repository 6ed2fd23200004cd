//! A record with a number whose size depends on the machine.

#[rama::record]
struct Page {
    size: usize,
}

fn main() {}
