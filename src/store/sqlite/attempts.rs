//! Attempts, opened within the day's budget; and when people last wrote.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::columns::if_readable;
use super::outbox::{self, number, state};
use super::writer::Work;
use super::{Read, evidence, instant, json, json_or_none, people, text};
use crate::clock::{from_millis, millis};
use crate::id::MessageId;
use crate::model::delivery::{Attempt, AttemptOutcome, Degraded, OPTED_OUT, Part, Step};
use crate::model::message::{Body, Content};
use crate::model::phone::other_address;
use crate::model::recipient::Recipient;
use crate::store::rows::{Budget, ClaimRules, Claimed, Claims, Held, LastHeard, Settlement, Spent, Verdict};

/// An attempt has all that it needs and touches the wire now.
pub fn touch(work: &mut Work<'_>, id: MessageId) -> Read<()> {
    let sql = "SELECT attempts FROM messages WHERE id = ?";
    let found = work.tx.prepare_cached(sql)?.query_row([id.as_bytes()], |row| json::<Vec<Attempt>>(row, 0));
    // What cannot be read any more is not what holds a message up.
    let Some(mut attempts) = if_readable(found.optional())?.flatten() else { return Ok(()) };
    if let Some(last) = attempts.last_mut().filter(|last| last.outcome == AttemptOutcome::Preparing) {
        last.outcome = AttemptOutcome::Open;
        let sql = "UPDATE messages SET attempts = ? WHERE id = ?";
        work.tx.prepare_cached(sql)?.execute(params![text(&attempts)?, id.as_bytes()])?;
    }
    Ok(())
}

/// Records how far a message of several parts has come, and by what changes it was cut.
pub fn note_parts(work: &mut Work<'_>, id: MessageId, parts: &[Part], cut: &[Degraded], now: Timestamp) -> Read<()> {
    // An ack of an earlier part may have come meanwhile.
    let parts = &outbox::acked(work, id, parts.to_vec())?;
    let sql = "UPDATE messages SET parts = ? WHERE id = ? RETURNING account";
    let values = params![text(&parts)?, id.as_bytes()];
    let account: Option<String> = work.tx.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?;
    for provider_id in parts.iter().filter_map(|part| part.provider_id.as_deref()) {
        evidence::post(work, account.as_deref().unwrap_or_default(), provider_id, id, now)?;
    }
    if cut.is_empty() {
        return Ok(());
    }
    let sql = "SELECT degraded FROM messages WHERE id = ?";
    let mut all: Vec<Degraded> = work
        .tx
        .prepare_cached(sql)?
        .query_row([id.as_bytes()], |row| Ok(if_readable(json_or_none(row, 0))?.flatten()))
        .optional()?
        .flatten()
        .unwrap_or_default();
    all.extend_from_slice(cut);
    let sql = "UPDATE messages SET degraded = ? WHERE id = ?";
    work.tx.prepare_cached(sql)?.execute(params![text(&all)?, id.as_bytes()])?;
    Ok(())
}

/// What the budget has left.
struct Left {
    budget: Budget,
    sent: u32,
    new: u32,
}

/// Opens an attempt for each message that is still queued in `account`, as far as the budget goes.
pub fn claim(
    work: &mut Work<'_>,
    account: &str,
    messages: &[MessageId],
    rules: &ClaimRules,
    now: Timestamp,
) -> Read<Claims> {
    let mut left = rules.budget.clone().map(|budget| open_day(work, account, budget)).transpose()?;
    let mut claims = Claims { claimed: Vec::with_capacity(messages.len()), held: Vec::new() };
    for id in messages {
        let outcome = work.each(
            |work| claim_one(work, account, *id, rules, left.as_mut(), now),
            |work, why| outbox::set_aside(work, *id, why, now),
        )?;
        match outcome.flatten() {
            None => {}
            Some(Ok(message)) => claims.claimed.push(message),
            Some(Err(held)) => claims.held.push((*id, held)),
        }
    }
    Ok(claims)
}

