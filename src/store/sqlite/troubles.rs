//! Messages that came to a bad end, until somebody has been told, and the causes that were told of.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::columns::{if_readable, readable};
use super::writer::Work;
use super::{Read, json, outbox, runs};
use crate::clock::{from_millis, millis};
use crate::id::{MessageId, RunId};
use crate::model::delivery::{Attempt, MessageState};
use crate::store::rows::{Telling, Trouble};

/// Whether a message that ends so is trouble.
pub fn is_trouble(state: MessageState) -> bool {
    matches!(state, MessageState::Rejected | MessageState::Dead | MessageState::Unknown)
}

/// A message has come to another state: what is to be told of it.
pub fn moved(work: &mut Work<'_>, id: MessageId, before: MessageState, now: MessageState) -> Read<()> {
    if is_trouble(before) {
        work.tx.prepare_cached("DELETE FROM troubles WHERE message = ?")?.execute([id.as_bytes()])?;
    }
    if is_trouble(now) {
        work.tx.prepare_cached("INSERT INTO troubles (message) VALUES (?)")?.execute([id.as_bytes()])?;
        work.rings.troubles();
    }
    Ok(())
}

/// Those behind a place, in order. One whose message is gone, or cannot be read, is no trouble any more.
pub fn behind(connection: &Connection, after: i64, limit: usize) -> Read<Vec<Trouble>> {
    let sql = "SELECT number, id, account, flow, run, recipient, state, attempts, error
        FROM troubles JOIN messages ON id = message WHERE number > ? ORDER BY number LIMIT ?";
    let row = |row: &Row<'_>| {
        let attempts = if_readable(json::<Vec<Attempt>>(row, 7))?.unwrap_or_default();
        let last = attempts.last();
        let error: Option<String> = if_readable(row.get(8))?.flatten();
        Ok(Trouble {
            number: row.get(0)?,
            message: MessageId::from_bytes(row.get(1)?),
            account: row.get(2)?,
            flow: row.get(3)?,
            run: row.get::<_, Option<[u8; 16]>>(4)?.map(RunId::from_bytes),
            to: row.get(5)?,
            state: outbox::state(row, 6)?,
            outcome: last.map(|last| last.outcome.clone()),
            error: error.or_else(|| last?.error.clone()).unwrap_or_default(),
        })
    };
    let mut find = connection.prepare_cached(sql)?;
    readable(find.query_map(params![after, i64::try_from(limit).unwrap_or(i64::MAX)], row)?, "troubles")
}

/// How many messages came to a bad end, by account and flow.
pub fn bad(connection: &Connection) -> Read<Vec<(String, String, u64)>> {
    let sql = "SELECT account, flow, count(*) FROM messages WHERE state IN (7, 8, 9) GROUP BY account, flow";
    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?.unsigned_abs()));
    readable(connection.prepare_cached(sql)?.query_map([], row)?, "counts of messages")
}

/// The same of runs; those with none are left out.
pub fn bad_of(connection: &Connection, runs: &[RunId]) -> Read<Vec<(RunId, u64)>> {
    let mut find = connection.prepare_cached("SELECT count(*) FROM messages WHERE run = ? AND state IN (7, 8, 9)")?;
    let mut counts = Vec::new();
    for run in runs {
        let count: i64 = find.query_row([run.as_bytes()], |row| row.get(0))?;
        if count > 0 {
            counts.push((*run, count.unsigned_abs()));
        }
    }
    Ok(counts)
}

/// The causes that were told of, and when.
pub fn told(connection: &Connection) -> Read<Vec<(String, Timestamp)>> {
    let mut find = connection.prepare_cached("SELECT cause, at FROM told")?;
    readable(find.query_map([], |row| Ok((row.get(0)?, from_millis(row.get(1)?))))?, "told causes")
}

/// See [`Telling`].
pub fn tell(work: &mut Work<'_>, telling: &Telling) -> Read<()> {
    for (run, about) in &telling.runs {
        if let Some(number) = about
            && !work.tx.prepare_cached("SELECT 1 FROM troubles WHERE number = ?")?.exists([number])?
        {
            continue;
        }
        // That something is wrong is heard also where everything is full.
        runs::insert(work, run)?;
    }
    for number in &telling.done {
        work.tx.prepare_cached("DELETE FROM troubles WHERE number = ?")?.execute([number])?;
    }
    for (cause, at) in &telling.causes {
        let sql = "INSERT INTO told (cause, at) VALUES (?, ?) ON CONFLICT (cause) DO UPDATE SET at = excluded.at";
        work.tx.prepare_cached(sql)?.execute(params![cause, millis(*at)])?;
    }
    for cause in &telling.over {
        work.tx.prepare_cached("DELETE FROM told WHERE cause = ?")?.execute([cause])?;
    }
    Ok(())
}
