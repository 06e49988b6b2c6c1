//! Turns: what a run did since its last question, committed whole, and the question that it ends with.

use serde_json::Value;

use super::work::{Happened, Refusal, Work};
use super::{delivery_waits, events, journal, messages, questions, runs, values};
use crate::clock::{from_millis, millis, rfc3339};
use crate::model::call::Call;
use crate::model::journal::{Outcome, Pending, Retrying, TurnCommit};
use crate::model::question::{Answer, Change, Errand, Question, Wait};
use crate::model::run::{NewRun, RunState, RunStep};
use crate::store::StoreError;
use crate::store::records::{Begun, Committed, WaitingFor};
use crate::store::rows;
use crate::store::rows::runs::Leaving;
use crate::store::tx::{Read, text};

/// Accepts a run and commits its first turn. The run is accepted also where the turn cannot count.
pub fn begin(work: &mut Work<'_>, run: &NewRun, turn: &TurnCommit) -> Result<Begun, Refusal> {
    let ready = runs::intake(work, run)?;
    let turn = work.whole(|work| commit_if_ready(work, turn, ready));
    match turn {
        Err(error @ StoreError::Unreadable(_)) if work.careful => Ok(Begun { ready: Some(ready), turn: Err(error) }),
        Err(error) => Err(error.into()),
        Ok(committed) => {
            let stands = matches!(committed, Committed::Yes { .. });
            Ok(Begun { ready: (!stands).then_some(ready), turn: Ok(committed) })
        }
    }
}

/// Commits a turn whole, or nothing of it.
pub fn commit(work: &mut Work<'_>, turn: &TurnCommit) -> Read<Committed> {
    commit_if_ready(work, turn, turn.ready)
}

/// Commits a turn, if its run has this number among the ready ones.
fn commit_if_ready(work: &mut Work<'_>, turn: &TurnCommit, ready: i64) -> Read<Committed> {
    let standing = rows::runs::standing(work.tx, turn.run)?;
    let open = |state: &RunState| state.after(RunStep::Wait).is_some();
    let Some((standing, before)) = standing.and_then(|found| Some((found, found.state.filter(open)?))) else {
        return Ok(Committed::Over);
    };
    if standing.ready != Some(ready) {
        return Ok(Committed::Stale);
    }
    if let Some(refused) = refused(work, turn)? {
        return Ok(refused);
    }
    if before == RunState::Queued {
        work.memory.backlog.remove(&turn.flow);
    }
    for message in &turn.promises.messages {
        messages::insert(work, message, turn.at)?;
    }
    values::write(work, turn)?;
    // What a turn begins hears what it emits.
    for run in &turn.promises.runs {
        runs::insert(work, run)?;
    }
    events::emit(work, turn)?;
    if let Some(message) = turn.waited_for {
        rows::delivery_waits::delete(work.tx, message, turn.run)?;
    }
    let part = journal::record(work, turn)?;
    let (leaving, errand) = leaving(work, turn)?;
    rows::runs::leave(work.tx, turn.run, &leaving)?;
    left(work, turn, &leaving, errand);
    if leaving.state.is_some_and(RunState::is_over) {
        work.happened.push_back(Happened::Over(turn.run));
    }
    if let Some(next) = &turn.follow_up {
        runs::insert(work, next)?;
    }
    Ok(Committed::Yes { part, ready: leaving.ready })
}

/// Why a turn cannot count although its run stands as it should.
fn refused(work: &Work<'_>, turn: &TurnCommit) -> Read<Option<Committed>> {
    for message in &turn.promises.messages {
        if let Some(key) = &message.key
            && rows::messages::keyed(work.tx, &message.flow, key, &message.to.to_string())?.is_some()
        {
            return Ok(Some(Committed::KeyTaken));
        }
    }
    let promised = &turn.promises.runs;
    let has_room = promised.iter().all(|run| {
        let more = promised.iter().filter(|other| other.flow == run.flow).count() as u64;
        work.memory.backlog.has_room(&run.flow, more)
    });
    Ok((!has_room).then_some(Committed::NoRoom))
}

/// How a turn leaves its run, and whether that waits for an errand.
pub fn leaving(work: &mut Work<'_>, turn: &TurnCommit) -> Read<(Leaving, bool)> {
    let mut leaving = Leaving {
        attempt: turn.attempt,
        cpu: turn.cpu,
        at: millis(turn.at),
        begins: !turn.entries.is_empty() || matches!(turn.outcome, Outcome::Waiting(_)),
        ..Leaving::default()
    };
    let mut goes_on = GoesOn::Later;
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
        Outcome::Waiting(pending) => goes_on = ask(work, turn, pending, &mut leaving)?,
    }
    if goes_on != GoesOn::Later {
        leaving.wake_at = None;
        leaving.ready = Some(work.memory.next_seq());
    }
    Ok((leaving, goes_on == GoesOn::WithAnErrand))
}

/// A turn has left its run.
pub fn left(work: &mut Work<'_>, turn: &TurnCommit, leaving: &Leaving, errand: bool) {
    work.after.run_is(turn.run, &turn.flow, leaving.state.unwrap_or(RunState::Waiting));
    // An errand is the runner's, who knows of it; only after a crash the table has to tell.
    if leaving.ready.is_some() && !errand {
        work.after.run(&turn.flow);
    }
    if leaving.wake_at.is_some() {
        work.after.run_timer();
    }
}

