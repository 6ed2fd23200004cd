//! Tests of the manifest's shape.

use std::time::Duration;

use super::*;
use crate::depot_def::{Depot, Partition};
use crate::module::Module;
use crate::pstate::PState;
use crate::schema::{Map, Set};
use crate::setup::Setup;
use crate::topology_def::SourceOptions;

struct Shop;

impl Module for Shop {
    fn define(&self, m: &mut Setup) {
        const ORDERS: Depot<(u64, String)> = Depot::named("*orders");
        const TICK: Depot<()> = Depot::named("*tick");
        const BY_USER: PState<Map<u64, Set<String>>> = PState::named("$$by-user");
        m.depot(ORDERS, Partition::hash_by(|order: &(u64, String)| order.0));
        m.tick_depot(TICK, Duration::from_secs(60));
        let mut s = m.stream("orders");
        let by_user = s.pstate(BY_USER);
        s.source_with(
            ORDERS,
            SourceOptions::new()
                .start_from_beginning()
                .retry_none()
                .then_pause(),
        )
        .hash_partition(|(user, _)| user)
        .each(move |task, (user, what)| {
            by_user.key(&user).insert(task, &what);
        });
        m.microbatch("hourly")
            .source(TICK)
            .all_partition()
            .named("everywhere")
            .done();
    }
}

/// Changes only with `VERSION`, or by additions.
#[test]
fn the_manifest_tells_objects_schemas_and_graphs() {
    let manifest = Definition::of(&Shop).unwrap().manifest();
    let text = serde_json::to_string_pretty(&manifest).unwrap();
    insta::assert_snapshot!(text.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
}
