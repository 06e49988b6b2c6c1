//! Single rows for people and programs to look at.

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, Row};

use super::columns::{if_readable, is_unreadable, readable};
use super::outbox::state;
use super::{Read, instant, json, json_or_none};
use crate::clock::from_millis;
use crate::id::{MessageId, RunId};
use crate::model::delivery::MessageState;
use crate::model::journal::Entry;
use crate::model::message::{Body, Content, SendOptions};
use crate::model::run::{RunState, ScriptError};
use crate::store::rows::{Called, MessageRecord, RunRecord};

/// Conditions of a query, with their values.
#[derive(Default)]
pub struct Where {
    conditions: Vec<String>,
    pub values: Vec<Sql>,
}

impl Where {
    pub fn and(&mut self, condition: &str, value: impl Into<Sql>) {
        self.all(condition, [value.into()]);
    }

    /// A condition with several values.
    pub fn all(&mut self, condition: &str, values: impl IntoIterator<Item = Sql>) {
        self.conditions.push(condition.into());
        self.values.extend(values);
    }

    pub fn sql(&self) -> String {
        match self.conditions.is_empty() {
            true => String::new(),
            false => format!("WHERE {}", self.conditions.join(" AND ")),
        }
    }
}

pub const RUN: &str = "SELECT id, flow, version, trigger, state, waiting, attempt, created_at, started_at, finished_at,
    error, event, result FROM runs";

fn run_row(row: &Row<'_>) -> Read<RunRecord> {
    let number: i64 = row.get(4)?;
    let state = usize::try_from(number).ok().and_then(|number| RunState::ALL.get(number).copied());
    Ok(RunRecord {
        id: RunId::from_bytes(row.get(0)?),
        flow: row.get(1)?,
        version: row.get(2)?,
        trigger: row.get(3)?,
        state: state.ok_or(rusqlite::Error::IntegralValueOutOfRange(4, number))?,
        waiting_for: json_or_none(row, 5)?,
        attempt: row.get(6)?,
        created_at: from_millis(row.get(7)?),
        started_at: instant(row, 8)?,
        finished_at: instant(row, 9)?,
        error: json_or_none(row, 10)?,
        event: row.get(11)?,
        result: row.get(12)?,
    })
}

/// A run whose row does not read as what it should be is shown as that, and hides no other.
pub fn run_or_damage(row: &Row<'_>) -> Read<RunRecord> {
    let error = match run_row(row) {
        Err(error) if is_unreadable(&error) => error,
        read => return read,
    };
    let text = |column| if_readable(row.get::<_, String>(column)).map(Option::unwrap_or_default);
    let (id, attempt) = (RunId::from_bytes(row.get(0)?), if_readable(row.get(6))?.unwrap_or(1));
    Ok(RunRecord {
        id,
        flow: text(1)?,
        version: text(2)?,
        trigger: text(3)?,
        state: RunState::Failed,
        waiting_for: None,
        attempt,
        created_at: if_readable(row.get(7))?.map_or(id.made_at(), from_millis),
        started_at: if_readable(instant(row, 8))?.flatten(),
        finished_at: if_readable(instant(row, 9))?.flatten(),
        error: Some(ScriptError::new("damaged", damaged(&error))),
        event: "null".into(),
        result: None,
    })
}

fn damaged(error: &rusqlite::Error) -> String {
    format!("its row in the state file cannot be read: {error}")
}

pub fn run(connection: &Connection, id: RunId) -> Read<Option<RunRecord>> {
    connection.prepare_cached(&format!("{RUN} WHERE id = ?"))?.query_row([id.as_bytes()], run_or_damage).optional()
}

pub fn journal(connection: &Connection, id: RunId) -> Read<Vec<Called>> {
    let sql = "SELECT entries, attempt, live FROM journal WHERE run = ? ORDER BY part";
    let mut find = connection.prepare_cached(sql)?;
    let row = |row: &Row<'_>| Ok((json::<Vec<Entry>>(row, 0)?, row.get(1)?, row.get::<_, bool>(2)?));
    let mut all = Vec::new();
    for (entries, attempt, live) in readable(find.query_map([id.as_bytes()], row)?, "a journal")? {
        all.extend(entries.into_iter().map(|entry| Called { entry, attempt, lost: !live }));
    }
    Ok(all)
}

pub const MESSAGE: &str =
    "SELECT id, run, flow, account, recipient, body, state, attempts, provider_id, degraded, error,
    created_at, due_at, parts, clicks.count, clicks.first_at
    FROM messages LEFT JOIN clicks ON clicks.message = messages.id";

fn message_row(row: &Row<'_>) -> Read<MessageRecord> {
    Ok(MessageRecord {
        id: MessageId::from_bytes(row.get(0)?),
        run: row.get::<_, Option<[u8; 16]>>(1)?.map(RunId::from_bytes),
        flow: row.get(2)?,
        account: row.get(3)?,
        to: row.get(4)?,
        body: json(row, 5)?,
        state: state(row, 6)?,
        attempts: json(row, 7)?,
        provider_id: row.get(8)?,
        degraded: json_or_none(row, 9)?.unwrap_or_default(),
        error: row.get(10)?,
        created_at: from_millis(row.get(11)?),
        due_at: instant(row, 12)?,
        parts: json_or_none(row, 13)?.unwrap_or_default(),
        clicks: match (row.get(14)?, instant(row, 15)?) {
            (Some(count), Some(first)) => Some((count, first)),
            _ => None,
        },
    })
}

/// A message whose row does not read as what it should be is shown as that, and hides no other.
pub fn message_or_damage(row: &Row<'_>) -> Read<MessageRecord> {
    let error = match message_row(row) {
        Err(error) if is_unreadable(&error) => error,
        read => return read,
    };
    let text = |column| if_readable(row.get::<_, String>(column)).map(Option::unwrap_or_default);
    let id = MessageId::from_bytes(row.get(0)?);
    let unread = Body { content: Content::Text { text: String::new() }, options: SendOptions::default() };
    let why: Option<String> = if_readable(row.get(10))?.flatten();
    Ok(MessageRecord {
        id,
        run: if_readable(row.get::<_, Option<[u8; 16]>>(1))?.flatten().map(RunId::from_bytes),
        flow: text(2)?,
        account: text(3)?,
        to: text(4)?,
        body: if_readable(json(row, 5))?.unwrap_or(unread),
        state: if_readable(state(row, 6))?.unwrap_or(MessageState::Dead),
        attempts: if_readable(json(row, 7))?.unwrap_or_default(),
        provider_id: if_readable(row.get(8))?.flatten(),
        degraded: if_readable(json_or_none(row, 9))?.flatten().unwrap_or_default(),
        error: Some(
            why.filter(|why| why.starts_with("damaged")).unwrap_or_else(|| format!("damaged: {}", damaged(&error))),
        ),
        created_at: if_readable(row.get(11))?.map_or(id.made_at(), from_millis),
        due_at: if_readable(instant(row, 12))?.flatten(),
        parts: if_readable(json_or_none(row, 13))?.flatten().unwrap_or_default(),
        clicks: None,
    })
}

pub fn message(connection: &Connection, id: MessageId) -> Read<Option<MessageRecord>> {
    let sql = format!("{MESSAGE} WHERE id = ?");
    connection.prepare_cached(&sql)?.query_row([id.as_bytes()], message_or_damage).optional()
}
