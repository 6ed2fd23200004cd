//! Sleeping in virtual time, for whoever is not on an executor of the simulation.
//!
//! Relies on a loop beside the test that serves the sleepers. What must stay true: a sleep costs the
//! simulation the same decisions wherever it is asked for.

use std::convert::Infallible;
use std::time::Duration;

use futures_channel::{mpsc, oneshot};
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, Either, select};
use futures_util::stream::FuturesUnordered;
use rama_io::sim::Sim;

use crate::host::Timer;

pub(super) type Alarm = (Duration, oneshot::Sender<()>);

/// Sleeps in virtual time, from anywhere.
pub(super) struct SimTimer(mpsc::UnboundedSender<Alarm>);

/// Runs beside the test, never ends.
pub(super) async fn serve_timers(
    sim: Sim,
    mut requests: mpsc::UnboundedReceiver<Alarm>,
) -> Infallible {
    let mut sleeping = FuturesUnordered::new();
    loop {
        let request = match select(requests.next(), sleeping.next()).await {
            Either::Left((request, _)) => request,
            Either::Right((Some(()), _)) => continue,
            Either::Right((None, requests)) => requests.await,
        };
        let Some((duration, done)) = request else {
            return std::future::pending().await;
        };
        let sleep = sim.sleep(duration);
        sleeping.push(async move {
            sleep.await;
            let _ = done.send(());
        });
    }
}

impl SimTimer {
    /// A timer, and what is asked of it.
    pub(super) fn new() -> (SimTimer, mpsc::UnboundedReceiver<Alarm>) {
        let (requests, alarms) = mpsc::unbounded();
        (SimTimer(requests), alarms)
    }
}

impl Timer for SimTimer {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (done, slept) = oneshot::channel();
        let _ = self.0.unbounded_send((duration, done));
        Box::pin(async move {
            let _ = slept.await;
        })
    }
}
