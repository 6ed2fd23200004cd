//! `fan-out`: social timelines. What somebody writes goes to the home timelines of all followers.
//!
//! Relies on `graph` for who follows whom, on `module` for the work and on `tracker` for when a
//! post has reached its last follower. Every latency of a post counts from the moment at which it
//! should have been appended until all its followers can read it. After the run each timeline is
//! compared with that of a loop over memory, whose speed is the limit of one core that figures are
//! held against.

mod graph;
mod module;
mod naive;
#[cfg(test)]
mod tests;
mod timelines;
mod tracker;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::BoxFuture;
use rama::prelude::*;
use rama_wire::hash;

use crate::cluster::{self, Outcome};
use crate::environment::CpuMeter;
use crate::open_loop;
use crate::report::Row;

use graph::Graph;
use module::{CHUNK, DIGESTS, LOADS, Load, PAGE, POSTS, PROGRESS, Post, Social, TIMELINE};
use naive::Naive;
use tracker::Tracker;

pub use timelines::Layout;

const SEED: u64 = 20_260_815;
/// Posts in flight of the closed loop.
const IN_FLIGHT: usize = 512;
/// Readers of the closed loop.
const READERS: usize = 16;
/// Pages a second of the open loop.
const PAGES_PER_SECOND: f64 = 500.0;
/// Which part of what the closed loop delivers small authors write in the open one.
const SMALL_SHARE: f64 = 0.25;
const TEXT: &str = "What happens when a hundred and forty characters are written by somebody whom \
                    very many people follow?";
/// Nobody waits longer for a post.
const PATIENCE: Duration = Duration::from_secs(60);

/// Fewer users cannot have so many followers as [`Shape::MEAN`].
pub const USERS_MIN: i64 = 4_000;

/// What is measured.
#[derive(Clone, Copy)]
pub struct Shape {
    /// How many users there are.
    pub users: u32,
    /// How many followers they have on the average.
    pub mean: f64,
    /// How timelines lie in PStates.
    pub layout: Layout,
}

impl Shape {
    /// As many followers as the network has whose figures are public.
    pub const MEAN: f64 = 403.0;
}

/// What load is made of.
#[derive(Clone)]
struct Bench {
    graph: Arc<Graph>,
    tracker: Tracker,
    cluster: Cluster,
}

/// Measures deliveries on a fresh cluster under `dir`.
pub fn measure(dir: &Path, seconds: f64, shape: Shape) -> Outcome<Vec<Row>> {
    let (server, _scratch) = cluster::start(dir, 2)?;
    let runtime = cluster::clients()?;
    let graph = Arc::new(Graph::build(shape.users, shape.mean, SEED));
    runtime.block_on(async {
        let layout = shape.layout;
        server.launch(Social { layout }).await?;
        let cluster = server.cluster();
        let tasks = cluster.depot(LOADS).partitions()?;
        load(&server, &graph, tasks).await?;
        let tracker = Tracker::new(tasks);
        let bench = Bench {
            graph,
            tracker,
            cluster,
        };
        let watching = bench.tracker.watch(&bench.cluster);
        let run = Duration::from_secs_f64(seconds);
        let title = format!(
            "fan-out: {} users, mean {:.0}, greatest {}, seed {SEED}, {layout:?}",
            shape.users,
            shape.mean,
            bench.graph.followers(0).len()
        );
        let (mut rows, per_second) = bench.saturated(&title, run).await?;
        rows.extend(bench.beside_reads(run).await?);
        rows.extend(bench.fairness(per_second * SMALL_SHARE, run).await?);
        let naive = bench.check(tasks).await?;
        for task in watching {
            task.abort();
        }
        let limit = naive.writes as f64 / naive.seconds.max(1e-9);
        server.shutdown().await?;
        let rows = rows
            .into_iter()
            .map(|row| match row.name.contains("writes") {
                true => {
                    let ratio = row.per_second / limit;
                    row.ratio(
                        ratio,
                        format!("a loop over memory on one core: {limit:.0}/s"),
                    )
                }
                false => row,
            });
        Ok(rows.collect())
    })
}

