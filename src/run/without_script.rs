//! What turns leave their runs with when it is not the script that says so: another attempt, a failure.

use std::time::Duration;

use serde_json::Value;

use super::context::Context;
use super::follow_up::follow_up;
use crate::clock::after;
use crate::flow::Flow;
use crate::model::journal::{Outcome, Promises, Retrying, TurnCommit};
use crate::model::question::Answer;
use crate::model::run::ScriptError;
use crate::store::records::ReadyRun;

/// A turn that did nothing yet, for the run as it was read.
pub fn nothing(run: &ReadyRun, now: jiff::Timestamp) -> TurnCommit {
    TurnCommit {
        run: run.id,
        flow: run.flow.clone(),
        ready: run.ready,
        attempt: run.attempt,
        at: now,
        cpu: Duration::ZERO,
        waited_for: None,
        entries: Vec::new(),
        lost: Vec::new(),
        promises: Promises::default(),
        outcome: Outcome::Succeeded(Value::Null),
        follow_up: None,
    }
}

/// Another attempt, if one is left and could help.
pub fn thrown(
    run: &ReadyRun,
    flow: &Flow,
    error: ScriptError,
    answered: Option<Answer>,
    now: jiff::Timestamp,
) -> Outcome {
    let hopeless = matches!(error.kind.as_str(), "limit" | "replay" | "panic" | "version" | "damaged" | "crashed");
    if hopeless || run.attempt >= flow.retry.attempts {
        return Outcome::Failed(error);
    }
    let chance = u64::from_be_bytes(run.seed[..8].try_into().unwrap_or_default());
    let delay = flow.retry.delay(run.attempt, chance.rotate_left(run.attempt));
    tracing::warn!(flow = %flow.name, run = %run.id, attempt = run.attempt, "the run threw and is tried again: {error}");
    let (mut pending, mut answer) = (run.pending.clone(), run.answer.clone());
    if let (Some(pending), Some(useless)) = (&mut pending, &answered)
        && let Some(again) = pending.question.asked_again(useless)
    {
        pending.question = again;
        answer = None;
    }
    Outcome::Retrying(Box::new(Retrying { error, at: after(now, delay), pending, answer }))
}

/// A run that cannot go on fails, and whoever is to hear of it does.
pub fn failed(context: &Context, run: &ReadyRun, error: ScriptError) -> TurnCommit {
    let now = context.clock.now();
    tracing::error!(flow = %run.flow, run = %run.id, "the run cannot go on: {error}");
    let catalog = context.catalog.borrow().clone();
    let follow_up = catalog.flow(&run.flow).and_then(|flow| follow_up(&catalog, flow, run, &error, now));
    TurnCommit { outcome: Outcome::Failed(error), follow_up, ..nothing(run, now) }
}

/// A run that needs a row that does not read as what it should be fails: waiting would not mend it.
pub fn damaged(context: &Context, run: &ReadyRun, what: &str) -> TurnCommit {
    let error = format!("a row of the state file that this run needs cannot be read: {what}");
    failed(context, run, ScriptError::new("damaged", error))
}

/// A turn that began more runs than there is room for: none of what it promised counts.
pub fn no_room(context: &Context, run: &ReadyRun) -> TurnCommit {
    let now = context.clock.now();
    let message = "flows::start: too many runs wait for their first turn already (`limits.backlog`)";
    let error = ScriptError::new("busy", message);
    let catalog = context.catalog.borrow().clone();
    let outcome = match catalog.flow(&run.flow) {
        Some(flow) => thrown(run, flow, error, None, now),
        None => Outcome::Failed(error),
    };
    let follow_up = match (&outcome, catalog.flow(&run.flow)) {
        (Outcome::Failed(error), Some(flow)) => follow_up(&catalog, flow, run, error, now),
        _ => None,
    };
    TurnCommit { outcome, follow_up, ..nothing(run, now) }
}
