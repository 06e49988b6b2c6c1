//! The engine as a whole: `/engine`, `/stats`, `/activity`, `/needs`, `/incoming`, `/sessions`.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::json;

use super::{Answer, Query, fine, with};
use crate::http::House;
use crate::http::error::Refused;
use crate::model::recipient::Recipient;
use crate::view::{Activity, ArrivalRow, ArrivalWish, EngineRow, Need, Stats, Turned};

/// What runs here, and where the feed of changes is.
#[utoipa::path(get, path = "/engine", tag = "engine", responses((status = 200, description = "the engine", body = EngineRow)))]
pub async fn engine(State(house): State<Arc<House>>, RawQuery(query): RawQuery) -> Answer {
    Query::read(query.as_deref(), &[])?;
    fine(&house.view.engine())
}

/// Today by state, and the last hour by minutes. The day is that of the workspace's zone.
#[utoipa::path(get, path = "/stats", tag = "engine", responses((status = 200, description = "counts", body = Stats)))]
pub async fn stats(State(house): State<Arc<House>>, RawQuery(query): RawQuery) -> Answer {
    Query::read(query.as_deref(), &[])?;
    let midnight = house.view.midnight(&house.view.zone());
    fine(&house.view.stats(midnight).await?)
}

/// What happened last, in sentences.
#[utoipa::path(get, path = "/activity", tag = "engine",
    params(("limit" = Option<usize>, Query, description = "at most so many")),
    responses((status = 200, description = "`{\"activity\": [...]}`", body = [Activity])))]
pub async fn activity(State(house): State<Arc<House>>, RawQuery(query): RawQuery) -> Answer {
    let query = Query::read(query.as_deref(), &["limit"])?;
    fine(&json!({ "activity": house.view.activity(query.limit()?).await? }))
}

/// What needs a person.
#[utoipa::path(get, path = "/needs", tag = "engine",
    responses((status = 200, description = "`{\"needs\": [...]}`", body = [Need])))]
pub async fn needs(State(house): State<Arc<House>>, RawQuery(query): RawQuery) -> Answer {
    Query::read(query.as_deref(), &[])?;
    let midnight = house.view.midnight(&house.view.zone());
    fine(&json!({ "needs": house.view.needs(midnight).await? }))
}

/// What came in, and what became of it.
#[utoipa::path(get, path = "/incoming", tag = "engine",
    params(
        ("kind" = Option<String>, Query, description = "`webhook`, `message` or `file`"),
        ("outcome" = Option<String>, Query, description = "what became of it"),
        ("from" = Option<String>, Query, description = "a person"),
        ("q" = Option<String>, Query, description = "words"),
        ("since" = Option<String>, Query, description = "at or after this"),
        ("until" = Option<String>, Query, description = "before this"),
        ("limit" = Option<usize>, Query, description = "at most so many")),
    responses((status = 200, description = "`{\"incoming\": [...]}`", body = [ArrivalRow])))]
pub async fn incoming(State(house): State<Arc<House>>, RawQuery(query): RawQuery) -> Answer {
    let query = Query::read(query.as_deref(), &["kind", "outcome", "from", "q", "since", "until", "limit"])?;
    let from = query.parsed("from", |text| Recipient::read(text, house.view.country()))?;
    let people = match from {
        Some(from) => house.view.store.person(&from.to_string()).await?.addresses,
        None => Vec::new(),
    };
    let wish = ArrivalWish {
        kind: query.text("kind"),
        outcome: query.text("outcome"),
        people,
        words: query.text("q"),
        since: query.time("since")?,
        until: query.time("until")?,
        limit: query.limit()?,
    };
    fine(&json!({ "incoming": house.view.arrivals(wish).await? }))
}

/// Requests that were turned away lately, those that are alike together.
#[utoipa::path(get, path = "/refused", tag = "engine",
    responses((status = 200, description = "`{\"refused\": [...]}`", body = [Turned])))]
pub async fn refused(State(house): State<Arc<House>>, RawQuery(query): RawQuery) -> Answer {
    Query::read(query.as_deref(), &[])?;
    fine(&json!({ "refused": house.view.turned_away.all() }))
}

/// A link that lets one browser in, once, within ten minutes.
#[utoipa::path(post, path = "/sessions", tag = "engine", responses((status = 201, description = "`{\"link\", \"code\"}`")))]
pub async fn invite(State(house): State<Arc<House>>, headers: HeaderMap) -> Answer {
    let code = house.doors.invite(house.view.clock.now());
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.ok_or_else(|| Refused::bad("a request has one `Host` header"))?;
    with(StatusCode::CREATED, &json!({ "link": format!("http://{host}/sign-in?code={code}"), "code": code }))
}

/// Lets no browser in any more that was let in before.
#[utoipa::path(delete, path = "/sessions", tag = "engine", responses((status = 200, description = "`{\"ended\"}`")))]
pub async fn sign_out_all(State(house): State<Arc<House>>) -> Answer {
    fine(&json!({ "ended": house.view.store.close_sessions(None).await? }))
}
