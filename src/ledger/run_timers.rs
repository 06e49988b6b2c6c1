//! Runs that the clock wakes.

use jiff::Timestamp;
use serde_json::Value;

use super::endings::set_aside;
use super::questions::{Time, time_came};
use super::runs::{answer, make_ready};
use super::work::Work;
use crate::id::RunId;
use crate::store::records::Woken;
use crate::store::rows;
use crate::store::tx::Read;

/// Makes waiting runs ready whose time has come.
pub fn wake(work: &mut Work<'_>, now: Timestamp) -> Read<Woken> {
    let due = rows::runs::due(work.tx, now)?;
    for id in &due {
        work.each(|work| wake_one(work, *id, now), |work, why| set_aside(work, *id, why, now))?;
    }
    Ok(Woken { count: due.len() as u64, next: rows::runs::next_due(work.tx)? })
}

/// The time of a waiting run has come.
pub fn wake_one(work: &mut Work<'_>, id: RunId, now: Timestamp) -> Read<()> {
    // A run whose time has come hears nothing any more, so that nothing is taken and not seen.
    let awaited = rows::events::await_none(work.tx, id)?;
    match time_came(work, id, now)? {
        Time::Reminds => {}
        Time::Else if !awaited => make_ready(work, id)?,
        Time::IsOut | Time::Else => answer(work, id, &Ok(Value::Null))?,
    }
    // What is not in a state to be woken is not to be come back to for ever.
    rows::runs::forget_time(work.tx, id, now)
}
