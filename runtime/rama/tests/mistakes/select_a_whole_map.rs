//! A subindexed map has any size and is never sent whole.

use rama::prelude::*;

pub const WINDOWS: PState<Map<String, Map<u64, u64>>> = PState::named("$$windows");

async fn window(cluster: &Cluster, url: &str) {
    let windows = cluster.pstate(WINDOWS);
    let _ = windows.select(WINDOWS.key(url)).await;
}

fn main() {}
