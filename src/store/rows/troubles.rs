//! Messages that came to a bad end, until somebody has been told, and the causes that were told of.

use jiff::Timestamp;

use crate::id::{MessageId, RunId};
use crate::model::delivery::Attempt;
use crate::store::records::Trouble;
use crate::store::tx::{Read, Tx, values};

/// A message came to a bad end.
pub fn insert(tx: &dyn Tx, message: MessageId) -> Read<()> {
    tx.run("INSERT INTO troubles (message) VALUES (?)", values![message]).map(drop)
}

/// A message is no trouble any more.
pub fn delete_of(tx: &dyn Tx, message: MessageId) -> Read<()> {
    tx.run("DELETE FROM troubles WHERE message = ?", values![message]).map(drop)
}

/// A trouble is over, or was told of.
pub fn delete(tx: &dyn Tx, number: i64) -> Read<()> {
    tx.run("DELETE FROM troubles WHERE number = ?", values![number]).map(drop)
}

/// Whether a trouble is still one.
pub fn is_there(tx: &dyn Tx, number: i64) -> Read<bool> {
    tx.exists("SELECT 1 FROM troubles WHERE number = ?", values![number])
}

/// Those behind a place, in order. One whose message is gone, or cannot be read, is no trouble any more.
pub fn behind(tx: &dyn Tx, after: i64, limit: usize) -> Read<Vec<Trouble>> {
    let sql = "SELECT number, id, account, flow, run, recipient, state, attempts, error
        FROM troubles JOIN messages ON id = message WHERE number > ? ORDER BY number LIMIT ?";
    tx.readable(sql, values![after, limit], "troubles", |row| {
        let attempts: Vec<Attempt> = row.json_or_default(7)?;
        let last = attempts.last();
        let error: Option<String> = row.maybe::<Option<String>>(8)?.flatten();
        Ok(Trouble {
            number: row.get(0)?,
            message: row.get(1)?,
            account: row.get(2)?,
            flow: row.get(3)?,
            run: row.get(4)?,
            to: row.get(5)?,
            state: row.get(6)?,
            outcome: last.map(|last| last.outcome.clone()),
            error: error.or_else(|| last?.error.clone()).unwrap_or_default(),
        })
    })
}

/// How many messages came to a bad end, by account and flow.
pub fn bad(tx: &dyn Tx) -> Read<Vec<(String, String, u64)>> {
    let sql = "SELECT account, flow, count(*) FROM messages WHERE state >= 7 AND state <= 9 GROUP BY account, flow";
    tx.readable(sql, values![], "counts of messages", |row| {
        Ok((row.get(0)?, row.get(1)?, row.get::<i64>(2)?.unsigned_abs()))
    })
}

/// The same of runs; those with none are left out.
pub fn bad_of(tx: &dyn Tx, runs: &[RunId]) -> Read<Vec<(RunId, u64)>> {
    let sql = "SELECT count(*) FROM messages WHERE run = ? AND state IN (7, 8, 9)";
    let mut counts = Vec::new();
    for run in runs {
        let count = tx.first(sql, values![*run], |row| row.get::<i64>(0))?.unwrap_or(0);
        if count > 0 {
            counts.push((*run, count.unsigned_abs()));
        }
    }
    Ok(counts)
}

/// The causes that were told of, and when.
pub fn told(tx: &dyn Tx) -> Read<Vec<(String, Timestamp)>> {
    tx.readable("SELECT cause, at FROM told", values![], "told causes", |row| Ok((row.get(0)?, row.get(1)?)))
}

/// A cause is told of.
pub fn set_told(tx: &dyn Tx, cause: &str, at: Timestamp) -> Read<()> {
    let sql = "INSERT INTO told (cause, at) VALUES (?, ?) ON CONFLICT (cause) DO UPDATE SET at = excluded.at";
    tx.run(sql, values![cause, at]).map(drop)
}

/// A cause is over.
pub fn delete_told(tx: &dyn Tx, cause: &str) -> Read<()> {
    tx.run("DELETE FROM told WHERE cause = ?", values![cause]).map(drop)
}
