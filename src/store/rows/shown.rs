//! Single runs, journals and messages for people and programs to look at.

use crate::id::{MessageId, RunId};
use crate::model::delivery::MessageState;
use crate::model::journal::Entry;
use crate::model::message::{Body, Content, SendOptions};
use crate::model::run::{RunState, ScriptError};
use crate::store::StoreError;
use crate::store::records::{Called, MessageRecord, RunRecord};
use crate::store::tx::{Columns, Read, Tx, Value, if_readable, values};

/// Conditions of a query, with their values.
#[derive(Debug, Default)]
pub struct Where<'a> {
    conditions: Vec<String>,
    /// The values, in the order of their conditions.
    pub values: Vec<Value<'a>>,
}

impl<'a> Where<'a> {
    /// A condition with one value.
    pub fn and(&mut self, condition: &str, value: impl Into<Value<'a>>) {
        self.all(condition, [value.into()]);
    }

    /// A condition with several values, or none.
    pub fn all(&mut self, condition: &str, values: impl IntoIterator<Item = Value<'a>>) {
        self.conditions.push(condition.into());
        self.values.extend(values);
    }

    /// As SQL.
    pub fn sql(&self) -> String {
        match self.conditions.is_empty() {
            true => String::new(),
            false => format!("WHERE {}", self.conditions.join(" AND ")),
        }
    }
}

/// The columns that [`run_or_damage`] reads.
pub const RUN: &str = "SELECT id, flow, version, trigger, state, waiting, attempt, created_at, started_at, finished_at,
    error, event, result FROM runs";

fn run_row(row: &dyn Columns) -> Read<RunRecord> {
    Ok(RunRecord {
        id: row.get(0)?,
        flow: row.get(1)?,
        version: row.get(2)?,
        trigger: row.get(3)?,
        state: row.get(4)?,
        waiting_for: row.json_or_none(5)?,
        attempt: row.get(6)?,
        created_at: row.get(7)?,
        started_at: row.get(8)?,
        finished_at: row.get(9)?,
        error: row.json_or_none(10)?,
        event: row.get(11)?,
        result: row.get(12)?,
    })
}

/// A run whose row does not read as what it should be is shown as that, and hides no other.
pub fn run_or_damage(row: &dyn Columns) -> Read<RunRecord> {
    let why = match run_row(row) {
        Err(StoreError::Unreadable(why)) => why,
        read => return read,
    };
    let text = |column| row.maybe::<String>(column).map(Option::unwrap_or_default);
    let (id, attempt) = (row.get::<RunId>(0)?, row.maybe(6)?.unwrap_or(1));
    Ok(RunRecord {
        id,
        flow: text(1)?,
        version: text(2)?,
        trigger: text(3)?,
        state: RunState::Failed,
        waiting_for: None,
        attempt,
        created_at: row.maybe(7)?.unwrap_or(id.made_at()),
        started_at: row.maybe::<Option<_>>(8)?.flatten(),
        finished_at: row.maybe::<Option<_>>(9)?.flatten(),
        error: Some(ScriptError::new("damaged", damaged(&why))),
        event: "null".into(),
        result: None,
    })
}

fn damaged(why: &str) -> String {
    format!("its row in the state file cannot be read: {why}")
}

/// One run.
pub fn run(tx: &dyn Tx, id: RunId) -> Read<Option<RunRecord>> {
    tx.first(&format!("{RUN} WHERE id = ?"), values![id], run_or_damage)
}

/// A run's journal, and what is kept of turns that were thrown away.
pub fn journal(tx: &dyn Tx, id: RunId) -> Read<Vec<Called>> {
    let sql = "SELECT entries, attempt, live FROM journal WHERE run = ? ORDER BY part";
    let parts = tx.readable(sql, values![id], "a journal", |row| {
        Ok((row.json::<Vec<Entry>>(0)?, row.get(1)?, row.get::<bool>(2)?))
    })?;
    let mut all = Vec::new();
    for (entries, attempt, live) in parts {
        all.extend(entries.into_iter().map(|entry| Called { entry, attempt, lost: !live }));
    }
    Ok(all)
}

/// The columns that [`message_or_damage`] reads.
pub const MESSAGE: &str =
    "SELECT id, run, flow, account, recipient, body, state, attempts, provider_id, degraded, error,
    created_at, due_at, parts, clicks.count, clicks.first_at
    FROM messages LEFT JOIN clicks ON clicks.message = messages.id";

fn message_row(row: &dyn Columns) -> Read<MessageRecord> {
    Ok(MessageRecord {
        id: row.get(0)?,
        run: row.get(1)?,
        flow: row.get(2)?,
        account: row.get(3)?,
        to: row.get(4)?,
        body: row.json(5)?,
        state: row.get(6)?,
        attempts: row.json(7)?,
        provider_id: row.get(8)?,
        degraded: row.json_or_none(9)?.unwrap_or_default(),
        error: row.get(10)?,
        created_at: row.get(11)?,
        due_at: row.get(12)?,
        parts: row.json_or_none(13)?.unwrap_or_default(),
        clicks: match (row.get(14)?, row.get(15)?) {
            (Some(count), Some(first)) => Some((count, first)),
            _ => None,
        },
    })
}

/// A message whose row does not read as what it should be is shown as that, and hides no other.
pub fn message_or_damage(row: &dyn Columns) -> Read<MessageRecord> {
    let unreadable = match message_row(row) {
        Err(StoreError::Unreadable(why)) => why,
        read => return read,
    };
    let text = |column| row.maybe::<String>(column).map(Option::unwrap_or_default);
    let id: MessageId = row.get(0)?;
    let unread = Body { content: Content::Text { text: String::new() }, options: SendOptions::default() };
    let why: Option<String> = row.maybe::<Option<String>>(10)?.flatten();
    Ok(MessageRecord {
        id,
        run: row.maybe::<Option<RunId>>(1)?.flatten(),
        flow: text(2)?,
        account: text(3)?,
        to: text(4)?,
        body: if_readable(row.json(5))?.unwrap_or(unread),
        state: row.maybe(6)?.unwrap_or(MessageState::Dead),
        attempts: row.json_or_default(7)?,
        provider_id: row.maybe::<Option<String>>(8)?.flatten(),
        degraded: row.json_or_default(9)?,
        error: Some(
            why.filter(|why| why.starts_with("damaged"))
                .unwrap_or_else(|| format!("damaged: {}", damaged(&unreadable))),
        ),
        created_at: row.maybe(11)?.unwrap_or(id.made_at()),
        due_at: row.maybe::<Option<_>>(12)?.flatten(),
        parts: row.json_or_default(13)?,
        clicks: None,
    })
}

/// One message.
pub fn message(tx: &dyn Tx, id: MessageId) -> Read<Option<MessageRecord>> {
    tx.first(&format!("{MESSAGE} WHERE id = ?"), values![id], message_or_damage)
}
