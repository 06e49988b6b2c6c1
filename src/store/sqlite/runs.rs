//! Runs: accepted, made ready, and changed by whole turns.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;

use super::columns::{if_readable, is_unreadable, readable};
use super::conversation::Time;
use super::writer::{Refusal, Work};
use super::{Read, asking, conversation, events, instant, json, json_or_none, outbox, text, values, waits};
use crate::clock::{from_millis, millis, rfc3339};
use crate::id::RunId;
use crate::model::journal::{Entry, Kind, Outcome, Retrying, TurnCommit};
use crate::model::question::Answer;
use crate::model::run::{NewRun, RunState, ScriptError};
use crate::store::StoreError;
use crate::store::rows::{Committed, Origin, ReadyRun, WaitingFor, Woken};

/// The number of a state in its column.
pub fn number(state: RunState) -> i64 {
    state as i64
}

/// Accepts a run.
pub fn intake(work: &mut Work<'_>, run: &NewRun) -> Result<(), Refusal> {
    door(work, &run.flow, 1)?;
    insert(work, run)?;
    Ok(())
}

/// Whether there is room for so many runs more of a flow.
pub fn door(work: &mut Work<'_>, flow: &str, more: u64) -> Result<(), Refusal> {
    room(work)?;
    match work.memory.backlog.has_room(flow, more) {
        true => Ok(()),
        false => Err(StoreError::Backlog(work.memory.backlog.total()).into()),
    }
}

/// Whether the disk has room for more work.
pub fn room(work: &mut Work<'_>) -> Result<(), Refusal> {
    match work.memory.disk.low() {
        Some(free) => Err(StoreError::NoRoom(format!("only {} MiB of the disk are free", free >> 20)).into()),
        None => Ok(()),
    }
}

/// A run does not wait for its first turn any more.
pub fn begun(work: &mut Work<'_>, run: &[u8; 16]) -> Read<()> {
    let sql = "SELECT flow FROM runs WHERE id = ?";
    let found = work.tx.prepare_cached(sql)?.query_row([run], |row| row.get::<_, String>(0)).optional();
    if_readable(found)?.flatten().iter().for_each(|flow| work.memory.backlog.remove(flow));
    Ok(())
}

/// Puts a run in without asking.
pub fn insert(work: &mut Work<'_>, run: &NewRun) -> Read<()> {
    let sql = "INSERT INTO runs (id, flow, version, trigger, state, ready, created_at, seed, event, root, generation, heard_from)
        VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, coalesce((SELECT max(number) FROM emitted), 0))
        ON CONFLICT DO NOTHING";
    let ready = work.memory.next_seq();
    let inserted = work.tx.prepare_cached(sql)?.execute(params![
        run.id.as_bytes(),
        run.flow,
        run.version,
        run.trigger,
        ready,
        millis(run.at),
        run.seed,
        run.event,
        run.root.as_ref().map(RunId::as_bytes),
        run.generation,
    ])?;
    // The same promise of a run is one run.
    if inserted == 1 {
        work.memory.backlog.add(&run.flow);
        work.rings.run(&run.flow);
        work.rings.run_is(run.id, &run.flow, RunState::Queued);
    }
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

/// Ready runs of one flow.
pub fn ready(connection: &Connection, flow: &str, after: i64, limit: usize) -> Read<Vec<ReadyRun>> {
    let sql = "SELECT id, version, ready, event, seed, created_at, base_at, attempt, cpu, pending, answer, root, cuts,
            generation FROM runs WHERE flow = ? AND ready > ? ORDER BY ready LIMIT ?";
    let mut find = connection.prepare_cached(sql)?;
    let row = |row: &Row<'_>| match ready_run(row, flow) {
        // One run that cannot be read does not hold up the others of its flow.
        Err(error) if is_unreadable(&error) => {
            let damaged = Some(error.to_string());
            Ok(ReadyRun { damaged, ..ReadyRun::bare(flow, RunId::from_bytes(row.get(0)?), row.get(2)?) })
        }
        read => read,
    };
    readable(find.query_map(params![flow, after, limit as i64], row)?, "ready runs")
}

