//! `/runs`.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, Query, messages, time};
use crate::clock::from_millis;
use crate::http::House;
use crate::http::error::{Refused, answer};
use crate::id::RunId;
use crate::model::event::seen;
use crate::model::run::RunState;
use crate::store::rows::{Called, MessageFilter, RunFilter, RunRecord};

pub async fn list(State(house): State<Arc<House>>, RawQuery(query): RawQuery) -> Answer {
    let query = Query::read(query.as_deref(), &["flow", "state", "since", "limit", "after"])?;
    let state = query.parsed("state", |word| {
        let words: Vec<_> = RunState::ALL.iter().map(|state| state.name()).collect();
        RunState::parse(word).ok_or(format!("`{word}` is none of {}", words.join(", ")))
    })?;
    let running: Vec<RunId> = house.board.running().into_iter().collect();
    // Which runs are being worked on is not in the store: it changes too fast to be written down.
    let (only, without, stored) = match state {
        Some(RunState::Running) => (Some(running), Vec::new(), None),
        Some(state @ (RunState::Queued | RunState::Waiting)) => (None, running, Some(state)),
        other => (None, Vec::new(), other),
    };
    let limit = query.limit()?;
    let filter = RunFilter {
        flow: query.get("flow").map(str::to_owned),
        state: stored,
        only,
        without,
        since: query.time("since")?,
        after: query.parsed("after", str::parse)?,
        limit,
    };
    let runs = house.store.runs(filter).await?;
    let next = (runs.len() == limit).then(|| runs.last().map(|run| run.id)).flatten();
    let bad = house.store.bad_messages_of(runs.iter().map(|run| run.id).collect()).await?;
    let rows: Vec<Value> = runs.iter().map(|run| row(&house, run, &bad)).collect();
    Ok(answer(StatusCode::OK, &json!({ "runs": rows, "next": next })))
}

pub async fn show(State(house): State<Arc<House>>, Path(id): Path<String>) -> Answer {
    one(&house, id.parse().map_err(Refused::bad)?, StatusCode::OK).await
}

/// One run, whole.
pub async fn one(house: &House, id: RunId, status: StatusCode) -> Answer {
    let Some(run) = house.store.run(id).await? else {
        return Err(Refused::missing(format!("there is no run {id}")));
    };
    let entries = house.store.journal(id).await?;
    let filter = MessageFilter { run: Some(id), limit: super::MOST, ..MessageFilter::default() };
    let sent = house.store.messages(filter).await?;
    let mut shown = row(house, &run, &house.store.bad_messages_of(vec![id]).await?);
    shown["event"] = seen(&run.event);
    shown["result"] = run.result.as_deref().map_or(Value::Null, read);
    shown["entries"] = entries.iter().map(entry).collect();
    shown["messages"] = messages::rows(house, &sent).await?.into();
    Ok(answer(status, &shown))
}

/// A run as lists show it; `bad` are the counts of messages that came to a bad end.
fn row(house: &House, run: &RunRecord, bad: &[(RunId, u64)]) -> Value {
    let running = !run.state.is_over() && house.board.running().contains(&run.id);
    let state = if running { RunState::Running } else { run.state };
    let waiting = run.waiting_for.as_ref().filter(|_| state == RunState::Waiting).map(|waiting| {
        json!({ "kind": waiting.kind, "until": time(waiting.until.map(from_millis)), "detail": waiting.detail })
    });
    json!({
        "id": run.id,
        "flow": run.flow,
        "version": run.version,
        "trigger": run.trigger,
        "state": state.name(),
        "waiting_for": waiting,
        "attempt": run.attempt,
        "created_at": time(Some(run.created_at)),
        "started_at": time(run.started_at),
        "finished_at": time(run.finished_at),
        "error": run.error,
        "bad_messages": bad.iter().find(|(id, _)| *id == run.id).map_or(0, |(_, count)| *count),
    })
}

/// Stored JSON; what cannot be read is shown as it stands.
fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

fn entry(called: &Called) -> Value {
    let entry = &called.entry;
    let request: Value = serde_json::from_str(entry.request.get()).unwrap_or(Value::Null);
    json!({
        "position": entry.position,
        "kind": entry.kind,
        "line": entry.line,
        "at": time(Some(from_millis(entry.at))),
        "request": request,
        "result": entry.result,
        "error": entry.error,
        "attempt": called.attempt,
        "lost": called.lost,
    })
}
