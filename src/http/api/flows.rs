//! `/flows`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Answer, time};
use crate::flow::catalog::Catalog;
use crate::flow::{Flow, Respond, Trigger};
use crate::http::House;
use crate::http::body::Json;
use crate::http::error::{Refused, answer};
use crate::store::StoreError;
use crate::store::rows::RunFilter;
use crate::units::nearest;

pub async fn list(State(house): State<Arc<House>>) -> Answer {
    let catalog = house.catalog.borrow().clone();
    let (mut rows, bad) = (Vec::new(), bad(&house).await?);
    for flow in catalog.flows.values() {
        rows.push(row(&house, &catalog, flow, &bad).await?);
    }
    let body = json!({ "flows": rows, "diagnostics": catalog.findings, "hash": catalog.hash });
    Ok(answer(StatusCode::OK, &body))
}

pub async fn show(State(house): State<Arc<House>>, Path(name): Path<String>) -> Answer {
    let catalog = house.catalog.borrow().clone();
    let flow = find(&catalog, &name)?;
    Ok(answer(StatusCode::OK, &row(&house, &catalog, &flow, &bad(&house).await?).await?))
}

pub async fn trigger(State(house): State<Arc<House>>, Path(path): Path<String>, Json(wish): Json) -> Answer {
    let Some(name) = path.strip_suffix("/trigger") else {
        return Err(Refused::missing(format!("a flow has no `{path}`")));
    };
    let catalog = house.catalog.borrow().clone();
    let flow = find(&catalog, name)?;
    let (trigger, event) = event(&wish)?;
    let run = house.intake.prepare(&flow, trigger, &event);
    let id = run.id;
    house.intake.accept(run).await?;
    Ok(answer(StatusCode::ACCEPTED, &json!({ "run": id })))
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

fn find(catalog: &Catalog, name: &str) -> Result<Arc<Flow>, Refused> {
    if let Some(flow) = catalog.flow(name) {
        return Ok(flow.clone());
    }
    let refused = Refused::missing(format!("there is no flow `{name}`"));
    Err(match nearest(name, catalog.flows.keys().map(|name| &**name)) {
        Some(near) => refused.hint(format!("did you mean `{near}`?")),
        None => refused.hint("`postrider check` says whether its file has an error"),
    })
}

/// How many messages of each flow came to a bad end.
async fn bad(house: &House) -> Result<BTreeMap<String, u64>, StoreError> {
    let mut bad = BTreeMap::new();
    for (_, flow, count) in house.store.bad_messages().await? {
        *bad.entry(flow).or_default() += count;
    }
    Ok(bad)
}

async fn row(house: &House, catalog: &Catalog, flow: &Flow, bad: &BTreeMap<String, u64>) -> Result<Value, StoreError> {
    let filter = RunFilter { flow: Some(flow.name.to_string()), limit: 1, ..RunFilter::default() };
    let last = house.store.runs(filter).await?;
    let last =
        last.first().map(|run| json!({ "id": run.id, "state": run.state, "created_at": time(Some(run.created_at)) }));
    let now = house.clock.now();
    let triggers: Vec<Value> = flow.triggers.iter().map(|trigger| trigger_row(trigger, flow.enabled, now)).collect();
    let stale = catalog.stale.get(&flow.name);
    Ok(json!({
        "name": &*flow.name,
        "description": flow.description,
        "enabled": flow.enabled,
        "version": flow.version,
        "stale": stale.is_some(),
        "diagnostics": stale.map_or(&[][..], Vec::as_slice),
        "triggers": triggers,
        "script": flow.script,
        "last_run": last,
        "bad_messages": bad.get(&*flow.name).copied().unwrap_or_default(),
    }))
}

fn trigger_row(trigger: &Trigger, enabled: bool, now: Timestamp) -> Value {
    let mut row = match trigger {
        Trigger::Webhook(webhook) => json!({
            "path": format!("/hooks{}", webhook.path),
            "methods": webhook.methods,
            "verified": webhook.verify.is_some(),
            "respond": if webhook.respond == Respond::Result { "result" } else { "accepted" },
        }),
        Trigger::Timed(timed) => json!({ "schedule": timed.schedule.text(), "timezone": timed.schedule.zone_name() }),
        Trigger::Watch(watch) => {
            json!({ "paths": watch.patterns.iter().map(ToString::to_string).collect::<Vec<_>>() })
        }
        Trigger::Message(on) => json!({
            "account": on.account,
            "from": on.from,
            "text": on.text.as_ref().map(regex::Regex::as_str),
            "chats": on.chats.name(),
            "first": on.first,
            "else": on.otherwise,
        }),
    };
    row["kind"] = trigger.kind().into();
    row["next_at"] = match trigger {
        Trigger::Timed(timed) if enabled => time(timed.schedule.next(now)),
        _ => Value::Null,
    };
    row
}