/// When a run goes on that has asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GoesOn {
    /// When it is answered.
    Later,
    /// At once: it is answered.
    AtOnce,
    /// When an errand is done. It is ready all the same, so that it is found after a crash.
    WithAnErrand,
}

/// What a question changes when it goes on record: when the run goes on, and what people are told that it waits for.
struct Put {
    goes_on: GoesOn,
    kind: &'static str,
    detail: String,
    /// The answer, where it is there at once.
    answer: Option<Answer>,
}

impl Put {
    fn later(kind: &'static str, detail: String) -> Self {
        Self { goes_on: GoesOn::Later, kind, detail, answer: None }
    }

    fn answered(self, answer: Answer) -> Self {
        Self { goes_on: GoesOn::AtOnce, answer: Some(answer), ..self }
    }

    fn at_once() -> Self {
        Self { goes_on: GoesOn::AtOnce, ..Self::later("time", "goes on at once".into()) }
    }
}

/// A turn ends with a question: what that changes, and how it leaves the run.
fn ask(work: &mut Work<'_>, turn: &TurnCommit, pending: &Pending, leaving: &mut Leaving) -> Read<GoesOn> {
    leaving.pending = Some(text(pending)?);
    let put = match &pending.question {
        Question::Wait(wait) => {
            leaving.wake_at = wait.until();
            wait_for(work, turn, (pending, wait), leaving)?
        }
        Question::Errand(errand) => Put { goes_on: GoesOn::WithAnErrand, ..errand_of(errand) },
        Question::Change(change) => changed(work, turn, change)?,
        // Most are answered within their turn; one that goes on record is answered at the next.
        Question::Read(_) => Put::at_once(),
    };
    leaving.answer = put.answer.as_ref().map(text).transpose()?;
    let waiting = WaitingFor { kind: put.kind.into(), until: leaving.wake_at, detail: put.detail };
    leaving.waiting = Some(text(&waiting)?);
    Ok(put.goes_on)
}

fn errand_of(errand: &Errand) -> Put {
    match errand {
        Errand::Http { calls, .. } => Put::later("http", shown(calls)),
        Errand::Move { from, to, .. } => Put::later("file", format!("`{from}` to be moved to `{to}`")),
        Errand::Part { .. } => Put::later("file", "a file of the event to be saved".into()),
        Errand::Save { .. } => Put::later("file", "a file of a message to be saved".into()),
    }
}

fn changed(work: &mut Work<'_>, turn: &TurnCommit, change: &Change) -> Read<Put> {
    let answer = match change {
        Change::Cancel { message } => Ok(Value::Bool(messages::cancel(work, *message, turn.at)?)),
        Change::Increment { shared, key, by } => values::increment(work, turn, *shared, key, by)?,
    };
    Ok(Put::at_once().answered(answer))
}

fn wait_for(
    work: &mut Work<'_>,
    turn: &TurnCommit,
    (pending, wait): (&Pending, &Wait),
    leaving: &mut Leaving,
) -> Read<Put> {
    Ok(match wait {
        Wait::Sleep { until } => Put::later("time", format!("sleeps until {}", rfc3339(from_millis(*until)))),
        Wait::Delivery { message, goal, .. } => {
            let put = Put::later("delivery", format!("message {message} to be {goal}"));
            match delivery_waits::wait_for(work, turn.run, *message, goal)? {
                true => Put { goes_on: GoesOn::AtOnce, ..put },
                false => put,
            }
        }
        Wait::Ask(asked) => {
            // How long it waits is counted from when the gateway has the question.
            let (asked, open) = questions::ask(work, turn, asked)?;
            let detail = questions::detail(&asked, open);
            let question = Question::Wait(Wait::Ask(Box::new(asked)));
            leaving.pending = Some(text(&Pending { question, ..pending.clone() })?);
            Put::later("reply", detail)
        }
        Wait::Message { account, from, text: pattern, .. } => {
            let (account, chat) = (account.as_deref().unwrap_or_default(), from.as_deref().unwrap_or_default());
            questions::listen(work, turn.run, account, chat, pattern.as_deref())?;
            Put::later("reply", format!("a message from {}", from.as_deref().unwrap_or("anybody")))
        }
        Wait::Event { name, key, after, got, .. } => {
            let shown = key.as_ref().map_or(String::new(), |key| format!(" for {key}"));
            let put = Put::later("event", format!("the event `{name}`{shown}"));
            match events::wait(work, turn.run, (name, key.as_deref()), (*after, got))? {
                Some(event) => put.answered(Ok(event)),
                None => put,
            }
        }
    })
}

fn shown(calls: &[Call]) -> String {
    let one = |call: &Call| {
        let url = call.url.split(['?', '#']).next().unwrap_or_default();
        format!("{} {url}", call.method)
    };
    match calls {
        [call] => format!("the answer to {}", one(call)),
        [call, rest @ ..] => format!("the answers to {} and {} more", one(call), rest.len()),
        [] => "nothing".into(),
    }
}
