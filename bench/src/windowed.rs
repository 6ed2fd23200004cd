//! `windowed-aggregation`: views of pages into windows of a minute, an hour and a day, exactly
//! once.
//!
//! Relies on views of a batch being added up where they are before they travel to their page, and
//! on all windows of a page being on one task, so that any span of time is a few range reads there.
//! First a backlog is counted: the figure is processing alone. Then spans are read: as many as go,
//! at fixed moments, and at fixed moments while views stream in. Before a figure is printed every
//! window's sum and the spans that were asked for are compared with a loop over memory, whose speed
//! is the limit of one core.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures_util::future::BoxFuture;
use rama::helpers::windows;
use rama::prelude::*;

use crate::cluster::{self, Outcome};
use crate::environment::CpuMeter;
use crate::open_loop;
use crate::ranks::Ranks;
use crate::report::Row;

/// The sizes of windows, in minutes.
const SIZES: [u64; 3] = [1, 60, 24 * 60];
/// Views are of so many minutes.
const MINUTES: u64 = 3 * 24 * 60;
const EXPONENT: f64 = 1.0;
const SEED: u64 = 20_260_815;
const IN_FLIGHT: usize = 64;
/// Views of one call while spans are read.
const BATCH: usize = 100;
/// Spans a second beside views.
const READS_PER_SECOND: f64 = 1_000.0;
/// Spans whose statistics are compared.
const COMPARED: u64 = 200;

/// Somebody looked at a page.
#[rama::record]
struct View {
    page: String,
    minute: u64,
    seconds: u64,
}

/// What is known of the views of a page in a span of time.
#[rama::record]
#[derive(Copy, Default, PartialEq, Eq)]
struct Stats {
    views: u64,
    seconds: u64,
    longest: u64,
}

impl Stats {
    fn of(seconds: u64) -> Stats {
        Stats {
            views: 1,
            seconds,
            longest: seconds,
        }
    }

    fn and(self, other: Stats) -> Stats {
        Stats {
            views: self.views + other.views,
            seconds: self.seconds + other.seconds,
            longest: self.longest.max(other.longest),
        }
    }
}

/// Views, wherever they come in.
const VIEWS: Depot<View> = Depot::named("*views");
/// Page, size of windows and number of a window to what is known of its views.
const WINDOWS: PState<Map<String, Map<u64, Map<u64, Stats>>>> = PState::named("$$windows");
/// What is known of a page from one minute up to another.
const STATS: Query<(String, u64, u64), Stats> = Query::named("stats");
/// What is known of all pages together, by size of windows.
const SUMS: Query<(), BTreeMap<u64, Stats>> = Query::named("sums");

struct Windowed;

impl Module for Windowed {
    fn define(&self, m: &mut Setup) {
        m.depot(VIEWS, Partition::random());
        let mut mb = m.microbatch("windows");
        let stats = mb.pstate(WINDOWS);
        mb.source(VIEWS)
            .flat_map(|_, v| SIZES.map(|size| ((v.page.clone(), size, v.minute / size), v.seconds)))
            .group_by_at(|((page, ..), _)| page.clone(), |(window, _)| window.clone())
            .agg_at(
                move |(page, size, window)| stats.key(page).key(size).key(window),
                |of| of.combine_by(|(_, seconds)| Stats::of(*seconds), Stats::and),
            );
        m.query(STATS, |q| {
            q.hash_partition(|(page, ..)| page)
                .flat_map(move |task, (page, from, to)| {
                    let of_page = stats.key(&page);
                    let runs = windows(from..to, &SIZES).into_iter();
                    let read = |(at, run)| of_page.key(&SIZES[at]).range(run).values(task);
                    runs.flat_map(read).collect::<Vec<_>>()
                })
                .origin_partition()
                .agg(|of| of.combine(Stats::and))
        });
        m.query(SUMS, |q| {
            q.all_partition()
                .flat_map(move |task, ()| {
                    let of_size = move |task: &Task, page: &String, size: u64| {
                        let all = stats.key(page).key(&size).values(task);
                        (size, all.into_iter().fold(Stats::default(), Stats::and))
                    };
                    let pages = stats.keys(task).into_iter();
                    let sums = pages.flat_map(|page| SIZES.map(|size| of_size(task, &page, size)));
                    sums.collect::<Vec<_>>()
                })
                .origin_partition()
                .agg(|of| {
                    of.fold(
                        BTreeMap::new,
                        |sums: &mut BTreeMap<u64, Stats>, (size, stats)| {
                            let sum = sums.entry(*size).or_default();
                            *sum = sum.and(*stats);
                        },
                    )
                })
        });
    }
}

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Views of the backlog.
    pub views: usize,
    /// Pages they are of.
    pub pages: usize,
}

