//! Messages: promised, claimed, settled, and moved by the clock or a person. Every change of
//! state asks the one table in `model::delivery`.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::columns::{if_readable, readable};
use super::writer::{Refusal, Work};
use super::{Read, evidence, instant, json, json_or_none, text, troubles, waits};
use crate::clock::{after, from_millis, millis, rfc3339};
use crate::id::{MessageId, RunId};
use crate::model::delivery::{Attempt, AttemptOutcome, Degraded, MessageState, Part, Step};
use crate::model::message::NewMessage;
use crate::model::phone::other_address;
use crate::model::recipient::Recipient;
use crate::store::rows::{DueMessage, MessageRef, Moved, ResendPolicy, Settlement, Verdict};

/// Most messages that one command moves by the clock: the rest follows at once in the next.
const MOVES: i64 = 500;

/// The number of a state in its column.
pub fn number(state: MessageState) -> i64 {
    state as i64
}

/// A state from its column.
pub fn state(row: &Row<'_>, column: usize) -> Read<MessageState> {
    let number: i64 = row.get(column)?;
    usize::try_from(number)
        .ok()
        .and_then(|number| MessageState::ALL.get(number).copied())
        .ok_or(rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// Puts a message into the outbox. The same id twice is one message.
pub fn insert(work: &mut Work<'_>, message: &NewMessage, now: Timestamp) -> Read<()> {
    let scheduled = message.at.filter(|at| *at > now);
    let expires = message.valid_for.map(|span| millis(after(scheduled.unwrap_or(now), span)));
    let state = if scheduled.is_some() { MessageState::Scheduled } else { MessageState::Queued };
    let seq = scheduled.is_none().then(|| work.memory.next_seq());
    let sql = "INSERT INTO messages
        (id, run, flow, account, recipient, state, seq, due_at, expires_at, created_at, changed_at, key, body)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING";
    let inserted = work.tx.prepare_cached(sql)?.execute(params![
        message.id.as_bytes(),
        message.run.as_ref().map(RunId::as_bytes),
        message.flow,
        message.account,
        message.to.to_string(),
        number(state),
        seq,
        scheduled.map(millis),
        expires,
        millis(now),
        millis(now),
        message.key,
        text(&message.body)?
    ])?;
    if inserted == 1 {
        work.rings.message_is(message.id, &message.account, state, || (message.run, message.to.to_string()));
    }
    match scheduled {
        Some(_) => work.rings.message_timer(),
        None => work.rings.lane(&message.account),
    }
    if expires.is_some() {
        work.rings.message_timer();
    }
    Ok(())
}

/// The message of a flow under a key, to a person in whatever spelling.
pub fn keyed(connection: &Connection, flow: &str, key: &str, to: &str) -> Read<Option<MessageRef>> {
    let sql = "SELECT id, account, recipient FROM messages WHERE flow = ? AND key = ? AND recipient IN (?, ?)";
    let row = |row: &Row<'_>| {
        Ok(MessageRef { id: MessageId::from_bytes(row.get(0)?), to: row.get(2)?, account: row.get(1)? })
    };
    connection.prepare_cached(sql)?.query_row(params![flow, key, to, other_address(to)], row).optional()
}

/// Queued messages of a lane, in order.
pub fn due(connection: &Connection, account: &str, after: i64, limit: usize) -> Read<Vec<DueMessage>> {
    let sql = "SELECT id, seq, recipient, due_at FROM messages
        WHERE account = ? AND seq > ? AND state = 1 ORDER BY seq LIMIT ?";
    let row = |row: &Row<'_>| {
        Ok(DueMessage {
            id: MessageId::from_bytes(row.get(0)?),
            seq: row.get(1)?,
            // One whose recipient cannot be read is set aside when it is claimed.
            to: if_readable(row.get(2))?.unwrap_or_default(),
            due_at: if_readable(instant(row, 3))?.flatten(),
        })
    };
    readable(connection.prepare_cached(sql)?.query_map(params![account, after, limit as i64], row)?, "messages")
}

/// What a step changes besides the state.
#[derive(Default)]
pub struct Change {
    pub outcome: Option<AttemptOutcome>,
    pub error: Option<String>,
    pub due_at: Option<i64>,
    pub counts: bool,
    pub provider_id: Option<String>,
    pub degraded: Vec<Degraded>,
    pub parts: Vec<Part>,
    /// Begins a new round: the tries are counted anew.
    pub anew: bool,
}

