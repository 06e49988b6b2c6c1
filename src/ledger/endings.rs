//! Runs that come to an end otherwise than by a turn.

use jiff::Timestamp;

use super::work::{Happened, Work};
use super::{messages, questions, runs};
use crate::id::RunId;
use crate::model::question::{Question, Wait};
use crate::model::run::{RunState, RunStep, ScriptError};
use crate::store::rows;
use crate::store::tx::Read;

/// A run waits for nothing any more: not for what a person writes, an event, nor a message.
pub fn let_go(work: &mut Work<'_>, run: RunId, now: Timestamp) -> Read<()> {
    questions::close(work, run, false, now)?;
    rows::events::await_none(work.tx, run)?;
    match questions::question(work, run)? {
        Some(Question::Wait(Wait::Delivery { message, .. })) => rows::delivery_waits::delete(work.tx, message, run),
        // What it asked goes with the conversation.
        _ => Ok(()),
    }
}

/// Takes back what a run promised and has not sent, but for what is to be kept; what may be sent already
/// is not sent again.
pub fn recall_unsent(work: &mut Work<'_>, run: RunId, now: Timestamp) -> Read<()> {
    for (id, keeps) in rows::messages::unsent_of(work.tx, run)? {
        if !keeps {
            messages::recall(work, id, now)?;
        }
    }
    Ok(())
}

/// Takes a run back, and with it what it promised and has not sent, but for what is to be kept. Says whether that
/// is legal in the state that it is in. `why` is told where it is not by a person's wish.
pub fn cancel(
    work: &mut Work<'_>,
    run: RunId,
    before: RunState,
    why: Option<&ScriptError>,
    now: Timestamp,
) -> Read<bool> {
    let Some(cancelled) = before.after(RunStep::Cancel) else { return Ok(false) };
    let_go(work, run, now)?;
    if before == RunState::Queued {
        runs::leave_backlog(work, run)?;
    }
    rows::runs::cancel(work.tx, run, why, now)?;
    recall_unsent(work, run, now)?;
    runs::is_now(work, run, cancelled)?;
    work.happened.push_back(Happened::Over(run));
    Ok(true)
}

/// A run whose row does not read as what it should be fails, and waits for nothing any more.
pub fn set_aside(work: &mut Work<'_>, run: RunId, why: &str, now: Timestamp) -> Read<()> {
    tracing::error!(%run, "the run fails, for a row of the state file that it needs cannot be read: {why}");
    // Where that cannot be read either, it is taken away unread.
    work.each(|work| let_go(work, run, now), |_, _| Ok(()))?;
    rows::questions::erase(work.tx, run)?;
    rows::events::await_none(work.tx, run)?;
    rows::delivery_waits::erase(work.tx, run)?;
    let message = format!("a row of the state file that this run needs cannot be read: {why}");
    rows::runs::fail(work.tx, run, &ScriptError::new("damaged", message), now)?;
    work.happened.push_back(Happened::Over(run));
    runs::is_now(work, run, RunState::Failed)
}
