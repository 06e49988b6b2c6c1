//! Erases a person: messages, events, and the journals in which they stand.

use std::borrow::Cow;
use std::collections::BTreeSet;

use jiff::Timestamp;
use regex::Regex;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::json;

use super::columns::{if_readable, readable};
use super::runs::number;
use super::writer::{Refusal, Work};
use super::{Read, conversation, decisions, events, json as read_json, json_or_none, people, runs, text, waits};
use crate::clock::{millis, rfc3339};
use crate::id::RunId;
use crate::model::delivery::Part;
use crate::model::inbound::bare_id;
use crate::model::message::{Body, Source};
use crate::model::recipient;
use crate::model::run::{RunState, ScriptError};
use crate::store::rows::Forgotten;

/// What knows of a person.
#[derive(Default)]
pub struct Known {
    /// Runs that wrote or listened to them, that heard of them, and all whose event or journal names them.
    pub runs: BTreeSet<[u8; 16]>,
    /// Messages to others that name them, also on the sandbox's phones.
    pub messages: BTreeSet<[u8; 16]>,
    /// What others wrote that names them: the accounts that it came to, and its ids there.
    pub events: BTreeSet<(String, String)>,
}

impl Known {
    /// Whether nothing does.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.messages.is_empty() && self.events.is_empty()
    }
}

/// Looks for all that knows of a person. To be done beside the writer, for it looks at everything.
pub fn known_by(connection: &Connection, who: &str) -> Read<Known> {
    let names = people::all_names(connection, who)?;
    let mut known = Known::default();
    for name in &names {
        for sql in [
            "SELECT DISTINCT run FROM messages WHERE recipient = ? AND run IS NOT NULL",
            "SELECT run FROM listening WHERE chat = ?",
        ] {
            let mut find = connection.prepare_cached(sql)?;
            known.runs.extend(readable(find.query_map([name], |row| row.get::<_, [u8; 16]>(0))?, "runs")?);
        }
    }
    let patterns = names.iter().map(|name| recipient::pattern(name)).collect::<Vec<_>>().join("|");
    let names_them = Regex::new(&patterns).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let all = |sql: &str, found: &mut dyn FnMut(&Row<'_>) -> Read<()>| -> Read<()> {
        let mut find = connection.prepare(sql)?;
        let mut rows = find.query([])?;
        while let Some(row) = rows.next()? {
            let text = match row.get_ref(0)? {
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes),
                _ => continue,
            };
            if stands_in(&names_them, &text) {
                // What has no id that can be one cannot be erased by it.
                if_readable(found(row))?;
            }
        }
        Ok(())
    };
    for sql in [
        "SELECT event || coalesce(result, '') || coalesce(pending, '') || coalesce(answer, '') || coalesce(error, ''), id
            FROM runs",
        "SELECT entries, run FROM journal",
    ] {
        all(sql, &mut |row| {
            known.runs.insert(row.get(1)?);
            Ok(())
        })?;
    }
    for sql in ["SELECT body || coalesce(parts, ''), id FROM messages", "SELECT body, id FROM phones"] {
        all(sql, &mut |row| {
            known.messages.insert(row.get(1)?);
            Ok(())
        })?;
    }
    all("SELECT event, account, id FROM incoming", &mut |row| {
        known.events.insert((row.get(1)?, row.get(2)?));
        Ok(())
    })?;
    Ok(known)
}

/// Whether a pattern finds something in the texts of some JSON, and in those of JSON that stands in them.
fn stands_in(pattern: &Regex, json: &str) -> bool {
    /// How deep texts of JSON may stand in one another.
    const DEPTH: usize = 3;
    let mut text = Cow::Borrowed(json);
    for _ in 0..DEPTH {
        if pattern.is_match(&text) {
            return true;
        }
        if !text.contains('\\') {
            return false;
        }
        text = Cow::Owned(unescaped(&text));
    }
    pattern.is_match(&text)
}

