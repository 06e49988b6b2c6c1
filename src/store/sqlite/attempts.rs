//! Attempts: opened within the day's budget, and moved to another account when theirs cannot send.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::outbox::{number, state};
use super::writer::Work;
use super::{Read, instant, json, json_or_none, text};
use crate::clock::{from_millis, millis};
use crate::id::MessageId;
use crate::model::delivery::{Attempt, Degraded, MessageState, Step};
use crate::model::message::Body;
use crate::model::recipient::Recipient;
use crate::store::rows::{Budget, Claimed, Claims, Diversion, Held, LastHeard};

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
    budget: Option<Budget>,
    now: Timestamp,
) -> Read<Claims> {
    let mut left = budget.map(|budget| open_day(work, account, budget)).transpose()?;
    let mut claims = Claims { claimed: Vec::with_capacity(messages.len()), held: Vec::new() };
    for id in messages {
        let sql = "SELECT state, recipient, body, tries, attempts, expires_at, parts FROM messages
            WHERE id = ? AND account = ?";
        let mut find = work.tx.prepare_cached(sql)?;
        let row = |row: &Row<'_>| {
            let parts = json_or_none(row, 6)?.unwrap_or_default();
            let message = Claimed { id: *id, to: row.get(1)?, body: json(row, 2)?, tries: row.get(3)?, parts };
            Ok((state(row, 0)?, message, json::<Vec<Attempt>>(row, 4)?, instant(row, 5)?))
        };
        let found = find.query_row(params![id.as_bytes(), account], row).optional()?;
        drop(find);
        let Some((state, message, mut attempts, expires)) = found else { continue };
        if expires.is_some_and(|expires| expires <= now) {
            continue;
        }
        let Some(next) = state.after(Step::Claim) else { continue };
        // A message counts when it is tried first.
        if let Some(left) = left.as_mut().filter(|_| attempts.is_empty())
            && let Some(held) = count(work, account, &message.to, left)?
        {
            claims.held.push((*id, held));
            continue;
        }
        let attempt = attempts.len() as u32 + 1;
        attempts.push(Attempt { number: attempt, at: millis(now), outcome: "open".into(), error: None });
        let sql = "UPDATE messages SET state = ?, attempts = ?, changed_at = ? WHERE id = ?";
        let values = params![number(next), text(&attempts)?, millis(now), id.as_bytes()];
        work.tx.prepare_cached(sql)?.execute(values)?;
        claims.claimed.push(message);
    }
    Ok(claims)
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
    let found = work.tx.prepare_cached(sql)?.query_row(params![account, budget.day], counts).optional()?;
    if let Some((sent, new)) = found {
        return Ok(Left { budget, sent, new });
    }
    if !work.tx.prepare_cached("SELECT 1 FROM days WHERE account = ?")?.exists([account])? {
        let sql = "INSERT OR IGNORE INTO acquaintances SELECT account, recipient FROM messages
            WHERE account = ? AND state IN (3, 4, 5, 6, 7)";
        work.tx.prepare_cached(sql)?.execute([account])?;
    }
    work.tx.prepare_cached("DELETE FROM days WHERE account = ? AND day < ?")?.execute(params![account, budget.day])?;
    let sql = "INSERT INTO days (account, day) VALUES (?, ?)";
    work.tx.prepare_cached(sql)?.execute(params![account, budget.day])?;
    Ok(Left { budget, sent: 0, new: 0 })
}

/// Counts a message, or says why the day has no room for it.
fn count(work: &mut Work<'_>, account: &str, to: &str, left: &mut Left) -> Read<Option<Held>> {
    if left.budget.daily.is_some_and(|most| left.sent >= most) {
        return Ok(Some(Held::Daily));
    }
    let sql = "SELECT 1 FROM acquaintances WHERE account = ? AND recipient = ?";
    let known = work.tx.prepare_cached(sql)?.exists(params![account, to])?;
    if !known && left.budget.new_recipients.is_some_and(|most| left.new >= most) {
        return Ok(Some(Held::NewRecipients));
    }
    left.sent += 1;
    if !known {
        left.new += 1;
        let sql = "INSERT INTO acquaintances (account, recipient) VALUES (?, ?)";
        work.tx.prepare_cached(sql)?.execute(params![account, to])?;
    }
    let sql = "UPDATE days SET sent = ?, new = ? WHERE account = ? AND day = ?";
    work.tx.prepare_cached(sql)?.execute(params![left.sent, left.new, account, left.budget.day])?;
    Ok(None)
}

