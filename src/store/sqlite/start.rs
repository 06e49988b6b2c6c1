//! What the writer begins with, and rows that nobody can work on. This is SQLite's own: its columns hold values of
//! any type.

use rusqlite::{Connection, Row, params};

use super::backlog::Backlog;
use super::columns::{first, if_readable, readable};
use super::disk::Disk;
use super::hearing::Clocks;
use super::runs::number;
use super::writer::{Memory, Patterns};
use super::{Read, evidence, outbox};
use crate::model::delivery::MessageState;
use crate::model::run::RunState;

/// Rows whose number no engine gave come last: whoever reads on behind such a number finds nothing any more.
fn number_anew(connection: &Connection, table: &str, id: &str, number: &str, seq: &mut i64) -> Read<()> {
    let wrong = format!(
        "SELECT {id} FROM {table} WHERE {number} IS NOT NULL
            AND (typeof({number}) <> 'integer' OR {number} NOT BETWEEN 0 AND {LAST_NUMBER})"
    );
    let row = |row: &Row<'_>| row.get::<_, rusqlite::types::Value>(0);
    let ids = connection.prepare(&wrong)?.query_map([], row)?.collect::<Read<Vec<_>>>()?;
    for row in ids {
        *seq += 1;
        connection.execute(&format!("UPDATE {table} SET {number} = ? WHERE {id} = ?"), params![*seq, row])?;
        tracing::warn!(table, "a row had no number that an engine gave; it comes last now");
    }
    Ok(())
}

/// What has no id that can be one is no work for anybody: it cannot be addressed. Each statement goes by one
/// index.
fn retire_nameless(connection: &Connection) -> Read<()> {
    let nameless = |id: &str| format!("(typeof({id}) <> 'blob' OR length({id}) <> 16)");
    let failed = number(RunState::Failed);
    let (dead, unknown) = (outbox::number(MessageState::Dead), outbox::number(MessageState::Unknown));
    let (runs, messages) = (nameless("id"), nameless("id"));
    for sql in [
        format!("UPDATE runs SET ready = NULL, wake_at = NULL, state = {failed} WHERE ready IS NOT NULL AND {runs}"),
        format!("UPDATE runs SET ready = NULL, wake_at = NULL, state = {failed} WHERE wake_at IS NOT NULL AND {runs}"),
        format!("DELETE FROM listening WHERE {}", nameless("run")),
        format!(
            "UPDATE messages SET seq = NULL, due_at = NULL, expires_at = NULL, recalled = 1, state = iif(state = 2, {unknown}, {dead}) WHERE seq IS NOT NULL AND {messages}"
        ),
        format!("UPDATE messages SET due_at = NULL, expires_at = NULL, state = {dead} WHERE state = 0 AND {messages}"),
        format!("UPDATE messages SET recalled = 1 WHERE state = {unknown} AND {messages}"),
    ] {
        let rows = connection.execute(&sql, [])?;
        if rows > 0 {
            tracing::error!(rows, "rows of the state file have no id that can be one; they are not worked on");
        }
    }
    Ok(())
}

/// What the writer begins with.
pub fn memory(connection: &Connection, most_backlog: u64, disk: Disk) -> Read<Memory> {
    retire_nameless(connection)?;
    let mut seq = 0;
    let numbered = [("runs", "id", "ready"), ("messages", "id", "seq"), ("listening", "run", "place")];
    for (table, _, number) in numbered {
        seq = seq.max(highest(connection, table, number)?);
    }
    for (table, id, number) in numbered {
        number_anew(connection, table, id, number, &mut seq)?;
    }
    // Only runs whose first turn is to come count, and all of those are ready.
    let sql = "SELECT flow, count(*) FROM runs WHERE ready IS NOT NULL AND state = 0 GROUP BY flow";
    let row = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?.unsigned_abs()));
    let backlog = readable(connection.prepare(sql)?.query_map([], row)?, "runs")?;
    let opted_out = first(connection, "SELECT EXISTS (SELECT 1 FROM opted_out)")?;
    Ok(Memory {
        seq,
        backlog: Backlog::new(most_backlog, backlog.into_iter()),
        opted_out,
        early: evidence::any_early(connection)?,
        patterns: Patterns::default(),
        clocks: Clocks::default(),
        swept: 0,
        disk,
    })
}

/// No engine lives so long that it counts further. A number beyond it, or none, is damage.
const LAST_NUMBER: i64 = 1 << 53;

/// The highest number that an engine has given.
fn highest(connection: &Connection, table: &str, number: &str) -> Read<i64> {
    let sql = format!("SELECT {number} FROM {table} WHERE {number} <= {LAST_NUMBER} ORDER BY {number} DESC");
    let mut find = connection.prepare(&sql)?;
    let mut rows = find.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(number) = if_readable(row.get::<_, i64>(0))? {
            return Ok(number);
        }
    }
    Ok(0)
}