/// A text whose characters stand as themselves, not as JSON writes them.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (c == '\\').then(|| rest.next()).flatten() {
            None => plain.push(c),
            Some('n' | 'r' | 't' | 'b' | 'f') => plain.push(' '),
            Some('u') => {
                let digits: String = rest.by_ref().take(4).collect();
                // Half a character outside the basic plane is no part of a phone.
                plain.extend(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32));
            }
            Some(other) => plain.push(other),
        }
    }
    plain
}

/// Erases everything that is kept of a person, whatever address it stands under, and the runs that
/// know of them. Those that are under way end: their journals cannot be replayed without the words.
/// That the person wants to hear no more, if so, stays: it is what keeps others from writing again.
pub fn forget(work: &mut Work<'_>, who: &str, known: &Known, mark: &str, now: Timestamp) -> Result<Forgotten, Refusal> {
    let names = people::all_names(work.tx, who)?;
    let mut blobs = BTreeSet::new();
    let mut forgotten = Forgotten::default();
    for run in &known.runs {
        if erase_run(work, run, mark, now)? {
            forgotten.ended.push(RunId::from_bytes(*run));
        }
    }
    let erased = &mut forgotten.erased;
    erased.runs = known.runs.len() as u64;
    for id in &known.messages {
        let sql = "SELECT id, account, provider_id, body, parts FROM messages WHERE id = ?";
        erased.messages += erase_messages(work, sql, id, &mut blobs)?;
        let sql = "DELETE FROM phones WHERE id = ? RETURNING body";
        erased.messages += erase_phones(work, sql, id, &mut blobs)?;
    }
    for name in &names {
        let sql = "SELECT id, account, provider_id, body, parts FROM messages WHERE recipient = ?";
        erased.messages += erase_messages(work, sql, name, &mut blobs)?;
        let sql = "DELETE FROM phones WHERE recipient = ? RETURNING body";
        erased.messages += erase_phones(work, sql, name, &mut blobs)?;
        let events = "DELETE FROM incoming WHERE sender = ?1 OR chat = ?1";
        erased.events += work.tx.prepare_cached(events)?.execute([name])? as u64;
        for sql in [
            "DELETE FROM heard WHERE recipient = ?",
            "DELETE FROM acquaintances WHERE recipient = ?",
            "DELETE FROM people WHERE address = ?",
            "DELETE FROM handsets WHERE phone = ?",
            "DELETE FROM early WHERE chat = ?",
        ] {
            work.tx.execute(sql, [name])?;
        }
    }
    for (account, id) in &known.events {
        // What others wrote: that it came stays known, so that it is not taken in once more.
        let sql = "UPDATE incoming SET event = '{}' WHERE account = ? AND id = ?";
        erased.events += work.tx.prepare_cached(sql)?.execute([account, id])? as u64;
    }
    forget_names(work, &names)?;
    let sql = "INSERT INTO forgotten (at, mark, counts) VALUES (?, ?, ?)";
    work.tx.prepare_cached(sql)?.execute(params![millis(now), mark, text(&forgotten.erased)?])?;
    for blob in blobs {
        // Its name is made of hexadecimal digits, of which none means anything to LIKE.
        let used = "SELECT 1 FROM messages WHERE body LIKE ?1 OR parts LIKE ?1
            UNION ALL SELECT 1 FROM phones WHERE body LIKE ?1
            UNION ALL SELECT 1 FROM runs WHERE state <= 2 AND event LIKE ?1";
        if !work.tx.prepare_cached(used)?.exists([format!("%{blob}%")])? {
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
    waits::forget_of(work, run)?;
    let sql = "SELECT state FROM runs WHERE id = ?";
    let state = work.tx.prepare_cached(sql)?.query_row([run], |row| row.get::<_, i64>(0)).optional();
    // A run of which nothing is known any more is not under way.
    let state = if_readable(state)?.flatten().unwrap_or(number(RunState::Failed));
    let is_open = state <= number(RunState::Waiting);
    if is_open {
        // As with every run that is taken back.
        decisions::recall_unsent(work, run, now)?;
    }
    if state == number(RunState::Queued) {
        runs::begun(work, run)?;
    }
    for sql in ["DELETE FROM journal WHERE run = ?", "DELETE FROM emitted WHERE run = ?"] {
        work.tx.prepare_cached(sql)?.execute([run])?;
    }
    let event = text(&json!({ "forgotten": mark, "at": rfc3339(now) }))?;
    let error = {
        let mut find = work.tx.prepare_cached("SELECT error FROM runs WHERE id = ? AND error IS NOT NULL")?;
        find.query_row([run], |row| if_readable(read_json::<ScriptError>(row, 0))).optional()?
    };
    let kind = |error: Option<ScriptError>| error.map_or_else(|| "damaged".to_owned(), |error| error.kind);
    let error = error.map(|error| text(&ScriptError::new(&kind(error), "forgotten"))).transpose()?;
    let state = if is_open { number(RunState::Cancelled) } else { state };
    let sql = "UPDATE runs SET state = ?, finished_at = coalesce(finished_at, ?), ready = NULL, wake_at = NULL,
        pending = NULL, answer = NULL, waiting = NULL, result = NULL, event = ?, error = ? WHERE id = ?";
    work.tx.prepare_cached(sql)?.execute(params![state, millis(now), event, error, run])?;
    if is_open {
        runs::is_now(work, RunId::from_bytes(*run), RunState::Cancelled)?;
    }
    Ok(is_open)
}

/// What the sandbox's phones have of it.
fn erase_phones(work: &Work<'_>, sql: &str, value: impl rusqlite::ToSql, blobs: &mut BTreeSet<String>) -> Read<u64> {
    let mut erase = work.tx.prepare_cached(sql)?;
    let row = |row: &Row<'_>| if_readable(read_json::<Body>(row, 0));
    let bodies = erase.query_map([value], row)?.collect::<Read<Vec<_>>>()?;
    blobs.extend(bodies.iter().flatten().filter_map(blob));
    Ok(bodies.len() as u64)
}

fn erase_messages(work: &Work<'_>, sql: &str, value: impl rusqlite::ToSql, blobs: &mut BTreeSet<String>) -> Read<u64> {
    type Found = (Value, Option<String>, Option<String>, Option<Body>, Option<Vec<Part>>);
    // What cannot be read is erased all the same.
    let row = |row: &Row<'_>| -> Read<Found> {
        let provider_id = if_readable(row.get(2))?.flatten();
        let parts = if_readable(json_or_none(row, 4))?.flatten();
        Ok((row.get(0)?, if_readable(row.get(1))?, provider_id, if_readable(read_json(row, 3))?, parts))
    };
    let found = work.tx.prepare_cached(sql)?.query_map([value], row)?.collect::<Read<Vec<_>>>()?;
    for (id, account, provider_id, body, parts) in &found {
        let parts = parts.as_deref().unwrap_or_default();
        let own = parts.iter().filter_map(|part| part.provider_id.as_ref()).chain(provider_id);
        for provider_id in own {
            let sql = "DELETE FROM posted WHERE account = ? AND provider_id IN (?, ?)";
            work.tx.prepare_cached(sql)?.execute(params![account, bare_id(provider_id), provider_id])?;
        }
        blobs.extend(body.iter().chain(parts.iter().map(|part| &part.body)).filter_map(blob));
        for sql in [
            "DELETE FROM clicks WHERE message = ?",
            "DELETE FROM waits WHERE message = ?",
            "DELETE FROM troubles WHERE message = ?",
            "DELETE FROM messages WHERE id = ?",
        ] {
            work.tx.prepare_cached(sql)?.execute([id])?;
        }
    }
    Ok(found.len() as u64)
}