/// Moves what an account has not sent yet to another one. A recipient's messages move together:
/// one that cannot move keeps the others.
pub fn divert(work: &mut Work<'_>, diversion: &Diversion, now: Timestamp) -> Read<u64> {
    // What is on the wire settles where it is, and keeps its recipient's others until then.
    let sql = "SELECT id, recipient, body, state, degraded, parts FROM messages
        WHERE account = ? AND state IN (0, 1, 2) ORDER BY coalesce(seq, 9223372036854775807), id LIMIT 20000";
    struct Row6 {
        id: [u8; 16],
        to: String,
        body: Body,
        state: MessageState,
        degraded: Vec<Degraded>,
        begun: bool,
    }
    let row = |row: &Row<'_>| {
        let parts: Vec<crate::model::delivery::Part> = json_or_none(row, 5)?.unwrap_or_default();
        Ok(Row6 {
            id: row.get(0)?,
            to: row.get(1)?,
            body: json(row, 2)?,
            state: state(row, 3)?,
            degraded: json_or_none(row, 4)?.unwrap_or_default(),
            begun: parts.iter().any(|part| part.is_out()),
        })
    };
    let all: Vec<Row6> = work.tx.prepare_cached(sql)?.query_map([&diversion.from], row)?.collect::<Read<_>>()?;
    let stays = |row: &Row6| {
        let reached = Recipient::from_canonical(&row.to).is_ok_and(|to| diversion.capabilities.addresses(&to).is_ok());
        let policy = row.body.options.on_unsupported.unwrap_or(diversion.on_unsupported);
        let sent = || diversion.capabilities.adapt(row.body.clone(), policy, diversion.hosted).is_ok();
        row.state == MessageState::Sending || row.begun || !reached || !row.body.options.extra.is_empty() || !sent()
    };
    let keep: std::collections::HashSet<String> =
        all.iter().filter(|row| stays(row)).map(|row| row.to.clone()).collect();
    let mut moved = 0;
    for mut row in all.into_iter().filter(|row| !keep.contains(&row.to)) {
        let note = |field: &str, action: String| Degraded { field: field.into(), action };
        let action = format!("`{}` instead of `{}`: {}", diversion.to, diversion.from, diversion.reason);
        row.degraded.push(note("account", action));
        if row.body.options.reply_to.take().is_some() {
            let action = format!("left out: the message that it answers is one of `{}`", diversion.from);
            row.degraded.push(note("reply_to", action));
        }
        let queued = row.state == MessageState::Queued;
        let seq = queued.then(|| work.memory.next_seq());
        let sql = "UPDATE messages SET account = ?, seq = ?, due_at = CASE WHEN state = 1 THEN NULL ELSE due_at END,
            body = ?, degraded = ?, parts = NULL, changed_at = ? WHERE id = ?";
        work.tx.prepare_cached(sql)?.execute(params![
            diversion.to,
            seq,
            text(&row.body)?,
            text(&row.degraded)?,
            millis(now),
            row.id
        ])?;
        moved += 1;
    }
    if moved > 0 {
        work.rings.lane(&diversion.to);
    }
    Ok(moved)
}

/// Rows of `heard` that are no recipients.
const SINCE: &str = "";
const LATEST: &str = "*";
const HIDDEN: &str = "?";

/// Notes who wrote to an account, and that it gets events at all.
pub fn hear(work: &mut Work<'_>, account: &str, from: &[(Recipient, Timestamp)], now: Timestamp) -> Read<()> {
    let sql = "INSERT OR IGNORE INTO heard (account, recipient, at) VALUES (?, ?, ?)";
    work.tx.prepare_cached(sql)?.execute(params![account, SINCE, millis(now)])?;
    let sql = "INSERT INTO heard (account, recipient, at) VALUES (?, ?, ?)
        ON CONFLICT DO UPDATE SET at = max(at, excluded.at)";
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