fn ready_run(row: &Row<'_>, flow: &str) -> Read<ReadyRun> {
    Ok(ReadyRun {
        version: row.get(1)?,
        event: row.get(3)?,
        seed: row.get(4)?,
        created_at: from_millis(row.get(5)?),
        base: instant(row, 6)?,
        attempt: row.get(7)?,
        cpu: Duration::from_micros(row.get::<_, i64>(8)?.unsigned_abs()),
        pending: json_or_none(row, 9)?,
        answer: json_or_none(row, 10)?,
        root: row.get::<_, Option<[u8; 16]>>(11)?.map(RunId::from_bytes),
        cuts: row.get(12)?,
        generation: row.get(13)?,
        ..ReadyRun::bare(flow, RunId::from_bytes(row.get(0)?), row.get(2)?)
    })
}

/// Where a run comes from.
pub fn origin(connection: &Connection, run: RunId) -> Read<Option<Origin>> {
    let sql = "SELECT flow, version, trigger, event, seed, created_at, base_at, root, state, pending, answer,
        EXISTS (SELECT 1 FROM listening WHERE run = id AND asks = 1 AND open = 0) FROM runs WHERE id = ?";
    let row = |row: &Row<'_>| {
        Ok(Origin {
            flow: row.get(0)?,
            version: row.get(1)?,
            trigger: row.get(2)?,
            event: row.get(3)?,
            seed: row.get(4)?,
            created_at: from_millis(row.get(5)?),
            base: instant(row, 6)?,
            root: row.get::<_, Option<[u8; 16]>>(7)?.map(RunId::from_bytes),
            is_open: [RunState::Waiting, RunState::Cancelled].map(number).contains(&row.get::<_, i64>(8)?),
            is_behind: row.get(11)?,
            // What cannot be read is asked anew.
            pending: json_or_none(row, 9).unwrap_or_default(),
            answer: json_or_none(row, 10).unwrap_or_default(),
        })
    };
    connection.prepare_cached(sql)?.query_row([run.as_bytes()], row).optional()
}

/// What a run has done behind a part of its journal, and the number of the last part.
pub fn journal_after(connection: &Connection, run: RunId, after: i64) -> Read<(Vec<Entry>, i64)> {
    let sql = "SELECT entries, part FROM journal WHERE run = ? AND part > ? AND live = 1 ORDER BY part";
    let mut find = connection.prepare_cached(sql)?;
    let rows = find.query_map(params![run.as_bytes(), after], |row| Ok((json::<Vec<Entry>>(row, 0)?, row.get(1)?)))?;
    let (mut entries, mut last) = (Vec::new(), after);
    for row in rows {
        let (mut part, number) = row?;
        entries.append(&mut part);
        last = number;
    }
    Ok((entries, last))
}

/// Commits a turn whole, or nothing of it.
pub fn commit_turn(work: &mut Work<'_>, turn: &TurnCommit) -> Result<Committed, Refusal> {
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
    for run in &turn.promises.runs {
        let more = turn.promises.runs.iter().filter(|other| other.flow == run.flow).count() as u64;
        if !work.memory.backlog.has_room(&run.flow, more) {
            return Ok(Committed::NoRoom);
        }
    }
    if state == number(RunState::Queued) {
        work.memory.backlog.remove(&turn.flow);
    }
    for message in &turn.promises.messages {
        outbox::insert(work, message, turn.at)?;
    }
    values::write(work, turn)?;
    // What a turn begins hears what it emits.
    for run in &turn.promises.runs {
        insert(work, run)?;
    }
    events::emit(work, turn)?;
    if let Some(message) = turn.waited_for {
        waits::forget(work, message, id)?;
    }
    let begun = !turn.entries.is_empty();
    let mut last = None;
    let lost = match turn.lost.is_empty() {
        true => Vec::new(),
        false => as_much_as_fits(work, turn)?,
    };
    for (entries, live) in [(&turn.entries, true), (&lost, false)] {
        if !entries.is_empty() {
            let part = append(work, turn, entries, live)?;
            last = live.then_some(part).or(last);
        }
    }
    let ready = leave(work, turn, begun)?;
    if let Some(next) = &turn.follow_up {
        insert(work, next)?;
    }
    Ok(Committed::Yes { part: last, ready })
}

/// Most bytes of what is kept of all attempts of a run that threw.
const LOST: i64 = 1 << 20;

