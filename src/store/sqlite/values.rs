//! The values of flows and of the workspace. Those of the workspace stand under the flow without a
//! name.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Number, Value};

use super::writer::Work;
use super::{Read, json, text};
use crate::clock::millis;
use crate::model::journal::TurnCommit;
use crate::model::question::Answer;
use crate::model::run::ScriptError;

/// For how long a value that has expired is kept, so that a clock that is put right does no harm.
const EXPIRED_FOR: Duration = Duration::from_secs(24 * 3600);

/// A value that has not expired.
pub fn get(connection: &Connection, flow: &str, key: &str, now: Timestamp) -> Read<Option<Value>> {
    let sql = "SELECT value FROM kv WHERE flow = ? AND key = ? AND (expires_at IS NULL OR expires_at > ?)";
    connection.prepare_cached(sql)?.query_row(params![flow, key, millis(now)], |row| json(row, 0)).optional()
}

/// The names of values that have not expired, sorted.
pub fn keys(connection: &Connection, flow: &str, prefix: &str, now: Timestamp) -> Read<Vec<String>> {
    let sql = "SELECT key FROM kv WHERE flow = ?1 AND key >= ?2 AND substr(key, 1, length(?2)) = ?2
        AND (expires_at IS NULL OR expires_at > ?3) ORDER BY key LIMIT 100000";
    connection.prepare_cached(sql)?.query_map(params![flow, prefix, millis(now)], |row| row.get(0))?.collect()
}

/// What a turn has set and deleted.
pub fn write(work: &mut Work<'_>, turn: &TurnCommit) -> Read<()> {
    for write in &turn.promises.kv {
        let flow = scope(turn, write.shared);
        match &write.value {
            Some(value) => set(work, flow, &write.key, value, write.expires_at)?,
            None => {
                let sql = "DELETE FROM kv WHERE flow = ? AND key = ?";
                work.tx.prepare_cached(sql)?.execute(params![flow, write.key])?;
            }
        }
    }
    let expiring = turn.promises.kv.iter().filter(|write| write.expires_at.is_some()).count();
    if expiring > 0 {
        drop_expired(work, turn.at, expiring + 100)?;
    }
    Ok(())
}

fn scope(turn: &TurnCommit, shared: bool) -> &str {
    if shared { "" } else { &turn.flow }
}

fn set(work: &Work<'_>, flow: &str, key: &str, value: &Value, expires_at: Option<i64>) -> Read<()> {
    let sql = "INSERT INTO kv (flow, key, value, expires_at) VALUES (?, ?, ?, ?)
        ON CONFLICT (flow, key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at";
    work.tx.prepare_cached(sql)?.execute(params![flow, key, text(value)?, expires_at])?;
    Ok(())
}

/// Nobody can see them any more. A turn that sets values that expire removes more of them than it sets.
fn drop_expired(work: &Work<'_>, now: Timestamp, most: usize) -> Read<()> {
    let sql = "DELETE FROM kv WHERE (flow, key) IN (SELECT flow, key FROM kv WHERE expires_at < ? LIMIT ?)";
    let before = millis(now).saturating_sub(i64::try_from(EXPIRED_FOR.as_millis()).unwrap_or(i64::MAX));
    work.tx.prepare_cached(sql)?.execute(params![before, most as i64])?;
    Ok(())
}

/// Adds to a number; one that is not there is 0. A life time stays what it was.
pub fn increment(work: &Work<'_>, turn: &TurnCommit, shared: bool, key: &str, by: &Number) -> Read<Answer> {
    let flow = scope(turn, shared);
    let sql = "SELECT value, expires_at FROM kv WHERE flow = ? AND key = ? AND (expires_at IS NULL OR expires_at > ?)";
    let row = |row: &rusqlite::Row<'_>| Ok((json::<Value>(row, 0)?, row.get::<_, Option<i64>>(1)?));
    let found = work.tx.prepare_cached(sql)?.query_row(params![flow, key, millis(turn.at)], row).optional()?;
    let (before, expires_at) = found.unwrap_or((0.into(), None));
    let Some(sum) = sum(&before, by) else {
        let message = match before.is_number() {
            true => format!("`{key}` plus {by} is no number that can be kept"),
            false => format!("`{key}` holds {before}, which is no number; nothing can be added to it"),
        };
        return Ok(Err(ScriptError::new("type", message)));
    };
    let sum = Value::Number(sum);
    set(work, flow, key, &sum, expires_at)?;
    Ok(Ok(sum))
}

fn sum(before: &Value, by: &Number) -> Option<Number> {
    match (before.as_i64(), by.as_i64()) {
        (Some(before), Some(by)) => before.checked_add(by).map(Number::from),
        _ => Number::from_f64(before.as_f64()? + by.as_f64()?),
    }
}