impl Shape {
    /// That of a figure.
    pub const FULL: Shape = Shape {
        views: 1_000_000,
        pages: 10_000,
    };
}

/// Measures on a fresh cluster under `dir`.
pub fn measure(dir: &Path, seconds: f64, shape: Shape) -> Outcome<Vec<Row>> {
    let (server, _scratch) = cluster::start(dir, 2)?;
    let runtime = cluster::clients()?;
    let views = draw(shape);
    runtime.block_on(async {
        server.launch(Windowed).await?;
        let names = ("Windowed", "windows");
        let backlog = cluster::process_backlog(&server, names, VIEWS, &views).await?;
        let mut naive = Naive::default();
        let (meter, began) = (CpuMeter::start(), Instant::now());
        naive.add(&views);
        let limit = views.len() as f64 / began.elapsed().as_secs_f64().max(1e-9);
        let peer = "windowed-aggregation: the same windows in a loop over memory, one core";
        let peer = Row::new(peer, views.len() as u64, meter.stop());
        naive.check(&server.cluster(), shape).await?;
        let payload: u64 = views.iter().map(|view| view.page.len() as u64 + 16).sum();
        let name = format!(
            "windowed-aggregation: microbatch, {} pages, views",
            shape.pages
        );
        let row = Row::new(name, views.len() as u64, backlog.cpu)
            .payload(payload)
            .written(backlog.written, payload);
        let per_second = row.per_second;
        let mut rows = vec![peer, row.ratio(per_second / limit, "the loop over memory")];
        let run = Duration::from_secs_f64(seconds);
        rows.extend(reads(&server.cluster(), shape, run).await?);
        rows.push(beside(&server, per_second / 2.0, run, &views, &mut naive, shape).await?);
        server.shutdown().await?;
        Ok(rows)
    })
}

fn page(number: usize) -> String {
    format!("/articles/{number}")
}

/// Views in the order of time, as they would come.
fn draw(shape: Shape) -> Vec<View> {
    let (mut rng, pages) = (Rng::with_seed(SEED), Ranks::zipf(shape.pages, EXPONENT));
    let view = |nth: usize| View {
        page: page(pages.draw(&mut rng)),
        minute: nth as u64 * MINUTES / shape.views as u64,
        seconds: rng.u64(1..600),
    };
    (0..shape.views).map(view).collect()
}

