//! Runs that wait for what becomes of a message.

use jiff::Timestamp;

use super::runs::make_ready;
use super::work::Work;
use crate::id::{MessageId, RunId};
use crate::model::delivery::{Goal, MessageState};
use crate::store::rows;
use crate::store::tx::Read;

/// Notes that a run waits for a message; says whether the wait is over already.
pub fn wait_for(work: &mut Work<'_>, run: RunId, message: MessageId, goal: &str) -> Read<bool> {
    let now = rows::messages::state(work.tx, message)?;
    let kind = Goal::parse(goal).unwrap_or(Goal::Settled);
    // A message that is no longer kept will never change again.
    if now.is_none_or(|state| state.answers(kind)) {
        return Ok(true);
    }
    if kind == Goal::Clicked && rows::delivery_waits::was_clicked(work.tx, message)? {
        return Ok(true);
    }
    rows::delivery_waits::insert(work.tx, message, run, goal)?;
    Ok(false)
}

/// A message has come to a state: whoever waits for that can go on.
pub fn moved(work: &mut Work<'_>, message: MessageId, (run, goal): (RunId, &str), state: MessageState) -> Read<()> {
    if state.answers(Goal::parse(goal).unwrap_or(Goal::Settled)) {
        make_ready(work, run)?;
        rows::delivery_waits::delete(work.tx, message, run)?;
    }
    Ok(())
}

/// Somebody followed a message's link.
pub fn click(work: &mut Work<'_>, id: MessageId, now: Timestamp) -> Read<()> {
    if rows::messages::state(work.tx, id)?.is_none_or(MessageState::is_open) {
        return Ok(());
    }
    rows::delivery_waits::click(work.tx, id, now)?;
    for run in rows::delivery_waits::for_click(work.tx, id)? {
        make_ready(work, run)?;
        rows::delivery_waits::delete(work.tx, id, run)?;
    }
    Ok(())
}
