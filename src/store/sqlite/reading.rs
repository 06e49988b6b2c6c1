//! Lists and single rows for people and programs to look at.

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use super::outbox::{self, state};
use super::runs;
use super::{Read, instant, json, json_or_none};
use crate::clock::{from_millis, millis};
use crate::id::{MessageId, RunId};
use crate::model::journal::Entry;
use crate::model::run::RunState;
use crate::store::rows::{Called, MessageFilter, MessageRecord, PhoneMessage, RunFilter, RunRecord};

/// Conditions of a query, with their values.
#[derive(Default)]
pub struct Where {
    conditions: Vec<String>,
    pub values: Vec<Sql>,
}

impl Where {
    pub fn and(&mut self, condition: &str, value: impl Into<Sql>) {
        self.conditions.push(condition.into());
        self.values.push(value.into());
    }

    fn ids(&mut self, column_in: &str, ids: &[RunId]) {
        let marks = vec!["?"; ids.len()].join(", ");
        self.conditions.push(format!("{column_in} ({marks})"));
        self.values.extend(ids.iter().map(|id| Sql::Blob(id.as_bytes().to_vec())));
    }

    pub fn sql(&self) -> String {
        match self.conditions.is_empty() {
            true => String::new(),
            false => format!("WHERE {}", self.conditions.join(" AND ")),
        }
    }
}

const RUN: &str = "SELECT id, flow, version, trigger, state, waiting, attempt, created_at, started_at, finished_at,
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

pub fn runs(connection: &Connection, filter: &RunFilter) -> Read<Vec<RunRecord>> {
    let mut only = Where::default();
    if let Some(flow) = &filter.flow {
        only.and("flow = ?", flow.clone());
    }
    if let Some(state) = filter.state {
        only.and("state = ?", runs::number(state));
    }
    if let Some(since) = filter.since {
        only.and("created_at >= ?", millis(since));
    }
    if let Some(after) = filter.after {
        only.and("id < ?", after.as_bytes().to_vec());
    }
    if let Some(ids) = &filter.only {
        only.ids("id IN", ids);
    }
    if !filter.without.is_empty() {
        only.ids("id NOT IN", &filter.without);
    }
    // Lists show neither events nor results, which may be large.
    let columns = RUN.replace("event, result FROM", "'', NULL FROM");
    let sql = format!("{columns} {} ORDER BY id DESC LIMIT {}", only.sql(), filter.limit);
    connection.prepare(&sql)?.query_map(params_from_iter(only.values), run_row)?.collect()
}

pub fn run(connection: &Connection, id: RunId) -> Read<Option<RunRecord>> {
    connection.prepare_cached(&format!("{RUN} WHERE id = ?"))?.query_row([id.as_bytes()], run_row).optional()
}

pub fn journal(connection: &Connection, id: RunId) -> Read<Vec<Called>> {
    let sql = "SELECT entries, attempt, live FROM journal WHERE run = ? ORDER BY part";
    let mut find = connection.prepare_cached(sql)?;
    let row = |row: &Row<'_>| Ok((json::<Vec<Entry>>(row, 0)?, row.get(1)?, row.get::<_, bool>(2)?));
    let mut all = Vec::new();
    for part in find.query_map([id.as_bytes()], row)? {
        let (entries, attempt, live) = part?;
        all.extend(entries.into_iter().map(|entry| Called { entry, attempt, lost: !live }));
    }
    Ok(all)
}

const MESSAGE: &str = "SELECT id, run, flow, account, recipient, body, state, attempts, provider_id, degraded, error,
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

pub fn messages(connection: &Connection, filter: &MessageFilter) -> Read<Vec<MessageRecord>> {
    let mut only = Where::default();
    if let Some(to) = &filter.to {
        only.and("recipient = ?", to.clone());
    }
    if let Some(state) = filter.state {
        only.and("state = ?", outbox::number(state));
    }
    if let Some(flow) = &filter.flow {
        only.and("flow = ?", flow.clone());
    }
    if let Some(run) = filter.run {
        only.and("run = ?", run.as_bytes().to_vec());
    }
    if let Some(after) = filter.after {
        only.and("id < ?", after.as_bytes().to_vec());
    }
    let sql = format!("{MESSAGE} {} ORDER BY id DESC LIMIT {}", only.sql(), filter.limit);
    connection.prepare(&sql)?.query_map(params_from_iter(only.values), message_row)?.collect()
}

pub fn message(connection: &Connection, id: MessageId) -> Read<Option<MessageRecord>> {
    let sql = format!("{MESSAGE} WHERE id = ?");
    connection.prepare_cached(&sql)?.query_row([id.as_bytes()], message_row).optional()
}

pub fn phone_messages(connection: &Connection, limit: usize) -> Read<Vec<PhoneMessage>> {
    let sql = "SELECT id, account, recipient, body, at, incoming FROM phones ORDER BY at DESC, id DESC LIMIT ?";
    let row = |row: &Row<'_>| {
        Ok(PhoneMessage {
            id: MessageId::from_bytes(row.get(0)?),
            account: row.get(1)?,
            to: row.get(2)?,
            body: json(row, 3)?,
            at: from_millis(row.get(4)?),
            incoming: row.get(5)?,
        })
    };
    connection.prepare_cached(sql)?.query_map([limit as i64], row)?.collect()
}
