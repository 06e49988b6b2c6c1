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
        let sql = "INSERT INTO emitted (name, key, data, run, position, mark, at)
            VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING number";
        let values = params![name, key, data, turn.run.as_bytes(), position, mark.number(), millis(turn.at)];
        let number = work.tx.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?;
        let Some(number) = number else { continue };
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
    let sql = "INSERT INTO awaiting (run, name, key) VALUES (?, ?, ?)
        ON CONFLICT (run) DO UPDATE SET name = excluded.name, key = excluded.key";
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
    // Two statements, each of which goes by its own index.
    let by_name = "SELECT number, data FROM emitted WHERE name = ?1
        AND number > ?2 AND number > (SELECT heard_from FROM runs WHERE id = ?3) AND run <> ?3 ORDER BY number";
    let by_key = "SELECT number, data FROM emitted WHERE name = ?1 AND key = ?4
        AND number > ?2 AND number > (SELECT heard_from FROM runs WHERE id = ?3) AND run <> ?3 ORDER BY number";
    let mut find = tx.prepare_cached(if key.is_some() { by_key } else { by_name })?;
    let mut rows = match key {
        Some(key) => find.query(params![name, after, run, key])?,
        None => find.query(params![name, after, run])?,
    };
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        // Those came to other waits of the run.
        if !got.contains(&number) {
            return Ok(Some(answer(number, row.get_ref(1)?.as_str()?)));
        }
    }
    Ok(None)
}

/// A run waits for no event any more; says whether it did.
pub fn forget(work: &Work<'_>, run: &[u8; 16]) -> Read<bool> {
    Ok(work.tx.prepare_cached("DELETE FROM awaiting WHERE run = ?")?.execute([run])? > 0)
}
