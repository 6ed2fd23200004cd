//! A small module on an in-process cluster behind a server of its own, for tests.
//!
//! Relies on the real engine: nothing here stands in for it. Module `Demo`: depot `*lines` on one
//! partition, `*closed` which takes nothing from clients, PStates `$$counts` and `$$by_line`. The
//! line `poison` fails its event; the line `wait` holds it until [`open_gate`]; the line `big` is
//! answered with an integer that no double holds.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Condvar, Mutex, PoisonError};

use rama_runtime::{
    Cluster, Depot, InProcessCluster, Map, Module, PState, Partition, Setup, SourceOptions,
};

use crate::config::Config;
use crate::gate::Door;
use crate::routes::Limits;
use crate::server::{Server, bind};

/// Whether events of the line `wait` may go on.
static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

/// Lets every event of the line `wait` go on, those that wait and those to come.
pub(crate) fn open_gate() {
    *GATE.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
    GATE.1.notify_all();
}

fn wait_at_gate() {
    let open = GATE.0.lock().unwrap_or_else(PoisonError::into_inner);
    drop(GATE.1.wait_while(open, |open| !*open));
}

const LINES: Depot<String> = Depot::named("*lines");
const CLOSED: Depot<String> = Depot::named("*closed");
const COUNTS: PState<Map<String, u64>> = PState::named("$$counts");
const BY_LINE: PState<Map<String, Map<String, u64>>> = PState::named("$$by_line");

pub(crate) struct Demo;

impl Module for Demo {
    fn define(&self, m: &mut Setup) {
        m.depot(LINES, Partition::random()).global();
        m.depot(CLOSED, Partition::disallow());
        let mut s = m.stream("count");
        let (counts, by_line) = (s.pstate(COUNTS), s.pstate(BY_LINE));
        let give_up_at_once = SourceOptions::new().retries(0).then_dead_letter();
        s.source_with(LINES, give_up_at_once)
            .inspect(|task, line: &String| match line.as_str() {
                "poison" => task.fail("no such word"),
                "wait" => wait_at_gate(),
                _ => {}
            })
            .ack_return(|_, line| match line.as_str() {
                "big" => 9_007_199_254_740_993,
                line => line.split(' ').count() as u64,
            })
            .flat_map(|_, line: String| {
                let words = line.split(' ').map(str::to_owned).collect::<Vec<_>>();
                words.into_iter().map(move |word| (line.clone(), word))
            })
            .hash_partition(|(_, word)| word)
            .each(move |task, (line, word)| {
                counts.key(&word).update(task, |n| n.unwrap_or(0) + 1);
                by_line.key(&word).key(&line).set(task, 1);
            });
    }
}

/// A cluster that runs [`Demo`].
pub(crate) async fn cluster() -> InProcessCluster {
    let cluster = InProcessCluster::new(2, 1).expect("this machine runs clusters");
    cluster.launch(Demo).await.expect("the module is sound");
    cluster
}

/// A server of `cluster` on a port of its own.
pub(crate) async fn serve(cluster: &Cluster, limits: Limits) -> Server {
    let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let listener = bind(host, 0, 1).await.expect("any port is free");
    Server::start(listener, cluster.clone(), limits, Door::Open).expect("it listens")
}

/// The limits of a server that nobody configured.
pub(crate) fn limits() -> Limits {
    Config::default().http.limits()
}
