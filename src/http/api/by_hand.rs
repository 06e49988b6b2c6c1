//! What people decide about runs, and about people.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::{Answer, fine, known, runs};
use crate::flow::Flow;
use crate::http::House;
use crate::http::body::Json;
use crate::http::error::Refused;
use crate::id::{RunId, random_bytes};
use crate::model::journal::Pending;
use crate::model::recipient::Recipient;
use crate::model::run::{NewRun, RunState};
use crate::run::{Reply, answered, aside, simulate};
use crate::store::records::{Erased, Origin, RunDecided};

fn conflict(message: impl Into<String>) -> Refused {
    Refused::new(StatusCode::CONFLICT, "state", message)
}

fn flag(body: &Value, name: &str) -> Result<bool, Refused> {
    match &body[name] {
        Value::Null => Ok(false),
        Value::Bool(flag) => Ok(*flag),
        _ => Err(Refused::bad(format!("`{name}` is true or false"))),
    }
}

/// A person's word about a run: `cancel`, `retry` (a failed one goes on from the last answer that came from outside),
/// `replay` (a new run with the same event; `{latest, resend}`), `skip` (lets its wait end now).
#[utoipa::path(post, path = "/runs/{id}/{decision}", tag = "runs",
    params(("id" = String, Path, description = "its id, the last letters of it, or `last`"), ("decision" = String, Path, description = "`cancel`, `retry`, `replay` or `skip`")),
    responses((status = 200, description = "the run as it is now", body = crate::view::RunWhole),
        (status = 202, description = "the new run", body = crate::view::RunWhole),
        (status = 409, description = "not in the state that it is in")))]
pub async fn decide(
    State(house): State<Arc<House>>,
    Path((id, decision)): Path<(String, String)>,
    Json(body): Json,
) -> Answer {
    known(&body, if decision == "replay" { &["latest", "resend"] } else { &[] })?;
    let id = runs::found(&house, &id).await?;
    let wish = Wish { latest: flag(&body, "latest")?, resend: flag(&body, "resend")? };
    let shown = settle(&house, id, &decision, wish).await?;
    let status = if shown == id { StatusCode::OK } else { StatusCode::ACCEPTED };
    runs::one(&house, shown, status).await
}

/// How a run is to be repeated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish {
    /// With the flow as it is now.
    pub latest: bool,
    /// Send again what was sent before.
    pub resend: bool,
}

/// Does what was decided. Gives the run that is to be looked at then.
pub async fn settle(house: &House, id: RunId, decision: &str, wish: Wish) -> Result<RunId, Refused> {
    let missing = || Refused::missing(format!("there is no run {id}"));
    let now = house.view.clock.now();
    match decision {
        "cancel" => match house.view.store.cancel_run(id, now).await? {
            RunDecided::Done => house.subscribers.tell(id, || Reply::Ended(RunState::Cancelled)),
            RunDecided::NotIn(state) => return Err(conflict(format!("the run is over already: {}", state.name()))),
            RunDecided::Missing => return Err(missing()),
        },
        "skip" => match house.view.store.end_wait(id, now).await? {
            RunDecided::Done => {}
            RunDecided::NotIn(state) => {
                return Err(conflict(format!(
                    "the run does not wait for anything that can end now; it is {}",
                    state.name()
                )));
            }
            RunDecided::Missing => return Err(missing()),
        },
        "retry" => {
            let origin = house.view.store.origin(id).await?.ok_or_else(missing)?;
            remembered(&origin)?;
            match house.view.store.retry_run(id).await? {
                RunDecided::Done => {}
                RunDecided::NotIn(state) => {
                    let refused =
                        conflict(format!("only a failed run can be tried again; this one is {}", state.name()));
                    return Err(refused.hint("`runs replay` begins a new run with the same event"));
                }
                RunDecided::Missing => return Err(missing()),
            }
        }
        "replay" => {
            let origin = house.view.store.origin(id).await?.ok_or_else(missing)?;
            return replay(house, id, &origin, wish.latest, wish.resend).await;
        }
        other => return Err(Refused::missing(format!("a run has no `{other}`"))),
    }
    Ok(id)
}

/// Refuses what was forgotten: nothing is left of it that could be done again.
fn remembered(origin: &Origin) -> Result<Value, Refused> {
    let event: Value = serde_json::from_str(&origin.event).unwrap_or_default();
    match event["forgotten"].is_null() {
        true => Ok(event),
        false => Err(conflict("the run was forgotten: its event and its journal are erased")),
    }
}

fn live(house: &House, name: &str) -> Result<Arc<Flow>, Refused> {
    let catalog = house.view.catalog.borrow().clone();
    let Some(flow) = catalog.flow(name) else {
        return Err(conflict(format!("the flow `{name}` is not live any more")));
    };
    match catalog.stale.get(name).and_then(|findings| findings.first()) {
        Some(finding) => {
            let refused = conflict(format!("the flow `{name}` as it is written now has errors: {finding}"));
            Err(refused.hint("`postrider check` shows all of them"))
        }
        None => Ok(flow.clone()),
    }
}

