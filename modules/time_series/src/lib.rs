//! Time series: render latencies of pages, aggregated exactly once into windows of four sizes.
//!
//! Relies on one microbatch topology. Windows of one page and size are a subindexed map sorted by
//! bucket, so a time range is one range read.

use std::ops::Range;

use rama::helpers;
use rama::prelude::*;

/// How long one page took to render.
#[rama::record]
pub struct RenderLatency {
    /// The page.
    pub url: String,
    /// How long it took.
    pub render_millis: u32,
    /// When, in milliseconds since the Unix epoch.
    pub at_millis: u64,
}

/// The size of a window.
#[derive(Key, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granularity {
    /// One minute.
    Minute,
    /// One hour.
    Hour,
    /// One day.
    Day,
    /// Thirty days.
    ThirtyDays,
}

impl Granularity {
    /// All sizes, smallest first.
    pub const ALL: [Granularity; 4] = [
        Granularity::Minute,
        Granularity::Hour,
        Granularity::Day,
        Granularity::ThirtyDays,
    ];

    /// Milliseconds in one window of this size.
    pub fn millis(&self) -> u64 {
        const MINUTE: u64 = 60_000;
        match self {
            Granularity::Minute => MINUTE,
            Granularity::Hour => 60 * MINUTE,
            Granularity::Day => 24 * 60 * MINUTE,
            Granularity::ThirtyDays => 30 * 24 * 60 * MINUTE,
        }
    }

    /// The window of this size that holds a moment.
    pub fn bucket(&self, at_millis: u64) -> u64 {
        at_millis / self.millis()
    }

    /// The windows that hold a moment of a span of time, for a range read: those that are cut by
    /// its ends too; none if it is empty or ends before it begins.
    pub fn buckets(&self, millis: Range<u64>) -> Range<u64> {
        if millis.is_empty() {
            return 0..0;
        }
        self.bucket(millis.start)..self.bucket(millis.end - 1) + 1
    }
}

/// What a window knows of its measurements.
#[rama::record]
#[derive(Copy, Default)]
pub struct WindowStats {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub total_millis: u64,
    /// The one processed last, whenever it was measured.
    pub last_millis: u32,
    /// The smallest.
    pub min_millis: u32,
    /// The largest.
    pub max_millis: u32,
}

impl WindowStats {
    /// The window of one measurement.
    pub fn single(render_millis: u32) -> WindowStats {
        WindowStats {
            count: 1,
            total_millis: u64::from(render_millis),
            last_millis: render_millis,
            min_millis: render_millis,
            max_millis: render_millis,
        }
    }

    /// This window followed by a `later` one.
    pub fn followed_by(self, later: WindowStats) -> WindowStats {
        if self.count == 0 {
            return later;
        }
        if later.count == 0 {
            return self;
        }
        WindowStats {
            count: self.count + later.count,
            total_millis: self.total_millis + later.total_millis,
            last_millis: later.last_millis,
            min_millis: self.min_millis.min(later.min_millis),
            max_millis: self.max_millis.max(later.max_millis),
        }
    }
}

/// Measurements, partitioned by page.
pub const LATENCIES: Depot<RenderLatency> = Depot::named("*render_latencies");
/// Page, window size and bucket to statistics.
pub const WINDOWS: PState<Map<String, Map<Granularity, Map<u64, WindowStats>>>> =
    PState::named("$$windows");

/// The statistics of a page from one moment up to another, milliseconds since the Unix epoch. What a
/// minute has of both sides of a moment counts in it.
pub const STATS: Query<(String, u64, u64), WindowStats> = Query::named("stats");

/// The module.
pub struct TimeSeries;

impl Module for TimeSeries {
    fn define(&self, m: &mut Setup) {
        m.depot_by(LATENCIES, |l| &l.url);
        let mut mb = m.microbatch("windows");
        let windows = mb.pstate(WINDOWS);
        mb.source(LATENCIES).each(move |task, latency| {
            let single = WindowStats::single(latency.render_millis);
            for size in Granularity::ALL {
                let bucket = size.bucket(latency.at_millis);
                windows
                    .key(&latency.url)
                    .key(&size)
                    .key(&bucket)
                    .update(task, |stats| stats.unwrap_or_default().followed_by(single));
            }
        });
        m.query(STATS, |q| {
            q.hash_partition(|(url, ..)| url)
                .flat_map(move |task, (url, from, to)| {
                    let of_page = windows.key(&url);
                    let sizes = Granularity::ALL.map(|size| size.millis());
                    let runs = helpers::windows(from..to, &sizes).into_iter();
                    let read =
                        |(at, run)| of_page.key(&Granularity::ALL[at]).range(run).values(task);
                    runs.flat_map(read).collect::<Vec<_>>()
                })
                .origin_partition()
                .agg(|of| of.combine(WindowStats::followed_by))
        });
    }
}
