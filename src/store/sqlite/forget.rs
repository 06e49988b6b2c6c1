//! Erases a person: messages, events, and the journals in which they stand.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::{Row, params};
use serde_json::json;

use super::runs::number;
use super::writer::{Refusal, Work};
use super::{Read, conversation, events, json as read_json, json_or_none, people, text};
use crate::clock::{millis, rfc3339};
use crate::model::delivery::Part;
use crate::model::message::{Body, Source};
use crate::model::run::RunState;
use crate::store::rows::{Erased, Forgotten};

/// Erases everything that is kept of a person, whatever address it stands under. Runs that are under
/// way and know of the person end: their journals cannot be replayed without the words. That the
/// person wants to hear no more, if so, stays: it is what keeps others from writing again.
pub fn forget(work: &mut Work<'_>, who: &str, mark: &str, now: Timestamp) -> Result<Forgotten, Refusal> {
    // What is deleted is overwritten, also in pages that are free then.
    work.tx.execute_batch("PRAGMA secure_delete = ON")?;
    let result = erase(work, who, mark, now);
    work.tx.execute_batch("PRAGMA secure_delete = OFF")?;
    work.rings.truncate();
    Ok(result?)
}

fn erase(work: &mut Work<'_>, who: &str, mark: &str, now: Timestamp) -> Read<Forgotten> {
    let names = all_names(work, who)?;
    let mut erased = Erased::default();
    let mut blobs = BTreeSet::new();
    let mut runs: BTreeSet<[u8; 16]> = BTreeSet::new();
    for name in &names {
        runs.extend(ids(work, "SELECT DISTINCT run FROM messages WHERE recipient = ? AND run IS NOT NULL", name)?);
        runs.extend(ids(work, "SELECT run FROM listening WHERE chat = ?", name)?);
        let sql = "SELECT id FROM runs WHERE trigger = 'message'
            AND ?1 IN (json_extract(event, '$.from'), json_extract(event, '$.chat'))";
        runs.extend(ids(work, sql, name)?);
    }
    for run in &runs {
        erase_run(work, run, mark, now)?;
    }
    erased.runs = runs.len() as u64;
    for name in &names {
        erased.messages += erase_messages(work, name, &mut blobs)?;
        let phones = "DELETE FROM phones WHERE recipient = ?1";
        erased.messages += work.tx.prepare_cached(phones)?.execute([name])? as u64;
        let events = "DELETE FROM incoming WHERE sender = ?1 OR json_extract(event, '$.chat') = ?1";
        erased.events += work.tx.prepare_cached(events)?.execute([name])? as u64;
        for table in ["heard", "acquaintances"] {
            work.tx.execute(&format!("DELETE FROM {table} WHERE recipient = ?"), [name])?;
        }
        let early = "DELETE FROM early WHERE json_extract(echo, '$.chat') = ?";
        work.tx.prepare_cached(early)?.execute([name])?;
    }
    forget_names(work, &names)?;
    let sql = "INSERT INTO forgotten (at, mark, counts) VALUES (?, ?, ?)";
    work.tx.prepare_cached(sql)?.execute(params![millis(now), mark, text(&erased)?])?;
    let mut unused = Vec::new();
    for blob in blobs {
        let sql = "SELECT 1 FROM messages WHERE instr(body, ?1) OR instr(coalesce(parts, ''), ?1)";
        if !work.tx.prepare_cached(sql)?.exists([&blob])? {
            unused.push(blob);
        }
    }
    Ok(Forgotten { erased, blobs: unused })
}

fn ids(work: &Work<'_>, sql: &str, name: &str) -> Read<Vec<[u8; 16]>> {
    work.tx.prepare_cached(sql)?.query_map([name], |row| row.get(0))?.collect()
}

