//! Erases a person: messages, events, and the journals in which they stand.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};
use serde_json::json;

use super::runs::number;
use super::writer::{Refusal, Work};
use super::{Read, conversation, events, json as read_json, json_or_none, people, text};
use crate::clock::{millis, rfc3339};
use crate::id::RunId;
use crate::model::delivery::Part;
use crate::model::message::{Body, Source};
use crate::model::run::RunState;
use crate::store::rows::Forgotten;

/// Runs that know of a person: those that wrote or listened to them, those that heard of them, and all
/// whose event or journal names them. To be looked for beside the writer, for it looks at everything.
pub fn known_by(connection: &Connection, who: &str) -> Read<Vec<[u8; 16]>> {
    let names = all_names(connection, who)?;
    let mut runs: BTreeSet<[u8; 16]> = BTreeSet::new();
    for name in &names {
        for sql in [
            "SELECT DISTINCT run FROM messages WHERE recipient = ? AND run IS NOT NULL",
            "SELECT run FROM listening WHERE chat = ?",
        ] {
            let mut find = connection.prepare_cached(sql)?;
            runs.extend(find.query_map([name], |row| row.get::<_, [u8; 16]>(0))?.collect::<Read<Vec<_>>>()?);
        }
        // A phone is written with or without its plus.
        let written = name.strip_prefix('+').unwrap_or(name);
        for sql in [
            "SELECT id, event || coalesce(result, '') || coalesce(pending, '') || coalesce(answer, '') || coalesce(error, '')
                FROM runs WHERE instr(event, ?1) OR instr(coalesce(result, ''), ?1) OR instr(coalesce(pending, ''), ?1)
                OR instr(coalesce(answer, ''), ?1) OR instr(coalesce(error, ''), ?1)",
            "SELECT run, entries FROM journal WHERE instr(entries, ?1)",
        ] {
            let mut find = connection.prepare(sql)?;
            let mut rows = find.query([written])?;
            while let Some(row) = rows.next()? {
                if names_them(row.get_ref(1)?.as_str()?, written) {
                    runs.insert(row.get(0)?);
                }
            }
        }
    }
    Ok(runs.into_iter().collect())
}

/// Whether an address stands in a text, and not only as a part of a longer one.
fn names_them(text: &str, name: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    text.match_indices(name)
        .any(|(at, _)| !part(text[..at].chars().next_back()) && !part(text[at + name.len()..].chars().next()))
}

/// Erases everything that is kept of a person, whatever address it stands under, and the runs that
/// know of them. Those that are under way end: their journals cannot be replayed without the words.
/// That the person wants to hear no more, if so, stays: it is what keeps others from writing again.
pub fn forget(
    work: &mut Work<'_>,
    who: &str,
    runs: &[[u8; 16]],
    mark: &str,
    now: Timestamp,
) -> Result<Forgotten, Refusal> {
    let names = all_names(work.tx, who)?;
    let mut blobs = BTreeSet::new();
    let mut forgotten = Forgotten::default();
    for run in runs {
        if erase_run(work, run, mark, now)? {
            forgotten.ended.push(RunId::from_bytes(*run));
        }
    }
    let erased = &mut forgotten.erased;
    erased.runs = runs.len() as u64;
    for name in &names {
        erased.messages += erase_messages(work, name, &mut blobs)?;
        let phones = "DELETE FROM phones WHERE recipient = ?1 RETURNING body";
        let bodies = work
            .tx
            .prepare_cached(phones)?
            .query_map([name], |row| read_json::<Body>(row, 0))?
            .collect::<Read<Vec<_>>>()?;
        erased.messages += bodies.len() as u64;
        bodies.iter().for_each(|body| blobs.extend(blob(body)));
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
    work.tx.prepare_cached(sql)?.execute(params![millis(now), mark, text(&forgotten.erased)?])?;
    for blob in blobs {
        let used = "SELECT 1 FROM messages WHERE instr(body, ?1) OR instr(coalesce(parts, ''), ?1)
            UNION ALL SELECT 1 FROM phones WHERE instr(body, ?1)
            UNION ALL SELECT 1 FROM runs WHERE state <= 2 AND instr(event, ?1)";
        if !work.tx.prepare_cached(used)?.exists([&blob])? {
            forgotten.blobs.push(blob);
        }
    }
    work.rings.compact();
    Ok(forgotten)
}

fn blob(body: &Body) -> Option<String> {
    match &body.content.media()?.source {
        Source::Snapshot(copy) => Some(copy.blob.clone()),
        _ => None,
    }
}

/// Every address that the person has in any account.
fn all_names(connection: &Connection, who: &str) -> Read<Vec<String>> {
    let mut names = vec![who.to_owned()];
    let mut seen = 0;
    while let Some(name) = names.get(seen).cloned() {
        seen += 1;
        let sql = "SELECT account FROM aliases WHERE alias = ?";
        let accounts: Vec<String> =
            connection.prepare_cached(sql)?.query_map([&name], |row| row.get(0))?.collect::<Read<_>>()?;
        for account in accounts {
            for other in people::names(connection, &account, &name)? {
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

/// Says whether the run was under way.
fn erase_run(work: &mut Work<'_>, run: &[u8; 16], mark: &str, now: Timestamp) -> Read<bool> {
    conversation::close(work, run, false, now)?;
    events::forget(work, run)?;
    let sql = "SELECT state FROM runs WHERE id = ?";
    let state: i64 = work.tx.prepare_cached(sql)?.query_row([run], |row| row.get(0))?;
    if state == number(RunState::Queued) {
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
    Ok(state <= number(RunState::Waiting))
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
        blobs.extend(std::iter::once(body).chain(parts.iter().map(|part| &part.body)).filter_map(blob));
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