/// Where a message stands before a step.
struct Standing {
    before: MessageState,
    account: String,
    attempts: Vec<Attempt>,
    degraded: Vec<Degraded>,
    waited: bool,
    tries: u32,
    place: Option<i64>,
    expires: bool,
    /// Taken back while nobody knew whether it had gone out.
    recalled: bool,
}

/// Applies one step that changes nothing else.
pub fn step(work: &mut Work<'_>, id: MessageId, step: Step, now: Timestamp) -> Read<()> {
    apply(work, id, step, now, Change::default())?;
    Ok(())
}

/// What is not sent is taken back; what is on the wire, or may have been, is not tried again.
pub fn recall(work: &mut Work<'_>, id: MessageId, now: Timestamp) -> Read<()> {
    step(work, id, Step::Cancel, now)?;
    let sql = "UPDATE messages SET recalled = 1 WHERE id = ? AND state IN (2, 7)";
    work.tx.prepare_cached(sql)?.execute([id.as_bytes()])?;
    Ok(())
}

/// A message of which nobody knew whether it went out did: something shows it.
pub fn infer(work: &mut Work<'_>, id: MessageId, from: &str, now: Timestamp) -> Read<()> {
    let sql = "SELECT 1 FROM messages WHERE id = ? AND state = 7";
    if work.tx.prepare_cached(sql)?.exists([id.as_bytes()])? {
        let action = format!("inferred at {}: {from}", rfc3339(now));
        let degraded = vec![Degraded { field: "delivery".into(), action }];
        apply(work, id, Step::Reached(MessageState::Sent), now, Change { degraded, ..Change::default() })?;
    }
    Ok(())
}

/// Applies one step. Gives the state afterwards, or the one in which the step is not legal.
pub fn apply(
    work: &mut Work<'_>,
    id: MessageId,
    step: Step,
    now: Timestamp,
    change: Change,
) -> Read<Option<Result<MessageState, MessageState>>> {
    let sql = "SELECT state, account, attempts, waited, tries, seq, expires_at IS NOT NULL, degraded, recalled
        FROM messages WHERE id = ?";
    let mut find = work.tx.prepare_cached(sql)?;
    let row = |row: &Row<'_>| {
        Ok(Standing {
            before: state(row, 0)?,
            account: row.get(1)?,
            // What is known of before is written anew, as far as it can be read.
            attempts: if_readable(json(row, 2))?.unwrap_or_default(),
            waited: if_readable(row.get(3))?.unwrap_or(true),
            tries: if_readable(row.get(4))?.unwrap_or_default(),
            place: if_readable(row.get(5))?.flatten(),
            expires: row.get(6)?,
            recalled: if_readable(row.get(8))?.unwrap_or_default(),
            degraded: if_readable(json_or_none(row, 7))?.flatten().unwrap_or_default(),
        })
    };
    let Some(standing) = find.query_row([id.as_bytes()], row).optional()? else {
        return Ok(None);
    };
    let Standing { before, account, mut attempts, mut degraded, waited, tries, place, expires, recalled } = standing;
    drop(find);
    let Some(next) = before.after(step) else { return Ok(Some(Err(before))) };
    // Taken back meanwhile, it is not tried again.
    let next = next.after(Step::Cancel).filter(|_| recalled).unwrap_or(next);
    if let (Some(outcome), Some(last)) = (change.outcome, attempts.last_mut())
        && last.outcome.is_open()
    {
        last.outcome = outcome;
        last.error.clone_from(&change.error);
    }
    if let (MessageState::Accepted | MessageState::Sent | MessageState::Delivered | MessageState::Read, Some(last)) =
        (next, attempts.last_mut())
    {
        last.reached.push((next, millis(now)));
    }
    let queued = next == MessageState::Queued;
    // A message that backs off keeps its place; one that comes back by other ways goes to the end.
    let keeps_place = before == MessageState::Sending;
    let seq = match (queued, keeps_place) {
        (true, true) => place,
        (true, false) => Some(work.memory.next_seq()),
        // Only what is queued or on the wire has a place.
        (false, _) => None,
    };
    let tries = if change.anew { 0 } else { tries.saturating_add(u32::from(change.counts)) };
    let sql = "UPDATE messages SET state = ?, seq = ?, due_at = ?, tries = ?, attempts = ?,
            error = ?, provider_id = coalesce(?, provider_id), degraded = coalesce(?, degraded),
            parts = coalesce(?, parts), changed_at = ?
        WHERE id = ?";
    // What was recorded before (another account, say) stays beside what is new.
    let known = degraded.len();
    degraded.extend(change.degraded);
    let degraded = (degraded.len() > known).then(|| distinct(degraded)).map(|list| text(&list)).transpose()?;
    let parts = (!change.parts.is_empty()).then(|| text(&change.parts)).transpose()?;
    work.tx.prepare_cached(sql)?.execute(params![
        number(next),
        seq,
        change.due_at,
        tries,
        text(&attempts)?,
        change.error,
        change.provider_id,
        degraded,
        parts,
        millis(now),
        id.as_bytes()
    ])?;
    if queued && !keeps_place {
        work.rings.lane(&account);
    }
    // An expiry may have come while the message was on the wire.
    if next == MessageState::Unknown || (queued && expires) {
        work.rings.message_timer();
    }
    if waited {
        waits::moved(work, id, next, now)?;
    }
    troubles::moved(work, id, before, next)?;
    is_now(work, id, &account, next)?;
    Ok(Some(Ok(next)))
}

