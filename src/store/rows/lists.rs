//! Runs and messages as they are shown, alone and in lists: their columns, and lists, newest first, a page at a time.
//! What an index does not tell is looked for row by row, and for one page only so many rows are looked at: a page may
//! come with few rows and go on all the same, but never late.

use jiff::Timestamp;

use crate::id::{MessageId, RunId};
use crate::model::delivery::MessageState;
use crate::model::journal::Entry;
use crate::model::message::{Body, Content, SendOptions};
use crate::model::phone::other_address;
use crate::model::run::{RunState, ScriptError};
use crate::store::StoreError;
use crate::store::records::{
    Called, Capped, IncomingFilter, IncomingRecord, Lately, MessageFilter, MessageRecord, Page, RunBrief, RunFilter,
    RunRecord, StateCounts,
};
use crate::store::tx::{Columns, Read, Tx, Value, if_readable, values};

/// Rows that are looked at for one page.
const LOOKED_AT: usize = 10_000;
/// Counting stops here.
const MOST_COUNTED: i64 = 10_000;

/// States of runs that have an index; that of the others would be about all of them.
const RUNS_APART: [RunState; 4] = [RunState::Waiting, RunState::Failed, RunState::Cancelled, RunState::Skipped];
/// The same of messages.
const MESSAGES_APART: [MessageState; 6] = [
    MessageState::Scheduled,
    MessageState::Unknown,
    MessageState::Rejected,
    MessageState::Dead,
    MessageState::Expired,
    MessageState::Cancelled,
];

/// Rows that fit, each with its key, and the key to go on behind; none when there are no more.
type Walked<T, K> = (Vec<(K, T)>, Option<K>);

