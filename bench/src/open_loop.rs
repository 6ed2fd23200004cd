//! Open-loop load: requests start at fixed moments whether or not earlier ones have finished, and
//! latency counts from the intended moment.
//!
//! Relies on tokio for timers. This is what keeps coordinated omission out: a stall delays every
//! request that should have started during it, and every one of them is recorded.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::mpsc;

use crate::cluster;
use crate::report::histogram;

/// What an open-loop run brought.
pub struct Outcome {
    /// Requests answered.
    pub finished: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Latency from the intended start, nanoseconds.
    pub latencies: Histogram<u64>,
}

impl Outcome {
    /// The outcome of a run in which every request must succeed.
    ///
    /// # Errors
    /// When one failed, or none was made.
    pub fn all_well(self, what: &str) -> cluster::Outcome<Outcome> {
        let Outcome {
            finished, failed, ..
        } = self;
        match (finished, failed) {
            (1.., 0) => Ok(self),
            _ => Err(format!("{what}: {finished} requests succeeded, {failed} failed").into()),
        }
    }
}

/// Starts `per_second` requests a second for `duration`, one at least; `request(n)` makes the n-th.
pub async fn run<F, Fut>(per_second: f64, duration: Duration, request: F) -> Outcome
where
    F: Fn(u64) -> Fut,
    Fut: Future<Output = bool> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::unbounded_channel::<Duration>();
    let failed = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let total = ((per_second * duration.as_secs_f64()) as u64).max(1);
    let mut next = 0;
    while next < total {
        let due = (start.elapsed().as_secs_f64() * per_second) as u64 + 1;
        while next < due.min(total) {
            let intended = start + Duration::from_secs_f64(next as f64 / per_second);
            let (sender, failed) = (sender.clone(), failed.clone());
            let answer = request(next);
            tokio::spawn(async move {
                if answer.await {
                    // The receiver outlives every request of the run.
                    let _ = sender.send(intended.elapsed());
                } else {
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            });
            next += 1;
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    drop(sender);
    let mut latencies = histogram();
    let mut finished = 0;
    while let Some(took) = receiver.recv().await {
        latencies.saturating_record(took.as_nanos() as u64);
        finished += 1;
    }
    Outcome {
        finished,
        failed: failed.load(Ordering::Relaxed),
        latencies,
    }
}

/// Keeps `in_flight` requests going for `duration`, each of them once at least: the throughput a
/// server can give. Its latency is service time only, and the report says so.
pub async fn saturate<F, Fut>(in_flight: usize, duration: Duration, request: F) -> Outcome
where
    F: Fn(u64) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = bool> + Send + 'static,
{
    let next = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let workers: Vec<_> = (0..in_flight)
        .map(|_| {
            let (next, request) = (next.clone(), request.clone());
            tokio::spawn(async move {
                let (mut latencies, mut finished, mut failed) = (histogram(), 0, 0);
                loop {
                    let began = Instant::now();
                    if request(next.fetch_add(1, Ordering::Relaxed)).await {
                        latencies.saturating_record(began.elapsed().as_nanos() as u64);
                        finished += 1;
                    } else {
                        failed += 1;
                    }
                    if start.elapsed() >= duration {
                        break;
                    }
                }
                (latencies, finished, failed)
            })
        })
        .collect();
    let mut outcome = Outcome {
        finished: 0,
        failed: 0,
        latencies: histogram(),
    };
    for worker in workers {
        let Ok((latencies, finished, failed)) = worker.await else {
            continue;
        };
        // Histograms of equal bounds always add up.
        let _ = outcome.latencies.add(&latencies);
        outcome.finished += finished;
        outcome.failed += failed;
    }
    outcome
}
