//! Runs: accepted, made ready, and changed by whole turns.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;

use super::writer::{Memory, Refusal, Work};
use super::{Read, first, instant, json, json_or_none, outbox, text};
use crate::clock::{from_millis, millis, rfc3339};
use crate::id::RunId;
use crate::model::journal::{Entry, Outcome, Pending, Question, TurnCommit};
use crate::model::run::{NewRun, RunState};
use crate::store::StoreError;
use crate::store::rows::{Committed, ReadyRun, WaitingFor, Woken};

/// The number of a state in its column.
pub fn number(state: RunState) -> i64 {
    RunState::ALL.iter().position(|known| *known == state).unwrap_or(0) as i64
}

/// What the writer begins with.
pub fn memory(connection: &Connection, most_backlog: u64) -> Read<Memory> {
    let ready: i64 = first(connection, "SELECT coalesce(max(ready), 0) FROM runs WHERE ready IS NOT NULL")?;
    let queued: i64 = first(connection, "SELECT coalesce(max(seq), 0) FROM messages WHERE seq IS NOT NULL")?;
    // Only runs whose first turn is to come count, and all of those are ready.
    let backlog: i64 = first(connection, "SELECT count(*) FROM runs WHERE ready IS NOT NULL AND state = 0")?;
    Ok(Memory { seq: ready.max(queued), backlog: backlog.unsigned_abs(), most_backlog })
}

/// Accepts a run.
pub fn intake(work: &mut Work<'_>, run: &NewRun) -> Result<(), Refusal> {
    door(work)?;
    insert(work, run)?;
    Ok(())
}

/// Whether there is room for one run more.
pub fn door(work: &Work<'_>) -> Result<(), Refusal> {
    match work.memory.backlog >= work.memory.most_backlog {
        true => Err(StoreError::Backlog(work.memory.backlog).into()),
        false => Ok(()),
    }
}

/// Puts a run in without asking.
pub fn insert(work: &mut Work<'_>, run: &NewRun) -> Read<()> {
    let sql = "INSERT INTO runs (id, flow, version, trigger, state, ready, created_at, seed, event)
        VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?)";
    let ready = work.memory.next_seq();
    work.tx.prepare_cached(sql)?.execute(params![
        run.id.as_bytes(),
        run.flow,
        run.version,
        run.trigger,
        ready,
        millis(run.at),
        run.seed,
        run.event
    ])?;
    work.memory.backlog += 1;
    work.rings.run(&run.flow);
    Ok(())
}

/// Flows with ready runs, each found by one step down the index.
pub fn ready_flows(connection: &Connection) -> Read<Vec<String>> {
    let sql = "WITH RECURSIVE flows (flow) AS (
            SELECT min(flow) FROM runs WHERE ready IS NOT NULL
            UNION ALL
            SELECT (SELECT min(flow) FROM runs WHERE ready IS NOT NULL AND flow > flows.flow) FROM flows
            WHERE flows.flow IS NOT NULL
        ) SELECT flow FROM flows WHERE flow IS NOT NULL";
    connection.prepare_cached(sql)?.query_map([], |row| row.get(0))?.collect()
}

/// Ready runs of one flow, with their journals.
pub fn ready(connection: &Connection, flow: &str, after: i64, limit: usize) -> Read<Vec<ReadyRun>> {
    let sql = "SELECT id, version, ready, event, seed, created_at, base_at, attempt, cpu, pending FROM runs
        WHERE flow = ? AND ready > ? ORDER BY ready LIMIT ?";
    let mut find = connection.prepare_cached(sql)?;
    let row = |row: &Row<'_>| {
        Ok(ReadyRun {
            id: RunId::from_bytes(row.get(0)?),
            flow: flow.to_owned(),
            version: row.get(1)?,
            ready: row.get(2)?,
            event: row.get(3)?,
            seed: row.get(4)?,
            created_at: from_millis(row.get(5)?),
            base: instant(row, 6)?,
            attempt: row.get(7)?,
            cpu: Duration::from_micros(row.get::<_, i64>(8)?.unsigned_abs()),
            journal: Vec::new(),
            pending: json_or_none(row, 9)?,
        })
    };
    let mut runs: Vec<ReadyRun> = find.query_map(params![flow, after, limit as i64], row)?.collect::<Read<_>>()?;
    for run in runs.iter_mut().filter(|run| run.base.is_some()) {
        run.journal = live_journal(connection, run.id)?;
    }
    Ok(runs)
}