/// Walks over rows in the order of the query until there are enough, or too many were looked at.
fn walk<T, K: Clone>(
    tx: &dyn Tx,
    sql: &str,
    values: &[Value<'_>],
    limit: usize,
    mut take: impl FnMut(&dyn Columns) -> Read<(K, Step<T>)>,
) -> Read<Walked<T, K>> {
    let (mut kept, mut seen, mut full, mut next) = (Vec::new(), 0, None, None);
    tx.visit(sql, values, &mut |row| {
        if full.is_some() {
            // There is one more behind those that were taken.
            next = full.take();
            return Ok(false);
        }
        seen += 1;
        let (key, step) = take(row)?;
        match step {
            Step::End => return Ok(false),
            Step::Fits(fits) => kept.push((key.clone(), fits)),
            Step::Passed => {}
        }
        if kept.len() >= limit || seen >= LOOKED_AT {
            full = Some(key);
        }
        Ok(true)
    })?;
    Ok((kept, next))
}

/// What a row is for a list.
enum Step<T> {
    Fits(T),
    Passed,
    /// Neither this one nor any behind it.
    End,
}

/// Several walks, each in the same order, as one.
fn merged<T, K: Ord + Clone>(walks: Vec<Walked<T, K>>, newest_first: bool, limit: usize) -> Page<T, K> {
    let later = |one: &K, other: &K| if newest_first { one < other } else { one > other };
    // What is behind a walk's end is not known: nothing behind the nearest of these ends is told.
    let end = walks.iter().filter_map(|(_, end)| end.clone()).reduce(|a, b| if later(&a, &b) { b } else { a });
    let mut all: Vec<(K, T)> = walks.into_iter().flat_map(|(rows, _)| rows).collect();
    all.sort_by(|(one, _), (other, _)| if newest_first { other.cmp(one) } else { one.cmp(other) });
    if let Some(end) = &end {
        all.retain(|(key, _)| !later(key, end));
    }
    let cut = all.len() > limit;
    all.truncate(limit);
    let next = if cut { all.last().map(|(key, _)| key.clone()) } else { end };
    Page { rows: all.into_iter().map(|(_, row)| row).collect(), next }
}

fn holds(text: Option<&str>, words: &str) -> bool {
    text.is_some_and(|text| text.to_lowercase().contains(words))
}

/// Runs, newest first.
pub fn runs(tx: &dyn Tx, filter: &RunFilter) -> Read<Page<RunRecord, RunId>> {
    let newest_first = filter.before.is_none();
    let words = filter.words.as_ref().map(|words| words.to_lowercase());
    let apart = !filter.states.is_empty() && filter.states.iter().all(|state| RUNS_APART.contains(state));
    // Most lists show neither events nor results, which may be large; words are looked for in them.
    let whole = words.is_some() || filter.events;
    let columns = if whole { RUN.to_owned() } else { RUN.replace("event, result FROM", "'', NULL FROM") };
    let walk_of = |state: Option<RunState>| {
        let mut base = Where::default();
        match (&filter.flow, state) {
            (_, Some(state)) => base.all(&format!("state = {}", state as i64), []),
            (Some(flow), None) => base.and("flow = ?", flow),
            (None, None) => {}
        }
        match (filter.before, filter.after) {
            (Some(before), _) => base.all("id > ?", [before.into()]),
            (None, Some(after)) => base.all("id < ?", [after.into()]),
            (None, None) => {}
        }
        if let Some(until) = filter.until {
            base.all("id < ?", [RunId::least(until).into()]);
        }
        if let Some(ids) = &filter.only {
            let marks = vec!["?"; ids.len()].join(", ");
            base.all(&format!("id IN ({marks})"), ids.iter().map(|id| (*id).into()));
        }
        let order = if newest_first { "DESC" } else { "ASC" };
        let sql = format!("{columns} {} ORDER BY id {order}", base.sql());
        walk(tx, &sql, &base.values, filter.limit, |row| run_step(row, filter, words.as_deref(), newest_first))
    };
    let walks = match apart {
        true => filter.states.iter().map(|state| walk_of(Some(*state))).collect::<Read<Vec<_>>>()?,
        false => vec![walk_of(None)?],
    };
    let mut page = merged(walks, newest_first, filter.limit);
    if !newest_first {
        page.rows.reverse();
        // Older ones than these are there: this page was gone to from one of them.
        page.next = page.rows.last().map(|run| run.id);
    }
    Ok(page)
}

fn run_step(
    row: &dyn Columns,
    filter: &RunFilter,
    words: Option<&str>,
    newest_first: bool,
) -> Read<(RunId, Step<RunRecord>)> {
    let id: RunId = row.get(0)?;
    let mut run = run_or_damage(row)?;
    if newest_first && filter.since.is_some_and(|since| run.created_at < since) {
        return Ok((id, Step::End));
    }
    let fits = !filter.without.contains(&id)
        && filter.since.is_none_or(|since| run.created_at >= since)
        && (filter.triggers.is_empty() || filter.triggers.contains(&run.trigger.as_str()))
        && filter.flow.as_ref().is_none_or(|flow| run.flow == *flow)
        && (filter.states.is_empty() || filter.states.contains(&run.state))
        && words.is_none_or(|words| {
            let error = run.error.as_ref().map(|error| error.message.as_str());
            let texts = [Some(run.event.as_str()), error, Some(run.flow.as_str()), run.result.as_deref()];
            id.to_string().contains(words) || texts.iter().any(|text| holds(*text, words))
        });
    if !filter.events {
        run.event = String::new();
    }
    run.result = None;
    Ok((id, if fits { Step::Fits(run) } else { Step::Passed }))
}

/// A message's place in lists: when it was written, and its id.
type Written = (Timestamp, MessageId);

/// Messages, newest first.
pub fn messages(tx: &dyn Tx, filter: &MessageFilter) -> Read<Page<MessageRecord, MessageId>> {
    let newest_first = filter.before.is_none();
    let mark = match filter.before.or(filter.after) {
        None => None,
        Some(id) => {
            let sql = "SELECT created_at FROM messages WHERE id = ?";
            let at = tx.first(sql, values![id], |row| row.get(0));
            // One that is gone leaves its id, which tells about when it was written.
            Some((if_readable(at)?.flatten().unwrap_or(id.made_at()), id))
        }
    };
    let mut to: Vec<String> = filter.to.iter().flat_map(|to| [Some(to.clone()), other_address(to)]).flatten().collect();
    to.sort_unstable();
    to.dedup();
    let apart = !filter.states.is_empty() && filter.states.iter().all(|state| MESSAGES_APART.contains(state));
    fn is<'a>(condition: &str, value: impl Into<Value<'a>>) -> Where<'a> {
        let mut base = Where::default();
        base.and(condition, value);
        base
    }
    let state = |state: &MessageState| {
        let mut base = Where::default();
        base.all(&format!("state = {}", *state as i64), []);
        base
    };
    let bases: Vec<Where<'_>> = match (filter.run, &filter.flow) {
        (Some(run), _) => vec![is("run = ?", run)],
        _ if !to.is_empty() => to.iter().map(|to| is("recipient = ?", to)).collect(),
        _ if apart => filter.states.iter().map(state).collect(),
        (None, Some(flow)) => vec![is("flow = ?", flow)],
        (None, None) => vec![Where::default()],
    };
    let walks = bases.into_iter().map(|mut base| {
        if let Some((at, id)) = &mark {
            let side = if newest_first { "<" } else { ">" };
            base.all(&format!("(created_at, id) {side} (?, ?)"), [(*at).into(), (*id).into()]);
        }
        if let Some(until) = filter.until {
            base.and("created_at < ?", until);
        }
        let order = if newest_first { "DESC" } else { "ASC" };
        let sql = format!("{MESSAGE} {} ORDER BY created_at {order}, id {order}", base.sql());
        walk(tx, &sql, &base.values, filter.limit, |row| message_step(row, filter, &to, newest_first))
    });
    let page = merged(walks.collect::<Read<Vec<_>>>()?, newest_first, filter.limit);
    let mut page = Page { rows: page.rows, next: page.next.map(|(_, id): Written| id) };
    if !newest_first {
        page.rows.reverse();
        page.next = page.rows.last().map(|message| message.id);
    }
    Ok(page)
}

