//! Journals of runs, in parts: what each turn recorded.

use crate::id::RunId;
use crate::model::journal::Entry;
use crate::store::tx::{Read, Tx, Value, if_readable, text, values};

/// What a run has done behind a part of its journal, and the number of the last part.
pub fn after(tx: &dyn Tx, run: RunId, part: i64) -> Read<(Vec<Entry>, i64)> {
    let sql = "SELECT entries, part FROM journal WHERE run = ? AND part > ? AND live = 1 ORDER BY part";
    let (mut entries, mut last) = (Vec::new(), part);
    tx.visit(sql, values![run, part], &mut |row| {
        entries.append(&mut row.json(0)?);
        last = row.get(1)?;
        Ok(true)
    })?;
    Ok((entries, last))
}

/// Bytes of what is kept of turns that were thrown away.
pub fn bytes_lost(tx: &dyn Tx, run: RunId) -> Read<i64> {
    let sql = "SELECT coalesce(sum(length(entries)), 0) FROM journal WHERE run = ? AND live = 0";
    Ok(tx.first(sql, values![run], |row| row.get(0))?.unwrap_or(0))
}

/// Adds a part, of a turn that counts (`live`) or of one that was thrown away. Gives its number.
pub fn append(tx: &dyn Tx, run: RunId, live: bool, attempt: u32, entries: &[Entry]) -> Read<i64> {
    let sql = "INSERT INTO journal (run, part, live, attempt, entries)
        VALUES (?1, (SELECT coalesce(max(part), 0) + 1 FROM journal WHERE run = ?1), ?2, ?3, ?4) RETURNING part";
    let part = tx.first(sql, values![run, live, attempt, &text(&entries)?], |row| row.get(0))?;
    Ok(part.unwrap_or(1))
}

/// The number of the first part of a journal.
pub const FIRST: i64 = 1;

/// Begins the journals of runs, each with what its first turn recorded in an attempt.
pub fn append_first(tx: &dyn Tx, turns: &[(RunId, u32, &[Entry])]) -> Read<()> {
    let sql = "INSERT INTO journal (run, part, live, attempt, entries) VALUES (?, ?, 1, ?, ?)";
    let texts: Vec<String> = turns.iter().map(|(_, _, entries)| text(entries)).collect::<Read<_>>()?;
    let rows = turns
        .iter()
        .zip(&texts)
        .map(|((run, attempt, _), entries)| vec![(*run).into(), FIRST.into(), (*attempt).into(), entries.into()]);
    tx.run_each(sql, &rows.collect::<Vec<Vec<Value<'_>>>>()).map(drop)
}

/// The last part that counts, as far as it can be read.
pub fn last(tx: &dyn Tx, run: RunId) -> Read<Option<(i64, Vec<Entry>)>> {
    let sql = "SELECT part, entries FROM journal WHERE run = ? AND live = 1 ORDER BY part DESC LIMIT 1";
    Ok(if_readable(tx.first(sql, values![run], |row| Ok((row.get(0)?, row.json(1)?))))?.flatten())
}

/// A part counts no more.
pub fn throw_away(tx: &dyn Tx, run: RunId, part: i64) -> Read<()> {
    tx.run("UPDATE journal SET live = 0 WHERE run = ? AND part = ?", values![run, part]).map(drop)
}

/// All of it is gone.
pub fn erase(tx: &dyn Tx, run: RunId) -> Read<()> {
    tx.run("DELETE FROM journal WHERE run = ?", values![run]).map(drop)
}
