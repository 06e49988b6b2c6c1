//! Runs: accepted, made ready, and changed by whole turns.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;

use super::conversation::Time;
use super::disk::Disk;
use super::hearing::Clocks;
use super::writer::{Memory, Patterns, Refusal, Work};
use super::{
    Read, asking, conversation, events, evidence, first, instant, json, json_or_none, outbox, text, values, waits,
};
use crate::clock::{from_millis, millis, rfc3339};
use crate::id::RunId;
use crate::model::journal::{Answer, Entry, Outcome, Retrying, TurnCommit};
use crate::model::run::{NewRun, RunState};
use crate::store::StoreError;
use crate::store::rows::{Committed, Origin, ReadyRun, WaitingFor, Woken};

/// The number of a state in its column.
pub fn number(state: RunState) -> i64 {
    RunState::ALL.iter().position(|known| *known == state).unwrap_or(0) as i64
}

/// What the writer begins with.
pub fn memory(connection: &Connection, most_backlog: u64, disk: Disk) -> Read<Memory> {
    let ready: i64 = first(connection, "SELECT coalesce(max(ready), 0) FROM runs WHERE ready IS NOT NULL")?;
    let queued: i64 = first(connection, "SELECT coalesce(max(seq), 0) FROM messages WHERE seq IS NOT NULL")?;
    // Only runs whose first turn is to come count, and all of those are ready.
    let backlog: i64 = first(connection, "SELECT count(*) FROM runs WHERE ready IS NOT NULL AND state = 0")?;
    let opted_out = first(connection, "SELECT EXISTS (SELECT 1 FROM opted_out)")?;
    Ok(Memory {
        // The order of listening runs is by the same numbers.
        seq: ready.max(queued).max(first(connection, "SELECT coalesce(max(place), 0) FROM listening")?),
        backlog: backlog.unsigned_abs(),
        most_backlog,
        opted_out,
        early: evidence::any_early(connection)?,
        patterns: Patterns::default(),
        clocks: Clocks::default(),
        swept: 0,
        disk,
    })
}

/// Accepts a run.
pub fn intake(work: &mut Work<'_>, run: &NewRun) -> Result<(), Refusal> {
    door(work)?;
    insert(work, run)?;
    Ok(())
}

/// Whether there is room for one run more.
pub fn door(work: &mut Work<'_>) -> Result<(), Refusal> {
    room(work)?;
    match work.memory.backlog >= work.memory.most_backlog {
        true => Err(StoreError::Backlog(work.memory.backlog).into()),
        false => Ok(()),
    }
}

/// Whether the disk has room for more work.
pub fn room(work: &mut Work<'_>) -> Result<(), Refusal> {
    match work.memory.disk.low() {
        Some(free) => Err(StoreError::NoRoom(format!("only {} MiB of the disk are free", free >> 20)).into()),
        None => Ok(()),
    }
}

/// Puts a run in without asking.
pub fn insert(work: &mut Work<'_>, run: &NewRun) -> Read<()> {
    let sql = "INSERT OR IGNORE INTO runs (id, flow, version, trigger, state, ready, created_at, seed, event, root, heard_from)
        VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, ?, coalesce((SELECT max(number) FROM emitted), 0))";
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
    ])?;
    // The same promise of a run is one run.
    if inserted == 1 {
        work.memory.backlog += 1;
        work.rings.run(&run.flow);
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
    let sql = "SELECT id, version, ready, event, seed, created_at, base_at, attempt, cpu, pending, answer, root, cuts
        FROM runs WHERE flow = ? AND ready > ? ORDER BY ready LIMIT ?";
    let mut find = connection.prepare_cached(sql)?;
    let row = |row: &Row<'_>| {
        // One run that cannot be read does not hold up the others of its flow.
        let asked = json_or_none(row, 9).and_then(|pending| Ok((pending, json_or_none(row, 10)?)));
        let damaged = asked.as_ref().err().map(ToString::to_string);
        let (pending, answer) = asked.unwrap_or_default();
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
            pending,
            answer,
            root: row.get::<_, Option<[u8; 16]>>(11)?.map(RunId::from_bytes),
            cuts: row.get(12)?,
            damaged,
        })
    };
    find.query_map(params![flow, after, limit as i64], row)?.collect()
}

/// Where a run comes from.
pub fn origin(connection: &Connection, run: RunId) -> Read<Option<Origin>> {
    let sql = "SELECT flow, version, trigger, event, seed, created_at, base_at, root, state, pending, answer
        FROM runs WHERE id = ?";
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
            is_open: row.get::<_, i64>(8)? == number(RunState::Waiting),
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
    values::write(work, &turn)?;
    // What a turn begins hears what it emits.
    for run in &turn.promises.runs {
        insert(work, run)?;
    }
    events::emit(work, &turn)?;
    if let Some(message) = turn.waited_for {
        waits::forget(work, message, id)?;
    }
    let begun = !turn.entries.is_empty();
    let mut last = None;
    for (entries, live) in [(&turn.entries, true), (&turn.lost, false)] {
        if !entries.is_empty() {
            let part = append(work, &turn, entries, live)?;
            last = live.then_some(part).or(last);
        }
    }
    let ready = leave(work, &turn, begun)?;
    if let Some(next) = &turn.follow_up {
        insert(work, next)?;
    }
    Ok(Committed::Yes { part: last, ready })
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
            base_at = CASE WHEN base_at IS NULL AND ? THEN ? ELSE base_at END,
            started_at = coalesce(started_at, ?), finished_at = ?,
            pending = iif(?, pending, ?), answer = iif(?, answer, ?), waiting = ?, error = ?, result = ?
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
        work.tx.prepare_cached(sql)?.query_map([millis(now)], |row| row.get(0))?.collect::<Read<_>>()?;
    for id in &due {
        // A run whose time has come hears nothing any more, so that nothing is taken and not seen.
        let awaited = events::forget(work, id)?;
        match conversation::time_came(work, id, now)? {
            Time::Reminds => {}
            Time::Else if !awaited => make_ready(work, id)?,
            Time::IsOut | Time::Else => answer_run(work, id, &Ok(Value::Null))?,
        }
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