/// What is kept of a turn that threw: while there is room, what it logged; in any case the answers that it had.
fn as_much_as_fits(work: &Work<'_>, turn: &TurnCommit) -> Read<Vec<Entry>> {
    let sql = "SELECT coalesce(sum(length(entries)), 0) FROM journal WHERE run = ? AND live = 0";
    let kept: i64 = work.tx.prepare_cached(sql)?.query_row([turn.run.as_bytes()], |row| row.get(0))?;
    let mut room = u64::try_from(LOST - kept).unwrap_or(0);
    let fits = |entry: &&Entry| {
        let left = room.checked_sub(entry.weight());
        room = left.unwrap_or(0);
        left.is_some() || entry.kind != Kind::Log
    };
    Ok(turn.lost.iter().filter(fits).cloned().collect())
}

fn append(work: &mut Work<'_>, turn: &TurnCommit, entries: &[Entry], live: bool) -> Read<i64> {
    let sql = "INSERT INTO journal (run, part, live, attempt, entries)
        VALUES (?1, (SELECT coalesce(max(part), 0) + 1 FROM journal WHERE run = ?1), ?2, ?3, ?4) RETURNING part";
    let values = params![turn.run.as_bytes(), live, turn.attempt, text(&entries)?];
    work.tx.prepare_cached(sql)?.query_row(values, |row| row.get(0))
}

/// How the turn leaves its run: the last thing that it writes.
#[derive(Default)]
pub struct Leaving {
    pub state: Option<RunState>,
    pub ready: bool,
    pub errand: bool,
    pub wake_at: Option<i64>,
    pub attempt: u32,
    pub pending: Option<String>,
    pub answer: Option<String>,
    /// The question that was answered last stays on record, for a person's retry.
    pub keeps_question: bool,
    pub waiting: Option<String>,
    pub error: Option<String>,
    pub result: Option<String>,
}

fn leave(work: &mut Work<'_>, turn: &TurnCommit, begun: bool) -> Read<Option<i64>> {
    let mut leaving = Leaving { attempt: turn.attempt, ..Leaving::default() };
    match &turn.outcome {
        Outcome::Succeeded(value) => {
            leaving.state = Some(RunState::Succeeded);
            leaving.result = (*value != Value::Null).then(|| text(value)).transpose()?;
        }
        Outcome::Failed(error) => {
            leaving.state = Some(RunState::Failed);
            leaving.keeps_question = true;
            leaving.error = Some(text(error)?);
        }
        Outcome::Retrying(retrying) => {
            let Retrying { error, at, pending, answer } = &**retrying;
            leaving.answer = answer.as_ref().map(text).transpose()?;
            leaving.attempt += 1;
            leaving.wake_at = Some(millis(*at));
            leaving.error = Some(text(error)?);
            leaving.pending = pending.as_ref().map(text).transpose()?;
            let detail = format!("attempt {} at {}", leaving.attempt, rfc3339(*at));
            leaving.waiting = Some(text(&WaitingFor { kind: "retry".into(), until: leaving.wake_at, detail })?);
        }
        Outcome::Waiting(pending) => asking::wait(work, turn, pending, &mut leaving)?,
    }
    if leaving.ready {
        leaving.wake_at = None;
    }
    let ready = leaving.ready.then(|| work.memory.next_seq());
    let state = leaving.state.unwrap_or(RunState::Waiting);
    let sql = "UPDATE runs SET state = ?, ready = ?, wake_at = ?, attempt = ?, cpu = cpu + ?,
            base_at = CASE WHEN base_at IS NULL AND ? = 1 THEN ? ELSE base_at END,
            started_at = coalesce(started_at, ?), finished_at = ?,
            pending = CASE WHEN ? = 1 THEN pending ELSE ? END, answer = CASE WHEN ? = 1 THEN answer ELSE ? END, waiting = ?, error = ?, result = ?
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
        leaving.keeps_question,
        leaving.pending,
        leaving.keeps_question,
        leaving.answer,
        leaving.waiting,
        leaving.error,
        leaving.result,
        turn.run.as_bytes()
    ])?;
    work.rings.run_is(turn.run, &turn.flow, state);
    // An errand is the runner's, who knows of it; only after a crash the table has to tell.
    if ready.is_some() && !leaving.errand {
        work.rings.run(&turn.flow);
    }
    if leaving.wake_at.is_some() {
        work.rings.run_timer();
    }
    Ok(ready)
}

