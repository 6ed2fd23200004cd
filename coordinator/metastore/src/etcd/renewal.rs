//! Keeping a lease alive.
//!
//! Relies on calls that go to another member when one is away: each renewal is a call of its own,
//! because a stream of renewals ends with its member and does not come back. What must stay true:
//! the holder hears of a lapse in time whatever the renewing call is waiting for, and of a loss
//! only when etcd has said twice that it does not know the lease: a new leader may not have read
//! all of its log.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::failure::{Final, Given, Repeat};
use super::members::Members;
use crate::clock::Moment;
use crate::lease::{LeaseState, Shared};

/// A lease is renewed so many times in its life.
const RENEWALS: u32 = 3;
/// Part of the life that is not counted on: what clocks may differ and a reader may be late.
const MARGIN: u32 = 10;
/// Answers that the lease does not exist before it is believed.
const MISSING_MAX: u32 = 2;
/// Before a renewal is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// Until when a lease is held that was asked for, or renewed, by a call sent at this moment.
pub fn valid_until(sent: Moment, ttl: Duration) -> Moment {
    sent.after(ttl - ttl / MARGIN)
}

/// Ends the keep-alive when it is dropped.
pub struct Keeper(JoinHandle<()>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps a lease alive until the keeper is dropped or the lease is lost.
pub fn keep(members: Arc<Members>, shared: Arc<Shared>) -> Keeper {
    Keeper(tokio::spawn(async move {
        tokio::select! {
            () = renew(&members, &shared) => {}
            () = notice_lapses(&shared) => {}
            // Revoked by its own process: it must not live on because the call failed.
            _ = shared.wait(|state| state == LeaseState::Lost) => {}
        }
    }))
}

async fn renew(members: &Members, shared: &Shared) {
    let pace = shared.ttl / RENEWALS;
    let mut wait = pace;
    let mut missing = 0;
    loop {
        sleep(wait).await;
        let id = shared.id.0;
        let call = members.call(Repeat::Always, |client| async move {
            let sent = Moment::now();
            // Answers when the first renewal has been answered; the stream is not needed further.
            client.lease_client().keep_alive(id).await?;
            Ok(sent)
        });
        match call.await {
            Ok((sent, _)) => {
                shared.on_renewed(valid_until(sent, shared.ttl));
                (wait, missing) = (pace, 0);
            }
            Err(Given::Final(Final::LeaseGone)) => {
                missing += 1;
                wait = RETRY;
                if missing >= MISSING_MAX {
                    tracing::warn!(lease = %shared.id, "lease lost");
                    return shared.on_lost();
                }
            }
            Err(given) => {
                tracing::warn!(lease = %shared.id, ?given, "lease not renewed");
                wait = RETRY;
            }
        }
    }
}

/// Says when time has run out; whoever renews says when it is held again.
async fn notice_lapses(shared: &Shared) {
    loop {
        let left = shared.valid_until().left();
        if left.is_zero() {
            shared.on_lapsed();
            shared.wait(|state| state == LeaseState::Held).await;
        } else {
            sleep(left).await;
        }
    }
}