fn message_step(
    row: &dyn Columns,
    filter: &MessageFilter,
    to: &[String],
    newest_first: bool,
) -> Read<(Written, Step<MessageRecord>)> {
    let message = message_or_damage(row)?;
    let key = (message.created_at, message.id);
    if newest_first && filter.since.is_some_and(|since| message.created_at < since) {
        return Ok((key, Step::End));
    }
    let fits = filter.since.is_none_or(|since| message.created_at >= since)
        && (to.is_empty() || to.contains(&message.to))
        && (filter.states.is_empty() || filter.states.contains(&message.state))
        && filter.flow.as_ref().is_none_or(|flow| message.flow == *flow)
        && filter.account.as_ref().is_none_or(|account| message.account == *account)
        && filter.words.as_ref().is_none_or(|words| {
            let words = words.to_lowercase();
            let body = serde_json::to_string(&message.body).unwrap_or_default();
            holds(Some(&body), &words) || holds(Some(&message.to), &words) || message.id.to_string().contains(&words)
        });
    Ok((key, if fits { Step::Fits(message) } else { Step::Passed }))
}

/// How many there are, up to a most.
fn count(tx: &dyn Tx, from: &str) -> Read<Capped> {
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {from} LIMIT {})", MOST_COUNTED + 1);
    let count: i64 = tx.first(&sql, values![], |row| row.get(0))?.unwrap_or(0);
    Ok(Capped { count: count.min(MOST_COUNTED).unsigned_abs(), more: count > MOST_COUNTED })
}

/// How many runs there are.
pub fn run_counts(tx: &dyn Tx) -> Read<StateCounts<RunState>> {
    let all = count(tx, "runs INDEXED BY runs_of_flow")?;
    let mut by_state = vec![(RunState::Queued, count(tx, "runs WHERE ready IS NOT NULL AND state = 0")?)];
    for state in RUNS_APART {
        by_state.push((state, count(tx, &format!("runs WHERE state = {}", state as i64))?));
    }
    Ok(StateCounts { all, by_state })
}

/// How many messages there are.
pub fn message_counts(tx: &dyn Tx) -> Read<StateCounts<MessageState>> {
    let all = count(tx, "messages INDEXED BY messages_created")?;
    let queued = count(tx, "messages WHERE seq IS NOT NULL AND state = 1")?;
    let mut by_state = vec![(MessageState::Queued, queued)];
    for state in MESSAGES_APART {
        by_state.push((state, count(tx, &format!("messages WHERE state = {}", state as i64))?));
    }
    Ok(StateCounts { all, by_state })
}

/// What was begun since then, as far back as one look goes.
pub fn lately(tx: &dyn Tx, since: Timestamp) -> Read<Lately> {
    let mut lately = Lately::default();
    let sql = "SELECT flow, state, created_at FROM runs ORDER BY id DESC";
    let run = |row: &dyn Columns| {
        let at: Timestamp = row.maybe(2)?.unwrap_or_default();
        let state = row.maybe(1)?.unwrap_or(RunState::Failed);
        let flow: String = row.maybe(0)?.unwrap_or_default();
        Ok(((), if at < since { Step::End } else { Step::Fits((flow, state, at)) }))
    };
    let (runs, more) = walk(tx, sql, &[], LOOKED_AT, run)?;
    (lately.runs, lately.more_runs) = (runs.into_iter().map(|(_, run)| run).collect(), more.is_some());
    let sql = "SELECT flow, account, state, created_at FROM messages ORDER BY created_at DESC";
    let message = |row: &dyn Columns| {
        let at: Timestamp = row.maybe(3)?.unwrap_or_default();
        let state = row.maybe(2)?.unwrap_or(MessageState::Dead);
        let text = |column| row.maybe::<String>(column).map(Option::unwrap_or_default);
        let message = (text(0)?, text(1)?, state, at);
        Ok(((), if at < since { Step::End } else { Step::Fits(message) }))
    };
    let (messages, more) = walk(tx, sql, &[], LOOKED_AT, message)?;
    (lately.messages, lately.more_messages) =
        (messages.into_iter().map(|(_, message)| message).collect(), more.is_some());
    Ok(lately)
}

