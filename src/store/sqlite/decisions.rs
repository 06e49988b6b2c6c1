//! What people decide about runs and messages: taken back, tried again, and what a replay may not send
//! twice.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::columns::{if_readable, readable};
use super::runs::number;
use super::writer::{Refusal, Work};
use super::{Read, conversation, events, json, json_or_none, outbox, runs, text, waits};
use crate::clock::millis;
use crate::id::{MessageId, RunId};
use crate::model::delivery::{MessageState, Part, Step};
use crate::model::journal::{Entry, Kind, Pending};
use crate::model::message::{Body, Promised};
use crate::model::question::Answer;
use crate::model::run::RunState;
use crate::store::rows::{Decided, Decision, RunDecided};

/// A run whose state cannot be read is not over: it can be taken back.
fn state(work: &Work<'_>, run: RunId) -> Read<Option<RunState>> {
    let sql = "SELECT state FROM runs WHERE id = ?";
    let known = |number: i64| RunState::ALL.get(usize::try_from(number).ok()?).copied();
    let row = |row: &Row<'_>| Ok(if_readable(row.get(0))?.and_then(known).unwrap_or(RunState::Running));
    work.tx.prepare_cached(sql)?.query_row([run.as_bytes()], row).optional()
}

/// Takes a run back, and with it what it promised and has not sent, but for what is to be kept.
pub fn cancel(work: &mut Work<'_>, run: RunId, now: Timestamp) -> Result<RunDecided, Refusal> {
    let Some(before) = state(work, run)? else { return Ok(RunDecided::Missing) };
    if before.is_over() {
        return Ok(RunDecided::NotIn(before));
    }
    conversation::close(work, run.as_bytes(), false, now)?;
    events::forget(work, run.as_bytes())?;
    waits::forget_of(work, run.as_bytes())?;
    if before == RunState::Queued {
        runs::begun(work, run.as_bytes())?;
    }
    // What it waited for stays, for whoever looks.
    let sql = "UPDATE runs SET state = ?, ready = NULL, wake_at = NULL, answer = NULL, waiting = NULL,
        finished_at = ? WHERE id = ?";
    work.tx.prepare_cached(sql)?.execute(params![number(RunState::Cancelled), millis(now), run.as_bytes()])?;
    recall_unsent(work, run.as_bytes(), now)?;
    runs::is_now(work, run, RunState::Cancelled)?;
    Ok(RunDecided::Done)
}

/// Takes back what a run promised and has not sent, but for what is to be kept; what may be sent already
/// is not sent again.
pub fn recall_unsent(work: &mut Work<'_>, run: &[u8; 16], now: Timestamp) -> Read<()> {
    let sql = "SELECT id, body FROM messages WHERE run = ? AND state IN (0, 1, 2, 7)";
    // What cannot be read cannot be sent either.
    let row = |row: &Row<'_>| {
        Ok((MessageId::from_bytes(row.get(0)?), json::<Body>(row, 1).is_ok_and(|body| body.options.keep)))
    };
    for (id, keeps) in readable(work.tx.prepare_cached(sql)?.query_map([run], row)?, "messages")? {
        if !keeps {
            outbox::recall(work, id, now)?;
        }
    }
    Ok(())
}

/// Lets the wait of a run end now, as if its time were up. What is under way outside cannot be cut short.
pub fn end_wait(work: &mut Work<'_>, run: RunId, now: Timestamp) -> Result<RunDecided, Refusal> {
    let Some(before) = state(work, run)? else { return Ok(RunDecided::Missing) };
    let sql = "SELECT 1 FROM runs WHERE id = ? AND state = 2 AND ready IS NULL";
    if !work.tx.prepare_cached(sql)?.exists([run.as_bytes()])? {
        return Ok(RunDecided::NotIn(before));
    }
    // A reminder is not what ends the wait.
    let sql = "UPDATE listening SET deadline = ?, reminded = 1 WHERE run = ?";
    work.tx.prepare_cached(sql)?.execute(params![millis(now), run.as_bytes()])?;
    runs::woken(work, run.as_bytes(), now)?;
    runs::is_now(work, run, RunState::Waiting)?;
    Ok(RunDecided::Done)
}

