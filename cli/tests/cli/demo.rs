//! A development server inside the test: a real cluster with a module that can be made to fail.
//!
//! Relies on `Hosting`, which is what `rama dev` runs. Module `Demo`: depot `*lines` on one
//! partition, `*closed` which takes nothing from clients, query `times` of a word, PStates `$$counts` and `$$last` (word to
//! the last line that had it: the same however often a line is processed). The line `poison` fails its event and becomes a dead letter at once; the line `wait` holds it until the server ends.

use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use rama::prelude::*;
use rama_gateway::config::Config;
use rama_gateway::dev::Hosting;
use tokio::sync::oneshot;

use crate::command::directory;

const LINES: Depot<String> = Depot::named("*lines");
const CLOSED: Depot<String> = Depot::named("*closed");
const COUNTS: PState<Map<String, u64>> = PState::named("$$counts");
const LAST: PState<Map<String, String>> = PState::named("$$last");

const TIMES: Query<String, u64> = Query::named("times");

#[derive(Clone, Default)]
struct Demo {
    ended: Arc<(Mutex<bool>, Condvar)>,
}

impl Demo {
    fn wait_for_end(&self) {
        let ended = self.ended.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.ended.1.wait_while(ended, |ended| !*ended));
    }

    fn end(&self) {
        *self.ended.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ended.1.notify_all();
    }
}

impl Module for Demo {
    fn define(&self, m: &mut Setup) {
        m.depot(LINES, Partition::random()).global();
        m.depot(CLOSED, Partition::disallow());
        let mut s = m.stream("count");
        let (counts, last) = (s.pstate(COUNTS), s.pstate(LAST));
        let demo = self.clone();
        s.source_with(LINES, SourceOptions::new().retries(0).then_dead_letter())
            .inspect(move |task, line: &String| match line.as_str() {
                "poison" => task.fail("no such word"),
                "wait" => demo.wait_for_end(),
                _ => {}
            })
            .ack_return(|_, line| line.split(' ').count() as u64)
            .flat_map(|_, line: String| {
                let words = line.split(' ').map(str::to_owned).collect::<Vec<_>>();
                words.into_iter().map(move |word| (line.clone(), word))
            })
            .hash_partition(|(_, word)| word)
            .each(move |task, (line, word)| {
                counts.key(&word).update(task, |n| n.unwrap_or(0) + 1);
                last.key(&word).set(task, line);
            });
        m.query(TIMES, |q| {
            q.hash_partition(|word| word)
                .map(move |task, word| counts.key(&word).get(task).unwrap_or(0))
                .origin_partition()
        });
    }
}

/// A server, until it is dropped.
pub struct Server {
    pub url: String,
    /// The cluster's identity, which differs from run to run.
    pub cluster: String,
    demo: Demo,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts a server of its own on a port of its own.
pub fn server() -> Server {
    server_with(|_| {})
}

/// The same with other settings.
pub fn server_with(change: impl FnOnce(&mut Config)) -> Server {
    let dir = directory();
    let mut config = Config::default();
    config.cluster.data_dir = dir.path().join("data");
    (config.cluster.tasks, config.cluster.threads) = (2, 1);
    config.http.port = 0;
    change(&mut config);
    let demo = Demo::default();
    let module = demo.clone();
    let (ready, started) = mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        let runtime = rama_gateway::dev::runtime(1).expect("a runtime");
        runtime.block_on(async {
            let hosting = Hosting::start(config, module).await.expect("a server");
            let cluster = hosting.cluster().status().cluster;
            let facts = (hosting.url().to_owned(), cluster);
            ready.send(facts).expect("the test waits");
            // The sender is dropped when the test fails, which is an end too.
            let _ = stopped.await;
            hosting.close().await.expect("a clean end");
        });
        drop(dir);
    });
    let (url, cluster) = started.recv().expect("the server started");
    Server {
        url,
        cluster,
        demo,
        stop: Some(stop),
        thread: Some(thread),
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.demo.end();
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "a clean end");
        }
    }
}
