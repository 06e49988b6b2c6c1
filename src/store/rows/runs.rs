//! Runs.

use std::time::Duration;

use jiff::Timestamp;

use crate::id::RunId;
use crate::model::journal::Pending;
use crate::model::question::Answer;
use crate::model::run::{NewRun, RunState, ScriptError};
use crate::store::StoreError;
use crate::store::records::{Origin, ReadyRun, WaitingFor};
use crate::store::tx::{Columns, Read, Tx, Value, if_readable, text, values};

/// Where a run stands. A state that cannot be read is none.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Where it stands.
    pub state: Option<RunState>,
    /// Its number among the ready ones.
    pub ready: Option<i64>,
}

/// How a turn leaves its run.
#[derive(Debug, Default)]
pub struct Leaving {
    /// None of them means that it waits.
    pub state: Option<RunState>,
    /// Its number among the ready ones, if it can go on.
    pub ready: Option<i64>,
    /// When it goes on by the clock, in milliseconds since 1970.
    pub wake_at: Option<i64>,
    /// The attempt that comes next, from 1.
    pub attempt: u32,
    /// CPU time of the turn.
    pub cpu: Duration,
    /// The turn has something on record: it sets the time that the script's `now()` begins with, if it is the first.
    pub begins: bool,
    /// When the turn began.
    pub at: i64,
    /// The question that stands open, as JSON.
    pub pending: Option<String>,
    /// Its answer, as JSON.
    pub answer: Option<String>,
    /// The question that was answered last stays on record, with its answer, for a person's retry.
    pub keeps_question: bool,
    /// What people are told that it waits for, as JSON.
    pub waiting: Option<String>,
    /// Why it failed or is tried again, as JSON.
    pub error: Option<String>,
    /// The script's last value, as JSON.
    pub result: Option<String>,
}

impl Leaving {
    /// The columns of a run that never had a turn before, but for its number: state, times, and what it waits for.
    fn of_first_turn(&self) -> [Value<'_>; 12] {
        let state = self.state.unwrap_or(RunState::Waiting);
        [
            state.into(),
            self.wake_at.into(),
            self.attempt.into(),
            i64::try_from(self.cpu.as_micros()).unwrap_or(i64::MAX).into(),
            self.begins.then_some(self.at).into(),
            self.at.into(),
            state.is_over().then_some(self.at).into(),
            self.pending.as_ref().into(),
            self.answer.as_ref().into(),
            self.waiting.as_ref().into(),
            self.error.as_ref().into(),
            self.result.as_ref().into(),
        ]
    }
}

const INSERT: &str =
    "INSERT INTO runs (id, flow, version, trigger, state, ready, created_at, seed, event, root, generation, heard_from)
        VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, coalesce((SELECT max(number) FROM emitted), 0))
        ON CONFLICT DO NOTHING";

fn row_of(run: &NewRun, ready: Option<i64>) -> [Value<'_>; 10] {
    [
        run.id.into(),
        (&run.flow).into(),
        (&run.version).into(),
        (&run.trigger).into(),
        ready.into(),
        run.at.into(),
        (&run.seed).into(),
        (&*run.event).into(),
        run.root.into(),
        run.generation.into(),
    ]
}

/// Puts a run in, ready with this number. Says whether it is new: the same id twice is one run.
pub fn insert(tx: &dyn Tx, run: &NewRun, ready: i64) -> Read<bool> {
    Ok(tx.run(INSERT, &row_of(run, Some(ready)))? == 1)
}

/// Puts runs in, each ready with its number. Says of each whether it is new.
pub fn insert_all(tx: &dyn Tx, new: &[(&NewRun, i64)]) -> Read<Vec<bool>> {
    let rows: Vec<Vec<Value<'_>>> = new.iter().map(|(run, ready)| row_of(run, Some(*ready)).to_vec()).collect();
    Ok(tx.run_each(INSERT, &rows)?.into_iter().map(|changed| changed == 1).collect())
}

