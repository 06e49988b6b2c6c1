//! `/sandbox/messages`: what the phones of the sandbox got, and what is typed on them.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, Query, time};
use crate::http::House;
use crate::http::body::Json;
use crate::http::error::{Refused, answer};
use crate::http::gateways::take;
use crate::id::MessageId;
use crate::model::inbound::{InboundMedia, Told, Written};
use crate::model::message::{Body, Content, Media, SendOptions, Source};
use crate::model::recipient::Recipient;
use crate::outbox::served_type;
use crate::run::snapshot;
use crate::store::rows::PhoneMessage;

pub async fn list(State(house): State<Arc<House>>, RawQuery(query): RawQuery) -> Answer {
    let query = Query::read(query.as_deref(), &["limit"])?;
    let messages = house.store.phone_messages(query.limit()?).await?;
    let rows: Vec<Value> = messages
        .iter()
        .map(|message| {
            let mut row = json!(message);
            let phone = Value::String(message.to.clone());
            let account = Value::String(message.account.clone());
            (row["to"], row["from"]) = if message.incoming { (account, phone) } else { (phone, account) };
            row["at"] = time(Some(message.at));
            row
        })
        .collect();
    Ok(answer(StatusCode::OK, &json!({ "messages": rows })))
}

/// A message as if typed on a phone.
pub async fn reply(State(house): State<Arc<House>>, Json(body): Json) -> Answer {
    let known = ["from", "text", "media", "account", "reply_to", "chat", "name"];
    if let Some(key) = body.as_object().and_then(|map| map.keys().find(|key| !known.contains(&key.as_str()))) {
        return Err(Refused::bad(format!("`{key}` is not known here")).hint(format!("it takes {}", known.join(", "))));
    }
    let text = |name: &str| body[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let from = text("from").ok_or_else(|| Refused::bad("`from` is missing: the phone that is typed on"))?;
    let from = Recipient::read(&from, house.country()).map_err(Refused::bad)?;
    let chat = text("chat").map(|chat| Recipient::read(&chat, house.country())).transpose().map_err(Refused::bad)?;
    let accounts = house.accounts.borrow().clone();
    let mut sandboxes = accounts.iter().filter(|(account, _)| account.kind == "sandbox");
    let found = match text("account") {
        Some(name) => sandboxes.find(|(account, _)| account.name == name),
        None => sandboxes.next().filter(|_| sandboxes.next().is_none()),
    };
    let Some((account, view)) = found else {
        let message = match text("account") {
            Some(name) => format!("`{name}` is no account with `transport: sandbox`"),
            None => "which sandbox? name an account with `transport: sandbox` by `account`".to_owned(),
        };
        return Err(Refused::bad(message));
    };
    let (id, now) = (MessageId::new(house.clock.now()), house.clock.now());
    let (content, media) = match text("media") {
        None => match text("text") {
            Some(text) => (Content::Text { text }, None),
            None => return Err(Refused::bad("give `text`, `media` (a file of the workspace), or both")),
        },
        Some(path) => {
            let copy = snapshot(&house.context, &path).map_err(Refused::bad)?;
            let mime = served_type(&house.blobs.path(&copy.blob), &copy.file_name);
            let media = InboundMedia {
                mime: Some(mime.to_owned()),
                name: Some(copy.file_name.clone()),
                size: Some(copy.size),
                source: copy.blob.clone(),
            };
            let file = Media { caption: text("text"), ..Media::new(Source::Snapshot(copy)) };
            let kind = mime.split('/').next().filter(|kind| matches!(*kind, "image" | "video" | "audio"));
            let kind = kind.unwrap_or("file");
            (Content::of_media(kind, file.clone()).unwrap_or(Content::File(file)), Some(media))
        }
    };
    let written = Written {
        fields: None,
        event_id: format!("message:{id}"),
        message_id: format!("PHONE-{id}"),
        at: now,
        chat: chat.unwrap_or_else(|| from.clone()),
        from: from.clone(),
        name: text("name"),
        kind: content.kind(),
        text: text("text"),
        media,
        reply_to: text("reply_to"),
    };
    let message = PhoneMessage {
        id,
        account: account.name.clone(),
        to: from.to_string(),
        body: Body { content, options: SendOptions::default() },
        at: now,
        incoming: true,
    };
    house.store.receive_on_phone(message).await?;
    take(&house, account, view, vec![Told::Written(Box::new(written))]).await?;
    Ok(answer(StatusCode::ACCEPTED, &json!({ "id": id, "message_id": format!("PHONE-{id}") })))
}