/// Opens an attempt for one; none when it is not there for that any more.
fn claim_one(
    work: &mut Work<'_>,
    account: &str,
    id: MessageId,
    rules: &ClaimRules,
    left: Option<&mut Left>,
    now: Timestamp,
) -> Read<Option<Result<Claimed, Held>>> {
    let sql = "SELECT state, recipient, body, tries, attempts, expires_at, parts FROM messages
            WHERE id = ? AND account = ?";
    let mut find = work.tx.prepare_cached(sql)?;
    let row = |row: &Row<'_>| {
        let parts = json_or_none(row, 6)?.unwrap_or_default();
        let body: Body = json(row, 2)?;
        let preparing = is_prepared(&body.content, rules.cards);
        let message = Claimed { id, to: row.get(1)?, body, tries: row.get(3)?, parts, preparing };
        // Earlier attempts that cannot be read hold nothing up.
        let attempts = if_readable(json::<Vec<Attempt>>(row, 4))?.unwrap_or_default();
        Ok((state(row, 0)?, message, attempts, instant(row, 5)?))
    };
    let found = find.query_row(params![id.as_bytes(), account], row).optional()?;
    drop(find);
    let Some((state, message, mut attempts, expires)) = found else { return Ok(None) };
    if expires.is_some_and(|expires| expires <= now) {
        return Ok(None);
    }
    let Some(next) = state.after(Step::Claim) else { return Ok(None) };
    // Whoever wants to hear no more is told so once, and nothing else.
    let refused = work.memory.opted_out
        && people::opted_out(work.tx, account, &message.to)?.is_some_and(|reply| reply != Some(*id.as_bytes()));
    // A message counts when it is tried first by this account.
    let first = attempts.iter().all(|attempt| attempt.account.is_some());
    if let Some(left) = left.filter(|_| first && !refused)
        && let Some(held) = count(work, account, &message.to, left)?
    {
        return Ok(Some(Err(held)));
    }
    let attempt = attempts.len() as u32 + 1;
    // What is only being prepared when the engine dies has certainly not gone out.
    let outcome = if message.preparing { AttemptOutcome::Preparing } else { AttemptOutcome::Open };
    let at = millis(now);
    attempts.push(Attempt { number: attempt, at, outcome, error: None, account: None, reached: Vec::new() });
    let sql = "UPDATE messages SET state = ?, attempts = ?, changed_at = ? WHERE id = ?";
    let values = params![number(next), text(&attempts)?, millis(now), id.as_bytes()];
    work.tx.prepare_cached(sql)?.execute(values)?;
    outbox::is_now(work, id, account, next)?;
    if refused {
        let sentence = format!("{} wants to get no more messages from this account", message.to);
        let verdict = Verdict::Refuse { error: (OPTED_OUT.into(), sentence) };
        outbox::settle(work, &Settlement { id, at: now, verdict, parts: Vec::new() })?;
        return Ok(None);
    }
    Ok(Some(Ok(message)))
}

/// Whether something is fetched for a message, or the names in its addresses are asked for, before it touches
/// the wire.
fn is_prepared(content: &Content, cards: bool) -> bool {
    match content {
        Content::Link { .. } => cards || content.names_addresses(),
        other => other.media().is_some() || other.names_addresses(),
    }
}

/// Forgets the days of an account that counts them no more.
pub fn stop_counting(work: &mut Work<'_>, account: &str) -> Read<()> {
    work.tx.prepare_cached("DELETE FROM days WHERE account = ?")?.execute([account])?;
    Ok(())
}

/// The day's counts so far. When counting begins, everybody who got a message before is known.
fn open_day(work: &mut Work<'_>, account: &str, budget: Budget) -> Read<Left> {
    let sql = "SELECT sent, new FROM days WHERE account = ? AND day = ?";
    let counts = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    // A count that cannot be read begins anew.
    let found =
        if_readable(work.tx.prepare_cached(sql)?.query_row(params![account, budget.day], counts).optional())?.flatten();
    if let Some((sent, new)) = found {
        return Ok(Left { budget, sent, new });
    }
    if !work.tx.prepare_cached("SELECT 1 FROM days WHERE account = ?")?.exists([account])? {
        let sql = "INSERT INTO acquaintances (account, recipient) SELECT account, recipient FROM messages
            WHERE account = ? AND state IN (3, 4, 5, 6, 7) ON CONFLICT DO NOTHING";
        work.tx.prepare_cached(sql)?.execute([account])?;
    }
    work.tx.prepare_cached("DELETE FROM days WHERE account = ? AND day < ?")?.execute(params![account, budget.day])?;
    let sql = "INSERT INTO days (account, day, sent, new) VALUES (?, ?, 0, 0)
        ON CONFLICT (account, day) DO UPDATE SET sent = 0, new = 0";
    work.tx.prepare_cached(sql)?.execute(params![account, budget.day])?;
    Ok(Left { budget, sent: 0, new: 0 })
}

