//! Runs that wait for what becomes of a message, and links that were followed.

use jiff::Timestamp;

use crate::id::{MessageId, RunId};
use crate::store::tx::{Read, Tx, values};

/// A run wants to know of a message, by the name of its goal.
pub fn insert(tx: &dyn Tx, message: MessageId, run: RunId, goal: &str) -> Read<()> {
    let sql = "INSERT INTO waits (message, run, goal) VALUES (?, ?, ?)
        ON CONFLICT (message, run) DO UPDATE SET goal = excluded.goal";
    tx.run(sql, values![message, run, goal])?;
    tx.run("UPDATE messages SET waited = 1 WHERE id = ?", values![message]).map(drop)
}

/// Who waits for a message, each with the name of the goal.
pub fn of(tx: &dyn Tx, message: MessageId) -> Read<Vec<(RunId, String)>> {
    let sql = "SELECT run, goal FROM waits WHERE message = ?";
    tx.readable(sql, values![message], "waits", |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Who waits for somebody to follow a message's link.
pub fn for_click(tx: &dyn Tx, message: MessageId) -> Read<Vec<RunId>> {
    let sql = "SELECT run FROM waits WHERE message = ? AND goal = 'clicked'";
    tx.readable(sql, values![message], "waits", |row| row.get(0))
}

/// A run does not wait for a message any more.
pub fn delete(tx: &dyn Tx, message: MessageId, run: RunId) -> Read<()> {
    tx.run("DELETE FROM waits WHERE message = ? AND run = ?", values![message, run]).map(drop)
}

/// A run waits for no message any more, whatever stands in its row.
pub fn erase(tx: &dyn Tx, run: RunId) -> Read<()> {
    tx.run("DELETE FROM waits WHERE run = ?", values![run]).map(drop)
}

/// Whether somebody followed a message's link.
pub fn was_clicked(tx: &dyn Tx, message: MessageId) -> Read<bool> {
    tx.exists("SELECT 1 FROM clicks WHERE message = ?", values![message])
}

/// Somebody followed a message's link.
pub fn click(tx: &dyn Tx, message: MessageId, now: Timestamp) -> Read<()> {
    let sql = "INSERT INTO clicks (message, count, first_at) VALUES (?, 1, ?)
        ON CONFLICT (message) DO UPDATE SET count = clicks.count + 1";
    tx.run(sql, values![message, now]).map(drop)
}
