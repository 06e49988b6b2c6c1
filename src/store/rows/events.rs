//! What runs let each other know, and who waits for it.

use jiff::Timestamp;

use crate::id::RunId;
use crate::model::journal::Emitted;
use crate::store::tx::{Read, Tx, text, values};

/// Puts an event in. Gives its number, if it is new: the same promise is one event.
pub fn insert(tx: &dyn Tx, run: RunId, event: &Emitted, now: Timestamp) -> Read<Option<i64>> {
    let sql = "INSERT INTO emitted (name, key, data, run, position, mark, at)
            VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING number";
    let (key, data) = (event.key.as_ref(), text(&event.data)?);
    let values = values![&event.name, key, &data, run, event.position, event.mark.number(), now];
    tx.first(sql, values, |row| row.get(0))
}

/// Who waits for such an event. Two looks, for one with an OR in it would go through all who wait for the name.
pub fn awaited_by(tx: &dyn Tx, name: &str, key: Option<&String>) -> Read<Vec<RunId>> {
    let sql = "SELECT run FROM awaiting WHERE name = ?1 AND key IS NULL
            UNION ALL SELECT run FROM awaiting WHERE name = ?1 AND key = ?2";
    tx.all(sql, values![name, key], |row| row.get(0))
}

/// Some of what is older than this is gone.
pub fn delete_before(tx: &dyn Tx, before: i64) -> Read<()> {
    let sql = "DELETE FROM emitted WHERE number IN (SELECT number FROM emitted WHERE at < ? LIMIT 100)";
    tx.run(sql, values![before]).map(drop)
}

/// The first event of a name, with a key if one is given, that was emitted since a run was accepted, by another run
/// and behind `after`, but for those that came to other waits of the run (`got`): its number and what it says.
pub fn first_for(
    tx: &dyn Tx,
    run: RunId,
    (name, key): (&str, Option<&str>),
    (after, got): (i64, &[i64]),
) -> Read<Option<(i64, String)>> {
    // Two statements, each of which goes by its own index.
    let by_name = "SELECT number, data FROM emitted WHERE name = ?1
        AND number > ?2 AND number > (SELECT heard_from FROM runs WHERE id = ?3) AND run <> ?3 ORDER BY number";
    let by_key = "SELECT number, data FROM emitted WHERE name = ?1 AND key = ?4
        AND number > ?2 AND number > (SELECT heard_from FROM runs WHERE id = ?3) AND run <> ?3 ORDER BY number";
    let mut found = None;
    let mut look = |row: &dyn crate::store::tx::Columns| {
        let number: i64 = row.get(0)?;
        if !got.contains(&number) {
            found = Some((number, row.get(1)?));
        }
        Ok(found.is_none())
    };
    match key {
        Some(key) => tx.visit(by_key, values![name, after, run, key], &mut look)?,
        None => tx.visit(by_name, values![name, after, run], &mut look)?,
    }
    Ok(found)
}

/// A run waits for an event.
pub fn await_one(tx: &dyn Tx, run: RunId, name: &str, key: Option<&str>) -> Read<()> {
    let sql = "INSERT INTO awaiting (run, name, key) VALUES (?, ?, ?)
        ON CONFLICT (run) DO UPDATE SET name = excluded.name, key = excluded.key";
    tx.run(sql, values![run, name, key]).map(drop)
}

/// A run waits for no event any more; says whether it did.
pub fn await_none(tx: &dyn Tx, run: RunId) -> Read<bool> {
    Ok(tx.run("DELETE FROM awaiting WHERE run = ?", values![run])? > 0)
}

/// What a run emitted is gone.
pub fn erase(tx: &dyn Tx, run: RunId) -> Read<()> {
    tx.run("DELETE FROM emitted WHERE run = ?", values![run]).map(drop)
}
