//! A record that borrows.

#[rama::record]
struct Deposit {
    user: Vec<&'static str>,
    cents: i64,
}

fn main() {}
