//! `/runs`.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;

use super::{Answer, Query, fine, with};
use crate::http::House;
use crate::http::error::Refused;
use crate::id::RunId;
use crate::model::run::RunState;
use crate::view::{RunList, RunWhole, RunWish};

/// How few letters of an id are enough.
const SHORT: usize = 4;

/// A state by its word.
pub fn state(word: &str) -> Result<RunState, String> {
    let words: Vec<_> = RunState::ALL.iter().map(|state| state.name()).collect();
    RunState::parse(word).ok_or(format!("`{word}` is none of {}", words.join(", ")))
}

/// A page of runs, newest first.
#[utoipa::path(get, path = "/runs", tag = "runs",
    params(
        ("flow" = Option<String>, Query, description = "of this flow"),
        ("state" = Option<String>, Query, description = "in one of these states, with commas between them"),
        ("since" = Option<String>, Query, description = "accepted at or after this"),
        ("q" = Option<String>, Query, description = "whose event, result, error or id holds these words"),
        ("after" = Option<String>, Query, description = "older than this run: `next` of the page before"),
        ("before" = Option<String>, Query, description = "newer than this run"),
        ("counts" = Option<bool>, Query, description = "count all of them by state"),
        ("limit" = Option<usize>, Query, description = "at most so many")),
    responses((status = 200, description = "a page", body = RunList)))]
pub async fn list(State(house): State<Arc<House>>, RawQuery(query): RawQuery) -> Answer {
    let known = ["flow", "state", "since", "q", "after", "before", "counts", "limit"];
    let query = Query::read(query.as_deref(), &known)?;
    let wish = RunWish {
        flow: query.text("flow"),
        states: query.words("state", state)?,
        since: query.time("since")?,
        words: query.text("q"),
        after: query.parsed("after", str::parse)?,
        before: query.parsed("before", str::parse)?,
        limit: query.limit()?,
        counts: query.flag("counts")?,
    };
    fine(&house.view.runs(wish).await?)
}

/// A run by its id, by the last letters of it, or `last`.
pub async fn found(house: &House, text: &str) -> Result<RunId, Refused> {
    let short = text.len() >= SHORT && text.len() < 36 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    let words = match text {
        "last" => None,
        _ if short => Some(text.to_ascii_lowercase()),
        _ => return text.parse().map_err(Refused::bad),
    };
    let wish = RunWish { words: words.clone(), limit: 20, ..RunWish::default() };
    let runs = house.view.runs(wish).await?.runs;
    let ends = |id: &RunId| words.as_ref().is_none_or(|words| id.to_string().ends_with(words.as_str()));
    let mut fitting = runs.iter().map(|run| run.id).filter(ends);
    match (fitting.next(), fitting.next()) {
        (None, _) => Err(Refused::missing(format!("there is no run {text}"))),
        (Some(_), Some(_)) if words.is_some() => {
            let message = format!("several runs end with `{text}`; write more of the id");
            Err(Refused::new(StatusCode::CONFLICT, "ambiguous", message))
        }
        (Some(one), _) => Ok(one),
    }
}

/// One run: event, calls, messages.
#[utoipa::path(get, path = "/runs/{id}", tag = "runs",
    params(("id" = String, Path, description = "its id, the last letters of it, or `last`")),
    responses((status = 200, description = "the run", body = RunWhole), (status = 404, description = "there is none")))]
pub async fn show(State(house): State<Arc<House>>, Path(id): Path<String>) -> Answer {
    one(&house, found(&house, &id).await?, StatusCode::OK).await
}

/// One run, whole.
pub async fn one(house: &House, id: RunId, status: StatusCode) -> Answer {
    match house.view.run(id).await? {
        Some(run) => with(status, &run),
        None => Err(Refused::missing(format!("there is no run {id}"))),
    }
}
