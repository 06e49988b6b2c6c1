//! What is kept of a person, wherever it stands.

use std::borrow::Cow;
use std::collections::BTreeSet;

use jiff::Timestamp;
use regex::Regex;

use super::people;
use crate::id::{MessageId, RunId};
use crate::model::delivery::Part;
use crate::model::message::Body;
use crate::model::recipient;
use crate::store::StoreError;
use crate::store::tx::{Columns, Read, Tx, Value, if_readable, values};

/// What knows of a person.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// All addresses that lead to them.
    pub names: BTreeSet<String>,
    /// Runs that wrote or listened to them, that heard of them, and all whose event or journal names them.
    pub runs: BTreeSet<RunId>,
    /// Messages to others that name them, also on the sandbox's phones.
    pub messages: BTreeSet<MessageId>,
    /// What they wrote, or was written in their chats: the accounts that it came to, and its ids there.
    pub written: BTreeSet<(String, String)>,
    /// What others wrote that names them, likewise.
    pub events: BTreeSet<(String, String)>,
}

impl Known {
    /// Whether nothing does.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.messages.is_empty() && self.written.is_empty() && self.events.is_empty()
    }
}

/// Looks for all that knows of a person, also under names that led to them before. To be done beside the writer, for
/// it looks at everything.
pub fn known_by(tx: &dyn Tx, who: &str, before: BTreeSet<String>) -> Read<Known> {
    let names = people::all_names(tx, who)?.into_iter().chain(before).collect();
    let mut known = Known { names, ..Known::default() };
    for name in &known.names {
        for sql in [
            "SELECT DISTINCT run FROM messages WHERE recipient = ? AND run IS NOT NULL",
            "SELECT run FROM listening WHERE chat = ?",
        ] {
            known.runs.extend(tx.readable(sql, values![name], "runs", |row| row.get::<RunId>(0))?);
        }
    }
    let patterns = known.names.iter().map(|name| recipient::pattern(name)).collect::<Vec<_>>().join("|");
    let names_them = Regex::new(&patterns).map_err(|error| StoreError::Other(error.to_string()))?;
    for sql in [
        "SELECT event || coalesce(result, '') || coalesce(pending, '') || coalesce(answer, '') || coalesce(error, ''), id
            FROM runs",
        "SELECT entries, run FROM journal",
    ] {
        all_that_name(tx, sql, &names_them, &mut |row| {
            known.runs.insert(row.get(1)?);
            Ok(())
        })?;
    }
    for sql in ["SELECT body || coalesce(parts, ''), id FROM messages", "SELECT body, id FROM phones"] {
        all_that_name(tx, sql, &names_them, &mut |row| {
            known.messages.insert(row.get(1)?);
            Ok(())
        })?;
    }
    all_incoming(tx, &names_them, &mut known)?;
    Ok(known)
}

fn all_incoming(tx: &dyn Tx, names_them: &Regex, known: &mut Known) -> Read<()> {
    let sql = "SELECT event, account, id, sender, chat FROM incoming";
    tx.visit(sql, values![], &mut |row| {
        let is_theirs = |column| match row.column(column)? {
            Value::Text(name) => Ok(known.names.contains(name)),
            _ => Ok(false),
        };
        let written = is_theirs(3)? || is_theirs(4)?;
        if written || stands_in(names_them, &words_of(row)?) {
            let found = if written { &mut known.written } else { &mut known.events };
            if_readable((|| Ok(found.insert((row.get(1)?, row.get(2)?))))())?;
        }
        Ok(true)
    })
}

/// Visits the rows whose first column names somebody. What has no id that can be one cannot be erased by it.
fn all_that_name(
    tx: &dyn Tx,
    sql: &str,
    names_them: &Regex,
    found: &mut dyn FnMut(&dyn Columns) -> Read<()>,
) -> Read<()> {
    tx.visit(sql, values![], &mut |row| {
        if stands_in(names_them, &words_of(row)?) {
            if_readable(found(row))?;
        }
        Ok(true)
    })
}

/// The first column, also of a damaged row.
fn words_of<'a>(row: &'a dyn Columns) -> Read<Cow<'a, str>> {
    Ok(match row.column(0)? {
        Value::Text(text) => Cow::Borrowed(text),
        Value::Blob(bytes) => String::from_utf8_lossy(bytes),
        _ => Cow::Borrowed(""),
    })
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

/// A message as far as it can be read; it is erased all the same.
#[derive(Debug)]
pub struct Erasable {
    /// The account that sends it.
    pub account: Option<String>,
    /// The gateway's id.
    pub provider_id: Option<String>,
    /// What it says.
    pub body: Option<Body>,
    /// Its parts.
    pub parts: Vec<Part>,
}

/// Erases a message, with all that hangs on it. Gives what it was.
pub fn erase_message(tx: &dyn Tx, id: MessageId) -> Read<Vec<Erasable>> {
    erase_messages(tx, "SELECT id, account, provider_id, body, parts FROM messages WHERE id = ?", id.into())
}

/// Erases the messages to an address, with all that hangs on them. Gives what they were.
pub fn erase_messages_to(tx: &dyn Tx, name: &str) -> Read<Vec<Erasable>> {
    erase_messages(tx, "SELECT id, account, provider_id, body, parts FROM messages WHERE recipient = ?", name.into())
}