/// Puts runs in as their first turns leave them. Says of each whether it is new.
pub fn insert_all_left(tx: &dyn Tx, begun: &[(&NewRun, &Leaving)]) -> Read<Vec<bool>> {
    let sql =
        "INSERT INTO runs (id, flow, version, trigger, ready, created_at, seed, event, root, generation, heard_from,
            state, wake_at, attempt, cpu, base_at, started_at, finished_at, pending, answer, waiting, error, result)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, coalesce((SELECT max(number) FROM emitted), 0),
            ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT DO NOTHING";
    let rows = begun.iter().map(|(run, leaving)| {
        let mut row = row_of(run, leaving.ready).to_vec();
        row.extend(leaving.of_first_turn());
        row
    });
    Ok(tx.run_each(sql, &rows.collect::<Vec<_>>())?.into_iter().map(|changed| changed == 1).collect())
}

/// Flows with ready runs, each found by one step down the index.
pub fn flows_with_ready(tx: &dyn Tx) -> Read<Vec<String>> {
    let sql = "WITH RECURSIVE flows (flow) AS (
            SELECT min(flow) FROM runs WHERE ready IS NOT NULL
            UNION ALL
            SELECT (SELECT min(flow) FROM runs WHERE ready IS NOT NULL AND flow > flows.flow) FROM flows
            WHERE flows.flow IS NOT NULL
        ) SELECT flow FROM flows WHERE flow IS NOT NULL";
    tx.all(sql, values![], |row| row.get(0))
}

/// How many runs of each flow wait for their first turn.
pub fn waiting_for_first_turn(tx: &dyn Tx) -> Read<Vec<(String, u64)>> {
    let sql = "SELECT flow, count(*) FROM runs WHERE ready IS NOT NULL AND state = 0 GROUP BY flow";
    tx.readable(sql, values![], "runs", |row| Ok((row.get(0)?, row.get::<i64>(1)?.unsigned_abs())))
}

/// Ready runs of a flow with a number above `after`, lowest first.
pub fn ready(tx: &dyn Tx, flow: &str, after: i64, limit: usize) -> Read<Vec<ReadyRun>> {
    let sql = "SELECT id, version, ready, event, seed, created_at, base_at, attempt, cpu, pending, answer, root, cuts,
            generation FROM runs WHERE flow = ? AND ready > ? ORDER BY ready LIMIT ?";
    tx.readable(sql, values![flow, after, limit], "ready runs", |row| match ready_run(row, flow) {
        // One run that cannot be read does not hold up the others of its flow.
        Err(StoreError::Unreadable(why)) => {
            Ok(ReadyRun { damaged: Some(why), ..ReadyRun::bare(flow, row.get(0)?, row.get(2)?) })
        }
        read => read,
    })
}

fn ready_run(row: &dyn Columns, flow: &str) -> Read<ReadyRun> {
    Ok(ReadyRun {
        version: row.get(1)?,
        event: row.get::<String>(3)?.into(),
        seed: row.get(4)?,
        created_at: row.get(5)?,
        base: row.get(6)?,
        attempt: row.get(7)?,
        cpu: Duration::from_micros(row.get::<i64>(8)?.unsigned_abs()),
        pending: row.json_or_none(9)?,
        answer: row.json_or_none(10)?,
        root: row.get(11)?,
        cuts: row.get(12)?,
        generation: row.get(13)?,
        ..ReadyRun::bare(flow, row.get(0)?, row.get(2)?)
    })
}

/// Where a run comes from.
pub fn origin(tx: &dyn Tx, run: RunId) -> Read<Option<Origin>> {
    let sql = "SELECT flow, version, trigger, event, seed, created_at, base_at, root, state, pending, answer,
        EXISTS (SELECT 1 FROM listening WHERE run = id AND asks = 1 AND open = 0) FROM runs WHERE id = ?";
    tx.first(sql, values![run], |row| {
        let state: i64 = row.get(8)?;
        Ok(Origin {
            flow: row.get(0)?,
            version: row.get(1)?,
            trigger: row.get(2)?,
            event: row.get(3)?,
            seed: row.get(4)?,
            created_at: row.get(5)?,
            base: row.get(6)?,
            root: row.get(7)?,
            is_open: [RunState::Waiting as i64, RunState::Cancelled as i64].contains(&state),
            is_behind: row.get(11)?,
            // What cannot be read is asked anew.
            pending: row.json_or_none(9).unwrap_or_default(),
            answer: row.json_or_none(10).unwrap_or_default(),
        })
    })
}

