//! After a crash: attempts that a dead engine left open.

use jiff::Timestamp;

use super::messages::{Change, apply, set_aside};
use super::reconciliation;
use super::work::Work;
use crate::clock::millis;
use crate::id::MessageId;
use crate::model::delivery::{AttemptOutcome, Part, Step};
use crate::store::rows;
use crate::store::tx::Read;

/// Attempts that were open when the engine died: nobody knows how they ended. Gives of how many that is so.
pub fn recover(work: &mut Work<'_>, now: Timestamp) -> Read<u64> {
    let mut doubtful = 0;
    for id in rows::outbox::on_the_wire(work.tx)? {
        let is_doubtful = work.each(|work| recover_one(work, id, now), |work, why| set_aside(work, id, why, now))?;
        doubtful += u64::from(is_doubtful.unwrap_or(true));
    }
    Ok(doubtful)
}

/// Says whether nobody knows if it went out.
fn recover_one(work: &mut Work<'_>, id: MessageId, now: Timestamp) -> Read<bool> {
    let Some((attempts, parts)) = rows::messages::open_attempt(work.tx, id)? else { return Ok(false) };
    // Of several parts each says for itself whether it had touched the wire.
    let untouched = match parts.is_empty() {
        false => !parts.iter().any(Part::is_in_doubt),
        true => attempts.last().is_some_and(|last| last.outcome == AttemptOutcome::Preparing),
    };
    let error = Some("the engine stopped while the attempt was open".to_owned());
    let outcome = Some(AttemptOutcome::Interrupted);
    let step = if untouched { Step::TryAgain } else { Step::Doubt };
    let due_at = untouched.then(|| millis(now));
    apply(work, id, step, now, Change { outcome, error, due_at, counts: !untouched, ..Change::default() })?;
    reconciliation::seek(work, id, now)?;
    Ok(!untouched)
}
