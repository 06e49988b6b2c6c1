//! Names of events that are remembered.

use jiff::Timestamp;

use crate::id::RunId;
use crate::model::run::Mark;
use crate::store::tx::{Read, Tx, values};

/// The run that an event of this name has begun, if it is remembered.
pub fn run_of(tx: &dyn Tx, mark: &Mark, now: Timestamp) -> Read<Option<RunId>> {
    let sql = "SELECT run FROM repeats WHERE mark = ? AND until > ?";
    let found = tx.readable(sql, values![&mark.mark, now], "repeats", |row| row.get(0))?;
    Ok(found.into_iter().next())
}

/// Remembers which run an event of this name has begun.
pub fn remember(tx: &dyn Tx, mark: &Mark, run: RunId) -> Read<()> {
    let sql = "INSERT INTO repeats (mark, run, until) VALUES (?, ?, ?)
        ON CONFLICT (mark) DO UPDATE SET run = excluded.run, until = excluded.until";
    tx.run(sql, values![&mark.mark, run, mark.until]).map(drop)
}

/// Forgets some whose time has passed.
pub fn forget(tx: &dyn Tx, now: Timestamp, limit: usize) -> Read<u64> {
    let sql = "DELETE FROM repeats WHERE mark IN
        (SELECT mark FROM repeats WHERE until <= ? ORDER BY until LIMIT ?)";
    tx.run(sql, values![now, limit])
}