/// Every address that the person has in any account.
fn all_names(work: &Work<'_>, who: &str) -> Read<Vec<String>> {
    let mut names = vec![who.to_owned()];
    let mut seen = 0;
    while let Some(name) = names.get(seen).cloned() {
        seen += 1;
        let sql = "SELECT account FROM aliases WHERE alias = ?";
        let accounts: Vec<String> =
            work.tx.prepare_cached(sql)?.query_map([&name], |row| row.get(0))?.collect::<Read<_>>()?;
        for account in accounts {
            for other in people::names(work.tx, &account, &name)? {
                if !names.contains(&other) {
                    names.push(other);
                }
            }
        }
    }
    Ok(names)
}

/// The addresses themselves; those under which a person asked to hear no more stay, so that this is
/// still known of each of them.
fn forget_names(work: &Work<'_>, names: &[String]) -> Read<()> {
    for name in names {
        let sql = "DELETE FROM aliases WHERE alias = ?1 AND NOT EXISTS
            (SELECT 1 FROM opted_out JOIN aliases other ON other.account = opted_out.account AND other.alias = opted_out.person
             WHERE opted_out.account = aliases.account AND other.person = aliases.person)";
        work.tx.prepare_cached(sql)?.execute([name])?;
    }
    Ok(())
}

fn erase_run(work: &mut Work<'_>, run: &[u8; 16], mark: &str, now: Timestamp) -> Read<()> {
    conversation::close(work, run, now)?;
    events::forget(work, run)?;
    let sql = "SELECT state = 0 FROM runs WHERE id = ?";
    let queued: bool = work.tx.prepare_cached(sql)?.query_row([run], |row| row.get(0))?;
    if queued {
        work.memory.backlog = work.memory.backlog.saturating_sub(1);
    }
    for sql in
        ["DELETE FROM journal WHERE run = ?", "DELETE FROM waits WHERE run = ?", "DELETE FROM emitted WHERE run = ?"]
    {
        work.tx.prepare_cached(sql)?.execute([run])?;
    }
    let event = text(&json!({ "forgotten": mark, "at": rfc3339(now) }))?;
    let sql =
        "UPDATE runs SET state = iif(state <= 2, ?1, state), finished_at = coalesce(finished_at, ?2), ready = NULL,
        wake_at = NULL, pending = NULL, answer = NULL, waiting = NULL, result = NULL, event = ?3,
        error = iif(error IS NULL, NULL, json_object('kind', json_extract(error, '$.kind'), 'message', 'forgotten'))
        WHERE id = ?4";
    work.tx.prepare_cached(sql)?.execute(params![number(RunState::Cancelled), millis(now), event, run])?;
    Ok(())
}

fn erase_messages(work: &Work<'_>, name: &str, blobs: &mut BTreeSet<String>) -> Read<u64> {
    let sql = "SELECT id, account, provider_id, body, parts FROM messages WHERE recipient = ?";
    type Found = ([u8; 16], String, Option<String>, Body, Option<Vec<Part>>);
    let row = |row: &Row<'_>| -> Read<Found> {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, read_json(row, 3)?, json_or_none(row, 4)?))
    };
    let found = work.tx.prepare_cached(sql)?.query_map([name], row)?.collect::<Read<Vec<_>>>()?;
    for (id, account, provider_id, body, parts) in &found {
        let parts = parts.as_deref().unwrap_or_default();
        let own = parts.iter().filter_map(|part| part.provider_id.as_ref()).chain(provider_id);
        for provider_id in own {
            let sql = "DELETE FROM posted WHERE account = ? AND provider_id = ?";
            work.tx.prepare_cached(sql)?.execute([account, provider_id])?;
        }
        for content in std::iter::once(&body.content).chain(parts.iter().map(|part| &part.body.content)) {
            if let Some(Source::Snapshot(copy)) = content.media().map(|media| &media.source) {
                blobs.insert(copy.blob.clone());
            }
        }
        for sql in [
            "DELETE FROM clicks WHERE message = ?",
            "DELETE FROM waits WHERE message = ?",
            "DELETE FROM messages WHERE id = ?",
        ] {
            work.tx.prepare_cached(sql)?.execute([id])?;
        }
    }
    Ok(found.len() as u64)
}