fn live_journal(connection: &Connection, run: RunId) -> Read<Vec<Entry>> {
    let sql = "SELECT entries FROM journal WHERE run = ? AND live = 1 ORDER BY part";
    let mut find = connection.prepare_cached(sql)?;
    let parts = find.query_map([run.as_bytes()], |row| json::<Vec<Entry>>(row, 0))?;
    Ok(parts.collect::<Read<Vec<_>>>()?.into_iter().flatten().collect())
}

/// Commits a turn whole, or nothing of it.
pub fn commit_turn(work: &mut Work<'_>, turn: TurnCommit) -> Result<Committed, Refusal> {
    let id = turn.run.as_bytes();
    let mut find = work.tx.prepare_cached("SELECT state, ready FROM runs WHERE id = ?")?;
    let found: Option<(i64, Option<i64>)> = find.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    drop(find);
    let Some((state, ready)) = found.filter(|(state, _)| *state <= number(RunState::Waiting)) else {
        return Ok(Committed::Over);
    };
    if ready != Some(turn.ready) {
        return Ok(Committed::Stale);
    }
    for message in &turn.promises.messages {
        if let Some(key) = &message.key
            && outbox::keyed(work.tx, &message.flow, key, &message.to.to_string())?.is_some()
        {
            return Ok(Committed::KeyTaken);
        }
    }
    if state == number(RunState::Queued) {
        work.memory.backlog = work.memory.backlog.saturating_sub(1);
    }
    for message in &turn.promises.messages {
        outbox::insert(work, message, turn.at)?;
    }
    write_values(work, &turn)?;
    if let Some(message) = turn.waited_for {
        let sql = "DELETE FROM waits WHERE message = ? AND run = ?";
        work.tx.prepare_cached(sql)?.execute(params![message.as_bytes(), id])?;
    }
    let begun = !turn.entries.is_empty();
    for (entries, live) in [(&turn.entries, true), (&turn.lost, false)] {
        if !entries.is_empty() {
            append(work, &turn, entries, live)?;
        }
    }
    leave(work, &turn, begun)?;
    if let Some(next) = &turn.follow_up {
        insert(work, next)?;
    }
    Ok(Committed::Yes)
}

