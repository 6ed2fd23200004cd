//! What a conductor is asked, with the way back.
//!
//! Relies on nothing. What must stay true: every question is answered once; one that is dropped
//! unanswered is answered with "the office was lost".

use rama_planner::ids::{ModuleName, OperationId};
use rama_planner::operation::LaunchRequest;
use rama_planner::plan::Plan;
use rama_planner::records::Outcome;
use rama_planner::view::View;
use tokio::sync::oneshot;

use super::ConductorError;

pub(super) type Answer<T> = oneshot::Sender<Result<T, ConductorError>>;

pub(super) enum Asked {
    Launch(Box<LaunchRequest>, Answer<OperationId>),
    Destroy {
        module: ModuleName,
        by: String,
        answer: Answer<OperationId>,
    },
    Plan(Box<LaunchRequest>, Answer<Plan>),
    Cancel {
        id: OperationId,
        reason: String,
        answer: Answer<()>,
    },
    Ended {
        id: OperationId,
        answer: Answer<Outcome>,
    },
    /// Without a view nobody is in office.
    Look(Box<dyn FnOnce(Option<&View>) + Send>),
}

impl Asked {
    /// Says that nobody is in office here.
    pub(super) fn decline(self) {
        // Who asked may have gone.
        match self {
            Asked::Launch(_, answer) | Asked::Destroy { answer, .. } => decline(answer),
            Asked::Plan(_, answer) => decline(answer),
            Asked::Cancel { answer, .. } => decline(answer),
            Asked::Ended { answer, .. } => decline(answer),
            Asked::Look(look) => look(None),
        }
    }
}

fn decline<T>(answer: Answer<T>) {
    let _ = answer.send(Err(ConductorError::NotInOffice));
}

/// An operation that is to begin.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    Launch(Box<LaunchRequest>),
    Destroy { module: ModuleName, by: String },
}
