//! `top-n`: points of players into totals, and the hundred players with the most, exactly once.
//!
//! Relies on points never being negative, so that nobody comes back to the list (spec A-10). First
//! a backlog is processed: the figure is processing alone. Then the list is read at fixed moments
//! while points stream in at half that rate. Before a figure is printed the list is compared with
//! totals that were added up in one loop over memory, whose speed is the limit of one core.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rama::prelude::*;

use crate::cluster::{self, Outcome};
use crate::environment::CpuMeter;
use crate::open_loop;
use crate::ranks::Ranks;
use crate::report::Row;

const LISTED: usize = 100;
const EXPONENT: f64 = 1.0;
const SEED: u64 = 20_260_815;
/// Records of one call while the list is read.
const BATCH: usize = 100;
const READS_PER_SECOND: f64 = 2_000.0;

/// A player and points.
type Score = (u32, u32);

/// Scores, wherever they come in.
const SCORES: Depot<Score> = Depot::named("*scores");
/// Player to the points of all scores.
const TOTALS: PState<Map<u32, u64>> = PState::named("$$totals");
/// Players and totals, the greatest total first.
const TOP: PState<Vec<(u32, u64)>> = PState::named("$$top").global();

struct TopN;

impl Module for TopN {
    fn define(&self, m: &mut Setup) {
        m.depot(SCORES, Partition::random());
        let mut mb = m.microbatch("top");
        let (totals, top) = (mb.pstate(TOTALS), mb.pstate(TOP));
        mb.source(SCORES)
            .group_by(|(player, _)| *player)
            .agg_into(totals, |of| of.sum(|(_, points)| u64::from(*points)))
            .new_values()
            .global_partition()
            .agg_into(top, |of| {
                of.top(LISTED, |(_, total)| *total)
                    .id(|(player, _)| *player)
            });
    }
}

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Scores of the backlog.
    pub scores: usize,
    /// Players who score.
    pub players: usize,
}

impl Shape {
    /// That of a figure.
    pub const FULL: Shape = Shape {
        scores: 2_000_000,
        players: 1_000_000,
    };
}

/// Measures on a fresh cluster under `dir`.
pub fn measure(dir: &Path, seconds: f64, shape: Shape) -> Outcome<Vec<Row>> {
    let (server, _scratch) = cluster::start(dir, 2)?;
    let runtime = cluster::clients()?;
    let scores = draw(shape);
    runtime.block_on(async {
        server.launch(TopN).await?;
        let backlog = cluster::process_backlog(&server, ("TopN", "top"), SCORES, &scores).await?;
        let mut naive = Naive::default();
        let (meter, began) = (CpuMeter::start(), Instant::now());
        naive.add(&scores);
        let limit = scores.len() as f64 / began.elapsed().as_secs_f64().max(1e-9);
        let cpu = meter.stop();
        let peer = "top-n: the same totals in a loop over memory, one core";
        let peer = Row::new(peer, scores.len() as u64, cpu);
        naive.check(&list(&server.cluster()).await?)?;
        let payload = (scores.len() * size_of::<Score>()) as u64;
        let name = format!(
            "top-n: microbatch, {} players, scores until they are in the list",
            shape.players
        );
        let row = Row::new(name, scores.len() as u64, backlog.cpu)
            .payload(payload)
            .written(backlog.written, payload);
        let per_second = row.per_second;
        let mut rows = vec![peer, row.ratio(per_second / limit, "the loop over memory")];
        let run = Duration::from_secs_f64(seconds);
        rows.extend(reads(&server, per_second / 2.0, run, &scores, &mut naive).await?);
        server.shutdown().await?;
        Ok(rows)
    })
}

fn draw(shape: Shape) -> Vec<Score> {
    let (mut rng, players) = (Rng::with_seed(SEED), Ranks::zipf(shape.players, EXPONENT));
    let score = |_| (players.draw(&mut rng) as u32, rng.u32(1..=100));
    (0..shape.scores).map(score).collect()
}

async fn list(cluster: &Cluster) -> Outcome<Vec<(u32, u64)>> {
    let list = cluster.pstate(TOP).select_one(TOP.root()).await?;
    Ok(list.unwrap_or_default())
}

/// Reads the list at fixed moments while the same scores stream in once more, from the first on.
async fn reads(
    server: &InProcessCluster,
    scores_per_second: f64,
    run: Duration,
    scores: &[Score],
    naive: &mut Naive,
) -> Outcome<Vec<Row>> {
    let cluster = server.cluster();
    let calls: Arc<Vec<Vec<Score>>> = Arc::new(scores.chunks(BATCH).map(<[_]>::to_vec).collect());
    let (depot, again) = (cluster.depot(SCORES), calls.clone());
    let append = move |nth: u64| {
        let call = &again[nth as usize % again.len()];
        let answer = depot.append_many(call, AckLevel::AppendAck);
        async move { answer.await.is_ok() }
    };
    let top = cluster.pstate(TOP);
    let read = move |_| {
        let list = top.select_one(TOP.root());
        async move {
            list.await
                .is_ok_and(|list| list.is_some_and(|list| is_sorted(&list)))
        }
    };
    let meter = CpuMeter::start();
    let (appended, read) = tokio::join!(
        open_loop::run(scores_per_second / BATCH as f64, run, append),
        open_loop::run(READS_PER_SECOND, run, read)
    );
    let cpu = meter.stop();
    let appended = appended.all_well("top-n: appends")?;
    let read = read.all_well("top-n: reads")?;
    let mut count = scores.len() as u64;
    for nth in 0..appended.finished {
        let call = &calls[nth as usize % calls.len()];
        naive.add(call);
        count += call.len() as u64;
    }
    server.wait_for_processed("TopN", "top", count).await?;
    naive.check(&list(&cluster).await?)?;
    let name = format!(
        "top-n: the list read, open loop at {READS_PER_SECOND:.0}/s, beside {scores_per_second:.0} \
         scores/s"
    );
    Ok(vec![
        Row::new(name, read.finished, cpu).latency(&read.latencies),
    ])
}

fn is_sorted(list: &[(u32, u64)]) -> bool {
    list.len() <= LISTED && list.is_sorted_by(|(_, one), (_, next)| one >= next)
}

/// The totals in memory.
#[derive(Default)]
struct Naive {
    totals: HashMap<u32, u64>,
}

impl Naive {
    fn add(&mut self, scores: &[Score]) {
        for (player, points) in scores {
            *self.totals.entry(*player).or_default() += u64::from(*points);
        }
    }

    /// That a list has those with the greatest totals; which of equal ones is not said.
    ///
    /// # Errors
    /// With the difference.
    fn check(&self, list: &[(u32, u64)]) -> Outcome<()> {
        let mut totals: Vec<u64> = self.totals.values().copied().collect();
        totals.sort_unstable_by(|one, other| other.cmp(one));
        totals.truncate(LISTED);
        if !list.iter().map(|(_, total)| *total).eq(totals) {
            return Err("the list does not have the greatest totals, in their order".into());
        }
        let mut players: Vec<u32> = list.iter().map(|(player, _)| *player).collect();
        players.sort_unstable();
        players.dedup();
        if players.len() < list.len() {
            return Err("the list has a player twice".into());
        }
        for (player, total) in list {
            let expected = self.totals.get(player).copied().unwrap_or(0);
            if expected != *total {
                let text = format!("player {player} has {total} points, it must be {expected}");
                return Err(text.into());
            }
        }
        Ok(())
    }
}
