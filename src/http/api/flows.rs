//! `/flows` and `/check`.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value, json};

use super::{Answer, Query, fine, known, with};
use crate::flow::Flow;
use crate::flow::catalog::Catalog;
use crate::http::House;
use crate::http::body::Json;
use crate::http::error::Refused;
use crate::id::RunId;
use crate::units::nearest;
use crate::view::{FlowList, FlowRow, FlowSource};

/// The flows that are live, and what is wrong.
#[utoipa::path(get, path = "/flows", tag = "flows", responses((status = 200, description = "all flows", body = FlowList)))]
pub async fn list(State(house): State<Arc<House>>, RawQuery(query): RawQuery) -> Answer {
    Query::read(query.as_deref(), &[])?;
    fine(&house.view.flows().await?)
}

/// A flow's name may have several parts; the last part of the path tells what is wanted.
pub async fn get_one(State(house): State<Arc<House>>, Path(path): Path<String>) -> Answer {
    match path.strip_suffix("/source") {
        Some(name) => source(&house, name).await,
        None => show(&house, &path).await,
    }
}

/// The same for what changes something.
pub async fn post_one(State(house): State<Arc<House>>, Path(path): Path<String>, Json(wish): Json) -> Answer {
    match path.strip_suffix("/trigger") {
        Some(name) => trigger(&house, name, &wish).await,
        None => Err(Refused::missing(format!("a flow has no `{path}`"))),
    }
}

/// The same for the file.
pub async fn put_one(
    State(house): State<Arc<House>>,
    Path(path): Path<String>,
    headers: HeaderMap,
    Json(wish): Json,
) -> Answer {
    match path.strip_suffix("/source") {
        Some(name) => put_source(&house, name, &headers, &wish).await,
        None => Err(Refused::missing(format!("a flow has no `{path}`"))),
    }
}

/// One flow.
#[utoipa::path(get, path = "/flows/{name}", tag = "flows",
    params(("name" = String, Path, description = "its name, which may have several parts")),
    responses((status = 200, description = "the flow", body = FlowRow), (status = 404, description = "there is none")))]
pub async fn show(house: &House, name: &str) -> Answer {
    match house.view.flow(name).await? {
        Some(flow) => fine(&flow),
        None => Err(find(&house.view.catalog.borrow(), name).err().unwrap_or_else(|| Refused::busy("look again"))),
    }
}

/// The text of its file, and of the version that is live.
#[utoipa::path(get, path = "/flows/{name}/source", tag = "flows",
    params(("name" = String, Path, description = "its name")),
    responses((status = 200, description = "the texts", body = FlowSource), (status = 404, description = "there is none")))]
pub async fn source(house: &House, name: &str) -> Answer {
    match house.view.source(name).await {
        Some(Ok(source)) => fine(&source),
        Some(Err(why)) => Err(Refused::new(StatusCode::CONFLICT, "file", why)),
        None => Err(find(&house.view.catalog.borrow(), name).err().unwrap_or_else(|| Refused::busy("look again"))),
    }
}

/// Writes its file: `{text}`. `If-Match` says of which text it is a change; should the file hold another one by now,
/// nothing is written.
#[utoipa::path(put, path = "/flows/{name}/source", tag = "flows",
    params(("name" = String, Path, description = "its name"), ("if-match" = String, Header, description = "`hash` of the text that was changed")),
    responses((status = 200, description = "`{\"hash\", \"diagnostics\"}`"), (status = 409, description = "the file was changed meanwhile"), (status = 403, description = "editing is switched off")))]
pub async fn put_source(house: &House, name: &str, headers: &HeaderMap, wish: &Value) -> Answer {
    let flow = find(&house.view.catalog.borrow(), name)?;
    known(wish, &["text"])?;
    let text = wish["text"].as_str().ok_or_else(|| Refused::bad("`text` is missing"))?;
    let hash = headers.get(header::IF_MATCH).and_then(|hash| hash.to_str().ok()).map(|hash| hash.trim_matches('"'));
    let hash = hash.ok_or_else(|| {
        let status = StatusCode::PRECONDITION_REQUIRED;
        Refused::new(status, "precondition", "`If-Match` is missing: the hash of the text that you changed")
    })?;
    let hash = house.editor.save(&house.view, &flow.file, text, Some(hash)).await?;
    let diagnostics = house.view.check(flow.file.to_string(), text.to_owned()).await;
    fine(&json!({ "hash": hash, "diagnostics": diagnostics }))
}

