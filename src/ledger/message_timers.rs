//! Messages that the clock moves: scheduled ones that are due, those that expire, and unknown ones that are sent again.

use jiff::Timestamp;

use super::messages::{self, set_aside};
use super::work::Work;
use crate::clock::{from_millis, millis};
use crate::id::MessageId;
use crate::model::delivery::Step;
use crate::store::records::{Moved, ResendPolicy};
use crate::store::rows;
use crate::store::tx::Read;

/// Moves what the clock moves: due, expired, sent again.
pub fn advance(work: &mut Work<'_>, now: Timestamp, resend: &[ResendPolicy]) -> Read<Moved> {
    let mut count = 0;
    let mut next = Vec::new();
    let mut all = |work: &mut Work<'_>, ids: Vec<MessageId>, step: Step| {
        count += ids.len() as u64;
        ids.into_iter().try_for_each(|id| {
            let moved =
                work.each(|work| messages::step(work, id, step, now), |work, why| set_aside(work, id, why, now));
            moved.map(drop)
        })
    };
    let due = rows::outbox::scheduled_until(work.tx, now)?;
    all(work, due, Step::Due)?;
    let expired = rows::outbox::expired_at(work.tx, now)?;
    all(work, expired, Step::Expire)?;
    next.extend(rows::outbox::next_scheduled(work.tx)?);
    next.extend(rows::outbox::next_expiring(work.tx)?);
    for policy in resend {
        let wait = i64::try_from(policy.after.as_millis()).unwrap_or(i64::MAX / 2);
        let unknown = rows::outbox::unknown_since(work.tx, policy, millis(now) - wait, now)?;
        all(work, unknown, Step::Resend)?;
        next.extend(rows::outbox::oldest_unknown(work.tx, policy, now)?.map(|oldest| oldest.saturating_add(wait)));
    }
    Ok(Moved { count, next: next.into_iter().min().map(from_millis) })
}
