//! Knows which posts are out, and tells when each has reached its last follower.
//!
//! Relies on the depot in which tasks note the posts they have finished with, which is read
//! whenever a proxy tells that it has grown: with the microbatch that wrote the timelines, not
//! before. What must stay true: a post that is noted twice by a task, or that nobody wrote, is told
//! as wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rama::helpers::keys_for_tasks;
use rama::prelude::*;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::module::{FINISHED, PROGRESS};
use super::timelines::LONGEST;
use crate::cluster::Outcome;

/// Posts before these are in timelines from the beginning.
const FIRST: u64 = LONGEST as u64;

/// The posts of a run.
#[derive(Clone)]
pub struct Tracker {
    tasks: u32,
    posts: Arc<Mutex<Posts>>,
}

#[derive(Default)]
struct Posts {
    /// Of each post, in the order of their numbers.
    authors: Vec<u32>,
    /// For each post that is out: the tasks it has finished on, and whom to tell.
    out: BTreeMap<u64, (Vec<u32>, oneshot::Sender<()>)>,
    wrong: Option<String>,
}

impl Tracker {
    /// A tracker of posts on so many tasks.
    pub fn new(tasks: u32) -> Tracker {
        Tracker {
            tasks,
            posts: Arc::default(),
        }
    }

    fn posts(&self) -> MutexGuard<'_, Posts> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a post its number; the receiver is told when all its followers have it.
    pub fn publish(&self, author: u32) -> (u64, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        let mut posts = self.posts();
        let number = FIRST + posts.authors.len() as u64;
        posts.authors.push(author);
        // Once something was wrong nobody waits any more.
        if posts.wrong.is_none() {
            posts.out.insert(number, (Vec::new(), sender));
        }
        (number, receiver)
    }

    /// Ends the waiting of everybody.
    fn wrong(&self, what: String) {
        let mut posts = self.posts();
        posts.wrong.get_or_insert(what);
        posts.out.clear();
    }

    /// A task has finished with a post.
    pub fn finished(&self, task: u32, number: u64) {
        let mut posts = self.posts();
        let Some((tasks, _)) = posts.out.get_mut(&number) else {
            drop(posts);
            let text = format!("task {task} has finished with post {number}, which is not out");
            return self.wrong(text);
        };
        if tasks.contains(&task) {
            drop(posts);
            return self.wrong(format!("task {task} has finished with post {number} twice"));
        }
        tasks.push(task);
        if tasks.len() == self.tasks as usize
            && let Some((_, told)) = posts.out.remove(&number)
        {
            // Whoever asked may have gone.
            let _ = told.send(());
        }
    }

    /// The authors of all posts, in the order of their numbers, from [`FIRST`] on.
    ///
    /// # Errors
    /// When something was wrong, or a post is still out.
    pub fn authors(&self) -> Outcome<Vec<u32>> {
        let posts = self.posts();
        if let Some(wrong) = &posts.wrong {
            return Err(wrong.clone().into());
        }
        if let Some(number) = posts.out.keys().next() {
            return Err(format!("post {number} has not reached all its followers").into());
        }
        Ok(posts.authors.clone())
    }

    /// Follows every task; ends with the module or when aborted.
    pub fn watch(&self, cluster: &Cluster) -> Vec<JoinHandle<()>> {
        let keys = keys_for_tasks(self.tasks);
        let watch = |(task, key)| {
            let (tracker, cluster) = (self.clone(), cluster.clone());
            tokio::spawn(async move {
                if let Err(error) = tracker.follow(&cluster, task, key).await {
                    tracker.wrong(format!("could not follow task {task}: {error}"));
                }
            })
        };
        (0..self.tasks).zip(keys).map(watch).collect()
    }

    async fn follow(&self, cluster: &Cluster, task: u32, key: String) -> rama::Result<()> {
        let path = PROGRESS.routed_by(&key);
        let mut progress = cluster.pstate(PROGRESS).proxy(path).await?;
        let depot = cluster.depot(FINISHED);
        let mut at = 0;
        loop {
            let end = progress.get().map_or(0, |progress| progress.finished);
            while at < end {
                let numbers = depot.read(task, at..end).await?;
                at += numbers.len() as u64;
                for number in numbers {
                    self.finished(task, number);
                }
            }
            if progress.next().await.is_none() {
                return Ok(());
            }
        }
    }
}

/// The number of the first post of a run; the next follow.
pub fn numbered(authors: &[u32]) -> impl Iterator<Item = (u64, u32)> + '_ {
    (FIRST..).zip(authors.iter().copied())
}