/// Followers to where they are at home, and full timelines for everybody.
async fn load(server: &InProcessCluster, graph: &Graph, tasks: u32) -> Outcome<()> {
    const CALL: usize = 64;
    let mut loads = Vec::new();
    let home = |user: u32| hash::task_of(&user.key_bytes(), tasks) as usize;
    let by_home = |users: &mut dyn Iterator<Item = u32>| {
        let mut homes = vec![Vec::new(); tasks as usize];
        users.for_each(|user| homes[home(user)].push(user));
        (0..tasks).zip(homes)
    };
    for (task, users) in by_home(&mut (0..graph.users())) {
        for users in users.chunks(CHUNK) {
            let users = users.to_vec();
            loads.push(Load::Users { task, users });
        }
    }
    for author in 0..graph.users() {
        for (task, followers) in by_home(&mut graph.followers(author).iter().copied()) {
            for (chunk, followers) in (0..).zip(followers.chunks(CHUNK)) {
                let followers = followers.to_vec();
                loads.push(Load::Followers {
                    task,
                    author,
                    chunk,
                    followers,
                });
            }
        }
    }
    let depot = server.cluster().depot(LOADS);
    for some in loads.chunks(CALL) {
        depot.append_many(some, AckLevel::AppendAck).await?;
    }
    let count = loads.len() as u64;
    server
        .wait_for_processed("Social", "fan-out", count)
        .await?;
    Ok(())
}

/// Who writes.
#[derive(Clone, Copy)]
enum Authors {
    /// Anybody, as often as people do.
    All,
    /// Those with no more followers than the mean.
    Small,
    /// Those with the most followers.
    Giants,
}

