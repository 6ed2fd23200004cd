//! The members of an etcd, and a call that survives the loss of one.
//!
//! Relies on one connection per member: the client's own balancer keeps sending a third of all
//! calls to a member that is down. What must stay true: all calls go to one member until it fails,
//! then to the next; a failed connection is thrown away, and its successor reads the certificates
//! again and checks the release; every call ends within its time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{Client, Error as ApiError, KvClient, WatchClient};
use tokio::time::{Instant, sleep, timeout_at};

use super::config::EtcdConfig;
use super::failure::{Failure, Final, Given, Repeat, classify};
use super::version;
use crate::error::Error;
use crate::limits::TXN_BYTES_MAX;

/// Pauses between rounds over all members: each twice the one before.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(400);
/// Largest answer that is taken: a page of a listing, or a thousand revisions of a watch.
const ANSWER_BYTES_MAX: usize = 64 << 20;

const _: () = assert!(ANSWER_BYTES_MAX > 2 * TXN_BYTES_MAX);

/// The members, one of which is asked.
pub struct Members {
    config: EtcdConfig,
    connections: Vec<Mutex<Option<Connection>>>,
    /// How often the asked member has changed; modulo their number, which one it is.
    turn: AtomicUsize,
}

#[derive(Clone)]
struct Connection {
    client: Client,
    /// Told apart from its successors.
    turn: usize,
}

/// Pauses that grow.
pub struct Pause(Duration);

impl Pause {
    /// The shortest.
    pub fn new() -> Pause {
        Pause(PAUSE_FIRST)
    }

    /// Waits, longer each time.
    pub async fn wait(&mut self) {
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(PAUSE_MAX);
    }
}

