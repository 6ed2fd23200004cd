//! A struct as a key without #[derive(Key)].

use rama::prelude::*;

#[derive(Clone, Debug)]
struct OrderId {
    warehouse: u32,
}

pub const ORDERS: PState<Map<OrderId, u64>> = PState::named("$$orders");

fn main() {}
