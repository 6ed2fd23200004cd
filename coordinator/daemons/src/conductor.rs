//! The conductor's loop: takes office, takes up what is unfinished, drives operations.
//!
//! Relies on [`rama_planner::operation`] for every decision. The office is the key
//! `cluster/conductor` under a lease; the revision that wrote it is the conductor's term, and what
//! is unfinished is listed after that. What must stay true: at most one process is in office, and
//! one that lost it drives nothing any more; whoever asks gets one answer: begun, refused, or that
//! nobody is in office here.

mod asked;
mod office;

use std::time::Duration;

use rama_metastore::{Error, Metastore, Space};
use rama_planner::ids::{ModuleName, OperationId};
use rama_planner::operation::{LaunchRequest, Refusal};
use rama_planner::place::Scheduler;
use rama_planner::plan::Plan;
use rama_planner::records::{self, Outcome, Step};
use rama_planner::view::View;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use asked::Asked;

/// What a conductor is started as.
#[derive(Clone, Debug)]
pub struct Start<M> {
    /// The metastore.
    pub store: M,
    /// Where in it the cluster is.
    pub space: Space,
    /// What it says of itself, with its incarnation.
    pub conductor: records::Conductor,
    /// `[scheduler]` of the configuration.
    pub scheduler: Scheduler,
    /// How long its lease is.
    pub ttl: Duration,
}

/// Why there is no answer of the kind that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConductorError {
    /// It may not be done. Nothing was.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Another process is the conductor, or none is at present.
    #[error("could not ask this conductor: it is not in office; ask again, or the one that is")]
    NotInOffice,
    /// The office was lost before the answer was known. What had begun goes on with the next one.
    #[error(
        "could not learn what came of it: the conductor lost its office meanwhile; see \
         moduleStatus, then ask again"
    )]
    LostOffice,
    /// Nothing was done, nor will be.
    #[error(
        "could not begin an operation: what it compares kept changing, or the metastore is away; \
         ask again"
    )]
    Contended,
    /// No such operation.
    #[error("could not find operation {0}: no operation has this id")]
    NoOperation(OperationId),
    /// It cannot be undone any more.
    #[error("could not cancel operation {id}: it is at step {step}, after which nothing is undone")]
    NotCancelled {
        /// Which.
        id: OperationId,
        /// How far it is.
        step: Step,
    },
}

/// The handle by which commands reach the loop. Clones reach the same one.
#[derive(Clone, Debug)]
pub struct Conductor {
    asked: mpsc::UnboundedSender<Asked>,
}

impl Conductor {
    /// Starts the loop on the current runtime. It ends when the store is closed.
    #[must_use]
    pub fn start<M: Metastore>(start: Start<M>) -> (Conductor, JoinHandle<Error>) {
        let (asked, told) = mpsc::unbounded_channel();
        (Conductor { asked }, tokio::spawn(office::run(start, told)))
    }

    /// Begins a launch; answers when its intent is written.
    ///
    /// # Errors
    /// Refused by name, or not in office.
    pub async fn launch(&self, request: LaunchRequest) -> Result<OperationId, ConductorError> {
        self.ask(|answer| Asked::Launch(Box::new(request), answer))
            .await
    }

    /// Begins a destruction; answers when its intent is written.
    ///
    /// # Errors
    /// Refused by name, or not in office.
    pub async fn destroy(
        &self,
        module: ModuleName,
        by: String,
    ) -> Result<OperationId, ConductorError> {
        self.ask(|answer| Asked::Destroy { module, by, answer })
            .await
    }

    /// The plan that a launch would make now: `--dry-run`.
    ///
    /// # Errors
    /// What would refuse the launch.
    pub async fn plan(&self, request: LaunchRequest) -> Result<Plan, ConductorError> {
        self.ask(|answer| Asked::Plan(Box::new(request), answer))
            .await
    }

    /// Undoes an operation; answers when that is decided, not when it is done.
    ///
    /// # Errors
    /// It is too late, or there is no such operation.
    pub async fn cancel(&self, id: OperationId, reason: String) -> Result<(), ConductorError> {
        self.ask(|answer| Asked::Cancel { id, reason, answer })
            .await
    }

    /// Waits for the end of an operation.
    ///
    /// # Errors
    /// No such operation, or the office was lost meanwhile: ask the next conductor.
    pub async fn ended(&self, id: OperationId) -> Result<Outcome, ConductorError> {
        self.ask(|answer| Asked::Ended { id, answer }).await
    }

    /// Looks at what the conductor sees, for status commands.
    ///
    /// # Errors
    /// Not in office.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View) -> T + Send + 'static,
    ) -> Result<T, ConductorError> {
        self.ask(|answer: oneshot::Sender<Result<T, ConductorError>>| {
            Asked::Look(Box::new(move |view| {
                // Who asked may have gone.
                let _ = answer.send(view.map(look).ok_or(ConductorError::NotInOffice));
            }))
        })
        .await
    }

    async fn ask<T>(
        &self,
        asked: impl FnOnce(oneshot::Sender<Result<T, ConductorError>>) -> Asked,
    ) -> Result<T, ConductorError> {
        let (answer, answered) = oneshot::channel();
        self.asked
            .send(asked(answer))
            .map_err(|_| ConductorError::NotInOffice)?;
        answered.await.unwrap_or(Err(ConductorError::LostOffice))
    }
}