/// Lets a failed run go on from the last answer that came from outside.
pub fn retry(work: &mut Work<'_>, run: RunId) -> Result<RunDecided, Refusal> {
    let Some(before) = state(work, run)? else { return Ok(RunDecided::Missing) };
    if before != RunState::Failed {
        return Ok(RunDecided::NotIn(before));
    }
    let sql = "SELECT pending, answer, flow FROM runs WHERE id = ?";
    let row = |row: &Row<'_>| {
        // What cannot be read is asked anew.
        let asked = json_or_none::<Pending>(row, 0).and_then(|pending| Ok((pending, json_or_none::<Answer>(row, 1)?)));
        let (pending, answer) = asked.unwrap_or_default();
        Ok((pending, answer, row.get::<_, String>(2)?))
    };
    let (mut pending, mut answer, flow) = work.tx.prepare_cached(sql)?.query_row([run.as_bytes()], row)?;
    cut_fail(work, run)?;
    if let (Some(pending), Some(useless)) = (&mut pending, &answer)
        && let Some(again) = pending.question.asked_again(useless)
    {
        pending.question = again;
        answer = None;
    }
    let ready = work.memory.next_seq();
    let sql = "UPDATE runs SET state = ?, ready = ?, attempt = attempt + 1, cuts = cuts + 1, finished_at = NULL,
        error = NULL, pending = ?, answer = ? WHERE id = ?";
    work.tx.prepare_cached(sql)?.execute(params![
        number(RunState::Waiting),
        ready,
        pending.as_ref().map(text).transpose()?,
        answer.as_ref().map(text).transpose()?,
        run.as_bytes()
    ])?;
    work.rings.run(&flow);
    work.rings.run_is(run, &flow, RunState::Waiting);
    Ok(RunDecided::Done)
}

/// The turn of a `fail` is on record, with its end; one that threw left nothing.
fn cut_fail(work: &Work<'_>, run: RunId) -> Read<()> {
    let sql = "SELECT part, entries FROM journal WHERE run = ? AND live = 1 ORDER BY part DESC LIMIT 1";
    let row = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, json::<Vec<Entry>>(row, 1)?));
    let last = work.tx.prepare_cached(sql)?.query_row([run.as_bytes()], row).optional();
    if let Some((part, entries)) = if_readable(last)?.flatten()
        && entries.last().is_some_and(|entry| entry.kind == Kind::Fail)
    {
        let sql = "UPDATE journal SET live = 0 WHERE run = ? AND part = ?";
        work.tx.prepare_cached(sql)?.execute(params![run.as_bytes(), part])?;
    }
    Ok(())
}

/// What a run and all that replay it have promised and may have sent, oldest first; `but` is left out.
pub fn promised(connection: &Connection, root: RunId, but: RunId) -> Read<Vec<Promised>> {
    let sql = "WITH family AS (SELECT ?1 AS id UNION SELECT id FROM runs WHERE root = ?1)
        SELECT messages.id, account, recipient, body, state FROM family JOIN messages ON run = family.id
        WHERE family.id <> ?2 ORDER BY created_at, messages.id";
    let row = |row: &Row<'_>| {
        let promised = Promised {
            id: MessageId::from_bytes(row.get(0)?),
            account: row.get(1)?,
            to: row.get(2)?,
            content: json::<Body>(row, 3)?.content,
        };
        Ok((promised, outbox::state(row, 4)?))
    };
    let mut find = connection.prepare_cached(sql)?;
    let all = readable(find.query_map([root.as_bytes(), but.as_bytes()], row)?, "messages")?;
    // What has certainly not gone out, and will not, may be sent.
    let lost = |state: MessageState| {
        matches!(state, MessageState::Rejected | MessageState::Dead | MessageState::Expired | MessageState::Cancelled)
    };
    Ok(all.into_iter().filter(|(_, state)| !lost(*state)).map(|(promised, _)| promised).collect())
}

/// A person's decision about a message.
pub fn decide(work: &mut Work<'_>, id: MessageId, decision: Decision, now: Timestamp) -> Read<Decided> {
    let (step, anew) = match decision {
        Decision::Cancel => (Step::Cancel, false),
        Decision::Retry => (Step::Retry, true),
        Decision::ReleaseAsSent => (Step::Vouch, false),
        Decision::ReleaseAndResend => (Step::Resend, true),
    };
    if anew {
        let sql = "UPDATE messages SET recalled = 0 WHERE id = ?";
        work.tx.prepare_cached(sql)?.execute([id.as_bytes()])?;
    }
    let mut change = outbox::Change { anew, ..outbox::Change::default() };
    let mut step = step;
    if step == Step::Vouch {
        let sql = "SELECT parts FROM messages WHERE id = ?";
        let found = work.tx.prepare_cached(sql)?.query_row([id.as_bytes()], |row| json_or_none(row, 0)).optional();
        let parts: Vec<Part> = if_readable(found)?.flatten().flatten().unwrap_or_default();
        change.parts = parts.into_iter().map(Part::vouched).collect();
        // What never touched the wire is still to be sent.
        if change.parts.iter().any(|part| !part.is_out()) {
            step = Step::Resend;
        }
    }
    Ok(match outbox::apply(work, id, step, now, change)? {
        None => Decided::Missing,
        Some(Ok(state)) => Decided::Now(state),
        Some(Err(state)) => Decided::NotIn(state),
    })
}
