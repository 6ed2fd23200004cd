//! A watch that goes on after outages.
//!
//! Relies on etcd keeping history for a while, and on probes that end a dead connection. What must
//! stay true: what was delivered is never delivered again; after an outage the watch goes on with
//! the revision after the last one, or with a listing where that is compacted; and now and then it
//! is compared with a listing, because watches of etcd have lost events before.

use async_stream::stream;
use etcd_client::{EventType, WatchOptions, WatchResponse, WatchStream};
use tokio::time::{Instant, sleep_until, timeout};

use super::failure::{Failure, Final, Given, classify};
use super::members::{Pause, watching};
use super::{Etcd, entry, prefix_end};
use crate::error::Error;
use crate::store::Metastore;
use crate::watch::{Watch, WatchEvent, WatchFrom};

/// What one wait came to.
enum Heard {
    /// Events, in order; none is older than asked for.
    Events(Vec<WatchEvent>),
    /// History is gone: list again.
    Gap,
    /// The time for a listing has come.
    Due,
    /// The connection is of no more use.
    Broken(Failure),
}

/// An open stream and whose it is.
struct Following {
    stream: WatchStream,
    turn: usize,
}

/// Follows a prefix for as long as the watch exists.
pub fn watch(etcd: Etcd, prefix: String, from: WatchFrom) -> Watch {
    Watch::new(stream! {
        // The first revision that was not delivered; none after a gap.
        let mut position = match from {
            WatchFrom::Listing => None,
            WatchFrom::Revision(revision) => Some(revision.max(1)),
        };
        let mut open: Option<Following> = None;
        let mut relist_at = Instant::now() + etcd.members().config().relist_interval;
        let mut told = false;
        let mut pause = Pause::new();
        loop {
            let Some(at) = position else {
                match etcd.list(&prefix).await {
                    Ok(listing) => {
                        relist_at = Instant::now() + etcd.members().config().relist_interval;
                        told = false;
                        position = Some(listing.revision + 1);
                        yield Ok(WatchEvent::Relisted(listing));
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut told, true) {
                            yield Err(error);
                        }
                        pause.wait().await;
                    }
                }
                continue;
            };
            let heard = match &mut open {
                Some(following) => hear(following, at, relist_at).await,
                None => match begin(&etcd, &prefix, at).await {
                    Ok(following) => {
                        open = Some(following);
                        continue;
                    }
                    Err(failure) => Heard::Broken(failure),
                },
            };
            match heard {
                Heard::Events(events) => {
                    (told, pause) = (false, Pause::new());
                    position = events.last().map_or(position, |last| Some(last.revision() + 1));
                    for event in events {
                        yield Ok(event);
                    }
                }
                // The stream stays open: what it says up to the listing's revision is passed over.
                Heard::Due => position = None,
                Heard::Gap => (position, open) = (None, None),
                Heard::Broken(failure) => {
                    if let Some(following) = open.take() {
                        etcd.members().pass(following.turn);
                    }
                    if !std::mem::replace(&mut told, true) {
                        yield Err(lost(&etcd, &prefix, failure));
                    }
                    pause.wait().await;
                }
            }
        }
    })
}

fn lost(etcd: &Etcd, prefix: &str, failure: Failure) -> Error {
    let given = match failure {
        Failure::Final(cause) => Given::Final(cause),
        Failure::Away { cause, .. } => Given::Away(cause),
    };
    etcd.members().error(format!("follow {prefix}"), given)
}

async fn begin(etcd: &Etcd, prefix: &str, at: u64) -> Result<Following, Failure> {
    let config = etcd.members().config();
    let away = |cause: &str| Failure::Away {
        cause: cause.into(),
        sent: true,
    };
    let patience = config.attempt_timeout;
    let connected = timeout(patience, etcd.members().client()).await;
    let (client, turn) = connected.map_err(|_| away("no connection in time"))??;
    let options = WatchOptions::new()
        .with_range(prefix_end(prefix))
        .with_start_revision(at as i64);
    let mut watching = watching(&client);
    let failed = |failure| {
        etcd.members().pass(turn);
        failure
    };
    match timeout(patience, watching.watch(prefix, Some(options))).await {
        Ok(Ok(stream)) => Ok(Following { stream, turn }),
        Ok(Err(error)) => Err(failed(classify(&error))),
        Err(_) => Err(failed(away("no answer in time"))),
    }
}

/// Waits for the next word from the stream. Nothing is lost when the wait is cancelled.
async fn hear(following: &mut Following, at: u64, relist_at: Instant) -> Heard {
    let response = tokio::select! {
        response = following.stream.message() => response,
        () = sleep_until(relist_at) => return Heard::Due,
    };
    match response {
        Ok(Some(response)) if response.compact_revision() > 0 => Heard::Gap,
        Ok(Some(response)) if response.canceled() => Heard::Broken(canceled(&response)),
        Ok(Some(response)) => Heard::Events(events(&response, at)),
        Ok(None) => Heard::Broken(Failure::Away {
            cause: "the member ended the watch".into(),
            sent: true,
        }),
        Err(error) => match classify(&error) {
            // More than fits, or older than there is: a listing tells it.
            Failure::Final(Final::TooLarge | Final::Compacted) => Heard::Gap,
            failure => Heard::Broken(failure),
        },
    }
}

fn canceled(response: &WatchResponse) -> Failure {
    let cause = response.cancel_reason().to_owned();
    match cause.contains("permission denied") {
        true => Failure::Final(Final::Denied(cause)),
        false => Failure::Away { cause, sent: true },
    }
}

fn events(response: &WatchResponse, at: u64) -> Vec<WatchEvent> {
    let events = response.events().iter().filter_map(|event| {
        let entry = entry(event.kv()?)?;
        Some(match event.event_type() {
            EventType::Put => WatchEvent::Put(entry),
            EventType::Delete => WatchEvent::Delete {
                key: entry.key,
                revision: entry.versioned.revision,
            },
        })
    });
    events.filter(|event| event.revision() >= at).collect()
}
