//! Appends to `WordCount` at a steady rate, whatever becomes of them, and sessions that look at their
//! own work.
//!
//! Relies on every line being told apart by its last word. Every line begins with a word that all lines
//! have, so that one counter counts them all. What must stay true: nothing is ever appended twice by
//! the load itself; an append is recorded before it is sent and its end is recorded when it is known;
//! the typed client's appends are sent in the order in which they are recorded.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rama_runtime::{AckLevel, ModuleClient};
use rama_tests::history::depot::Place;
use rama_tests::history::session::Step;
use rama_tests::history::{Clock, Outcome, Recorder};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use word_count::{COUNTS, EXACT_COUNTS, LINES};

use crate::asker::{Asker, Refusals, Trouble};
use crate::figures::Figures;

/// In every line.
pub const ALL: &str = "all";

/// Between two appends; two cores carry the whole cluster and the test.
const EVERY: Duration = Duration::from_millis(10);
/// Between two steps of a session.
const SESSION_PAUSE: Duration = Duration::from_millis(40);
/// How long one request over HTTP may take.
const HTTP_PATIENCE: Duration = Duration::from_secs(60);

/// The typed client of the load; processes above it are sessions.
pub const TYPED: u32 = 1;
/// Requests over HTTP, which have no order among themselves.
pub const HTTP: u32 = 0;
const SESSIONS: u32 = 4;

const APPEND: &str = "/rest/WordCount/depot/lines/append";
const COUNT: &str = "/rest/WordCount/pstate/counts/selectOne";

/// Everything that clients did.
pub struct Histories {
    /// Appends of lines.
    pub appends: Recorder<String, Option<Place>>,
    /// Reads of the counter of all lines.
    pub reads: Recorder<(), u64>,
    /// Sessions.
    pub steps: Recorder<Step, u64>,
    last: AtomicU64,
}

impl Histories {
    fn new() -> Histories {
        let clock = Clock::default();
        Histories {
            appends: Recorder::new(&clock),
            reads: Recorder::new(&clock),
            steps: Recorder::new(&clock),
            last: AtomicU64::new(0),
        }
    }

    /// A line that no other is like, with a word of one's own.
    pub fn line(&self, word: &str) -> String {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        format!("{ALL} {word} x{}", letters(number))
    }
}

/// A number as a word.
fn letters(mut number: u64) -> String {
    let mut word = String::new();
    loop {
        word.push(char::from(b'a' + (number % 26) as u8));
        number /= 26;
        if number == 0 {
            return word;
        }
    }
}

/// One who appends and reads.
#[derive(Clone)]
pub struct Client {
    /// A typed client.
    pub module: ModuleClient,
    /// Requests over HTTP.
    pub asker: Asker,
    /// Of whom.
    pub supervisors: Vec<SocketAddr>,
    /// What was answered.
    pub refusals: Refusals,
}

impl Client {
    /// Appends a line, typed. It is sent when this returns.
    fn typed(
        &self,
        line: &String,
        ack: AckLevel,
    ) -> impl Future<Output = Outcome<Option<Place>>> + Send + use<> {
        let sent = self.module.depot(LINES).append_with(line, ack);
        let refusals = self.refusals.clone();
        async move {
            match sent.await {
                Ok(appended) => Outcome::Ok(appended.offset.map(|offset| Place {
                    partition: appended.partition,
                    offset,
                })),
                Err(error) => refusals.note(Trouble::from(&error)),
            }
        }
    }

    /// Appends a line over HTTP, at a supervisor.
    async fn http(&self, at: usize, line: &str, ack: &str) -> Outcome<Option<Place>> {
        let body = json!({"data": line, "ackLevel": ack});
        match self.post(at, APPEND, &body).await {
            Ok((headers, _)) => {
                let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
                let partition = number("rama-partition").and_then(|it| u32::try_from(it).ok());
                let place = partition.zip(number("rama-offset"));
                Outcome::Ok(place.map(|(partition, offset)| Place { partition, offset }))
            }
            Err(trouble) => self.refusals.note(trouble),
        }
    }

    async fn post(
        &self,
        at: usize,
        path: &str,
        body: &Value,
    ) -> Result<(axum::http::HeaderMap, Value), Trouble> {
        let body = body.to_string().into_bytes();
        let all = self.supervisors.len();
        let mut answer = Err(Trouble::Failed("there is no supervisor".to_owned()));
        for at in at..at + all {
            let (address, body) = (self.supervisors[at % all], body.clone());
            let asked = self.asker.ask(address, ("POST", path), body, HTTP_PATIENCE);
            answer = asked.await;
            // Where no worker of the module runs nothing was done; another one has it.
            match &answer {
                Err(Trouble::Failed(text)) if text.contains(r#""code":"elsewhere""#) => {}
                _ => break,
            }
        }
        answer
    }

    /// What the stream counted of a word.
    async fn counted(&self, by_http: bool, at: usize, word: &str) -> Option<u64> {
        if by_http {
            let (_, count) = self.post(at, COUNT, &json!([word])).await.ok()?;
            return Some(count.as_u64().unwrap_or(0));
        }
        let count = self
            .module
            .pstate(COUNTS)
            .select_one(COUNTS.key(word))
            .await;
        count.ok().map(Option::unwrap_or_default)
    }
}

/// A load that runs.
pub struct Load {
    /// What it does.
    pub histories: Arc<Histories>,
    stop: watch::Sender<bool>,
    loops: JoinSet<()>,
}

impl Load {
    /// Starts it, on the current runtime.
    pub fn start(client: &Client, figures: &Arc<Figures>) -> Load {
        let histories = Arc::new(Histories::new());
        let (stop, stopped) = watch::channel(false);
        let mut loops = JoinSet::new();
        let (of, at) = (client.clone(), histories.clone());
        loops.spawn(steady(of, at, figures.clone(), stopped.clone()));
        loops.spawn(counter(
            client.module.clone(),
            histories.clone(),
            stopped.clone(),
        ));
        for number in 0..SESSIONS {
            let (of, at) = (client.clone(), histories.clone());
            loops.spawn(session(of, at, number, stopped.clone()));
        }
        Load {
            histories,
            stop,
            loops,
        }
    }

