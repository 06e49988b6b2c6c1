//! What people decide about runs and messages: taken back, tried again, waited for no longer.

use jiff::Timestamp;

use super::messages::{Applied, Change, apply};
use super::work::Work;
use super::{endings, run_timers, runs};
use crate::clock::millis;
use crate::id::{MessageId, RunId};
use crate::model::delivery::{MessageState, Part, Step};
use crate::model::journal::Kind;
use crate::model::message::Promised;
use crate::model::run::{RunState, RunStep};
use crate::store::records::{Decided, Decision, RunDecided};
use crate::store::rows;
use crate::store::tx::{Read, Tx};

/// A run whose state cannot be read is not over: it can be taken back.
fn state(work: &Work<'_>, run: RunId) -> Read<Option<RunState>> {
    Ok(rows::runs::state(work.tx, run)?.map(|state| state.unwrap_or(RunState::Running)))
}

/// Takes a run back.
pub fn cancel(work: &mut Work<'_>, run: RunId, now: Timestamp) -> Read<RunDecided> {
    let Some(before) = state(work, run)? else { return Ok(RunDecided::Missing) };
    Ok(match endings::cancel(work, run, before, None, now)? {
        true => RunDecided::Done,
        false => RunDecided::NotIn(before),
    })
}

/// Lets the wait of a run end now, as if its time were up. What is under way outside cannot be cut short.
pub fn end_wait(work: &mut Work<'_>, run: RunId, now: Timestamp) -> Read<RunDecided> {
    let Some(before) = state(work, run)? else { return Ok(RunDecided::Missing) };
    if !rows::runs::is_waiting(work.tx, run)? {
        return Ok(RunDecided::NotIn(before));
    }
    // A reminder is not what ends the wait.
    rows::questions::cut_short(work.tx, run, millis(now))?;
    run_timers::wake_one(work, run, now)?;
    runs::is_now(work, run, RunState::Waiting)?;
    Ok(RunDecided::Done)
}

/// Lets a failed run go on from the last answer that came from outside.
pub fn retry(work: &mut Work<'_>, run: RunId) -> Read<RunDecided> {
    let Some(before) = state(work, run)? else { return Ok(RunDecided::Missing) };
    let Some(next) = before.after(RunStep::Retry) else { return Ok(RunDecided::NotIn(before)) };
    let Some((mut pending, mut answer, flow)) = rows::runs::asked(work.tx, run)? else {
        return Ok(RunDecided::Missing);
    };
    cut_fail(work, run)?;
    if let (Some(pending), Some(useless)) = (&mut pending, &answer)
        && let Some(again) = pending.question.asked_again(useless)
    {
        pending.question = again;
        answer = None;
    }
    let ready = work.memory.next_seq();
    rows::runs::go_on(work.tx, run, ready, pending.as_ref(), answer.as_ref())?;
    work.after.run(&flow);
    work.after.run_is(run, &flow, next);
    Ok(RunDecided::Done)
}

/// The turn of a `fail` is on record, with its end; one that threw left nothing.
fn cut_fail(work: &Work<'_>, run: RunId) -> Read<()> {
    match rows::journal::last(work.tx, run)? {
        Some((part, entries)) if entries.last().is_some_and(|entry| entry.kind == Kind::Fail) => {
            rows::journal::throw_away(work.tx, run, part)
        }
        _ => Ok(()),
    }
}

/// What a run and all that replay it have promised and may have sent, oldest first; `but` is left out. What has
/// certainly not gone out, and will not, may be sent.
pub fn promised(tx: &dyn Tx, root: RunId, but: RunId) -> Read<Vec<Promised>> {
    use MessageState::{Cancelled, Dead, Expired, Rejected};
    let all = rows::messages::promised_by_family(tx, root, but)?.into_iter();
    let may_be_out = all.filter(|(_, state)| !matches!(state, Rejected | Dead | Expired | Cancelled));
    Ok(may_be_out.map(|(promised, _)| promised).collect())
}

/// A person's decision about a message.
pub fn decide(work: &mut Work<'_>, id: MessageId, decision: Decision, now: Timestamp) -> Read<Decided> {
    let (mut step, anew) = match decision {
        Decision::Cancel => (Step::Cancel, false),
        Decision::Retry => (Step::Retry, true),
        Decision::ReleaseAsSent => (Step::Vouch, false),
        Decision::ReleaseAndResend => (Step::Resend, true),
    };
    if anew {
        rows::messages::no_more_recalled(work.tx, id)?;
    }
    let mut change = Change { anew, ..Change::default() };
    if step == Step::Vouch {
        change.parts = rows::messages::parts(work.tx, id)?.into_iter().map(Part::vouched).collect();
        // What never touched the wire is still to be sent.
        if change.parts.iter().any(|part| !part.is_out()) {
            step = Step::Resend;
        }
    }
    Ok(match apply(work, id, step, now, change)? {
        Applied::Missing => Decided::Missing,
        Applied::Now(state) => Decided::Now(state),
        Applied::NotIn(state) => Decided::NotIn(state),
    })
}