fn erase_messages(tx: &dyn Tx, sql: &str, which: Value<'_>) -> Read<Vec<Erasable>> {
    /// The id as it stands there, which in a damaged row is none.
    enum Key {
        Bytes(Vec<u8>),
        Text(String),
        Other(Option<i64>),
    }
    let found = tx.all(sql, &[which], |row| {
        let key = match row.column(0)? {
            Value::Blob(bytes) => Key::Bytes(bytes.to_vec()),
            Value::Text(text) => Key::Text(text.to_owned()),
            Value::Integer(number) => Key::Other(Some(number)),
            _ => Key::Other(None),
        };
        let erasable = Erasable {
            account: row.maybe(1)?,
            provider_id: row.maybe::<Option<String>>(2)?.flatten(),
            body: if_readable(row.json(3))?,
            parts: row.json_or_default(4)?,
        };
        Ok((key, erasable))
    })?;
    for (key, _) in &found {
        let id = match key {
            Key::Bytes(bytes) => Value::Blob(bytes),
            Key::Text(text) => Value::Text(text),
            Key::Other(number) => (*number).into(),
        };
        for sql in [
            "DELETE FROM clicks WHERE message = ?",
            "DELETE FROM waits WHERE message = ?",
            "DELETE FROM troubles WHERE message = ?",
            "DELETE FROM attached WHERE owner = ? AND phone = 0",
            "DELETE FROM messages WHERE id = ?",
        ] {
            tx.run(sql, &[id])?;
        }
    }
    Ok(found.into_iter().map(|(_, erasable)| erasable).collect())
}

/// Erases a message on the sandbox's phones. Gives what it said, as far as that can be read.
pub fn erase_on_phones(tx: &dyn Tx, id: MessageId) -> Read<Vec<Option<Body>>> {
    tx.run("DELETE FROM attached WHERE owner = ? AND phone = 1", values![id])?;
    tx.all("DELETE FROM phones WHERE id = ? RETURNING body", values![id], |row| if_readable(row.json(0)))
}

/// Erases what a phone of the sandbox got. Gives what it said, as far as that can be read.
pub fn erase_phone(tx: &dyn Tx, name: &str) -> Read<Vec<Option<Body>>> {
    let sql = "DELETE FROM attached WHERE phone = 1 AND owner IN (SELECT id FROM phones WHERE recipient = ?)";
    tx.run(sql, values![name])?;
    tx.all("DELETE FROM phones WHERE recipient = ? RETURNING body", values![name], |row| if_readable(row.json(0)))
}

/// Erases what a person wrote. Gives how much that was.
pub fn erase_written(tx: &dyn Tx, account: &str, id: &str) -> Read<u64> {
    tx.run("DELETE FROM incoming WHERE account = ? AND id = ?", values![account, id])
}

/// Erases what is known of an address.
pub fn erase_name(tx: &dyn Tx, name: &str) -> Read<()> {
    // By account: there is no index by recipient alone.
    for sql in [
        "DELETE FROM heard WHERE recipient = ? AND account IN (WITH RECURSIVE accounts (name) AS (
            SELECT min(account) FROM heard
            UNION ALL SELECT (SELECT min(account) FROM heard WHERE account > name) FROM accounts WHERE name IS NOT NULL)
         SELECT name FROM accounts WHERE name IS NOT NULL)",
        "DELETE FROM acquaintances WHERE recipient = ? AND account IN (WITH RECURSIVE accounts (name) AS (
            SELECT min(account) FROM acquaintances
            UNION ALL SELECT (SELECT min(account) FROM acquaintances WHERE account > name) FROM accounts WHERE name IS NOT NULL)
         SELECT name FROM accounts WHERE name IS NOT NULL)",
        "DELETE FROM people WHERE address = ?",
        "DELETE FROM handsets WHERE phone = ?",
        "DELETE FROM early WHERE chat = ?",
    ] {
        tx.run(sql, values![name])?;
    }
    Ok(())
}

/// What somebody else wrote is gone. That it came stays known, so that it is not taken in once more.
pub fn erase_event(tx: &dyn Tx, account: &str, id: &str) -> Read<u64> {
    tx.run("UPDATE incoming SET event = '{}' WHERE account = ? AND id = ?", values![account, id])
}

/// An address leads to nobody any more. One under which a person asked to hear no more stays, so that this is still
/// known of it.
pub fn erase_alias(tx: &dyn Tx, name: &str) -> Read<()> {
    let sql = "DELETE FROM aliases WHERE alias = ?1 AND NOT EXISTS
            (SELECT 1 FROM opted_out JOIN aliases other ON other.account = opted_out.account AND other.alias = opted_out.person
             WHERE opted_out.account = aliases.account AND other.person = aliases.person)";
    tx.run(sql, values![name]).map(drop)
}

/// That somebody was forgotten, and how much went.
pub fn note_forgotten(tx: &dyn Tx, mark: &str, counts: &str, now: Timestamp) -> Read<()> {
    let sql = "INSERT INTO forgotten (at, mark, counts, on_disk) VALUES (?, ?, ?, 1)";
    tx.run(sql, values![now, mark, counts]).map(drop)
}