    /// Whether one append of each kind is acknowledged now.
    pub async fn is_served(&self, client: &Client) -> bool {
        let appends = &self.histories.appends;
        let mut under_way = JoinSet::new();
        for at in 0..client.supervisors.len() {
            for ack in ["ack", "appendAck"] {
                let line = self.histories.line("probe");
                let (client, appends) = (client.clone(), appends.clone());
                under_way.spawn(async move {
                    let called = appends.call(HTTP, line.clone());
                    let outcome = client.http(at, &line, ack).await;
                    appends.returned(called, outcome);
                    matches!(outcome, Outcome::Ok(_))
                });
            }
        }
        // More than there are partitions.
        for number in 0..16 {
            let line = self.histories.line("probe");
            let ack = [AckLevel::Ack, AckLevel::AppendAck][number % 2];
            let (client, appends) = (client.clone(), appends.clone());
            under_way.spawn(async move {
                let called = appends.call(HTTP, line.clone());
                let outcome = client.typed(&line, ack).await;
                appends.returned(called, outcome);
                matches!(outcome, Outcome::Ok(_))
            });
        }
        under_way.join_all().await.into_iter().all(|served| served)
    }

    /// Ends it, and waits for what is on its way.
    pub async fn stop(mut self) -> Arc<Histories> {
        self.stop.send_replace(true);
        while let Some(ended) = self.loops.join_next().await {
            ended.expect("a loop ends well");
        }
        self.histories
    }
}

/// Appends in turn typed and over HTTP, acknowledged and only durable.
async fn steady(
    client: Client,
    histories: Arc<Histories>,
    figures: Arc<Figures>,
    stopped: watch::Receiver<bool>,
) {
    let mut under_way = JoinSet::new();
    let mut every = tokio::time::interval(EVERY);
    let mut number = 0;
    while !*stopped.borrow() {
        let due_at: Instant = every.tick().await.into();
        let (due, line) = (figures.due(), histories.line("load"));
        let (figures, appends) = (figures.clone(), histories.appends.clone());
        let record = move |called, outcome| {
            figures.append(due, &outcome, due_at.elapsed());
            appends.returned(called, outcome);
        };
        let acks = ["ack", "appendAck"];
        let (by_http, ack) = (number % 2 == 1, (number / 2) % 2);
        if by_http {
            let client = client.clone();
            let called = histories.appends.call(HTTP, line.clone());
            under_way.spawn(async move {
                let outcome = client.http(number / 4, &line, acks[ack]).await;
                record(called, outcome);
            });
        } else {
            let called = histories.appends.call(TYPED, line.clone());
            let sent = client.typed(&line, [AckLevel::Ack, AckLevel::AppendAck][ack]);
            under_way.spawn(async move { record(called, sent.await) });
        }
        number += 1;
        while under_way.try_join_next().is_some() {}
    }
    under_way.join_all().await;
}

/// Reads the exact counter of all lines, again and again.
async fn counter(module: ModuleClient, histories: Arc<Histories>, stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        let called = histories.reads.call(0, ());
        let read = module
            .pstate(EXACT_COUNTS)
            .select_one(EXACT_COUNTS.key(ALL))
            .await;
        let outcome = match read {
            Ok(count) => Outcome::Ok(count.unwrap_or_default()),
            Err(_) => Outcome::Unknown,
        };
        histories.reads.returned(called, outcome);
        tokio::time::sleep(SESSION_PAUSE).await;
    }
}

/// Appends a line with a word of its own, waits until it is processed, reads the word's count. Every
/// second session does it over HTTP.
async fn session(
    client: Client,
    histories: Arc<Histories>,
    number: u32,
    stopped: watch::Receiver<bool>,
) {
    let (word, by_http) = (format!("s{}", letters(number.into())), number % 2 == 1);
    let process = TYPED + 1 + number;
    let mut at = number as usize;
    while !*stopped.borrow() {
        at += 1;
        let line = histories.line(&word);
        let appended = histories.appends.call(process, line.clone());
        let step = histories.steps.call(process, Step::Write);
        let outcome = match by_http {
            true => client.http(at, &line, "ack").await,
            false => client.typed(&line, AckLevel::Ack).await,
        };
        histories.appends.returned(appended, outcome);
        histories.steps.returned(
            step,
            match outcome {
                Outcome::Ok(_) => Outcome::Ok(0),
                Outcome::Failed => Outcome::Failed,
                Outcome::Unknown => Outcome::Unknown,
            },
        );
        let step = histories.steps.call(process, Step::Read);
        let count = client.counted(by_http, at, &word).await;
        histories
            .steps
            .returned(step, count.map_or(Outcome::Unknown, Outcome::Ok));
        tokio::time::sleep(SESSION_PAUSE).await;
    }
}
