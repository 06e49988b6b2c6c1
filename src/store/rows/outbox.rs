//! Messages on their way out: their places in the lanes of accounts, attempts on them, what the clock moves, and what
//! moves to another account.

use jiff::Timestamp;

use crate::id::{MessageId, RunId};
use crate::model::delivery::{Attempt, Degraded, MessageState, Part};
use crate::model::message::Body;
use crate::store::records::{DueMessage, ResendPolicy};
use crate::store::tx::{Columns, Read, Tx, Value, if_readable, text, values};

/// Most messages that one command moves by the clock: the rest follows at once in the next.
const MOVES: usize = 500;

/// Queued messages of a lane behind a place, in order.
pub fn due(tx: &dyn Tx, account: &str, after: i64, limit: usize) -> Read<Vec<DueMessage>> {
    let sql = "SELECT id, seq, recipient, due_at FROM messages
        WHERE account = ? AND seq > ? AND state = 1 ORDER BY seq LIMIT ?";
    tx.readable(sql, values![account, after, limit], "messages", |row| {
        Ok(DueMessage {
            id: row.get(0)?,
            seq: row.get(1)?,
            // One whose recipient cannot be read is set aside when it is claimed.
            to: row.maybe(2)?.unwrap_or_default(),
            due_at: row.maybe::<Option<Timestamp>>(3)?.flatten(),
            known: None,
        })
    })
}

/// How many messages have a place in a lane.
pub fn count_in_lane(tx: &dyn Tx, account: &str) -> Read<u64> {
    let sql = "SELECT count(*) FROM messages WHERE account = ? AND seq IS NOT NULL";
    Ok(tx.first(sql, values![account], |row| row.get::<i64>(0))?.unwrap_or(0).unsigned_abs())
}

/// What is claimed: where a message stands and what it says.
#[derive(Debug)]
pub struct Claimable {
    /// Where it stands.
    pub state: MessageState,
    /// Canonical recipient.
    pub to: String,
    /// What it says.
    pub body: Body,
    /// Tries that counted.
    pub tries: u32,
    /// Its tries, as far as they can be read.
    pub attempts: Vec<Attempt>,
    /// When it is too late for it.
    pub expires_at: Option<Timestamp>,
    /// Its parts.
    pub parts: Vec<Part>,
}

fn claimable_of(row: &dyn Columns) -> Read<Claimable> {
    Ok(Claimable {
        state: row.get(0)?,
        to: row.get(1)?,
        body: row.json(2)?,
        tries: row.get(3)?,
        attempts: row.json_or_default(4)?,
        expires_at: row.get(5)?,
        parts: row.json_or_none(6)?.unwrap_or_default(),
    })
}

/// A message of an account that somebody wants to claim.
pub fn claimable(tx: &dyn Tx, account: &str, id: MessageId) -> Read<Option<Claimable>> {
    let sql = "SELECT state, recipient, body, tries, attempts, expires_at, parts FROM messages
            WHERE id = ? AND account = ?";
    tx.first(sql, values![id, account], claimable_of)
}

/// A message's recipient, what it says, and tries that counted.
pub type First = (String, Body, u32);

/// What a first attempt wants of its message.
const CLAIM_IF_FIRST: &str = "UPDATE messages SET state = 2, attempts = ?, changed_at = ?
        WHERE id = ? AND account = ? AND state = 1 AND attempts = '[]' AND parts IS NULL
            AND (expires_at IS NULL OR expires_at > ?)
        RETURNING recipient, body, tries";
/// The same, of a message that need not be read.
const CLAIM_IF_UNTRIED: &str = "UPDATE messages SET state = 2, attempts = ?, changed_at = ?
        WHERE id = ? AND account = ? AND state = 1 AND attempts = '[]' AND parts IS NULL
            AND (expires_at IS NULL OR expires_at > ?) AND tries = 0";

fn claim_rows<'a>(attempts: &'a str, account: &'a str, ids: &[MessageId], now: Timestamp) -> Vec<Vec<Value<'a>>> {
    ids.iter().map(|id| vec![attempts.into(), now.into(), (*id).into(), account.into(), now.into()]).collect()
}

