//! The same deliveries in one loop over memory: what one core can do at most, and what must be in
//! the timelines afterwards.
//!
//! Relies on the posts of the run in the order of their numbers. What must stay true: it shares no
//! code with the module but the digest of a timeline.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::graph::Graph;
use super::module::{Digest, first_timeline};
use super::timelines::{Entry, LONGEST};
use super::tracker::numbered;
use crate::cluster::Outcome;

/// Timelines as they must be, by user.
pub struct Naive {
    timelines: HashMap<u32, VecDeque<Entry>>,
    /// Posts put into timelines.
    pub writes: u64,
    /// How long that took.
    pub seconds: f64,
}

impl Naive {
    /// Delivers all posts of `authors`.
    pub fn deliver(graph: &Graph, authors: &[u32]) -> Naive {
        let first = |user| (user, VecDeque::from(first_timeline(user)));
        let mut timelines: HashMap<_, _> = (0..graph.users()).map(first).collect();
        let mut writes = 0;
        let began = Instant::now();
        for (number, author) in numbered(authors) {
            for user in graph.followers(author) {
                let timeline = timelines.entry(*user).or_default();
                if timeline.len() == LONGEST {
                    timeline.pop_front();
                }
                timeline.push_back((author, number));
                writes += 1;
            }
        }
        Naive {
            timelines,
            writes,
            seconds: began.elapsed().as_secs_f64(),
        }
    }

    /// Compares a timeline with what must be there.
    ///
    /// # Errors
    /// With the difference.
    pub fn check(&mut self, found: Digest) -> Outcome<()> {
        let user = found.user;
        let timeline = self.timelines.remove(&user);
        let timeline = timeline.ok_or_else(|| format!("timeline {user} was found twice"))?;
        let mut expected = Digest::of(user, timeline.into());
        if expected.new == LONGEST as u64 {
            // Posts arrive in any order, so which of more than fit are the last is not said.
            expected.sum = found.sum;
        }
        match found == expected {
            true => Ok(()),
            false => Err(format!("timeline {user} is {found:?}, it must be {expected:?}").into()),
        }
    }

    /// That every timeline was compared.
    ///
    /// # Errors
    /// With a user whose timeline was not.
    pub fn check_all_seen(&self) -> Outcome<()> {
        match self.timelines.keys().min() {
            None => Ok(()),
            Some(user) => Err(format!("timeline {user} was not found").into()),
        }
    }
}
