//! Rows that nobody can work on, mended when a file is opened. This is SQLite's own: its columns hold values of any
//! type.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params};

use super::schema::error_of;
use crate::model::delivery::MessageState;
use crate::model::run::RunState;
use crate::store::StoreError;

type Read<T> = rusqlite::Result<T>;

/// Rows whose number no engine gave come last: whoever reads on behind such a number finds nothing any more.
fn number_anew(connection: &Connection, table: &str, id: &str, number: &str, seq: &mut i64) -> Read<()> {
    let wrong = format!(
        "SELECT {id} FROM {table} WHERE {number} IS NOT NULL
            AND (typeof({number}) <> 'integer' OR {number} NOT BETWEEN 0 AND {LAST_NUMBER})"
    );
    let row = |row: &Row<'_>| row.get::<_, Value>(0);
    let ids = connection.prepare(&wrong)?.query_map([], row)?.collect::<Read<Vec<_>>>()?;
    for row in ids {
        *seq += 1;
        connection.execute(&format!("UPDATE {table} SET {number} = ? WHERE {id} = ?"), params![*seq, row])?;
        tracing::warn!(table, "a row had no number that an engine gave; it comes last now");
    }
    Ok(())
}

/// What has no id that can be one is no work for anybody: it cannot be addressed. Each statement looks at one index,
/// within a query of its own: an update would look up the row of each entry.
fn retire_nameless(connection: &Connection) -> Read<()> {
    let nameless = |id: &str| format!("(typeof({id}) <> 'blob' OR length({id}) <> 16)");
    let failed = RunState::Failed as i64;
    let (dead, unknown) = (MessageState::Dead as i64, MessageState::Unknown as i64);
    let among =
        |table: &str, which: &str| format!("id IN (SELECT id FROM {table} WHERE {which} AND {})", nameless("id"));
    let (ready, due) = (among("runs", "ready IS NOT NULL"), among("runs", "wake_at IS NOT NULL"));
    let (queued, planned) = (among("messages", "seq IS NOT NULL"), among("messages", "state = 0"));
    let doubtful = among("messages", &format!("state = {unknown}"));
    for sql in [
        format!("UPDATE runs SET ready = NULL, wake_at = NULL, state = {failed} WHERE {ready}"),
        format!("UPDATE runs SET ready = NULL, wake_at = NULL, state = {failed} WHERE {due}"),
        format!("DELETE FROM listening WHERE {}", nameless("run")),
        format!(
            "UPDATE messages SET seq = NULL, due_at = NULL, expires_at = NULL, recalled = 1, state = iif(state = 2, {unknown}, {dead}) WHERE {queued}"
        ),
        format!("UPDATE messages SET due_at = NULL, expires_at = NULL, state = {dead} WHERE {planned}"),
        format!("UPDATE messages SET recalled = 1 WHERE {doubtful}"),
    ] {
        let rows = connection.execute(&sql, [])?;
        if rows > 0 {
            tracing::error!(rows, "rows of the state file have no id that can be one; they are not worked on");
        }
    }
    Ok(())
}

/// What the rules take for granted of rows: each has an id that can be one, and a number that an engine gave. Gives
/// the last number.
///
/// # Errors
/// The database's.
pub fn repair(connection: &Connection) -> Result<i64, StoreError> {
    let repair = || {
        retire_nameless(connection)?;
        let mut last = 0;
        let numbered = [("runs", "id", "ready"), ("messages", "id", "seq"), ("listening", "run", "place")];
        for (table, _, number) in numbered {
            last = last.max(highest(connection, table, number)?);
        }
        for (table, id, number) in numbered {
            number_anew(connection, table, id, number, &mut last)?;
        }
        Ok(last)
    };
    repair().map_err(|error| error_of(&error))
}

/// No engine lives so long that it counts further. A number beyond it, or none, is damage.
const LAST_NUMBER: i64 = 1 << 53;

/// The highest number that an engine has given.
fn highest(connection: &Connection, table: &str, number: &str) -> Read<i64> {
    let sql = format!(
        "SELECT coalesce(max({number}), 0) FROM {table} WHERE typeof({number}) = 'integer' AND {number} <= {LAST_NUMBER}"
    );
    connection.query_row(&sql, [], |row| row.get(0))
}
