//! What `WordCount` holds when nothing is on its way, and whether it is what clients did.
//!
//! Relies on the load having ended. What must stay true: everything is read, nothing is sampled.

use std::path::Path;
use std::time::Instant;

use rama_runtime::ModuleClient;
use rama_tests::history::depot::Contents;
use rama_tests::history::{counter, depot, save, session, verdict};
use tokio::task::JoinSet;
use word_count::{COUNTS, EXACT_COUNTS, LINES};

use crate::load::{ALL, HTTP, Histories};
use crate::world::World;

/// Questions at a time.
const AT_ONCE: usize = 256;

/// All records of a depot.
pub async fn contents<T: rama_runtime::Record>(
    depot: &rama_runtime::DepotClient<T>,
    name: impl Fn(T) -> String,
) -> Contents {
    let mut contents = Contents::default();
    for partition in 0..depot.partitions().expect("a depot") {
        let offsets = depot.partition_info(partition).await.expect("its offsets");
        assert_eq!(offsets.start, 0, "nothing was trimmed");
        let records = depot.read(partition, offsets).await.expect("its records");
        contents
            .0
            .insert(partition, records.into_iter().map(&name).collect());
    }
    contents
}

/// Waits until all is processed, and checks W1, W2, W3, W4 and W7.
pub fn check(world: &World, module: &ModuleClient, histories: &Histories, keep: &Path) {
    let runtime = world.runtime();
    let (appends, reads) = (histories.appends.history(), histories.reads.history());
    let steps = histories.steps.history();
    save(&keep.join("appends.jsonl"), &appends);
    save(&keep.join("reads.jsonl"), &reads);
    save(&keep.join("steps.jsonl"), &steps);
    let lines = runtime.block_on(contents(&module.depot(LINES), |line| line));
    verdict(
        "W1, each append is taken once",
        &depot::is_taken_once(&appends, &lines),
    );
    let ordered: Vec<_> = appends
        .iter()
        .filter(|it| it.process != HTTP)
        .cloned()
        .collect();
    verdict(
        "W2, appends of a process keep their order",
        &depot::is_in_order(&ordered, &lines),
    );
    let records = lines.distinct();
    let exact = |word: &str| runtime.block_on(exactly(module, word));
    let start = Instant::now();
    world.until("all is processed", || {
        exact(ALL) >= records && streamed(world, module) >= records
    });
    println!(
        "all is processed after {:.1} s",
        start.elapsed().as_secs_f64()
    );
    let mut counters = counter::is_never_ahead(&appends, &reads);
    counters.extend(counter::is_exact(exact(ALL), records));
    verdict("W3, an exact counter", &counters);
    let (once, shown) = runtime.block_on(each(module, &lines));
    verdict(
        "W3, each record is counted once",
        &counter::is_exact(once, records),
    );
    let counted = streamed(world, module);
    verdict(
        "W4, a stream's counter",
        &counter::is_at_least_once(counted, shown, records),
    );
    verdict("W7, sessions see their own", &session::sees_its_own(&steps));
    println!(
        "{} appends, {records} records in the depot; the stream counted {} again; {} reads of the exact \
         counter, {} steps of sessions",
        appends.len(),
        counted - records,
        reads.len(),
        steps.len()
    );
}

fn streamed(world: &World, module: &ModuleClient) -> u64 {
    let count = module.pstate(COUNTS).select_one(COUNTS.key(ALL));
    world
        .runtime()
        .block_on(count)
        .expect("a count")
        .unwrap_or_default()
}

async fn exactly(module: &ModuleClient, word: &str) -> u64 {
    let count = module
        .pstate(EXACT_COUNTS)
        .select_one(EXACT_COUNTS.key(word))
        .await;
    count.expect("a count").unwrap_or_default()
}

/// How many lines the exact topology counted once, and how many the stream shows.
async fn each(module: &ModuleClient, lines: &Contents) -> (u64, u64) {
    let lines = lines.0.values().flatten();
    let words: Vec<String> = lines
        .filter_map(|line| line.split(' ').next_back())
        .map(str::to_owned)
        .collect();
    let (mut once, mut shown) = (0, 0);
    for words in words.chunks(AT_ONCE) {
        let mut asked = JoinSet::new();
        for word in words {
            let exact = module
                .pstate(EXACT_COUNTS)
                .select_one(EXACT_COUNTS.key(word));
            let stream = module.pstate(COUNTS).select_one(COUNTS.key(word));
            asked.spawn(async move {
                let (exact, stream) = (exact.await, stream.await);
                (exact.expect("a count"), stream.expect("a count"))
            });
        }
        for (exact, stream) in asked.join_all().await {
            once += u64::from(exact == Some(1));
            shown += u64::from(stream.is_some());
        }
    }
    (once, shown)
}