/// A message has come to a state.
pub fn is_now(work: &mut Work<'_>, id: MessageId, account: &str, state: MessageState) -> Read<()> {
    let sql = "SELECT run, recipient FROM messages WHERE id = ?";
    let row = |row: &Row<'_>| Ok((row.get::<_, Option<[u8; 16]>>(0)?.map(RunId::from_bytes), row.get(1)?));
    let about = match work.rings.watched {
        true => if_readable(work.tx.prepare_cached(sql)?.query_row([id.as_bytes()], row).optional())?.flatten(),
        false => None,
    };
    work.rings.message_is(id, account, state, || about.unwrap_or_default());
    Ok(())
}

fn distinct(list: Vec<Degraded>) -> Vec<Degraded> {
    let mut kept: Vec<Degraded> = Vec::new();
    for one in list {
        if !kept.contains(&one) {
            kept.push(one);
        }
    }
    kept
}

/// Records how an attempt ended. An attempt that is not open any more (a person decided
/// meanwhile) changes nothing.
pub fn settle(work: &mut Work<'_>, settlement: &Settlement) -> Read<()> {
    let mut posted: Vec<String> = settlement.parts.iter().filter_map(|part| part.provider_id.clone()).collect();
    let mut recipient = None;
    let (step, change) = match settlement.verdict.clone() {
        Verdict::Reached { state, provider_id, chat, degraded } => {
            posted.extend(provider_id.clone());
            recipient = chat;
            let outcome = Some(AttemptOutcome::Reached(state));
            (Step::Reached(state), Change { outcome, counts: true, provider_id, degraded, ..Change::default() })
        }
        Verdict::TryAgain { error: (class, error), due_at, counts } => {
            let due_at = Some(millis(due_at));
            (
                Step::TryAgain,
                Change { outcome: Some(class.into()), error: Some(error), due_at, counts, ..Change::default() },
            )
        }
        Verdict::Doubt { error, provider_id } => {
            posted.extend(provider_id.clone());
            let outcome = Some(AttemptOutcome::Ambiguous);
            let change = Change { outcome, error: Some(error), counts: true, provider_id, ..Change::default() };
            (Step::Doubt, change)
        }
        Verdict::Refuse { error: (class, error) } => (
            Step::Refuse,
            Change { outcome: Some(class.into()), error: Some(error), counts: true, ..Change::default() },
        ),
        Verdict::GiveUp { error: (class, error) } => (
            Step::GiveUp,
            Change { outcome: Some(class.into()), error: Some(error), counts: true, ..Change::default() },
        ),
    };
    let parts = acked(work, settlement.id, settlement.parts.clone())?;
    let failed = parts.iter().find(|part| part.state == MessageState::Rejected).and_then(|part| part.error.clone());
    let change = Change { parts, ..change };
    let (id, at) = (settlement.id, settlement.at);
    let outcome = apply(work, id, step, at, change)?;
    if !posted.is_empty() || recipient.is_some() {
        learn(work, id, &posted, recipient, at)?;
    }
    match outcome {
        Some(Ok(MessageState::Unknown)) => evidence::seek(work, id, at),
        // A part may have failed while another one was under way.
        Some(Ok(MessageState::Accepted | MessageState::Sent)) if failed.is_some() => {
            apply(work, id, Step::Refuse, at, Change { error: failed, ..Change::default() }).map(|_| ())
        }
        _ => Ok(()),
    }
}

