//! A record with a lifetime.

#[rama::record]
struct Deposit<'a> {
    user: &'a str,
}

fn main() {}
