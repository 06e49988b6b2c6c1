//! What one change means for others. A step notes what happened; here that is worked off, in order, before the commit:
//! so no step calls the next one and is called back by it.

use jiff::Timestamp;

use super::work::{Happened, Work};
use super::{delivery_waits, endings, questions, slots};
use crate::id::{MessageId, RunId};
use crate::model::delivery::MessageState;
use crate::model::run::ScriptError;
use crate::store::rows;
use crate::store::tx::Read;

/// Works off what has happened, and what happens by that.
pub fn react(work: &mut Work<'_>, now: Timestamp) -> Read<()> {
    while let Some(happened) = work.happened.pop_front() {
        match happened {
            Happened::Moved(message, state) => moved(work, message, state, now)?,
            Happened::Over(run) => slots::leave(work, run)?,
            Happened::Replaced(run) => replaced(work, run, now)?,
        }
    }
    Ok(())
}

/// A newer run of its flow takes the place of a run.
fn replaced(work: &mut Work<'_>, run: RunId, now: Timestamp) -> Read<()> {
    let Some(before) = rows::runs::state(work.tx, run)?.flatten() else { return Ok(()) };
    let why = ScriptError::new("replaced", "a newer run of the flow took its place (`concurrency`)");
    endings::cancel(work, run, before, Some(&why), now).map(drop)
}

/// A message that somebody waits for has come to a state. What stands in the rows of those who wait decides nothing
/// about the message.
fn moved(work: &mut Work<'_>, message: MessageId, state: MessageState, now: Timestamp) -> Read<()> {
    for (run, goal) in rows::delivery_waits::of(work.tx, message)? {
        let told = |work: &mut Work<'_>| match goal.as_str() {
            questions::ASKED => questions::moved(work, run, message, state, now),
            goal => delivery_waits::moved(work, message, (run, goal), state),
        };
        work.each(told, |work, why| endings::set_aside(work, run, why, now))?;
    }
    Ok(())
}