/// Queued messages of an account that were never tried get their first attempt, each in the place of its id; none
/// where a message is not so.
pub fn claim_all_if_first(tx: &dyn Tx, account: &str, ids: &[MessageId], now: Timestamp) -> Read<Vec<Option<First>>> {
    let attempts = text(&[Attempt::open(1, now)])?;
    let mut found: Vec<Option<First>> = ids.iter().map(|_| None).collect();
    tx.visit_each(CLAIM_IF_FIRST, &claim_rows(&attempts, account, ids, now), &mut |place, row| {
        found[place] = Some((row.get(0)?, row.json(1)?, row.get(2)?));
        Ok(())
    })?;
    Ok(found)
}

/// The same, and nothing of them is read. Says of each whether it was so.
pub fn claim_all_if_untried(tx: &dyn Tx, account: &str, ids: &[MessageId], now: Timestamp) -> Read<Vec<bool>> {
    let attempts = text(&[Attempt::open(1, now)])?;
    let changed = tx.run_each(CLAIM_IF_UNTRIED, &claim_rows(&attempts, account, ids, now))?;
    Ok(changed.into_iter().map(|changed| changed == 1).collect())
}

/// An attempt of a message is open.
pub fn claim(tx: &dyn Tx, id: MessageId, attempts: &[Attempt], now: Timestamp) -> Read<()> {
    let sql = "UPDATE messages SET state = 2, attempts = ?, changed_at = ? WHERE id = ?";
    tx.run(sql, values![&text(&attempts)?, now, id]).map(drop)
}