/// A new run for the same event. What the others for that event promised is not sent again, unless
/// `resend` says so.
async fn replay(house: &House, id: RunId, origin: &Origin, latest: bool, resend: bool) -> Result<RunId, Refused> {
    remembered(origin)?;
    let version = match latest {
        true => live(house, &origin.flow)?.version.to_string(),
        false => origin.version.clone(),
    };
    if house.view.store.version(&version).await?.is_none() {
        return Err(conflict("the version that the run was pinned to is not kept any more").hint("use `latest`"));
    }
    let now = house.view.clock.now();
    let new = RunId::new(now);
    let event: Arc<str> = renamed(&origin.event, new)?.into();
    let run = NewRun {
        id: new,
        flow: origin.flow.clone(),
        version,
        trigger: origin.trigger.clone(),
        slot: house.view.catalog.borrow().flow(&origin.flow).and_then(|flow| flow.slot(&event)),
        event,
        seed: random_bytes(),
        at: now,
        root: (!resend).then(|| origin.root.unwrap_or(id)),
        generation: 0,
        marks: Vec::new(),
    };
    house.intake.accept(run).await?;
    Ok(new)
}

/// The event of another run. Its parts stay as they are written: a webhook's body is its text too.
fn renamed(event: &str, run: RunId) -> Result<String, Refused> {
    let broken = |error: serde_json::Error| conflict(format!("the run's event cannot be read: {error}"));
    let mut event: BTreeMap<String, Box<RawValue>> = serde_json::from_str(event).map_err(broken)?;
    event.insert("run".into(), to_raw_value(&run).map_err(broken)?);
    serde_json::to_string(&event).map_err(broken)
}

/// What today's text of the flow would do with the run's journal.
#[utoipa::path(get, path = "/runs/{id}/simulate", tag = "runs",
    params(("id" = String, Path, description = "its id")),
    responses((status = 200, description = "where it first differs, and what it would do")))]
pub async fn simulated(State(house): State<Arc<House>>, Path(id): Path<String>) -> Answer {
    let id = runs::found(&house, &id).await?;
    let origin = house.view.store.origin(id).await?.ok_or_else(|| Refused::missing(format!("there is no run {id}")))?;
    remembered(&origin)?;
    let flow = live(&house, &origin.flow)?;
    let (mut journal, _) = house.view.store.journal_after(id, 0).await?;
    let mut open = None;
    // The turn of a `fail` is on record, though its last question is kept for another try.
    let used = |pending: &Pending| journal.iter().any(|entry| entry.position == pending.position);
    if let Some(pending) = origin.pending.clone().filter(|pending| !used(pending)) {
        match answered(&house.context, &flow, &origin).await? {
            Some(answer) => journal.push(pending.answered(house.view.clock.now(), answer)),
            None => open = Some(pending),
        }
    }
    let context = house.context.clone();
    let said = aside(move || simulate(&context, &flow, id, &origin, journal, open)).await;
    let said = said.ok_or_else(|| Refused::busy("the simulation broke down; the log says why"))?;
    fine(&said)
}

/// Erases a person, `{recipient}`.
#[utoipa::path(post, path = "/forget", tag = "people",
    responses((status = 200, description = "`{\"mark\", \"messages\", \"events\", \"runs\", \"files\"}`: what is gone")))]
pub async fn forget(State(house): State<Arc<House>>, Json(body): Json) -> Answer {
    known(&body, &["recipient"])?;
    let who = body["recipient"].as_str().ok_or_else(|| Refused::bad("`recipient` is missing"))?;
    let who = Recipient::read(who, house.view.country()).map_err(Refused::bad)?;
    let (mark, erased, files) = erase(&house, &who).await?;
    fine(&json!({
        "mark": mark,
        "messages": erased.messages,
        "events": erased.events,
        "runs": erased.runs,
        "files": files,
    }))
}

/// Erases a person: the mark that stays, what is gone, and how many files.
pub async fn erase(house: &House, who: &Recipient) -> Result<(String, Erased, u64), Refused> {
    let now = house.view.clock.now();
    let mark = RunId::new(now).to_string();
    let forgotten = house.view.store.forget(&who.to_string(), &mark, now).await?;
    let (blobs, gone) = (house.blobs.clone(), forgotten.blobs);
    let files = tokio::task::spawn_blocking(move || blobs.remove(&gone)).await.unwrap_or_default();
    for run in &forgotten.ended {
        house.subscribers.tell(*run, || Reply::Ended(RunState::Cancelled));
    }
    tracing::info!(%mark, "a person was forgotten");
    Ok((mark, forgotten.erased, files))
}