/// The page and the span of the n-th read.
fn span(nth: u64, shape: Shape) -> (String, Range<u64>) {
    let mut rng = Rng::with_seed(SEED ^ nth.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let (one, other) = (rng.u64(..MINUTES), rng.u64(..MINUTES));
    let page = page(rng.usize(..shape.pages));
    (page, one.min(other)..one.max(other) + 1)
}

fn read(
    cluster: &Cluster,
    shape: Shape,
) -> impl Fn(u64) -> BoxFuture<'static, bool> + Clone + Send + Sync + 'static + use<> {
    let query = cluster.query(STATS);
    move |nth| {
        let (page, span) = span(nth, shape);
        let answer = query.invoke((page, span.start, span.end));
        Box::pin(async move { answer.await.is_ok() })
    }
}

/// Spans read while nothing else happens.
async fn reads(cluster: &Cluster, shape: Shape, run: Duration) -> Outcome<Vec<Row>> {
    let meter = CpuMeter::start();
    let closed = open_loop::saturate(IN_FLIGHT, run, read(cluster, shape)).await;
    let cpu = meter.stop();
    let closed = closed.all_well("windowed-aggregation: reads")?;
    let name = format!("windowed-aggregation: spans read, {IN_FLIGHT} in flight, closed loop");
    let closed = Row::new(name, closed.finished, cpu).latency(&closed.latencies);
    let half = closed.per_second / 2.0;
    let meter = CpuMeter::start();
    let open = open_loop::run(half, run, read(cluster, shape)).await;
    let cpu = meter.stop();
    let open = open.all_well("windowed-aggregation: reads")?;
    let name = format!("windowed-aggregation: spans read, open loop at {half:.0}/s");
    let open = Row::new(name, open.finished, cpu).latency(&open.latencies);
    Ok(vec![closed, open])
}

/// Spans read while the same views stream in once more, from the first on.
async fn beside(
    server: &InProcessCluster,
    views_per_second: f64,
    run: Duration,
    views: &[View],
    naive: &mut Naive,
    shape: Shape,
) -> Outcome<Row> {
    let cluster = server.cluster();
    let calls: Arc<Vec<Vec<View>>> = Arc::new(views.chunks(BATCH).map(<[_]>::to_vec).collect());
    let (depot, again) = (cluster.depot(VIEWS), calls.clone());
    let append = move |nth: u64| {
        let call = &again[nth as usize % again.len()];
        let answer = depot.append_many(call, AckLevel::AppendAck);
        async move { answer.await.is_ok() }
    };
    let meter = CpuMeter::start();
    let (appended, read) = tokio::join!(
        open_loop::run(views_per_second / BATCH as f64, run, append),
        open_loop::run(READS_PER_SECOND, run, read(&cluster, shape))
    );
    let cpu = meter.stop();
    let appended = appended.all_well("windowed-aggregation: appends")?;
    let read = read.all_well("windowed-aggregation: reads")?;
    let mut count = views.len() as u64;
    for nth in 0..appended.finished {
        let call = &calls[nth as usize % calls.len()];
        naive.add(call);
        count += call.len() as u64;
    }
    server
        .wait_for_processed("Windowed", "windows", count)
        .await?;
    naive.check(&cluster, shape).await?;
    let name = format!(
        "windowed-aggregation: spans read, open loop at {READS_PER_SECOND:.0}/s, beside \
         {views_per_second:.0} views/s"
    );
    Ok(Row::new(name, read.finished, cpu).latency(&read.latencies))
}

/// The windows in memory.
#[derive(Default)]
struct Naive {
    windows: HashMap<(String, u64, u64), Stats>,
}

impl Naive {
    fn add(&mut self, views: &[View]) {
        for view in views {
            for size in SIZES {
                let window = (view.page.clone(), size, view.minute / size);
                let stats = self.windows.entry(window).or_default();
                *stats = stats.and(Stats::of(view.seconds));
            }
        }
    }

    /// What is known of a page in a span, from its minutes alone.
    fn span(&self, page: &str, span: Range<u64>) -> Stats {
        let of = |minute| self.windows.get(&(page.to_owned(), 1, minute)).copied();
        span.filter_map(of).fold(Stats::default(), Stats::and)
    }

    /// Compares the sums of all windows of each size, and some spans.
    ///
    /// # Errors
    /// With the difference.
    async fn check(&self, cluster: &Cluster, shape: Shape) -> Outcome<()> {
        let mut sums = BTreeMap::<u64, Stats>::new();
        for ((_, size, _), stats) in &self.windows {
            let sum = sums.entry(*size).or_default();
            *sum = sum.and(*stats);
        }
        let found = cluster.query(SUMS).invoke(()).await?;
        if found != sums {
            return Err(format!("all windows together hold {found:?}, they must {sums:?}").into());
        }
        let query = cluster.query(STATS);
        for nth in 0..COMPARED {
            let (page, span) = span(nth, shape);
            let expected = self.span(&page, span.clone());
            let found = query.invoke((page.clone(), span.start, span.end)).await?;
            if found != expected {
                let text = format!("{page} has {found:?} in {span:?}, it must be {expected:?}");
                return Err(text.into());
            }
        }
        Ok(())
    }
}