fn ids(tx: &dyn Tx, sql: &str, values: &[Value<'_>]) -> Read<Vec<MessageId>> {
    tx.readable(sql, values, "messages", |row| row.get(0))
}

fn earliest(tx: &dyn Tx, sql: &str, values: &[Value<'_>]) -> Read<Option<i64>> {
    Ok(if_readable(tx.first(sql, values, |row| row.get(0)))?.flatten().flatten())
}

/// Messages that are on the wire.
pub fn on_the_wire(tx: &dyn Tx) -> Read<Vec<MessageId>> {
    ids(tx, "SELECT id FROM messages WHERE seq IS NOT NULL AND state = 2", values![])
}

/// Scheduled messages whose time has come.
pub fn scheduled_until(tx: &dyn Tx, now: Timestamp) -> Read<Vec<MessageId>> {
    let sql = "SELECT id FROM messages WHERE state = 0 AND due_at <= ? ORDER BY due_at LIMIT ?";
    ids(tx, sql, values![now, MOVES])
}

/// Messages that have not left and for which it is too late.
pub fn expired_at(tx: &dyn Tx, now: Timestamp) -> Read<Vec<MessageId>> {
    let sql = "SELECT id FROM messages WHERE expires_at IS NOT NULL AND state IN (0, 1) AND expires_at <= ? LIMIT ?";
    ids(tx, sql, values![now, MOVES])
}

/// Messages of which nobody has known since `before` whether they went out, and that are to be sent again.
pub fn unknown_since(tx: &dyn Tx, policy: &ResendPolicy, before: i64, now: Timestamp) -> Read<Vec<MessageId>> {
    let sql = "SELECT id FROM messages WHERE state = 7 AND account = ? AND changed_at <= ? AND tries < ?
                AND recalled = 0 AND (expires_at IS NULL OR expires_at > ?) ORDER BY changed_at LIMIT ?";
    ids(tx, sql, values![&policy.account, before, policy.attempts, now, MOVES])
}

/// When the time of the next scheduled message comes, in milliseconds since 1970.
pub fn next_scheduled(tx: &dyn Tx) -> Read<Option<i64>> {
    earliest(tx, "SELECT min(due_at) FROM messages WHERE state = 0", values![])
}

/// When it is too late for the next message that has not left, in the same way.
pub fn next_expiring(tx: &dyn Tx) -> Read<Option<i64>> {
    let sql = "SELECT min(expires_at) FROM messages WHERE expires_at IS NOT NULL AND state IN (0, 1)";
    earliest(tx, sql, values![])
}

/// Since when nobody knows whether the oldest one went out that is to be sent again, in the same way.
pub fn oldest_unknown(tx: &dyn Tx, policy: &ResendPolicy, now: Timestamp) -> Read<Option<i64>> {
    let sql = "SELECT min(changed_at) FROM messages WHERE state = 7 AND account = ? AND tries < ?
            AND recalled = 0 AND (expires_at IS NULL OR expires_at > ?)";
    earliest(tx, sql, values![&policy.account, policy.attempts, now])
}

/// A message that may leave its account for another one.
#[derive(Debug)]
pub struct Movable {
    /// Which.
    pub id: MessageId,
    /// Canonical recipient.
    pub to: String,
    /// The rest, if it can be read.
    pub rest: Option<MovableRest>,
}

/// What decides whether a message may leave its account.
#[derive(Debug)]
pub struct MovableRest {
    /// Where it stands.
    pub state: MessageState,
    /// What it says.
    pub body: Body,
    /// Its parts.
    pub parts: Vec<Part>,
    /// The run that promised it.
    pub run: Option<RunId>,
}

/// Visits the messages of an account that have not left: those with a place in its lane, then those that are scheduled.
pub fn each_not_left(tx: &dyn Tx, account: &str, visitor: &mut dyn FnMut(Movable) -> Read<()>) -> Read<()> {
    for sql in [
        "SELECT id, recipient, body, state, parts, run FROM messages
            WHERE account = ? AND seq IS NOT NULL AND state IN (1, 2) ORDER BY seq",
        "SELECT id, recipient, body, state, parts, run FROM messages
            WHERE state = 0 AND account = ? ORDER BY due_at",
    ] {
        tx.visit(sql, values![account], &mut |row| {
            let rest = || {
                let parts = row.json_or_none(4)?.unwrap_or_default();
                Ok(MovableRest { body: row.json(2)?, state: row.get(3)?, parts, run: row.get(5)? })
            };
            visitor(Movable { id: row.get(0)?, to: row.get(1)?, rest: if_readable(rest())? })?;
            Ok(true)
        })?;
    }
    Ok(())
}

/// A message that moves to another account.
#[derive(Debug)]
pub struct Moving {
    /// Where it stands.
    pub state: MessageState,
    /// What it says.
    pub body: Body,
    /// What was changed on the way.
    pub degraded: Vec<Degraded>,
    /// Its tries.
    pub attempts: Vec<Attempt>,
    /// Canonical recipient.
    pub to: String,
    /// The run that promised it.
    pub run: Option<RunId>,
}

/// A message of an account, if it has not left and can be read.
pub fn scheduled_or_queued(tx: &dyn Tx, id: MessageId, account: &str) -> Read<Option<Moving>> {
    let sql = "SELECT body, state, degraded, attempts, recipient, run FROM messages
            WHERE id = ? AND account = ? AND state IN (0, 1)";
    let found = tx.first(sql, values![id, account], |row| {
        let (degraded, attempts) = (row.json_or_default(2)?, row.json_or_default(3)?);
        Ok(Moving { body: row.json(0)?, state: row.get(1)?, degraded, attempts, to: row.get(4)?, run: row.get(5)? })
    });
    Ok(if_readable(found)?.flatten())
}

/// A message moves to another account, where its tries begin anew.
pub fn move_to(
    tx: &dyn Tx,
    id: MessageId,
    (account, seq): (&str, Option<i64>),
    moving: &Moving,
    now: Timestamp,
) -> Read<()> {
    let sql = "UPDATE messages SET account = ?, seq = ?, due_at = CASE WHEN state = 1 THEN NULL ELSE due_at END,
            tries = 0, body = ?, degraded = ?, attempts = ?, parts = NULL, changed_at = ? WHERE id = ?";
    let (body, degraded, attempts) = (text(&moving.body)?, text(&moving.degraded)?, text(&moving.attempts)?);
    tx.run(sql, values![account, seq, &body, &degraded, &attempts, now, id]).map(drop)
}