/// Parts as an attempt left them, with the acks that came for some of them while it was under way.
pub fn acked(work: &Work<'_>, id: MessageId, mut parts: Vec<Part>) -> Read<Vec<Part>> {
    if parts.is_empty() {
        return Ok(parts);
    }
    let sql = "SELECT parts FROM messages WHERE id = ?";
    let known = work.tx.prepare_cached(sql)?.query_row([id.as_bytes()], |row| json_or_none::<Vec<Part>>(row, 0));
    for known in if_readable(known.optional())?.flatten().flatten().unwrap_or_default() {
        let same = parts.iter_mut().find(|part| part.provider_id.is_some() && part.provider_id == known.provider_id);
        let step = if known.state == MessageState::Rejected { Step::Refuse } else { Step::Reached(known.state) };
        if let Some(part) = same.filter(|part| part.state.after(step) == Some(known.state)) {
            (part.state, part.error) = (known.state, known.error);
        }
    }
    Ok(parts)
}

/// What the gateway's answer tells besides: its ids, and how it writes the recipient.
fn learn(
    work: &mut Work<'_>,
    id: MessageId,
    posted: &[String],
    recipient: Option<Recipient>,
    now: Timestamp,
) -> Read<()> {
    let sql = "SELECT account, recipient FROM messages WHERE id = ?";
    let row = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
    let Some((account, to)) = work.tx.prepare_cached(sql)?.query_row([id.as_bytes()], row).optional()? else {
        return Ok(());
    };
    if let Some(chat) = recipient {
        evidence::learn(work, &account, &to, &chat)?;
    }
    for provider_id in posted {
        evidence::post(work, &account, provider_id, id, now)?;
    }
    Ok(())
}

/// Takes a message back; says whether it was in time.
pub fn cancel(work: &mut Work<'_>, id: MessageId, now: Timestamp) -> Read<bool> {
    let outcome = apply(work, id, Step::Cancel, now, Change::default())?;
    Ok(outcome.is_some_and(|outcome| outcome.is_ok()))
}

/// Attempts that were open when the engine died: nobody knows how they ended.
pub fn recover(work: &mut Work<'_>, now: Timestamp) -> Read<u64> {
    let open = ids(work, "SELECT id FROM messages WHERE seq IS NOT NULL AND state = 2", [])?;
    let mut doubtful = 0;
    for id in &open {
        let is_doubtful = work.each(|work| recover_one(work, *id, now), |work, why| set_aside(work, *id, why, now))?;
        doubtful += u64::from(is_doubtful.unwrap_or(true));
    }
    Ok(doubtful)
}

/// Says whether nobody knows if it went out.
fn recover_one(work: &mut Work<'_>, id: MessageId, now: Timestamp) -> Read<bool> {
    let sql = "SELECT attempts, parts FROM messages WHERE id = ?";
    let row = |row: &Row<'_>| Ok((json::<Vec<Attempt>>(row, 0)?, json_or_none::<Vec<Part>>(row, 1)?));
    let (attempts, parts) = work.tx.prepare_cached(sql)?.query_row([id.as_bytes()], row)?;
    // Of several parts each says for itself whether it had touched the wire.
    let untouched = match parts.filter(|parts| !parts.is_empty()) {
        Some(parts) => !parts.iter().any(Part::is_in_doubt),
        None => attempts.last().is_some_and(|last| last.outcome == AttemptOutcome::Preparing),
    };
    let error = Some("the engine stopped while the attempt was open".to_owned());
    let outcome = Some(AttemptOutcome::Interrupted);
    let step = if untouched { Step::TryAgain } else { Step::Doubt };
    let due_at = untouched.then(|| millis(now));
    let change = Change { outcome, error, due_at, counts: !untouched, ..Change::default() };
    apply(work, id, step, now, change)?;
    evidence::seek(work, id, now)?;
    Ok(!untouched)
}

/// A change of one message.
pub fn each<T: Default>(
    work: &mut Work<'_>,
    id: MessageId,
    at: Option<Timestamp>,
    act: impl FnOnce(&mut Work<'_>) -> Read<T>,
) -> Result<T, Refusal> {
    let aside = |work: &mut Work<'_>, why: &str| match at {
        Some(at) => set_aside(work, id, why, at),
        None => Ok(()),
    };
    Ok(work.each(act, aside)?.unwrap_or_default())
}

