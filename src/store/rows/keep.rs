//! What is old and settled, and may go: found beside the writer, deleted by it a few rows at a time.

use jiff::Timestamp;

use crate::id::{MessageId, RunId};
use crate::model::delivery::Part;
use crate::store::records::{OldRecords, Prunable, Spans};
use crate::store::tx::{Columns, Read, Tx, Value, values};

/// Runs that ended before `until`, the oldest first, behind a place.
pub fn runs(tx: &dyn Tx, until: Timestamp, after: Option<(i64, RunId)>, limit: usize) -> Read<Vec<(i64, RunId)>> {
    let (at, id) = after.unwrap_or((i64::MIN, RunId::from_bytes([0; 16])));
    let sql = "SELECT finished_at, id FROM runs
        WHERE finished_at IS NOT NULL AND finished_at < ? AND (finished_at, id) > (?, ?)
        ORDER BY finished_at, id LIMIT ?";
    tx.readable(sql, values![until, at, id, limit], "old runs", |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Messages that were promised before `until` and to which nothing has happened since, the oldest first, behind a
/// place; none that may still go out or that a person is to decide about.
pub fn messages(
    tx: &dyn Tx,
    until: Timestamp,
    after: Option<(i64, MessageId)>,
    limit: usize,
) -> Read<Vec<(i64, MessageId)>> {
    let (at, id) = after.unwrap_or((i64::MIN, MessageId::from_bytes([0; 16])));
    let sql = "SELECT created_at, id FROM messages
        WHERE created_at < ? AND (created_at, id) > (?, ?) AND state > 2 AND state <> 7 AND changed_at < ?
        ORDER BY created_at, id LIMIT ?";
    let values = values![until, at, id, until, limit];
    tx.readable(sql, values, "old messages", |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Deletes runs that are over and of which no message is unsettled, with their journals. Gives the versions that they
/// were begun with.
pub fn delete_runs(tx: &dyn Tx, runs: &[RunId], until: Timestamp) -> Read<Vec<String>> {
    let sql = "DELETE FROM runs WHERE id = ? AND finished_at < ? AND state > 2 AND ready IS NULL
            AND NOT EXISTS
                (SELECT 1 FROM messages WHERE messages.run = runs.id AND (messages.state <= 2 OR messages.state = 7))
        RETURNING version";
    let rows: Vec<Vec<Value<'_>>> = runs.iter().map(|run| vec![(*run).into(), until.into()]).collect();
    let mut gone = Vec::new();
    let mut versions = Vec::new();
    tx.visit_each(sql, &rows, &mut |place, row| {
        gone.push(vec![runs[place].into()]);
        versions.push(row.get(0)?);
        Ok(())
    })?;
    tx.run_each("DELETE FROM journal WHERE run = ?", &gone)?;
    Ok(versions)
}

/// A message that was deleted: whose gateway knew it by which ids.
#[derive(Debug)]
pub struct Deleted {
    /// The account that sent it.
    pub account: String,
    /// The gateway's id.
    pub provider_id: Option<String>,
    /// Its parts, as far as they can be read.
    pub parts: Vec<Part>,
}

fn deleted_of(row: &dyn Columns) -> Read<Deleted> {
    Ok(Deleted { account: row.get(0)?, provider_id: row.maybe(1)?.flatten(), parts: row.json_or_default(2)? })
}

/// Deletes messages that are settled, for which nobody waits and whose run is not under way, with all that hangs on
/// them.
pub fn delete_messages(tx: &dyn Tx, messages: &[MessageId], until: Timestamp) -> Read<Vec<Deleted>> {
    let sql = "DELETE FROM messages WHERE id = ? AND state > 2 AND state <> 7 AND changed_at < ? AND waited = 0
            AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = messages.run AND runs.state <= 2)
        RETURNING account, provider_id, parts";
    let rows: Vec<Vec<Value<'_>>> = messages.iter().map(|id| vec![(*id).into(), until.into()]).collect();
    let mut gone: Vec<Vec<Value<'_>>> = Vec::new();
    let mut deleted = Vec::new();
    tx.visit_each(sql, &rows, &mut |place, row| {
        gone.push(vec![messages[place].into()]);
        deleted.push(deleted_of(row)?);
        Ok(())
    })?;
    for (any, delete) in [
        ("SELECT 1 FROM clicks", "DELETE FROM clicks WHERE message = ?"),
        ("SELECT 1 FROM troubles", "DELETE FROM troubles WHERE message = ?"),
        ("SELECT 1 FROM attached", "DELETE FROM attached WHERE owner = ? AND phone = 0"),
    ] {
        if tx.exists(any, values![])? {
            tx.run_each(delete, &gone)?;
        }
    }
    Ok(deleted)
}

/// Deletes some rows of each table in which what happened stands by its time. Says how many there were.
pub fn delete_records(tx: &dyn Tx, old: &OldRecords) -> Read<u64> {
    let OldRecords { until, limit } = *old;
    // The last one of each trigger stays: an `at` has no other, and it may be of long ago.
    let occurrences = "DELETE FROM occurrences WHERE (flow, trigger, at) IN
        (SELECT flow, trigger, at FROM occurrences old WHERE at < ?1 AND coalesce(until, at) < ?1
            AND EXISTS (SELECT 1 FROM occurrences later
                WHERE later.flow = old.flow AND later.trigger = old.trigger AND later.at > old.at)
        ORDER BY at LIMIT ?2)";
    let attached = "DELETE FROM attached WHERE phone = 1 AND owner IN
        (SELECT id FROM phones WHERE at < ? ORDER BY at LIMIT ?)";
    // Few as they are, all of them go at once.
    tx.run("DELETE FROM gaps WHERE ended < ?", values![until.runs])?;
    let phones = "DELETE FROM phones WHERE id IN (SELECT id FROM phones WHERE at < ? ORDER BY at LIMIT ?)";
    tx.run(attached, values![until.messages, limit])?;
    Ok(tx.run(occurrences, values![until.runs, limit])? + tx.run(phones, values![until.messages, limit])?)
}

/// Something hangs on the copy of a file: a message, or what a phone of the sandbox shows.
pub fn attach(tx: &dyn Tx, blob: &str, owner: MessageId, phone: bool) -> Read<()> {
    let sql = "INSERT INTO attached (blob, owner, phone) VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
    tx.run(sql, values![blob, owner, phone]).map(drop)
}

/// Those of some copies that nothing hangs on, and that the event of no run which is under way names.
pub fn unattached(tx: &dyn Tx, blobs: Vec<String>) -> Read<Vec<String>> {
    let mut free = Vec::new();
    for blob in blobs {
        if !tx.exists("SELECT 1 FROM attached WHERE blob = ?", values![&blob])? {
            free.push(blob);
        }
    }
    for sql in ["SELECT event FROM runs WHERE state = 2", "SELECT event FROM runs WHERE ready IS NOT NULL"] {
        if !free.is_empty() {
            tx.visit(sql, values![], &mut |row| {
                if let Value::Text(event) = row.column(0)? {
                    free.retain(|blob| !event.contains(blob.as_str()));
                }
                Ok(!free.is_empty())
            })?;
        }
    }
    Ok(free)
}

/// A page of what may go.
pub fn page(tx: &dyn Tx, until: &Spans, after: &Prunable, limit: usize) -> Read<Prunable> {
    let last_run = after.runs.last().copied();
    let last_message = after.messages.last().copied();
    Ok(Prunable {
        runs: runs(tx, until.runs, last_run, limit)?,
        messages: messages(tx, until.messages, last_message, limit)?,
    })
}