/// Counts a message, or says why the day has no room for it.
fn count(work: &mut Work<'_>, account: &str, to: &str, left: &mut Left) -> Read<Option<Held>> {
    if left.budget.daily.is_some_and(|most| left.sent >= most) {
        return Ok(Some(Held::Daily));
    }
    let sql = "SELECT 1 FROM acquaintances WHERE account = ? AND recipient IN (?, ?)";
    let known = work.tx.prepare_cached(sql)?.exists(params![account, to, other_address(to)])?;
    if !known && left.budget.new_recipients.is_some_and(|most| left.new >= most) {
        return Ok(Some(Held::NewRecipients));
    }
    left.sent = left.sent.saturating_add(1);
    if !known {
        left.new = left.new.saturating_add(1);
        let sql = "INSERT INTO acquaintances (account, recipient) VALUES (?, ?)";
        work.tx.prepare_cached(sql)?.execute(params![account, to])?;
    }
    let sql = "UPDATE days SET sent = ?, new = ? WHERE account = ? AND day = ?";
    work.tx.prepare_cached(sql)?.execute(params![left.sent, left.new, account, left.budget.day])?;
    Ok(None)
}

/// Rows of `heard` that are no recipients.
const SINCE: &str = "";
const LATEST: &str = "*";
const HIDDEN: &str = "?";

/// Notes who wrote to an account, and that it gets events at all.
pub fn hear(work: &mut Work<'_>, account: &str, from: &[(Recipient, Timestamp)], now: Timestamp) -> Read<()> {
    let sql = "INSERT INTO heard (account, recipient, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
    work.tx.prepare_cached(sql)?.execute(params![account, SINCE, millis(now)])?;
    let sql = "INSERT INTO heard (account, recipient, at) VALUES (?, ?, ?)
        ON CONFLICT (account, recipient)
        DO UPDATE SET at = CASE WHEN excluded.at > heard.at THEN excluded.at ELSE heard.at END";
    for (recipient, at) in from {
        // A clock that is ahead of ours opens no window for longer than a day.
        let at = millis(*at).min(millis(now));
        work.tx.prepare_cached(sql)?.execute(params![account, recipient.to_string(), at])?;
    }
    let phones = from.iter().any(|(who, _)| matches!(who, Recipient::Phone(_)));
    // A person's phone and other id come together, unless the phone is hidden.
    let hidden = (!phones && !from.is_empty()).then_some(HIDDEN);
    for mark in [Some(LATEST), hidden].into_iter().flatten() {
        work.tx.prepare_cached(sql)?.execute(params![account, mark, millis(now)])?;
    }
    Ok(())
}

/// What is known of when a recipient last wrote.
pub fn heard(connection: &Connection, account: &str, recipient: &str) -> Read<LastHeard> {
    let sql = "SELECT at FROM heard WHERE account = ? AND recipient = ?";
    let mut find = connection.prepare_cached(sql)?;
    let mut at = |recipient: &str| {
        find.query_row(params![account, recipient], |row| row.get(0)).optional().map(|at| at.map(from_millis))
    };
    Ok(LastHeard { since: at(SINCE)?, latest: at(LATEST)?, hidden: at(HIDDEN)?, last: at(recipient)? })
}

/// How an account stands on one of its days.
pub fn spent(connection: &Connection, account: &str, day: &str) -> Read<Spent> {
    let counts = |row: &Row<'_>| Ok((row.get::<_, u32>(0)?, row.get::<_, u32>(1)?));
    let found = connection
        .prepare_cached("SELECT sent, new FROM days WHERE account = ? AND day = ?")?
        .query_row([account, day], counts);
    let (sent, new) = if_readable(found.optional())?.flatten().unzip();
    let at = |sql: &str| -> Read<Option<Timestamp>> {
        let found = connection.prepare_cached(sql)?.query_row([account], |row| row.get::<_, Option<i64>>(0)).optional();
        Ok(if_readable(found)?.flatten().flatten().map(from_millis))
    };
    let oldest =
        "SELECT created_at FROM messages WHERE account = ? AND seq IS NOT NULL AND state = 1 ORDER BY seq LIMIT 1";
    let heard = "SELECT max(at) FROM incoming WHERE account = ?";
    Ok(Spent { sent, new, oldest: at(oldest)?, heard: at(heard)? })
}