/// The last runs of each of these flows.
pub fn last_runs(tx: &dyn Tx, flows: &[String], most: usize) -> Read<Vec<Vec<RunBrief>>> {
    let sql = "SELECT id, state, created_at FROM runs WHERE flow = ? ORDER BY id DESC LIMIT ?";
    let row = |row: &dyn Columns| {
        let id: RunId = row.get(0)?;
        let created_at = row.maybe(2)?.unwrap_or(id.made_at());
        Ok(RunBrief { id, state: row.maybe(1)?.unwrap_or(RunState::Failed), created_at })
    };
    flows.iter().map(|flow| tx.readable(sql, values![flow, most], "runs", row)).collect()
}

/// What people wrote.
pub fn incoming(tx: &dyn Tx, filter: &IncomingFilter) -> Read<Vec<IncomingRecord>> {
    let mut from: Vec<Option<&String>> = filter.from.iter().map(Some).collect();
    if from.is_empty() {
        from.push(None);
    }
    let words = filter.words.as_ref().map(|words| words.to_lowercase());
    let walks = from.into_iter().map(|from| {
        let mut base = Where::default();
        if let Some(from) = from {
            base.and("sender = ?", from);
        }
        if let Some(until) = filter.until {
            base.and("at < ?", until);
        }
        let sql = format!(
            "SELECT account, id, at, sender, event, fate, run, (SELECT flow FROM runs WHERE runs.id = run)
            FROM incoming {} ORDER BY at DESC",
            base.sql()
        );
        walk(tx, &sql, &base.values, filter.limit, |row| {
            let record = IncomingRecord {
                account: row.maybe(0)?.unwrap_or_default(),
                id: row.maybe(1)?.unwrap_or_default(),
                at: row.maybe(2)?.unwrap_or_default(),
                from: row.maybe(3)?.unwrap_or_default(),
                event: if_readable(row.json(4))?.unwrap_or_default(),
                fate: row.maybe(5)?.unwrap_or_default(),
                run: row.maybe::<Option<RunId>>(6)?.flatten(),
                flow: row.maybe::<Option<String>>(7)?.flatten(),
            };
            let key = (record.at, record.id.clone());
            if filter.since.is_some_and(|since| record.at < since) {
                return Ok((key, Step::End));
            }
            let fits = (filter.fates.is_empty() || filter.fates.contains(&record.fate.as_str()))
                && words.as_ref().is_none_or(|words| {
                    holds(Some(&record.event.to_string()), words) || holds(Some(&record.from), words)
                });
            Ok((key, if fits { Step::Fits(record) } else { Step::Passed }))
        })
    });
    Ok(merged(walks.collect::<Read<Vec<_>>>()?, true, filter.limit).rows)
}

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
    created_at, due_at, parts, clicks.count, clicks.first_at, expires_at, tries, recalled, changed_at
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
        expires_at: row.get(16)?,
        tries: row.get(17)?,
        recalled: row.get(18)?,
        changed_at: row.get(19)?,
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
    let created_at = row.maybe(11)?.unwrap_or(id.made_at());
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
        created_at,
        due_at: row.maybe::<Option<_>>(12)?.flatten(),
        parts: row.json_or_default(13)?,
        clicks: None,
        expires_at: row.maybe::<Option<_>>(16)?.flatten(),
        tries: row.maybe(17)?.unwrap_or_default(),
        recalled: row.maybe(18)?.unwrap_or_default(),
        changed_at: row.maybe(19)?.unwrap_or(created_at),
    })
}

/// One message.
pub fn message(tx: &dyn Tx, id: MessageId) -> Read<Option<MessageRecord>> {
    tx.first(&format!("{MESSAGE} WHERE id = ?"), values![id], message_or_damage)
}

#[cfg(test)]
#[path = "lists_tests.rs"]
mod tests;
