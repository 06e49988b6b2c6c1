//! `/messages`.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, Query, time};
use crate::clock::from_millis;
use crate::http::House;
use crate::http::body::Json;
use crate::http::error::{Refused, answer};
use crate::id::MessageId;
use crate::model::delivery::{MessageState, Part};
use crate::model::phone::person_of;
use crate::model::recipient::Recipient;
use crate::outbox::why;
use crate::run::by_hand;
use crate::store::StoreError;
use crate::store::rows::{Decided, Decision, MessageFilter, MessageRecord};

pub async fn list(State(house): State<Arc<House>>, RawQuery(query): RawQuery) -> Answer {
    let query = Query::read(query.as_deref(), &["to", "state", "flow", "run", "limit", "after"])?;
    let state = query.parsed("state", |word| {
        let words: Vec<_> = MessageState::ALL.iter().map(|state| state.name()).collect();
        MessageState::parse(word).ok_or(format!("`{word}` is none of {}", words.join(", ")))
    })?;
    let limit = query.limit()?;
    let filter = MessageFilter {
        to: query.parsed("to", |text| Recipient::read(text, house.country()).map(|to| to.to_string()))?,
        state,
        flow: query.get("flow").map(str::to_owned),
        run: query.parsed("run", str::parse)?,
        after: query.parsed("after", str::parse)?,
        limit,
    };
    let messages = house.store.messages(filter).await?;
    let next = (messages.len() == limit).then(|| messages.last().map(|message| message.id)).flatten();
    Ok(answer(StatusCode::OK, &json!({ "messages": rows(&house, &messages).await?, "next": next })))
}

pub async fn show(State(house): State<Arc<House>>, Path(id): Path<String>) -> Answer {
    let message = find(&house, &id).await?;
    let rows = rows(&house, std::slice::from_ref(&message)).await?;
    Ok(answer(StatusCode::OK, rows.first().unwrap_or(&Value::Null)))
}

async fn find(house: &House, id: &str) -> Result<MessageRecord, Refused> {
    let id: MessageId = id.parse().map_err(Refused::bad)?;
    let message = house.store.message(id).await?;
    message.ok_or_else(|| Refused::missing(format!("there is no message {id}")))
}

pub async fn send(State(house): State<Arc<House>>, Json(wish): Json) -> Answer {
    let context = house.context.clone();
    let messages = tokio::task::spawn_blocking(move || by_hand(&context, &wish))
        .await
        .map_err(|error| StoreError::Other(error.to_string()))?
        .map_err(|error| Refused::bad(error.message))?;
    let ids: Vec<MessageId> = messages.iter().map(|message| message.id).collect();
    house.store.promise(messages, house.clock.now()).await?;
    Ok(answer(StatusCode::ACCEPTED, &json!({ "message": ids.first(), "messages": ids })))
}

pub async fn decide(
    State(house): State<Arc<House>>,
    Path((id, decision)): Path<(String, String)>,
    Json(body): Json,
) -> Answer {
    let decision = match decision.as_str() {
        "retry" => Decision::Retry,
        "cancel" => Decision::Cancel,
        "release" => match body["as"].as_str() {
            Some("sent") => Decision::ReleaseAsSent,
            Some("resend") => Decision::ReleaseAndResend,
            _ => return Err(Refused::bad("release wants {\"as\": \"sent\"} or {\"as\": \"resend\"}")),
        },
        other => return Err(Refused::missing(format!("a message has no `{other}`"))),
    };
    let message = find(&house, &id).await?;
    match house.store.decide(message.id, decision, house.clock.now()).await? {
        Decided::Now(_) => {
            let message = find(&house, &id).await?;
            let rows = rows(&house, std::slice::from_ref(&message)).await?;
            Ok(answer(StatusCode::OK, rows.first().unwrap_or(&Value::Null)))
        }
        Decided::NotIn(state) => {
            let can = match decision {
                Decision::Cancel => "only a scheduled or queued message can be taken back",
                Decision::Retry => "only a dead or rejected message can be tried again",
                Decision::ReleaseAsSent | Decision::ReleaseAndResend => "only an unknown message can be released",
            };
            Err(Refused::new(StatusCode::CONFLICT, "state", format!("the message is {}", state.name())).hint(can))
        }
        Decided::Missing => Err(Refused::missing(format!("there is no message {id}"))),
    }
}

/// Messages as they are shown, each with why it waits.
pub async fn rows(house: &House, messages: &[MessageRecord]) -> Result<Vec<Value>, StoreError> {
    let now = house.clock.now();
    let mut rows = Vec::with_capacity(messages.len());
    // Of a recipient's queued messages all but the first wait for order.
    let mut ahead: HashSet<(&str, Cow<'_, str>)> = HashSet::new();
    let accounts = house.accounts.borrow().clone();
    let mut lanes = HashMap::new();
    for message in messages.iter().rev() {
        let lane = lanes.entry(message.account.as_str()).or_insert_with(|| {
            let lane = accounts.iter().find(|(account, _)| account.name == message.account);
            lane.map(|(account, view)| (account, view.look()))
        });
        let open = matches!(message.state, MessageState::Queued | MessageState::Sending);
        let behind = open && !ahead.insert((message.account.as_str(), person_of(&message.to)));
        let lane = lane.as_ref().map(|(account, view)| (*account, view));
        rows.push(row(message, why(message, lane, behind, now)));
    }
    rows.reverse();
    Ok(rows)
}

fn part(part: &Part) -> Value {
    json!({ "kind": part.kind, "state": part.state.name(), "provider_id": part.provider_id, "error": part.error })
}

fn row(message: &MessageRecord, why: Option<String>) -> Value {
    let attempts: Vec<Value> = message
        .attempts
        .iter()
        .map(|attempt| {
            json!({
                "number": attempt.number,
                "at": time(Some(from_millis(attempt.at))),
                "account": attempt.account.as_ref().unwrap_or(&message.account),
                "outcome": attempt.outcome,
                "error": attempt.error,
            })
        })
        .collect();
    json!({
        "id": message.id,
        "run": message.run,
        "flow": message.flow,
        "account": message.account,
        "to": message.to,
        "kind": message.body.content.kind(),
        "body": message.body,
        "state": message.state,
        "why": why,
        "attempts": attempts,
        "provider_id": message.provider_id,
        "parts": message.parts.iter().map(part).collect::<Vec<_>>(),
        "degraded": message.degraded,
        "clicks": message.clicks.map(|(count, first)| json!({ "count": count, "first_at": time(Some(first)) })),
        "created_at": time(Some(message.created_at)),
        "due_at": time(message.due_at),
    })
}
