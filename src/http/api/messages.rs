//! `/messages`.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, MOST, Query, fine, known, with};
use crate::http::House;
use crate::http::body::Json;
use crate::http::error::Refused;
use crate::id::MessageId;
use crate::model::delivery::MessageState;
use crate::model::recipient::Recipient;
use crate::run::by_hand;
use crate::store::StoreError;
use crate::store::records::{Decided, Decision, MessageFilter};
use crate::view::{MessageList, MessageRow, MessageWish};

/// A state by its word.
pub fn state(word: &str) -> Result<MessageState, String> {
    let words: Vec<_> = MessageState::ALL.iter().map(|state| state.name()).collect();
    MessageState::parse(word).ok_or(format!("`{word}` is none of {}", words.join(", ")))
}

/// A page of messages, newest first.
#[utoipa::path(get, path = "/messages", tag = "messages",
    params(
        ("to" = Option<String>, Query, description = "to this person"),
        ("state" = Option<String>, Query, description = "in one of these states, with commas between them"),
        ("flow" = Option<String>, Query, description = "of this flow"),
        ("account" = Option<String>, Query, description = "by this account"),
        ("run" = Option<String>, Query, description = "of this run"),
        ("since" = Option<String>, Query, description = "written at or after this"),
        ("until" = Option<String>, Query, description = "written before this"),
        ("q" = Option<String>, Query, description = "that hold these words"),
        ("after" = Option<String>, Query, description = "older than this message: `next` of the page before"),
        ("before" = Option<String>, Query, description = "newer than this message"),
        ("counts" = Option<bool>, Query, description = "count all of them by state"),
        ("limit" = Option<usize>, Query, description = "at most so many")),
    responses((status = 200, description = "a page", body = MessageList)))]
pub async fn list(State(house): State<Arc<House>>, RawQuery(query): RawQuery) -> Answer {
    let known = ["to", "state", "flow", "account", "run", "since", "until", "q", "after", "before", "counts", "limit"];
    let query = Query::read(query.as_deref(), &known)?;
    let to = query.parsed("to", |text| Recipient::read(text, house.view.country()).map(|to| to.to_string()))?;
    let filter = MessageFilter {
        to: to.into_iter().collect(),
        states: query.words("state", state)?,
        flow: query.text("flow"),
        account: query.text("account"),
        run: query.parsed("run", str::parse)?,
        since: query.time("since")?,
        until: query.time("until")?,
        words: query.text("q"),
        after: query.parsed("after", str::parse)?,
        before: query.parsed("before", str::parse)?,
        limit: query.limit()?,
    };
    fine(&house.view.messages(MessageWish { filter, counts: query.flag("counts")? }).await?)
}

/// One message.
#[utoipa::path(get, path = "/messages/{id}", tag = "messages",
    params(("id" = String, Path, description = "its id")),
    responses((status = 200, description = "the message", body = MessageRow), (status = 404, description = "there is none")))]
pub async fn show(State(house): State<Arc<House>>, Path(id): Path<String>) -> Answer {
    fine(&find(&house, &id).await?)
}

async fn find(house: &House, id: &str) -> Result<MessageRow, Refused> {
    let id: MessageId = id.parse().map_err(Refused::bad)?;
    house.view.message(id).await?.ok_or_else(|| Refused::missing(format!("there is no message {id}")))
}

/// Sends one message by hand: `{kind, to, account, ...}`.
#[utoipa::path(post, path = "/messages", tag = "messages",
    responses((status = 202, description = "`{\"message\", \"messages\"}`: their ids"), (status = 400, description = "it cannot be sent")))]
pub async fn send(State(house): State<Arc<House>>, Json(wish): Json) -> Answer {
    let ids = write(&house, wish).await?;
    with(StatusCode::ACCEPTED, &json!({ "message": ids.first(), "messages": ids }))
}

/// Writes messages by hand.
pub async fn write(house: &House, wish: Value) -> Result<Vec<MessageId>, Refused> {
    let context = house.context.clone();
    let messages = tokio::task::spawn_blocking(move || by_hand(&context, &wish))
        .await
        .map_err(|error| StoreError::Other(error.to_string()))?
        .map_err(|error| Refused::bad(error.message))?;
    let ids: Vec<MessageId> = messages.iter().map(|message| message.id).collect();
    house.view.store.promise(messages, house.view.clock.now()).await?;
    Ok(ids)
}

/// A decision by its words.
pub fn decision(decision: &str, how: Option<&str>) -> Result<Decision, Refused> {
    match (decision, how) {
        ("retry", _) => Ok(Decision::Retry),
        ("cancel", _) => Ok(Decision::Cancel),
        ("release", Some("sent")) => Ok(Decision::ReleaseAsSent),
        ("release", Some("resend")) => Ok(Decision::ReleaseAndResend),
        ("release", _) => Err(Refused::bad("release wants {\"as\": \"sent\"} or {\"as\": \"resend\"}")),
        (other, _) => Err(Refused::missing(format!("a message has no `{other}`"))),
    }
}

/// A person's word about a message: `retry` one that is dead or rejected, `cancel` one that is not sent, `release` an
/// unknown one (`{as: "sent"}` or `{as: "resend"}`).
#[utoipa::path(post, path = "/messages/{id}/{decision}", tag = "messages",
    params(("id" = String, Path, description = "its id"), ("decision" = String, Path, description = "`retry`, `cancel` or `release`")),
    responses((status = 200, description = "the message as it is now", body = MessageRow), (status = 409, description = "not in the state that it is in")))]
pub async fn decide(
    State(house): State<Arc<House>>,
    Path((id, word)): Path<(String, String)>,
    Json(body): Json,
) -> Answer {
    known(&body, if word == "release" { &["as"] } else { &[] })?;
    let decision = decision(&word, body["as"].as_str())?;
    let message = find(&house, &id).await?;
    settle(&house, message.id, decision).await?;
    fine(&find(&house, &id).await?)
}

/// Does what was decided.
pub async fn settle(house: &House, id: MessageId, decision: Decision) -> Result<(), Refused> {
    match house.view.store.decide(id, decision, house.view.clock.now()).await? {
        Decided::Now(_) => Ok(()),
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

/// The same about many: `{decision, as, ids}`.
#[utoipa::path(post, path = "/messages/decisions", tag = "messages",
    responses((status = 200, description = "`{\"done\": [ids], \"refused\": [{id, error}]}`")))]
pub async fn decide_many(State(house): State<Arc<House>>, Json(body): Json) -> Answer {
    known(&body, &["decision", "as", "ids"])?;
    let decision = decision(body["decision"].as_str().unwrap_or_default(), body["as"].as_str())?;
    let Some(ids) = body["ids"].as_array().filter(|ids| ids.len() <= MOST) else {
        return Err(Refused::bad(format!("`ids` is a list of up to {MOST} messages")));
    };
    // All of them are read before anything is done.
    let ids = ids.iter().map(|id| id.as_str().unwrap_or_default().parse().map_err(Refused::bad));
    let ids: Vec<MessageId> = ids.collect::<Result<_, _>>()?;
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for id in ids {
        match settle(&house, id, decision).await {
            Ok(()) => done.push(id),
            Err(why) if why.is_busy() => return Err(why),
            Err(why) => refused.push(json!({ "id": id, "error": why.message() })),
        }
    }
    fine(&json!({ "done": done, "refused": refused }))
}
