//! A union as a record.

#[rama::record]
union Either {
    int: u32,
    float: f32,
}

fn main() {}
