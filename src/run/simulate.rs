//! What an edited script would do with a journal that an earlier text of it has written.

use std::sync::Arc;

use serde_json::{Value, json};

use super::context::Context;
use super::input::input;
use super::local_answers::{over, read};
use crate::clock::millis;
use crate::flow::Flow;
use crate::id::RunId;
use crate::model::journal::{Entry, Pending};
use crate::model::question::{Answer, Question, Wait};
use crate::script::{Ending, TurnInput, TurnOutput, turn};
use crate::store::StoreError;
use crate::store::records::Origin;

/// The answer to a run's last question, which no turn has used: the run waits for its turn, or the turn
/// threw. None when the question stands open.
///
/// # Errors
/// As the store fails.
pub async fn answered(context: &Context, flow: &Flow, origin: &Origin) -> Result<Option<Answer>, StoreError> {
    let Some(pending) = &origin.pending else { return Ok(None) };
    let now = context.clock.now();
    if let Some(answer) = &origin.answer {
        return Ok(Some(answer.clone()));
    }
    let is_over = |wait: &Wait| !origin.is_open || wait.until().is_some_and(|until| until <= millis(now));
    match &pending.question {
        Question::Wait(wait) if is_over(wait) => over(context, wait).await.map(Some),
        Question::Read(wanted) if !origin.is_open => read(context, flow, wanted, now).await.map(Some),
        // An errand, or a change, has its answer on record or none.
        _ => Ok(None),
    }
}

/// Runs the script of `flow` over a run's journal, and says where it first differs, or what it would do
/// behind the journal's end. `open` is the question that the run waits for the answer to: it is to be
/// asked in the same way. Nothing is changed, nothing is sent.
pub fn simulate(
    context: &Context,
    flow: &Flow,
    run: RunId,
    origin: &Origin,
    journal: Vec<Entry>,
    open: Option<Pending>,
) -> Value {
    let ground = context.catalog.borrow().ground.clone();
    let now = context.clock.now();
    let (count, journal) = (journal.len(), Arc::new(journal));
    // What the script would log is no news.
    let silent = tracing::Dispatch::none();
    let input = TurnInput {
        event: &origin.event,
        run_time: origin.created_at,
        seed: origin.seed,
        base: origin.base.unwrap_or(now),
        journal: journal.clone(),
        weight: journal.iter().map(Entry::weight).sum(),
        committed: count,
        ..input(flow, &ground, run, now)
    };
    let output = tracing::dispatcher::with_default(&silent, || turn(input));
    report(output, flow, run, origin, &journal, open)
}

/// What is told of a turn over an old journal.
fn report(
    output: TurnOutput,
    flow: &Flow,
    run: RunId,
    origin: &Origin,
    journal: &[Entry],
    open: Option<Pending>,
) -> Value {
    let asked_now = match &output.ending {
        Ending::Waiting(pending) => Some(pending.clone()),
        _ => None,
    };
    let differs = difference(&output, asked_now.as_ref(), journal, open);
    let (ends, error) = match output.ending {
        _ if output.differs.is_some() => ("differs", None),
        Ending::Waiting(_) => ("waits", None),
        Ending::Done(_) => ("succeeds", None),
        Ending::Failed(error) => ("fails", Some(error)),
        Ending::Thrown(error) => ("throws", Some(error)),
    };
    let next = asked_now.as_ref().filter(|_| ends == "waits").map(asks);
    json!({
        "run": run,
        "flow": &*flow.name,
        "recorded_version": origin.version,
        "version": flow.version,
        "entries": journal.len(),
        "replayed": output.replayed,
        "differs": differs,
        "ends": ends,
        "error": error,
        "next": next,
        "new": output.entries.iter().map(call).collect::<Vec<_>>(),
    })
}

/// Where the script first does something else than the journal has; none when it does not.
fn difference(
    output: &TurnOutput,
    asked_now: Option<&Pending>,
    journal: &[Entry],
    open: Option<Pending>,
) -> Option<Value> {
    // A script that comes to its end before its journal does leaves out what was recorded.
    let left_out = journal.get(output.replayed).filter(|_| output.differs.is_none());
    match (&output.differs, left_out) {
        (Some(differs), _) => Some(json!({
            "position": differs.position,
            "recorded": journal.get(differs.position).map(call),
            "now": { "kind": differs.kind, "request": request(&differs.request) },
        })),
        (None, Some(entry)) => Some(json!({ "position": entry.position, "recorded": call(entry), "now": null })),
        (None, None) => open.filter(|open| !asked_now.is_some_and(|now| open.is_same(now))).map(|open| {
            // What comes in its place: another call, another question, or the end.
            let now = output.entries.first().map(call).or(asked_now.map(asks));
            json!({ "position": open.position, "recorded": asks(&open), "now": now })
        }),
    }
}

fn call(entry: &Entry) -> Value {
    json!({ "kind": entry.kind, "line": entry.line, "request": request(entry.request.get()) })
}

fn asks(pending: &Pending) -> Value {
    json!({ "kind": pending.kind, "line": pending.line, "request": request(pending.request.get()) })
}

fn request(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}