/// Makes the file of a new flow: `{name, text}`.
#[utoipa::path(post, path = "/flows", tag = "flows",
    responses((status = 201, description = "`{\"file\", \"hash\"}`"), (status = 409, description = "the file is there already")))]
pub async fn create(State(house): State<Arc<House>>, Json(wish): Json) -> Answer {
    known(&wish, &["name", "text"])?;
    let field = |name: &str| wish[name].as_str().ok_or_else(|| Refused::bad(format!("`{name}` is missing")));
    let (name, text) = (field("name")?, field("text")?);
    let file = crate::http::editor::file_of(name)?;
    let hash = house.editor.save(&house.view, &file, text, None).await?;
    with(StatusCode::CREATED, &json!({ "file": file, "hash": hash }))
}

/// What is to be said about a text, were it the file's: `{file, text}`. Nothing is written.
#[utoipa::path(post, path = "/check", tag = "flows",
    responses((status = 200, description = "`{\"diagnostics\": [...]}`")))]
pub async fn check(State(house): State<Arc<House>>, Json(wish): Json) -> Answer {
    known(&wish, &["file", "text"])?;
    let file = wish["file"].as_str().unwrap_or("flows/new.yaml");
    let text = wish["text"].as_str().ok_or_else(|| Refused::bad("`text` is missing"))?;
    fine(&json!({ "diagnostics": house.view.check(file.to_owned(), text.to_owned()).await }))
}

/// Starts a run: `{data}`, or a whole `{event}`.
#[utoipa::path(post, path = "/flows/{name}/trigger", tag = "flows",
    params(("name" = String, Path, description = "its name")),
    responses((status = 202, description = "`{\"run\"}`"), (status = 404, description = "there is no such flow")))]
pub async fn trigger(house: &House, name: &str, wish: &Value) -> Answer {
    with(StatusCode::ACCEPTED, &json!({ "run": start(house, name, wish).await? }))
}

/// Starts a run by hand.
pub async fn start(house: &House, name: &str, wish: &Value) -> Result<RunId, Refused> {
    let flow = find(&house.view.catalog.borrow(), name)?;
    known(wish, &["data", "event"])?;
    let (trigger, event) = event(wish)?;
    let run = house.intake.prepare(&flow, trigger, &event);
    let id = run.id;
    house.intake.accept(run).await?;
    Ok(id)
}

/// `{data}` makes a manual event, `{event}` is a whole one of another trigger.
fn event(wish: &Value) -> Result<(&'static str, Map<String, Value>), Refused> {
    match (wish.get("data"), wish.get("event")) {
        (data, None) => {
            let data = data.cloned().unwrap_or(Value::Null);
            Ok(("manual", Map::from_iter([("data".to_owned(), data)])))
        }
        (None, Some(Value::Object(event))) => {
            let given = event;
            let mut event = given.clone();
            for key in ["at", "flow", "run", "trigger"] {
                event.remove(key);
            }
            let trigger = match given.get("trigger").and_then(Value::as_str) {
                Some("webhook") => "webhook",
                Some("message") => "message",
                Some("watch") => "watch",
                Some("cron") => "cron",
                Some("every") => "every",
                Some("at") => "at",
                Some("manual") | None => "manual",
                Some(other) => {
                    return Err(Refused::bad(format!("an event of trigger `{other}` cannot be tried by hand")));
                }
            };
            Ok((trigger, event))
        }
        (None, Some(_)) => Err(Refused::bad("`event` is a map")),
        (Some(_), Some(_)) => Err(Refused::bad("give `data` or a whole `event`, not both")),
    }
}

/// A flow that is live.
pub fn find(catalog: &Catalog, name: &str) -> Result<Arc<Flow>, Refused> {
    if let Some(flow) = catalog.flow(name) {
        return Ok(flow.clone());
    }
    let refused = Refused::missing(format!("there is no flow `{name}`"));
    Err(match nearest(name, catalog.flows.keys().map(|name| &**name)) {
        Some(near) => refused.hint(format!("did you mean `{near}`?")),
        None => refused.hint("`postrider check` says whether its file has an error"),
    })
}