/// For reading and writing keys.
pub fn kv(client: &Client) -> KvClient {
    client
        .kv_client()
        .max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// For watching keys.
pub fn watching(client: &Client) -> WatchClient {
    client
        .watch_client()
        .max_decoding_message_size(ANSWER_BYTES_MAX)
}

impl Members {
    /// Connects to nobody yet.
    pub fn new(config: EtcdConfig) -> Members {
        let connections = config.endpoints.iter().map(|_| Mutex::new(None));
        Members {
            connections: connections.collect(),
            config,
            turn: AtomicUsize::new(0),
        }
    }

    /// The settings.
    pub fn config(&self) -> &EtcdConfig {
        &self.config
    }

    /// Where they are.
    pub fn target(&self) -> String {
        self.config.endpoints.join(", ")
    }

    /// A failed call as the caller sees it.
    pub fn error(&self, attempt: String, given: Given) -> Error {
        match given {
            Given::Final(Final::Own(error)) => error,
            Given::Final(Final::Denied(cause)) => Error::Denied { attempt, cause },
            Given::Final(Final::TooLarge) => Error::TooLarge {
                attempt,
                bytes: ANSWER_BYTES_MAX,
                limit: ANSWER_BYTES_MAX,
            },
            Given::Final(Final::Invalid(cause)) => Error::invalid(attempt, cause),
            Given::Final(Final::LeaseGone) => Error::invalid(attempt, "the lease is gone"),
            Given::Final(Final::Compacted) => Error::invalid(
                attempt,
                "its history was compacted again and again meanwhile",
            ),
            Given::Away(cause) | Given::Unknown(cause) => Error::Unavailable {
                attempt,
                waited: self.config.request_timeout,
                cause,
                target: self.target(),
            },
        }
    }

    /// Calls until a member answers. With the answer comes the reason to doubt it: that an earlier
    /// attempt may have been done.
    pub async fn call<T, F>(
        &self,
        repeat: Repeat,
        run: impl Fn(Client) -> F + Send + Sync,
    ) -> Result<(T, Option<String>), Given>
    where
        F: Future<Output = Result<T, ApiError>> + Send,
    {
        let deadline = Instant::now() + self.config.request_timeout;
        let mut pause = Pause::new();
        let mut doubt: Option<String> = None;
        let mut last = String::from("no member was tried");
        for attempt in 1.. {
            let patience = deadline.min(Instant::now() + self.config.attempt_timeout);
            match self.attempt(patience, &run).await {
                Ok(answer) => return Ok((answer, doubt)),
                Err(Failure::Final(cause)) => {
                    return Err(match doubt {
                        Some(doubt) if repeat != Repeat::Always => Given::Unknown(doubt),
                        _ => Given::Final(cause),
                    });
                }
                Err(Failure::Away { cause, sent: true }) => {
                    if repeat == Repeat::IfNotSent {
                        return Err(Given::Unknown(cause));
                    }
                    last = cause.clone();
                    doubt.get_or_insert(cause);
                }
                Err(Failure::Away { cause, sent: false }) => last = cause,
            }
            if attempt % self.connections.len() == 0 {
                let _ = timeout_at(deadline, pause.wait()).await;
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        Err(match doubt {
            Some(doubt) => Given::Unknown(doubt),
            None => Given::Away(last),
        })
    }

    /// Asks the member whose turn it is. After a failure it is the next one's.
    async fn attempt<T, F>(
        &self,
        patience: Instant,
        run: impl Fn(Client) -> F + Send + Sync,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, ApiError>> + Send,
    {
        let (client, turn) = match timeout_at(patience, self.client()).await {
            Ok(connected) => connected?,
            Err(_) => {
                let turn = self.turn.load(Ordering::Relaxed);
                self.pass(turn);
                return Err(Failure::Away {
                    cause: format!("{}: no connection in time", self.endpoint(turn)),
                    sent: false,
                });
            }
        };
        let failure = match timeout_at(patience, run(client)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => classify(&error),
            Err(_) => Failure::Away {
                cause: "no answer in time".into(),
                sent: true,
            },
        };
        if let Failure::Away { cause, sent } = failure {
            self.pass(turn);
            let cause = format!("{}: {cause}", self.endpoint(turn));
            return Err(Failure::Away { cause, sent });
        }
        Err(failure)
    }

    /// The client of the member whose turn it is, and the turn to pass if it fails.
    pub async fn client(&self) -> Result<(Client, usize), Failure> {
        let turn = self.turn.load(Ordering::Relaxed);
        if let Some(connection) = self.connection(turn).as_ref() {
            return Ok((connection.client.clone(), turn));
        }
        let connected = self.connect(self.endpoint(turn)).await;
        match connected {
            Ok(client) => {
                *self.connection(turn) = Some(Connection {
                    client: client.clone(),
                    turn,
                });
                Ok((client, turn))
            }
            Err(failure) => {
                self.pass(turn);
                Err(failure)
            }
        }
    }

    /// Gives the turn to the next member, unless somebody did already, and drops the connection.
    pub fn pass(&self, turn: usize) {
        self.connection(turn)
            .take_if(|connection| connection.turn <= turn);
        // Fails when it has been passed on already.
        let next = turn.wrapping_add(1);
        let _ = self
            .turn
            .compare_exchange(turn, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn endpoint(&self, turn: usize) -> &str {
        &self.config.endpoints[turn % self.config.endpoints.len()]
    }

    fn connection(&self, turn: usize) -> MutexGuard<'_, Option<Connection>> {
        let connection = &self.connections[turn % self.connections.len()];
        connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self, endpoint: &str) -> Result<Client, Failure> {
        let options = self.config.options();
        let options = options.map_err(|error| Failure::Final(Final::Own(error)))?;
        let unsent = |failure| match failure {
            Failure::Away { cause, .. } => Failure::Away {
                cause: format!("{endpoint}: {cause}"),
                sent: false,
            },
            other => other,
        };
        let connected = Client::connect([endpoint], Some(options)).await;
        let mut client = connected.map_err(|error| unsent(classify(&error)))?;
        match client.status().await.map_err(|error| classify(&error)) {
            Ok(status) => version::check(endpoint, status.version())
                .map_err(|error| Failure::Final(Final::Own(error)))?,
            // Who may not ask for the version may still do what it is for.
            Err(Failure::Final(Final::Denied(cause))) => {
                tracing::warn!(endpoint, cause, "etcd does not state its version");
            }
            Err(failure) => return Err(unsent(failure)),
        }
        Ok(client)
    }
}
