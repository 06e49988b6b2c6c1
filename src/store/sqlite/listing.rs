//! Lists, newest first, a page at a time. What an index does not tell is looked for row by row, and for one page
//! only so many rows are looked at: a page may come with few rows and go on all the same, but never late.

use jiff::Timestamp;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use serde_json::Value;

use super::columns::{if_readable, json, readable};
use super::reading::{MESSAGE, RUN, Where, message_or_damage, run_or_damage};
use super::{Read, outbox, runs};
use crate::clock::{from_millis, millis};
use crate::id::{MessageId, RunId};
use crate::model::delivery::MessageState;
use crate::model::phone::other_address;
use crate::model::run::RunState;
use crate::store::rows::{
    Capped, IncomingFilter, IncomingRecord, Lately, MessageFilter, MessageRecord, Page, RunBrief, RunFilter, RunRecord,
    StateCounts,
};

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

fn blob(id: &[u8; 16]) -> Sql {
    Sql::Blob(id.to_vec())
}

/// Rows that fit, each with its key, and the key to go on behind; none when there are no more.
type Walked<T, K> = (Vec<(K, T)>, Option<K>);

/// Walks over rows in the order of the query until there are enough, or too many were looked at.
fn walk<T, K: Clone>(
    connection: &Connection,
    sql: &str,
    values: &[Sql],
    limit: usize,
    mut take: impl FnMut(&Row<'_>) -> Read<(K, Step<T>)>,
) -> Read<Walked<T, K>> {
    let mut find = connection.prepare(sql)?;
    let mut found = find.query(params_from_iter(values))?;
    let (mut kept, mut seen) = (Vec::new(), 0);
    while let Some(row) = found.next()? {
        seen += 1;
        let (key, step) = take(row)?;
        match step {
            Step::End => return Ok((kept, None)),
            Step::Fits(fits) => kept.push((key.clone(), fits)),
            Step::Passed => {}
        }
        if kept.len() >= limit || seen >= LOOKED_AT {
            let more = found.next()?.is_some();
            return Ok((kept, more.then_some(key)));
        }
    }
    Ok((kept, None))
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
pub fn runs(connection: &Connection, filter: &RunFilter) -> Read<Page<RunRecord, RunId>> {
    let newest_first = filter.before.is_none();
    let words = filter.words.as_ref().map(|words| words.to_lowercase());
    let apart = !filter.states.is_empty() && filter.states.iter().all(|state| RUNS_APART.contains(state));
    // Most lists show neither events nor results, which may be large; words are looked for in them.
    let whole = words.is_some() || filter.events;
    let columns = if whole { RUN.to_owned() } else { RUN.replace("event, result FROM", "'', NULL FROM") };
    let walk_of = |state: Option<RunState>| {
        let mut base = Where::default();
        match (&filter.flow, state) {
            (_, Some(state)) => base.all(&format!("state = {}", runs::number(state)), []),
            (Some(flow), None) => base.and("flow = ?", flow.clone()),
            (None, None) => {}
        }
        match (filter.before, filter.after) {
            (Some(before), _) => base.all("id > ?", [blob(before.as_bytes())]),
            (None, Some(after)) => base.all("id < ?", [blob(after.as_bytes())]),
            (None, None) => {}
        }
        if let Some(until) = filter.until {
            base.all("id < ?", [blob(RunId::least(until).as_bytes())]);
        }
        if let Some(ids) = &filter.only {
            let marks = vec!["?"; ids.len()].join(", ");
            base.all(&format!("id IN ({marks})"), ids.iter().map(|id| blob(id.as_bytes())));
        }
        let order = if newest_first { "DESC" } else { "ASC" };
        let sql = format!("{columns} {} ORDER BY id {order}", base.sql());
        walk(connection, &sql, &base.values, filter.limit, |row| {
            let id = RunId::from_bytes(row.get(0)?);
            let mut run = run_or_damage(row)?;
            if newest_first && filter.since.is_some_and(|since| run.created_at < since) {
                return Ok((id, Step::End));
            }
            let fits = !filter.without.contains(&id)
                && filter.since.is_none_or(|since| run.created_at >= since)
                && (filter.triggers.is_empty() || filter.triggers.contains(&run.trigger.as_str()))
                && filter.flow.as_ref().is_none_or(|flow| run.flow == *flow)
                && (filter.states.is_empty() || filter.states.contains(&run.state))
                && words.as_ref().is_none_or(|words| {
                    let error = run.error.as_ref().map(|error| error.message.as_str());
                    let texts = [Some(run.event.as_str()), error, Some(run.flow.as_str()), run.result.as_deref()];
                    id.to_string().contains(words.as_str()) || texts.iter().any(|text| holds(*text, words))
                });
            if !filter.events {
                run.event = String::new();
            }
            run.result = None;
            Ok((id, if fits { Step::Fits(run) } else { Step::Passed }))
        })
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

/// A message's place in lists: when it was written, and its id.
type Written = (i64, [u8; 16]);

/// Messages, newest first.
pub fn messages(connection: &Connection, filter: &MessageFilter) -> Read<Page<MessageRecord, MessageId>> {
    let newest_first = filter.before.is_none();
    let mark = match filter.before.or(filter.after) {
        None => None,
        Some(id) => {
            let sql = "SELECT created_at FROM messages WHERE id = ?";
            let at = connection.prepare_cached(sql)?.query_row([id.as_bytes()], |row| row.get(0)).optional();
            // One that is gone leaves its id, which tells about when it was written.
            Some((if_readable(at)?.flatten().unwrap_or(millis(id.made_at())), id))
        }
    };
    let mut to: Vec<String> = filter.to.iter().flat_map(|to| [Some(to.clone()), other_address(to)]).flatten().collect();
    to.sort_unstable();
    to.dedup();
    let apart = !filter.states.is_empty() && filter.states.iter().all(|state| MESSAGES_APART.contains(state));
    let is = |condition: &str, value: Sql| {
        let mut base = Where::default();
        base.and(condition, value);
        base
    };
    let state = |state: &MessageState| {
        let mut base = Where::default();
        base.all(&format!("state = {}", outbox::number(*state)), []);
        base
    };
    let bases: Vec<Where> = match (filter.run, &filter.flow) {
        (Some(run), _) => vec![is("run = ?", blob(run.as_bytes()))],
        _ if !to.is_empty() => to.iter().map(|to| is("recipient = ?", Sql::Text(to.clone()))).collect(),
        _ if apart => filter.states.iter().map(state).collect(),
        (None, Some(flow)) => vec![is("flow = ?", Sql::Text(flow.clone()))],
        (None, None) => vec![Where::default()],
    };
    let walks = bases.into_iter().map(|mut base| {
        if let Some((at, id)) = &mark {
            let side = if newest_first { "<" } else { ">" };
            base.all(&format!("(created_at, id) {side} (?, ?)"), [Sql::Integer(*at), blob(id.as_bytes())]);
        }
        if let Some(until) = filter.until {
            base.and("created_at < ?", millis(until));
        }
        let order = if newest_first { "DESC" } else { "ASC" };
        let sql = format!("{MESSAGE} {} ORDER BY created_at {order}, id {order}", base.sql());
        walk(connection, &sql, &base.values, filter.limit, |row| message_step(row, filter, &to, newest_first))
    });
    let page = merged(walks.collect::<Read<Vec<_>>>()?, newest_first, filter.limit);
    let mut page = Page { rows: page.rows, next: page.next.map(|(_, id): Written| MessageId::from_bytes(id)) };
    if !newest_first {
        page.rows.reverse();
        page.next = page.rows.last().map(|message| message.id);
    }
    Ok(page)
}

fn message_step(
    row: &Row<'_>,
    filter: &MessageFilter,
    to: &[String],
    newest_first: bool,
) -> Read<(Written, Step<MessageRecord>)> {
    let message = message_or_damage(row)?;
    let key = (millis(message.created_at), *message.id.as_bytes());
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
fn count(connection: &Connection, from: &str) -> Read<Capped> {
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {from} LIMIT {})", MOST_COUNTED + 1);
    let count: i64 = connection.prepare_cached(&sql)?.query_row([], |row| row.get(0))?;
    Ok(Capped { count: count.min(MOST_COUNTED).unsigned_abs(), more: count > MOST_COUNTED })
}

/// How many runs there are.
pub fn run_counts(connection: &Connection) -> Read<StateCounts<RunState>> {
    let all = count(connection, "runs INDEXED BY runs_of_flow")?;
    let mut by_state = vec![(RunState::Queued, count(connection, "runs WHERE ready IS NOT NULL AND state = 0")?)];
    for state in RUNS_APART {
        by_state.push((state, count(connection, &format!("runs WHERE state = {}", runs::number(state)))?));
    }
    Ok(StateCounts { all, by_state })
}

/// How many messages there are.
pub fn message_counts(connection: &Connection) -> Read<StateCounts<MessageState>> {
    let all = count(connection, "messages INDEXED BY messages_created")?;
    let queued = count(connection, "messages WHERE seq IS NOT NULL AND state = 1")?;
    let mut by_state = vec![(MessageState::Queued, queued)];
    for state in MESSAGES_APART {
        by_state.push((state, count(connection, &format!("messages WHERE state = {}", outbox::number(state)))?));
    }
    Ok(StateCounts { all, by_state })
}

/// What was begun since then, as far back as one look goes.
pub fn lately(connection: &Connection, since: Timestamp) -> Read<Lately> {
    let mut lately = Lately::default();
    let sql = "SELECT flow, state, created_at FROM runs ORDER BY id DESC";
    let run = |row: &Row<'_>| {
        let at: i64 = if_readable(row.get(2))?.unwrap_or_default();
        let state = usize::try_from(if_readable(row.get::<_, i64>(1))?.unwrap_or_default()).unwrap_or_default();
        let state = RunState::ALL.get(state).copied().unwrap_or(RunState::Failed);
        let flow: String = if_readable(row.get(0))?.unwrap_or_default();
        Ok(((), if at < millis(since) { Step::End } else { Step::Fits((flow, state, from_millis(at))) }))
    };
    let (runs, more) = walk(connection, sql, &[], LOOKED_AT, run)?;
    (lately.runs, lately.more_runs) = (runs.into_iter().map(|(_, run)| run).collect(), more.is_some());
    let sql = "SELECT flow, account, state, created_at FROM messages ORDER BY created_at DESC";
    let message = |row: &Row<'_>| {
        let at: i64 = if_readable(row.get(3))?.unwrap_or_default();
        let state = if_readable(outbox::state(row, 2))?.unwrap_or(MessageState::Dead);
        let text = |column| if_readable(row.get::<_, String>(column)).map(Option::unwrap_or_default);
        let message = (text(0)?, text(1)?, state, from_millis(at));
        Ok(((), if at < millis(since) { Step::End } else { Step::Fits(message) }))
    };
    let (messages, more) = walk(connection, sql, &[], LOOKED_AT, message)?;
    (lately.messages, lately.more_messages) =
        (messages.into_iter().map(|(_, message)| message).collect(), more.is_some());
    Ok(lately)
}

/// The last runs of each of these flows.
pub fn last_runs(connection: &Connection, flows: &[String], most: usize) -> Read<Vec<Vec<RunBrief>>> {
    let sql = "SELECT id, state, created_at FROM runs WHERE flow = ? ORDER BY id DESC LIMIT ?";
    let mut find = connection.prepare_cached(sql)?;
    let row = |row: &Row<'_>| {
        let id = RunId::from_bytes(row.get(0)?);
        let state = usize::try_from(if_readable(row.get::<_, i64>(1))?.unwrap_or(4)).unwrap_or(4);
        let created_at = if_readable(row.get(2))?.map_or(id.made_at(), from_millis);
        Ok(RunBrief { id, state: RunState::ALL.get(state).copied().unwrap_or(RunState::Failed), created_at })
    };
    flows.iter().map(|flow| readable(find.query_map(params![flow, most as i64], row)?, "runs")).collect()
}

/// What people wrote.
pub fn incoming(connection: &Connection, filter: &IncomingFilter) -> Read<Vec<IncomingRecord>> {
    let mut from: Vec<Option<String>> = filter.from.iter().cloned().map(Some).collect();
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
            base.and("at < ?", millis(until));
        }
        let sql = format!(
            "SELECT account, id, at, sender, event, fate, run, (SELECT flow FROM runs WHERE runs.id = run)
            FROM incoming {} ORDER BY at DESC",
            base.sql()
        );
        walk(connection, &sql, &base.values, filter.limit, |row| {
            let record = IncomingRecord {
                account: if_readable(row.get(0))?.unwrap_or_default(),
                id: if_readable(row.get(1))?.unwrap_or_default(),
                at: from_millis(if_readable(row.get(2))?.unwrap_or_default()),
                from: if_readable(row.get(3))?.unwrap_or_default(),
                event: if_readable(json(row, 4))?.unwrap_or(Value::Null),
                fate: if_readable(row.get(5))?.unwrap_or_default(),
                run: if_readable(row.get::<_, Option<[u8; 16]>>(6))?.flatten().map(RunId::from_bytes),
                flow: if_readable(row.get(7))?.flatten(),
            };
            let key = (millis(record.at), record.id.clone());
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use rusqlite::trace::{TraceEvent, TraceEventCodes};

    use super::super::schema::migrate;
    use super::*;

    /// A store of the newest format, and the queries that are asked of it, with their values.
    fn store() -> (Connection, Receiver<String>) {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        let (asked, all) = channel();
        let trace = move |event: TraceEvent<'_>| {
            if let TraceEvent::Stmt(statement, _) = event {
                let _ = asked.send(statement.expanded_sql().unwrap());
            }
        };
        connection.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(trace)).unwrap();
        (connection, all)
    }

    /// How SQLite answers what was asked until now: no list is sorted, and none is looked for row by row where an
    /// index has it.
    fn goes_by(connection: &Connection, asked: &Receiver<String>, index: &str) {
        let queries: Vec<String> = asked.try_iter().filter(|sql| sql.starts_with("SELECT")).collect();
        assert!(!queries.is_empty());
        for sql in queries {
            let mut find = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let plan = find.query_map([], |row| row.get::<_, String>(3)).unwrap();
            let plan = plan.map(Result::unwrap).collect::<Vec<_>>().join("; ");
            assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{sql}: {plan}");
            asked.try_iter().for_each(drop);
        }
    }

    #[test]
    fn each_list_of_runs_is_a_seek() {
        let (connection, asked) = store();
        let usual = RunFilter { limit: 50, ..RunFilter::default() };
        let some = RunId::from_bytes([7; 16]);
        for (filter, index) in [
            (RunFilter { flow: Some("f".into()), ..usual.clone() }, "SEARCH runs USING INDEX runs_of_flow"),
            (RunFilter { after: Some(some), ..usual.clone() }, "SEARCH runs USING PRIMARY KEY (id<?)"),
            (RunFilter { before: Some(some), ..usual.clone() }, "SEARCH runs USING PRIMARY KEY (id>?)"),
            (RunFilter { until: Some(Timestamp::UNIX_EPOCH), ..usual.clone() }, "SEARCH runs USING PRIMARY KEY (id<?)"),
        ] {
            runs(&connection, &filter).unwrap();
            goes_by(&connection, &asked, index);
        }
        for state in RUNS_APART {
            runs(&connection, &RunFilter { states: vec![state], ..usual.clone() }).unwrap();
            goes_by(&connection, &asked, "SEARCH runs USING INDEX runs_apart (state=?");
        }
        last_runs(&connection, &["f".into()], 12).unwrap();
        goes_by(&connection, &asked, "SEARCH runs USING INDEX runs_of_flow");
        // All of them, in the order of the table: the walk ends when there are enough.
        runs(&connection, &usual).unwrap();
        goes_by(&connection, &asked, "SCAN runs");
    }

    #[test]
    fn each_list_of_messages_is_a_seek() {
        let (connection, asked) = store();
        let usual = MessageFilter { limit: 50, ..MessageFilter::default() };
        let some = MessageId::from_bytes([7; 16]);
        for (filter, index) in [
            (MessageFilter { flow: Some("f".into()), ..usual.clone() }, "SEARCH messages USING INDEX messages_of_flow"),
            (MessageFilter { to: vec!["+1".into()], ..usual.clone() }, "SEARCH messages USING INDEX messages_to"),
            (
                MessageFilter { until: Some(Timestamp::UNIX_EPOCH), ..usual.clone() },
                "SEARCH messages USING INDEX messages_created",
            ),
            (usual.clone(), "SCAN messages USING INDEX messages_created"),
        ] {
            messages(&connection, &filter).unwrap();
            goes_by(&connection, &asked, index);
        }
        for state in MESSAGES_APART {
            for after in [None, Some(some)] {
                messages(&connection, &MessageFilter { states: vec![state], after, ..usual.clone() }).unwrap();
                let queries: Vec<String> = asked.try_iter().filter(|sql| sql.contains("LEFT JOIN")).collect();
                let (again, asked) = channel();
                queries.into_iter().for_each(|sql| again.send(sql).unwrap());
                goes_by(&connection, &asked, "SEARCH messages USING INDEX messages_apart (state=?");
            }
        }
    }

    #[test]
    fn counting_walks_over_no_table() {
        let (connection, asked) = store();
        run_counts(&connection).unwrap();
        goes_by(&connection, &asked, "INDEX runs_");
        message_counts(&connection).unwrap();
        goes_by(&connection, &asked, "INDEX messages_");
    }
}
