//! Timed notifications: posts that come into a user's feed when their time has come.
//!
//! Relies on one stream topology, and on a notification waiting on the task of its user's feed: it
//! leaves the scheduler and comes into the feed with one event, hence once. What must stay true: no
//! notification is in a feed before its time, none is lost.

use std::time::Duration;

use rama::helpers::{Due, Scheduler};
use rama::prelude::*;

/// Something to tell a user, not before its time.
#[rama::record]
pub struct Notification {
    /// Whose feed.
    pub user: String,
    /// When, milliseconds since the Unix epoch.
    pub at_millis: u64,
    /// What.
    pub post: String,
}

/// Notifications to come, partitioned by user.
pub const SCHEDULED: Depot<Notification> = Depot::named("*scheduled");
/// Looks for what is due.
pub const TICKS: Depot<()> = Depot::named("*ticks");
/// What waits on each task.
pub const WAITING: PState<Map<Due, Notification>> = PState::named("$$waiting").private();
/// What each user was told, oldest first.
pub const FEEDS: PState<Map<String, List<String>>> = PState::named("$$feeds");

/// What one tick takes on each task; the rest is for the next.
const DUE_MAX: u64 = 1000;

/// The module.
#[derive(Default)]
pub struct TimedNotifications {
    /// For tests: they append the ticks.
    pub ticks_by_hand: bool,
}

impl Module for TimedNotifications {
    fn define(&self, m: &mut Setup) {
        m.depot_by(SCHEDULED, |notification| &notification.user);
        match self.ticks_by_hand {
            true => drop(m.depot(TICKS, Partition::random()).global()),
            false => m.tick_depot(TICKS, Duration::from_secs(1)),
        }
        let mut s = m.stream("notifications");
        let waiting = Scheduler::declare(&mut s, WAITING);
        let feeds = s.pstate(FEEDS);
        s.source(SCHEDULED).each(move |task, notification| {
            waiting.schedule(task, notification.at_millis, notification);
        });
        s.source(TICKS).all_partition().each(move |task, ()| {
            for due in waiting.take(task, DUE_MAX) {
                feeds.key(&due.user).append(task, due.post);
            }
        });
    }
}
