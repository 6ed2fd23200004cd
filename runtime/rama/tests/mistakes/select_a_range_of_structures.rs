//! A range whose elements are structures: each may have any size.

use rama::prelude::*;

pub const WINDOWS: PState<Map<String, Map<String, Map<u64, u64>>>> = PState::named("$$windows");

async fn sizes(cluster: &Cluster, url: &str) {
    let windows = cluster.pstate(WINDOWS);
    let _ = windows.select(WINDOWS.key(url).first_n(10)).await;
}

fn main() {}