/// A message whose row does not read as what it should be goes out no more, and whoever waits for it hears
/// of that. One that was on the wire may have gone out, and one that went out did.
pub fn set_aside(work: &mut Work<'_>, id: MessageId, why: &str, now: Timestamp) -> Read<()> {
    let error = format!("damaged: the message's row in the state file cannot be read: {why}");
    tracing::error!(%id, "{error}");
    let mut find = work.tx.prepare_cached("SELECT state, account FROM messages WHERE id = ?")?;
    let row =
        |row: &Row<'_>| Ok((if_readable(state(row, 0))?, if_readable(row.get::<_, String>(1))?.unwrap_or_default()));
    let Some((before, account)) = find.query_row([id.as_bytes()], row).optional()? else { return Ok(()) };
    drop(find);
    let left = match before {
        Some(MessageState::Scheduled | MessageState::Queued) => MessageState::Dead,
        Some(MessageState::Sending) | None => MessageState::Unknown,
        Some(state) => state,
    };
    let sql = "UPDATE messages SET seq = NULL, due_at = NULL, expires_at = NULL, recalled = 1, state = ?, error = ?,
        changed_at = ? WHERE id = ?";
    let values = params![number(left), error, millis(now), id.as_bytes()];
    work.tx.prepare_cached(sql)?.execute(values)?;
    troubles::moved(work, id, left, left)?;
    is_now(work, id, &account, left)?;
    if_readable(waits::moved(work, id, left, now)).map(|_| ())
}

/// Moves what the clock moves.
pub fn advance(work: &mut Work<'_>, now: Timestamp, resend: &[ResendPolicy]) -> Read<Moved> {
    let at = millis(now);
    let due =
        ids(work, "SELECT id FROM messages WHERE state = 0 AND due_at <= ? ORDER BY due_at LIMIT ?", [at, MOVES])?;
    for id in &due {
        moves(work, *id, Step::Due, now)?;
    }
    let old = "SELECT id FROM messages WHERE expires_at IS NOT NULL AND state IN (0, 1) AND expires_at <= ? LIMIT ?";
    let expired = ids(work, old, [at, MOVES])?;
    for id in &expired {
        moves(work, *id, Step::Expire, now)?;
    }
    let mut count = due.len() + expired.len();
    let mut next: Vec<Option<i64>> = vec![
        earliest(work, "SELECT min(due_at) FROM messages WHERE state = 0", [])?,
        earliest(work, "SELECT min(expires_at) FROM messages WHERE expires_at IS NOT NULL AND state IN (0, 1)", [])?,
    ];
    for policy in resend {
        let wait = i64::try_from(policy.after.as_millis()).unwrap_or(i64::MAX / 2);
        let sql = "SELECT id FROM messages WHERE state = 7 AND account = ? AND changed_at <= ? AND tries < ?
                AND recalled = 0 AND (expires_at IS NULL OR expires_at > ?) ORDER BY changed_at LIMIT ?";
        let unknown = ids(work, sql, params![policy.account, at - wait, policy.attempts, at, MOVES])?;
        for id in &unknown {
            moves(work, *id, Step::Resend, now)?;
        }
        count += unknown.len();
        let sql = "SELECT min(changed_at) FROM messages WHERE state = 7 AND account = ? AND tries < ?
            AND recalled = 0 AND (expires_at IS NULL OR expires_at > ?)";
        next.push(
            earliest(work, sql, params![policy.account, policy.attempts, at])?
                .map(|oldest| oldest.saturating_add(wait)),
        );
    }
    Ok(Moved { count: count as u64, next: next.into_iter().flatten().min().map(from_millis) })
}

fn moves(work: &mut Work<'_>, id: MessageId, to: Step, now: Timestamp) -> Read<()> {
    work.each(|work| step(work, id, to, now), |work, why| set_aside(work, id, why, now)).map(|_| ())
}

fn ids(work: &Work<'_>, sql: &str, values: impl rusqlite::Params) -> Read<Vec<MessageId>> {
    let mut find = work.tx.prepare_cached(sql)?;
    readable(find.query_map(values, |row| Ok(MessageId::from_bytes(row.get(0)?)))?, "messages")
}

fn earliest(work: &Work<'_>, sql: &str, values: impl rusqlite::Params) -> Read<Option<i64>> {
    Ok(if_readable(work.tx.prepare_cached(sql)?.query_row(values, |row| row.get(0)))?.flatten())
}
