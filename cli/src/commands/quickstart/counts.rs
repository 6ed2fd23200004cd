//! Reading `$$exact_counts` whole: page by page from each partition.
//!
//! Relies on sorted maps and on routing by any key that lives on the partition. What must stay
//! true: pages are bounded, so that no single read holds up a task.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;

use rama_runtime::Cluster;
use rama_runtime::Key;
use rama_wire::hash::task_of;
use word_count::EXACT_COUNTS;

use super::{MODULE, Top, engine};
use crate::error::{Exit, Failure, Result};

/// Entries of one read.
const PAGE: u64 = 1000;

/// Every word with its count.
pub async fn all(cluster: &Cluster) -> Result<BTreeMap<String, u64>> {
    let status = cluster.status();
    let tasks = status.modules.iter().find(|module| module.name == MODULE);
    let tasks = tasks.map_or(0, |module| module.tasks);
    let mut all = BTreeMap::new();
    for task in 0..tasks {
        let resident = resident(task, tasks);
        let mut after = Bound::Unbounded;
        loop {
            let range = EXACT_COUNTS
                .routed_by(&resident)
                .range((after, Bound::Unbounded));
            let page = cluster.pstate(EXACT_COUNTS).select(range.first_n(PAGE));
            let page = page.await.map_err(engine)?;
            let full = page.len() as u64 == PAGE;
            after = page
                .last()
                .map_or(Bound::Unbounded, |(last, _)| Bound::Excluded(last.clone()));
            all.extend(page);
            if !full {
                break;
            }
        }
    }
    Ok(all)
}

/// A key whose home is the task.
fn resident(task: u32, tasks: u32) -> String {
    let mut keys = (0_u64..).map(|number| number.to_string());
    let found = keys.find(|key| task_of(&key.key_bytes(), tasks) == task);
    found.expect("a hash reaches every task")
}

/// How many words there are.
pub fn sum(counts: &BTreeMap<String, u64>) -> u64 {
    counts.values().sum()
}

/// The most frequent words.
pub fn top(counts: &BTreeMap<String, u64>, amount: usize) -> Vec<Top> {
    let mut top: Vec<(&String, u64)> = counts.iter().map(|(word, count)| (word, *count)).collect();
    // Stable: equal counts stay in the order of the words.
    top.sort_by_key(|(_, count)| Reverse(*count));
    top.truncate(amount);
    top.into_iter()
        .map(|(word, count)| Top {
            word: word.clone(),
            count,
        })
        .collect()
}

/// Writes every word with its count, sorted by word.
pub fn write(counts: &BTreeMap<String, u64>, path: &Path) -> Result<()> {
    let json = serde_json::to_vec_pretty(counts).map_err(|cause| cause.to_string());
    let written =
        json.and_then(|json| std::fs::write(path, json).map_err(|cause| cause.to_string()));
    written.map_err(|cause| {
        let text = format!("could not write {}: {cause}", path.display());
        Failure::new(
            Exit::Failed,
            text,
            "name a file that can be written with --counts",
        )
    })
}
