//! What runs let each other know.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};

use super::runs::answer_run;
use super::writer::Work;
use super::{Read, text};
use crate::clock::millis;
use crate::model::journal::{Emitted, TurnCommit};

/// How long an event is kept for runs that have not come to wait for it yet.
const KEPT: Duration = Duration::from_secs(7 * 86_400);

/// Lets others know.
pub fn emit(work: &mut Work<'_>, turn: &TurnCommit) -> Read<()> {
    for Emitted { position, mark, name, key, data } in &turn.promises.events {
        let data = text(data)?;
        let sql = "INSERT OR IGNORE INTO emitted (name, key, data, run, position, mark, at)
            VALUES (?, ?, ?, ?, ?, ?, ?)";
        let values = params![name, key, data, turn.run.as_bytes(), position, mark.number(), millis(turn.at)];
        if work.tx.prepare_cached(sql)?.execute(values)? == 0 {
            continue;
        }
        let number = work.tx.last_insert_rowid();
        // Two looks, for one with an OR in it would go through all who wait for the name.
        let sql = "SELECT run FROM awaiting WHERE name = ?1 AND key IS NULL
            UNION ALL SELECT run FROM awaiting WHERE name = ?1 AND key = ?2";
        let runs: Vec<[u8; 16]> =
            work.tx.prepare_cached(sql)?.query_map(params![name, key], |row| row.get(0))?.collect::<Read<_>>()?;
        for run in runs {
            forget(work, &run)?;
            answer_run(work, &run, &Ok(answer(number, &data)))?;
        }
    }
    if !turn.promises.events.is_empty() {
        let old = millis(turn.at) - i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
        let sql = "DELETE FROM emitted WHERE number IN (SELECT number FROM emitted WHERE at < ? LIMIT 100)";
        work.tx.prepare_cached(sql)?.execute([old])?;
    }
    Ok(())
}

/// The event as its waiter's journal has it: the number is where the next wait begins.
fn answer(number: i64, data: &str) -> Value {
    json!({ "number": number, "data": serde_json::from_str::<Value>(data).unwrap_or_default() })
}

/// What a run is waiting for, if it has been emitted since the run was accepted, by another one and
/// later than `after`; else the run is noted.
pub fn wait(
    work: &Work<'_>,
    run: &[u8; 16],
    name: &str,
    key: Option<&str>,
    after: i64,
    got: &[i64],
) -> Read<Option<Value>> {
    if let Some(found) = find(work.tx, run, name, key, (after, got))? {
        return Ok(Some(found));
    }
    let sql = "INSERT OR REPLACE INTO awaiting (run, name, key) VALUES (?, ?, ?)";
    work.tx.prepare_cached(sql)?.execute(params![run, name, key])?;
    Ok(None)
}

fn find(
    tx: &Connection,
    run: &[u8; 16],
    name: &str,
    key: Option<&str>,
    (after, got): (i64, &[i64]),
) -> Read<Option<Value>> {
    let keyed = if key.is_some() { "AND key = ?5" } else { "" };
    let sql = format!(
        "SELECT number, data FROM emitted WHERE name = ?1 {keyed}
        AND number > max(?2, (SELECT heard_from FROM runs WHERE id = ?3))
        AND run <> ?3 AND number NOT IN (SELECT value FROM json_each(?4)) ORDER BY number LIMIT 1"
    );
    let row = |row: &rusqlite::Row<'_>| Ok(answer(row.get(0)?, row.get_ref(1)?.as_str()?));
    let mut find = tx.prepare_cached(&sql)?;
    let got = text(&got)?;
    match key {
        Some(key) => find.query_row(params![name, after, run, got, key], row),
        None => find.query_row(params![name, after, run, got], row),
    }
    .optional()
}

/// A run waits for no event any more; says whether it did.
pub fn forget(work: &Work<'_>, run: &[u8; 16]) -> Read<bool> {
    Ok(work.tx.prepare_cached("DELETE FROM awaiting WHERE run = ?")?.execute([run])? > 0)
}