/// Where a run stands.
pub fn standing(tx: &dyn Tx, run: RunId) -> Read<Option<Standing>> {
    let sql = "SELECT state, ready FROM runs WHERE id = ?";
    tx.first(sql, values![run], |row| Ok(Standing { state: row.maybe(0)?, ready: row.get(1)? }))
}

/// The state of a run, as far as it can be read.
pub fn state(tx: &dyn Tx, run: RunId) -> Read<Option<Option<RunState>>> {
    tx.first("SELECT state FROM runs WHERE id = ?", values![run], |row| row.maybe(0))
}

/// The name of a run's flow, as far as it can be read.
pub fn flow(tx: &dyn Tx, run: RunId) -> Read<Option<String>> {
    Ok(tx.first("SELECT flow FROM runs WHERE id = ?", values![run], |row| row.maybe(0))?.flatten())
}

/// The last thing that a turn writes: how it leaves its run.
pub fn leave(tx: &dyn Tx, run: RunId, leaving: &Leaving) -> Read<()> {
    let sql = "UPDATE runs SET state = ?, ready = ?, wake_at = ?, attempt = ?, cpu = cpu + ?,
            base_at = CASE WHEN base_at IS NULL AND ? = 1 THEN ? ELSE base_at END,
            started_at = coalesce(started_at, ?), finished_at = ?,
            pending = CASE WHEN ? = 1 THEN pending ELSE ? END, answer = CASE WHEN ? = 1 THEN answer ELSE ? END, waiting = ?, error = ?, result = ?
        WHERE id = ?";
    let state = leaving.state.unwrap_or(RunState::Waiting);
    let values = values![
        state,
        leaving.ready,
        leaving.wake_at,
        leaving.attempt,
        i64::try_from(leaving.cpu.as_micros()).unwrap_or(i64::MAX),
        leaving.begins,
        leaving.at,
        leaving.at,
        state.is_over().then_some(leaving.at),
        leaving.keeps_question,
        leaving.pending.as_ref(),
        leaving.keeps_question,
        leaving.answer.as_ref(),
        leaving.waiting.as_ref(),
        leaving.error.as_ref(),
        leaving.result.as_ref(),
        run,
    ];
    tx.run(sql, values).map(drop)
}