fn append(work: &mut Work<'_>, turn: &TurnCommit, entries: &[Entry], live: bool) -> Read<()> {
    let sql = "INSERT INTO journal (run, part, live, attempt, entries)
        VALUES (?1, (SELECT coalesce(max(part), 0) + 1 FROM journal WHERE run = ?1), ?2, ?3, ?4)";
    let values = params![turn.run.as_bytes(), live, turn.attempt, text(&entries)?];
    work.tx.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

fn write_values(work: &mut Work<'_>, turn: &TurnCommit) -> Read<()> {
    for write in &turn.promises.kv {
        match &write.value {
            Some(value) => {
                let sql = "INSERT INTO kv (flow, key, value, expires_at) VALUES (?, ?, ?, ?)
                    ON CONFLICT DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at";
                let values = params![turn.flow, write.key, text(value)?, write.expires_at];
                work.tx.prepare_cached(sql)?.execute(values)?;
            }
            None => {
                let sql = "DELETE FROM kv WHERE flow = ? AND key = ?";
                work.tx.prepare_cached(sql)?.execute(params![turn.flow, write.key])?;
            }
        }
    }
    Ok(())
}

/// How the turn leaves its run: the last thing that it writes.
#[derive(Default)]
struct Leaving {
    state: Option<RunState>,
    ready: bool,
    wake_at: Option<i64>,
    attempt: u32,
    pending: Option<String>,
    waiting: Option<String>,
    error: Option<String>,
    result: Option<String>,
}

fn leave(work: &mut Work<'_>, turn: &TurnCommit, begun: bool) -> Read<()> {
    let mut leaving = Leaving { attempt: turn.attempt, ..Leaving::default() };
    match &turn.outcome {
        Outcome::Succeeded(value) => {
            leaving.state = Some(RunState::Succeeded);
            leaving.result = (*value != Value::Null).then(|| text(value)).transpose()?;
        }
        Outcome::Failed(error) => {
            leaving.state = Some(RunState::Failed);
            leaving.error = Some(text(error)?);
        }
        Outcome::Retrying { error, at, pending } => {
            leaving.attempt += 1;
            leaving.wake_at = Some(millis(*at));
            leaving.error = Some(text(error)?);
            leaving.pending = pending.as_ref().map(text).transpose()?;
            let detail = format!("attempt {} at {}", leaving.attempt, rfc3339(*at));
            leaving.waiting = Some(text(&WaitingFor { kind: "retry".into(), until: leaving.wake_at, detail })?);
        }
        Outcome::Waiting(pending) => wait(work, turn, pending, &mut leaving)?,
    }
    if leaving.ready {
        leaving.wake_at = None;
    }
    let ready = leaving.ready.then(|| work.memory.next_seq());
    let state = leaving.state.unwrap_or(RunState::Waiting);
    let sql = "UPDATE runs SET state = ?, ready = ?, wake_at = ?, attempt = ?, cpu = cpu + ?,
            base_at = CASE WHEN base_at IS NULL AND ? THEN ? ELSE base_at END,
            started_at = coalesce(started_at, ?), finished_at = ?, pending = ?, waiting = ?, error = ?, result = ?
        WHERE id = ?";
    let at = millis(turn.at);
    // The first turn of a journal sets the time that the script's `now()` begins with.
    let begins = begun || matches!(turn.outcome, Outcome::Waiting(_));
    work.tx.prepare_cached(sql)?.execute(params![
        number(state),
        ready,
        leaving.wake_at,
        leaving.attempt,
        i64::try_from(turn.cpu.as_micros()).unwrap_or(i64::MAX),
        begins,
        at,
        at,
        state.is_over().then_some(at),
        leaving.pending,
        leaving.waiting,
        leaving.error,
        leaving.result,
        turn.run.as_bytes()
    ])?;
    if ready.is_some() {
        work.rings.run(&turn.flow);
    }
    if leaving.wake_at.is_some() {
        work.rings.run_timer();
    }
    Ok(())
}

fn wait(work: &mut Work<'_>, turn: &TurnCommit, pending: &Pending, leaving: &mut Leaving) -> Read<()> {
    leaving.wake_at = pending.question.until();
    leaving.pending = Some(text(pending)?);
    let (kind, detail) = match &pending.question {
        Question::Sleep { until } => ("time", format!("sleeps until {}", rfc3339(from_millis(*until)))),
        Question::Delivery { message, goal, .. } => {
            leaving.ready = outbox::wait_for(work, turn.run, *message, goal)?;
            ("delivery", format!("message {message} to be {goal}"))
        }
        Question::Cancel { message } => {
            let mut answered = pending.clone();
            let in_time = outbox::cancel(work, *message, turn.at)?;
            answered.question = Question::Cancel { message: *message };
            let entry = answered.answered(turn.at, Ok(Value::Bool(in_time)));
            append(work, turn, &[entry], true)?;
            leaving.pending = None;
            leaving.ready = true;
            ("time", "goes on at once".into())
        }
        // Answered within the turn; the runner never hands one in.
        Question::Read(_) => {
            leaving.ready = true;
            ("time", "goes on at once".into())
        }
    };
    leaving.waiting = Some(text(&WaitingFor { kind: kind.into(), until: leaving.wake_at, detail })?);
    Ok(())
}

/// Makes waiting runs ready whose time has come.
pub fn wake(work: &mut Work<'_>, now: Timestamp) -> Result<Woken, Refusal> {
    let sql = "SELECT id, flow FROM runs WHERE wake_at <= ? ORDER BY wake_at LIMIT 1000";
    let due: Vec<([u8; 16], String)> = work
        .tx
        .prepare_cached(sql)?
        .query_map([millis(now)], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Read<_>>()?;
    for (id, flow) in &due {
        make_ready(work, id)?;
        work.rings.run(flow);
    }
    let next = "SELECT min(wake_at) FROM runs WHERE wake_at IS NOT NULL";
    let next: Option<i64> = work.tx.prepare_cached(next)?.query_row([], |row| row.get(0))?;
    Ok(Woken { count: due.len() as u64, next: next.map(from_millis) })
}

/// A waiting run can go on.
pub fn make_ready(work: &mut Work<'_>, run: &[u8; 16]) -> Read<()> {
    let ready = work.memory.next_seq();
    let sql = "UPDATE runs SET ready = ?, wake_at = NULL WHERE id = ? AND state = 2 AND ready IS NULL";
    if work.tx.prepare_cached(sql)?.execute(params![ready, run])? > 0 {
        let flow: String =
            work.tx.prepare_cached("SELECT flow FROM runs WHERE id = ?")?.query_row([run], |row| row.get(0))?;
        work.rings.run(&flow);
    }
    Ok(())
}