impl Bench {
    /// Appends a post and waits until its last follower has it.
    fn posts(
        &self,
        authors: Authors,
    ) -> impl Fn(u64) -> BoxFuture<'static, bool> + Clone + Send + Sync + 'static + use<> {
        let (graph, tracker) = (self.graph.clone(), self.tracker.clone());
        let depot = self.cluster.depot(POSTS);
        move |nth| {
            let mut rng = Rng::with_seed(SEED ^ nth.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let author = match authors {
                Authors::All => graph.author(&mut rng),
                Authors::Small => graph.small_author(&mut rng),
                Authors::Giants => (nth % 8) as u32,
            };
            let (number, everywhere) = tracker.publish(author);
            let text = TEXT.to_owned();
            let post = Post {
                author,
                number,
                text,
            };
            let appended = depot.append_with(&post, AckLevel::AppendAck);
            Box::pin(async move {
                let everywhere = tokio::time::timeout(PATIENCE, everywhere);
                appended.await.is_ok() && matches!(everywhere.await, Ok(Ok(())))
            })
        }
    }

    /// Reads a page of somebody's timeline, which must be full.
    fn pages(
        &self,
    ) -> impl Fn(u64) -> BoxFuture<'static, bool> + Clone + Send + Sync + 'static + use<> {
        let (query, users) = (self.cluster.query(TIMELINE), self.graph.users());
        move |nth| {
            let user = nth.wrapping_mul(0x9E37_79B9_7F4A_7C15) % u64::from(users);
            let answer = query.invoke(user as u32);
            Box::pin(async move { answer.await.is_ok_and(|page| page.len() == PAGE) })
        }
    }

    /// Posts put into timelines so far.
    async fn writes(&self) -> Outcome<u64> {
        let mut writes = 0;
        for key in rama::helpers::keys_for_tasks(self.cluster.depot(LOADS).partitions()?) {
            let path = PROGRESS.routed_by(&key);
            let progress = self.cluster.pstate(PROGRESS).select(path).await?;
            writes += progress.unwrap_or_default().writes;
        }
        Ok(writes)
    }

    /// As many posts as go, and nothing else. Also: posts a second.
    async fn saturated(&self, title: &str, run: Duration) -> Outcome<(Vec<Row>, f64)> {
        const ENTRY_BYTES: u64 = 12;
        let (before, bytes) = (self.writes().await?, cluster::device_bytes_written());
        let meter = CpuMeter::start();
        let posts = open_loop::saturate(IN_FLIGHT, run, self.posts(Authors::All)).await;
        let cpu = meter.stop();
        let posts = posts.all_well("posts")?;
        let writes = self.writes().await? - before;
        let per_second = posts.finished as f64 / cpu.seconds;
        let name =
            format!("{title}: timeline writes of {per_second:.0} posts/s, {IN_FLIGHT} in flight");
        let payload = writes * ENTRY_BYTES;
        let row = Row::new(name, writes, cpu)
            .latency(&posts.latencies)
            .payload(payload)
            .written(cluster::device_bytes_written() - bytes, payload);
        Ok((vec![row], per_second))
    }

    /// The same while timelines are read as fast as they can be.
    async fn beside_reads(&self, run: Duration) -> Outcome<Vec<Row>> {
        let before = self.writes().await?;
        let meter = CpuMeter::start();
        let (posts, pages) = tokio::join!(
            open_loop::saturate(IN_FLIGHT, run, self.posts(Authors::All)),
            open_loop::saturate(READERS, run, self.pages())
        );
        let cpu = meter.stop();
        let (posts, pages) = (posts.all_well("posts")?, pages.all_well("pages")?);
        let writes = self.writes().await? - before;
        let posts_name = format!("fan-out: timeline writes beside {READERS} readers");
        let pages_name = format!("fan-out: pages of {PAGE} statuses read by {READERS} beside that");
        Ok(vec![
            Row::new(posts_name, writes, cpu).latency(&posts.latencies),
            Row::new(pages_name, pages.finished, cpu).latency(&pages.latencies),
        ])
    }

    /// How long small authors wait, first by themselves, then while a giant's posts are on their
    /// way.
    async fn fairness(&self, per_second: f64, run: Duration) -> Outcome<Vec<Row>> {
        let small = || open_loop::run(per_second, run, self.posts(Authors::Small));
        let meter = CpuMeter::start();
        let alone = small().await;
        let cpu = meter.stop();
        let alone = alone.all_well("posts")?;
        let name = format!("fan-out: small authors alone, open loop at {per_second:.0}/s");
        let mut rows = vec![Row::new(name, alone.finished, cpu).latency(&alone.latencies)];
        let meter = CpuMeter::start();
        let (beside, giants, pages) = tokio::join!(
            small(),
            open_loop::saturate(1, run, self.posts(Authors::Giants)),
            open_loop::run(PAGES_PER_SECOND, run, self.pages())
        );
        let cpu = meter.stop();
        for (name, outcome) in [
            (
                format!("fan-out: small authors beside a giant, open loop at {per_second:.0}/s"),
                beside,
            ),
            (
                "fan-out: the giant's posts, one after the other".to_owned(),
                giants,
            ),
            (
                format!("fan-out: pages read meanwhile, open loop at {PAGES_PER_SECOND:.0}/s"),
                pages,
            ),
        ] {
            let outcome = outcome.all_well(&name)?;
            rows.push(Row::new(name, outcome.finished, cpu).latency(&outcome.latencies));
        }
        Ok(rows)
    }

    /// Compares every timeline with that of a loop over memory.
    async fn check(&self, tasks: u32) -> Outcome<Naive> {
        const USERS: u32 = 500;
        let authors = self.tracker.authors()?;
        let mut naive = Naive::deliver(&self.graph, &authors);
        let (writes, expected) = (self.writes().await?, naive.writes);
        if writes != expected {
            let text = format!("{writes} posts were put into timelines, {expected} must be");
            return Err(text.into());
        }
        let query = self.cluster.query(DIGESTS);
        for from in (0..self.graph.users()).step_by(USERS as usize) {
            let to = (from + USERS).min(self.graph.users());
            for digest in query.invoke((from, to)).await? {
                naive.check(digest)?;
            }
        }
        naive.check_all_seen()?;
        for task in 0..tasks {
            let info = self
                .cluster
                .depot(module::FINISHED)
                .partition_info(task)
                .await?;
            if info.end != authors.len() as u64 {
                let (found, posts) = (info.end, authors.len());
                return Err(format!("task {task} noted {found} posts of {posts}").into());
            }
        }
        Ok(naive)
    }
}