/// Makes waiting runs ready whose time has come.
pub fn wake(work: &mut Work<'_>, now: Timestamp) -> Result<Woken, Refusal> {
    let sql = "SELECT id FROM runs WHERE wake_at <= ? ORDER BY wake_at LIMIT 1000";
    let due: Vec<[u8; 16]> =
        readable(work.tx.prepare_cached(sql)?.query_map([millis(now)], |row| row.get(0))?, "runs")?;
    for id in &due {
        work.each(|work| woken(work, id, now), |work, why| set_aside(work, id, why, now))?;
    }
    let next = "SELECT min(wake_at) FROM runs WHERE wake_at IS NOT NULL AND wake_at < 9e18";
    let next = if_readable(work.tx.prepare_cached(next)?.query_row([], |row| row.get::<_, Option<i64>>(0)))?.flatten();
    Ok(Woken { count: due.len() as u64, next: next.map(from_millis) })
}

pub fn woken(work: &mut Work<'_>, id: &[u8; 16], now: Timestamp) -> Read<()> {
    // A run whose time has come hears nothing any more, so that nothing is taken and not seen.
    let awaited = events::forget(work, id)?;
    match conversation::time_came(work, id, now)? {
        Time::Reminds => {}
        Time::Else if !awaited => make_ready(work, id)?,
        Time::IsOut | Time::Else => answer_run(work, id, &Ok(Value::Null))?,
    }
    // What is not in a state to be woken is not to be come back to for ever.
    let sql = "UPDATE runs SET wake_at = NULL WHERE id = ? AND wake_at <= ?";
    work.tx.prepare_cached(sql)?.execute(params![id, millis(now)])?;
    Ok(())
}

/// A run whose row does not read as what it should be fails, and waits for nothing any more.
pub fn set_aside(work: &mut Work<'_>, run: &[u8; 16], why: &str, now: Timestamp) -> Read<()> {
    let id = RunId::from_bytes(*run);
    tracing::error!(run = %id, "the run fails, for a row of the state file that it needs cannot be read: {why}");
    let let_go = |work: &mut Work<'_>| {
        conversation::close(work, run, false, now)?;
        events::forget(work, run)?;
        waits::forget_of(work, run)
    };
    // Where that cannot be read either, it is taken away unread.
    work.each(let_go, |_, _| Ok(()))?;
    for sql in
        ["DELETE FROM listening WHERE run = ?", "DELETE FROM awaiting WHERE run = ?", "DELETE FROM waits WHERE run = ?"]
    {
        work.tx.execute(sql, [run])?;
    }
    let error =
        ScriptError::new("damaged", format!("a row of the state file that this run needs cannot be read: {why}"));
    let sql = "UPDATE runs SET state = ?, ready = NULL, wake_at = NULL, waiting = NULL, finished_at = ?, error = ?
        WHERE id = ?";
    let values = params![number(RunState::Failed), millis(now), text(&error)?, run];
    work.tx.prepare_cached(sql)?.execute(values)?;
    is_now(work, id, RunState::Failed)
}

/// A run has come to a state otherwise than by a turn.
pub fn is_now(work: &mut Work<'_>, run: RunId, state: RunState) -> Read<()> {
    let sql = "SELECT flow FROM runs WHERE id = ?";
    let flow = match work.rings.watched {
        true => work.tx.prepare_cached(sql)?.query_row([run.as_bytes()], |row| row.get(0)).optional(),
        false => Ok(None),
    };
    let flow: String = if_readable(flow)?.flatten().unwrap_or_default();
    work.rings.run_is(run, &flow, state);
    Ok(())
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

/// A waiting run gets the answer to its question.
pub fn answer_run(work: &mut Work<'_>, run: &[u8; 16], answer: &Answer) -> Read<()> {
    let sql = "UPDATE runs SET answer = ? WHERE id = ? AND state = 2 AND ready IS NULL";
    work.tx.prepare_cached(sql)?.execute(params![text(answer)?, run])?;
    make_ready(work, run)
}

/// An errand was run: its answer makes the run ready anew. Says whether anybody still wants it.
pub fn answer_errand(work: &mut Work<'_>, run: RunId, ready: i64, answer: &Answer) -> Result<bool, Refusal> {
    let next = work.memory.next_seq();
    let sql = "UPDATE runs SET answer = ?, ready = ? WHERE id = ? AND state = 2 AND ready = ? RETURNING flow";
    let values = params![text(answer)?, next, run.as_bytes(), ready];
    let flow: Option<String> = work.tx.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?;
    if let Some(flow) = &flow {
        work.rings.run(flow);
    }
    Ok(flow.is_some())
}
