//! Page analytics: what visitors of a web site looked at, by session, and by page over any time.
//!
//! Relies on one microbatch topology, so that every visit counts exactly once. A visit is kept with its
//! session and counted in one window of each size for its page; visits of a batch are added up where
//! they are before they travel to their page, so that a page that everybody looks at slows nobody
//! down. What must stay true: all windows of a page are on one task, so that statistics over any
//! span of time are a few range reads there.

use rama::helpers::windows;
use rama::prelude::*;

/// Somebody looked at a page.
#[rama::record]
pub struct Visit {
    /// Made up by the visitor's browser.
    pub session: String,
    /// The page.
    pub path: String,
    /// When, in minutes since the Unix epoch.
    pub minute: u64,
    /// For how long.
    pub seconds: u64,
}

/// What is known of the visits of a page in a span of time.
#[rama::record]
#[derive(Default)]
pub struct Stats {
    /// How many.
    pub visits: u64,
    /// Their lengths together.
    pub seconds: u64,
    /// The length of the longest.
    pub longest: u64,
}

impl Stats {
    /// Of one visit.
    pub fn of(seconds: u64) -> Stats {
        Stats {
            visits: 1,
            seconds,
            longest: seconds,
        }
    }

    /// Of two spans together.
    pub fn and(self, other: Stats) -> Stats {
        Stats {
            visits: self.visits + other.visits,
            seconds: self.seconds.saturating_add(other.seconds),
            longest: self.longest.max(other.longest),
        }
    }
}

/// The sizes of windows, in minutes: a minute, an hour, a day, thirty days. Window n of a size begins n
/// sizes after the Unix epoch.
pub const SIZES: [u64; 4] = [1, 60, 24 * 60, 30 * 24 * 60];

/// Visits, partitioned by session.
pub const VISITS: Depot<Visit> = Depot::named("*visits");
/// Session to its visits, in order.
pub const SESSIONS: PState<Map<String, List<Visit>>> = PState::named("$$sessions");
/// Page, size of windows and number of a window to what is known of its visits.
pub const WINDOWS: PState<Map<String, Map<u64, Map<u64, Stats>>>> = PState::named("$$windows");
/// What is known of the visits of a page from one minute up to another.
pub const STATS: Query<(String, u64, u64), Stats> = Query::named("stats");

/// The module.
pub struct PageAnalytics;

impl Module for PageAnalytics {
    fn define(&self, m: &mut Setup) {
        m.depot_by(VISITS, |visit| &visit.session);
        let mut mb = m.microbatch("analytics");
        let (sessions, stats) = (mb.pstate(SESSIONS), mb.pstate(WINDOWS));

        mb.source(VISITS)
            .inspect(move |task, visit| sessions.key(&visit.session).append(task, visit.clone()))
            .flat_map(|_, v| SIZES.map(|size| ((v.path.clone(), size, v.minute / size), v.seconds)))
            .group_by_at(|((path, ..), _)| path.clone(), |(window, _)| window.clone())
            .agg_at(
                move |(path, size, window)| stats.key(path).key(size).key(window),
                |of| of.combine_by(|(_, seconds)| Stats::of(*seconds), Stats::and),
            );

        m.query(STATS, |q| {
            q.hash_partition(|(path, ..)| path)
                .flat_map(move |task, (path, from, to)| {
                    let of_page = stats.key(&path);
                    let runs = windows(from..to, &SIZES).into_iter();
                    let read = |(at, run)| of_page.key(&SIZES[at]).range(run).values(task);
                    runs.flat_map(read).collect::<Vec<_>>()
                })
                .origin_partition()
                .agg(|of| of.combine(Stats::and))
        });
    }
}