/// How first turns leave runs that were never begun, each ready with its number. Says of each whether it was so.
pub fn leave_all_if_first(tx: &dyn Tx, turns: &[(RunId, i64, &Leaving)]) -> Read<Vec<bool>> {
    let sql = "UPDATE runs SET ready = ?, state = ?, wake_at = ?, attempt = ?, cpu = ?, base_at = ?, started_at = ?,
            finished_at = ?, pending = ?, answer = ?, waiting = ?, error = ?, result = ?
        WHERE id = ? AND ready = ? AND state = 0 AND pending IS NULL AND answer IS NULL AND base_at IS NULL";
    let rows = turns.iter().map(|(run, ready, leaving)| {
        let mut row = vec![leaving.ready.into()];
        row.extend(leaving.of_first_turn());
        row.extend::<[Value<'_>; 2]>([(*run).into(), (*ready).into()]);
        row
    });
    Ok(tx.run_each(sql, &rows.collect::<Vec<_>>())?.into_iter().map(|changed| changed == 1).collect())
}

/// Runs whose time has come, the oldest first, as many as one command wakes.
pub fn due(tx: &dyn Tx, now: Timestamp) -> Read<Vec<RunId>> {
    let sql = "SELECT id FROM runs WHERE wake_at <= ? ORDER BY wake_at LIMIT 1000";
    tx.readable(sql, values![now], "runs", |row| row.get(0))
}

/// When the next one's time comes.
pub fn next_due(tx: &dyn Tx) -> Read<Option<Timestamp>> {
    let sql = "SELECT min(wake_at) FROM runs WHERE wake_at IS NOT NULL AND wake_at < 9e18";
    Ok(if_readable(tx.first(sql, values![], |row| row.get(0)))?.flatten().flatten())
}

/// The clock does not come back to a run for a time that has passed.
pub fn forget_time(tx: &dyn Tx, run: RunId, now: Timestamp) -> Read<()> {
    tx.run("UPDATE runs SET wake_at = NULL WHERE id = ? AND wake_at <= ?", values![run, now]).map(drop)
}

/// When the clock comes to a waiting run, and what people are told of that.
pub fn wake_waiting_at(tx: &dyn Tx, run: RunId, at: Option<i64>, told: Option<&WaitingFor>) -> Read<()> {
    let told = told.map(text).transpose()?;
    let sql = "UPDATE runs SET wake_at = ?, waiting = ? WHERE id = ? AND state = 2";
    tx.run(sql, values![at, told.as_ref(), run]).map(drop)
}

/// A waiting run that is not ready can go on, with this number. Gives its flow, if it was so.
pub fn make_waiting_ready(tx: &dyn Tx, run: RunId, ready: i64) -> Read<Option<String>> {
    let sql = "UPDATE runs SET ready = ?, wake_at = NULL WHERE id = ? AND state = 2 AND ready IS NULL RETURNING flow";
    tx.first(sql, values![ready, run], |row| row.get(0))
}

/// A waiting run that is not ready gets the answer to its question, and can go on. Gives its flow, if it was so.
pub fn answer_waiting(tx: &dyn Tx, run: RunId, ready: i64, answer: &Answer) -> Read<Option<String>> {
    let sql = "UPDATE runs SET answer = ?, ready = ?, wake_at = NULL WHERE id = ? AND state = 2 AND ready IS NULL
        RETURNING flow";
    tx.first(sql, values![&text(answer)?, ready, run], |row| row.get(0))
}

/// A waiting run that is ready with the number `was`, for an errand, gets its answer. Gives its flow, if it was so.
pub fn answer_errand(tx: &dyn Tx, run: RunId, was: i64, ready: i64, answer: &Answer) -> Read<Option<String>> {
    let sql = "UPDATE runs SET answer = ?, ready = ? WHERE id = ? AND state = 2 AND ready = ? RETURNING flow";
    tx.first(sql, values![&text(answer)?, ready, run, was], |row| row.get(0))
}

/// Whether a run waits and is not ready.
pub fn is_waiting(tx: &dyn Tx, run: RunId) -> Read<bool> {
    tx.exists("SELECT 1 FROM runs WHERE id = ? AND state = 2 AND ready IS NULL", values![run])
}

/// The question that a run asked last, as far as it can be read.
pub fn pending(tx: &dyn Tx, run: RunId) -> Read<Option<Pending>> {
    let sql = "SELECT pending FROM runs WHERE id = ? AND pending IS NOT NULL";
    Ok(tx.first(sql, values![run], |row| Ok(row.json(0).ok()))?.flatten())
}

/// What people are told that a run waits for, as far as it can be read.
pub fn waiting_for(tx: &dyn Tx, run: RunId) -> Read<Option<WaitingFor>> {
    let sql = "SELECT waiting FROM runs WHERE id = ?";
    Ok(tx.first(sql, values![run], |row| row.json_or_default::<Option<WaitingFor>>(0))?.flatten())
}

/// What people are told that a run waits for.
pub fn tell_waiting_for(tx: &dyn Tx, run: RunId, told: Option<&WaitingFor>) -> Read<()> {
    let told = told.map(text).transpose()?;
    tx.run("UPDATE runs SET waiting = ? WHERE id = ?", values![told.as_ref(), run]).map(drop)
}

/// A run's question, its answer, and its flow.
pub type LastAsked = (Option<Pending>, Option<Answer>, String);

/// A run's question and answer, as far as both can be read, and its flow.
pub fn asked(tx: &dyn Tx, run: RunId) -> Read<Option<LastAsked>> {
    let sql = "SELECT pending, answer, flow FROM runs WHERE id = ?";
    tx.first(sql, values![run], |row| {
        let asked = row.json_or_none(0).and_then(|pending| Ok((pending, row.json_or_none(1)?)));
        let (pending, answer) = asked.unwrap_or_default();
        Ok((pending, answer, row.get(2)?))
    })
}

/// A run goes on in another attempt, ready with this number.
pub fn go_on(tx: &dyn Tx, run: RunId, ready: i64, pending: Option<&Pending>, answer: Option<&Answer>) -> Read<()> {
    let sql = "UPDATE runs SET state = 2, ready = ?, attempt = attempt + 1, cuts = cuts + 1, finished_at = NULL,
        error = NULL, pending = ?, answer = ? WHERE id = ?";
    let (pending, answer) = (pending.map(text).transpose()?, answer.map(text).transpose()?);
    tx.run(sql, values![ready, pending.as_ref(), answer.as_ref(), run]).map(drop)
}

/// A run is taken back. What it waited for stays, for whoever looks.
pub fn cancel(tx: &dyn Tx, run: RunId, why: Option<&ScriptError>, now: Timestamp) -> Read<()> {
    let sql = "UPDATE runs SET state = 5, ready = NULL, wake_at = NULL, answer = NULL, waiting = NULL,
        finished_at = ?, error = coalesce(?, error) WHERE id = ?";
    let why = why.map(text).transpose()?;
    tx.run(sql, values![now, why.as_ref(), run]).map(drop)
}

/// A new run stands in line, behind others of its flow.
pub fn stand_in_line(tx: &dyn Tx, run: RunId, waiting: &WaitingFor) -> Read<()> {
    let sql = "UPDATE runs SET ready = NULL, waiting = ? WHERE id = ? AND state = 0";
    tx.run(sql, values![&text(waiting)?, run]).map(drop)
}

/// A run that stood in line may begin. Says whether it still wants to.
pub fn let_in(tx: &dyn Tx, run: RunId, ready: i64) -> Read<bool> {
    let sql = "UPDATE runs SET ready = ?, waiting = NULL WHERE id = ? AND state = 0 AND ready IS NULL";
    Ok(tx.run(sql, values![ready, run])? == 1)
}

/// A new run is not run.
pub fn skip(tx: &dyn Tx, run: RunId, why: &ScriptError, now: Timestamp) -> Read<()> {
    let sql = "UPDATE runs SET state = 6, ready = NULL, finished_at = ?, error = ? WHERE id = ?";
    tx.run(sql, values![now, &text(why)?, run]).map(drop)
}

/// A run fails otherwise than by a turn.
pub fn fail(tx: &dyn Tx, run: RunId, error: &ScriptError, now: Timestamp) -> Read<()> {
    let sql = "UPDATE runs SET state = 4, ready = NULL, wake_at = NULL, waiting = NULL, finished_at = ?, error = ?
        WHERE id = ?";
    tx.run(sql, values![now, &text(error)?, run]).map(drop)
}

/// Why a run failed: none of it failed not, and none within where that cannot be read.
pub fn error(tx: &dyn Tx, run: RunId) -> Read<Option<Option<ScriptError>>> {
    let sql = "SELECT error FROM runs WHERE id = ? AND error IS NOT NULL";
    tx.first(sql, values![run], |row| if_readable(row.json(0)))
}

/// Erases what a run says; it keeps its state, or gets this one.
pub fn erase(
    tx: &dyn Tx,
    run: RunId,
    state: Option<RunState>,
    (event, error): (&str, Option<&ScriptError>),
    now: Timestamp,
) -> Read<()> {
    let sql = "UPDATE runs SET state = coalesce(?, state), finished_at = coalesce(finished_at, ?), ready = NULL, wake_at = NULL,
        pending = NULL, answer = NULL, waiting = NULL, result = NULL, event = ?, error = ? WHERE id = ?";
    let error = error.map(text).transpose()?;
    tx.run(sql, values![state, now, event, error.as_ref(), run]).map(drop)
}
