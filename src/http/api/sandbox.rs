//! `/sandbox`: what the phones of the sandbox got, what is typed on them, and whether they are on.

use std::io::Cursor;
use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, Query, fine, known, with};
use crate::clock::rfc3339;
use crate::http::House;
use crate::http::body::Json;
use crate::http::error::Refused;
use crate::http::gateways::take;
use crate::id::MessageId;
use crate::model::delivery::MessageState;
use crate::model::inbound::{Ack, Fate, InboundMedia, Told, Written};
use crate::model::message::{Body, Content, Media, SendOptions, Snapshot, Source};
use crate::model::recipient::Recipient;
use crate::outbox::{Account, SharedView, served_type};
use crate::run::snapshot;
use crate::store::records::{HandsetChange, PhoneMessage};
use crate::transport::sandbox;
use crate::view::PhoneRow;

/// Letters that WhatsApp lets people type.
const LONGEST: usize = 65_536;
/// Messages of a phone that are looked through for those whose ticks change.
const TICKED: usize = 500;

/// What the phones got, newest first.
#[utoipa::path(get, path = "/sandbox/messages", tag = "sandbox",
    params(("limit" = Option<usize>, Query, description = "at most so many")),
    responses((status = 200, description = "`{\"messages\": [...]}`")))]
pub async fn list(State(house): State<Arc<House>>, RawQuery(query): RawQuery) -> Answer {
    let query = Query::read(query.as_deref(), &["limit"])?;
    let messages = house.view.store.phone_messages(None, query.limit()?).await?;
    let rows: Vec<Value> = messages
        .iter()
        .map(|message| {
            let mut row = json!(message);
            let phone = Value::String(message.to.clone());
            let account = Value::String(message.account.clone());
            (row["to"], row["from"]) = if message.incoming { (account, phone) } else { (phone, account) };
            row["at"] = rfc3339(message.at).into();
            row
        })
        .collect();
    fine(&json!({ "messages": rows }))
}

/// The phones, each with its chat.
#[utoipa::path(get, path = "/sandbox/phones", tag = "sandbox",
    responses((status = 200, description = "`{\"phones\": [...]}`", body = [PhoneRow])))]
pub async fn phones(State(house): State<Arc<House>>, RawQuery(query): RawQuery) -> Answer {
    Query::read(query.as_deref(), &[])?;
    fine(&json!({ "phones": house.view.phones().await? }))
}

/// Makes a phone, or changes it: `{name, off}`.
#[utoipa::path(put, path = "/sandbox/phones/{phone}", tag = "sandbox",
    params(("phone" = String, Path, description = "its number")),
    responses((status = 200, description = "`{\"phone\"}`")))]
pub async fn change(State(house): State<Arc<House>>, Path(phone): Path<String>, Json(body): Json) -> Answer {
    known(&body, &["name", "off"])?;
    let phone = Recipient::read(&phone, house.view.country()).map_err(Refused::bad)?;
    let name = body["name"].as_str().map(str::to_owned);
    switch(&house, &phone, HandsetChange { name, off: body["off"].as_bool() }).await?;
    fine(&json!({ "phone": phone }))
}

/// Makes a phone, or changes it. What waited for it to be on arrives then.
pub async fn switch(house: &House, phone: &Recipient, change: HandsetChange) -> Result<(), Refused> {
    let on = change.off == Some(false);
    house.view.store.change_handset(&phone.to_string(), change, house.view.clock.now()).await?;
    if on {
        tell(house, marks(house, phone, MessageState::Delivered).await?).await?;
    }
    Ok(())
}

/// Takes everything off the phones.
#[utoipa::path(delete, path = "/sandbox/messages", tag = "sandbox",
    responses((status = 200, description = "`{\"emptied\": true}`")))]
pub async fn empty(State(house): State<Arc<House>>) -> Answer {
    house.view.store.empty_phones().await?;
    fine(&json!({ "emptied": true }))
}

/// Marks of the messages that one account's gateway would tell.
type Marks = Vec<(Account, SharedView, Vec<Told>)>;

/// That what stands on a phone has come so far, as its gateways would tell.
async fn marks(house: &House, phone: &Recipient, state: MessageState) -> Result<Marks, Refused> {
    let messages = house.view.store.phone_messages(Some(phone.to_string()), TICKED).await?;
    let accounts = house.view.accounts.borrow().clone();
    let mut marks = Marks::new();
    for (account, view) in accounts.iter() {
        let mut told = Vec::new();
        for message in messages.iter().filter(|message| !message.incoming && message.account == account.name) {
            let known = house.view.store.message(message.id).await?;
            // The phone may show it before the attempt is settled: such an ack is kept until then.
            let hears = |now| now == MessageState::Unknown || (MessageState::Sending..state).contains(&now);
            if known.is_some_and(|known| hears(known.state)) {
                told.push(Told::Ack(Ack {
                    message_id: format!("SANDBOX-{}", message.id),
                    ours: None,
                    chat: None,
                    fate: Fate::Reached(state),
                }));
            }
        }
        if !told.is_empty() {
            marks.push((account.clone(), view.clone(), told));
        }
    }
    Ok(marks)
}

async fn tell(house: &House, marks: Marks) -> Result<(), Refused> {
    for (account, view, told) in marks {
        take(house, &account, &view, told).await?;
    }
    Ok(())
}

/// Something that is done on a phone.
#[derive(Default)]
pub struct Typed {
    /// What is written.
    pub text: Option<String>,
    /// A button or an answer of a poll that is chosen.
    pub choice: Option<String>,
    /// A file that goes with it.
    pub file: Option<(Snapshot, &'static str)>,
    /// By which account; else the only sandbox.
    pub account: Option<String>,
    /// What it answers, by the gateway's id.
    pub reply_to: Option<String>,
    /// In which chat; else in that with the account.
    pub chat: Option<Recipient>,
    /// What the person is called; else what the phone is.
    pub name: Option<String>,
}

/// A message as if typed on a phone: `{from, text, media, choice, account, reply_to, chat, name}`.
#[utoipa::path(post, path = "/sandbox/messages", tag = "sandbox",
    responses((status = 202, description = "`{\"id\", \"message_id\"}`"), (status = 400, description = "nothing was typed")))]
pub async fn reply(State(house): State<Arc<House>>, Json(body): Json) -> Answer {
    known(&body, &["from", "text", "media", "choice", "account", "reply_to", "chat", "name"])?;
    let text = |name: &str| body[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let country = house.view.country();
    let from = text("from").ok_or_else(|| Refused::bad("`from` is missing: the phone that is typed on"))?;
    let from = Recipient::read(&from, country).map_err(Refused::bad)?;
    let chat = text("chat").map(|chat| Recipient::read(&chat, country)).transpose().map_err(Refused::bad)?;
    let file = match text("media") {
        Some(path) => {
            // A large file takes its time to be copied, and to be on disk.
            let (context, blobs) = (house.context.clone(), house.blobs.clone());
            let copied = tokio::task::spawn_blocking(move || {
                let copy = snapshot(&context, &path)?;
                let mime = served_type(&blobs, &copy.blob, &copy.file_name);
                Ok((copy, mime))
            });
            let copied = copied.await.map_err(|error| Refused::busy(error.to_string()))?;
            Some(copied.map_err(|why: String| Refused::bad(why))?)
        }
        None => None,
    };
    let typed = Typed {
        text: text("text"),
        choice: text("choice"),
        file,
        account: text("account"),
        reply_to: text("reply_to"),
        chat,
        name: text("name"),
    };
    let id = type_on(&house, &from, typed).await?;
    with(StatusCode::ACCEPTED, &json!({ "id": id, "message_id": format!("PHONE-{id}") }))
}

/// Keeps a file that was sent from a phone.
pub async fn keep(house: &House, name: &str, bytes: Vec<u8>) -> Result<(Snapshot, &'static str), Refused> {
    let (blobs, file_name) = (house.blobs.clone(), name.to_owned());
    let kept = tokio::task::spawn_blocking(move || {
        let (blob, size) = blobs.keep(&mut Cursor::new(bytes))?;
        let mime = served_type(&blobs, &blob, &file_name);
        Ok::<_, std::io::Error>((Snapshot { blob, size, file_name }, mime))
    });
    match kept.await {
        Ok(Ok(kept)) => Ok(kept),
        Ok(Err(error)) => Err(Refused::bad(format!("the file cannot be kept: {error}"))),
        Err(error) => Err(Refused::busy(error.to_string())),
    }
}

fn sandbox<'a>(
    accounts: &'a [(Account, SharedView)],
    name: Option<&str>,
) -> Result<&'a (Account, SharedView), Refused> {
    let mut sandboxes = accounts.iter().filter(|(account, _)| account.kind == sandbox::NAME);
    let found = match name {
        Some(name) => sandboxes.find(|(account, _)| account.name == name),
        None => sandboxes.next().filter(|_| sandboxes.next().is_none()),
    };
    found.ok_or_else(|| {
        Refused::bad(match name {
            Some(name) => format!("`{name}` is no account with `transport: sandbox`"),
            None => "which sandbox? name an account with `transport: sandbox` by `account`".to_owned(),
        })
    })
}

/// Does something on a phone; gives the id of the message that it makes.
pub async fn type_on(house: &House, from: &Recipient, typed: Typed) -> Result<MessageId, Refused> {
    let accounts = house.view.accounts.borrow().clone();
    let (account, view) = sandbox(&accounts, typed.account.as_deref())?;
    let now = house.view.clock.now();
    let id = MessageId::new(now);
    let text = typed.choice.clone().or(typed.text.clone());
    if text.as_ref().is_some_and(|text| text.chars().count() > LONGEST) {
        return Err(Refused::bad(format!("a phone takes {LONGEST} letters at most")));
    }
    let handsets = house.view.store.handsets().await?;
    let handset = handsets.into_iter().find(|handset| handset.phone == from.to_string());
    let (content, media) = match typed.file {
        None => match text.clone() {
            Some(text) => (Content::Text { text }, None),
            None => return Err(Refused::bad("give `text`, `media` (a file of the workspace), or both")),
        },
        Some((copy, mime)) => {
            let media = InboundMedia {
                mime: Some(mime.to_owned()),
                name: Some(copy.file_name.clone()),
                size: Some(copy.size),
                source: copy.blob.clone(),
            };
            let file = Media { caption: text.clone(), ..Media::new(Source::Snapshot(copy)) };
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
        chat: typed.chat.unwrap_or_else(|| from.clone()),
        from: from.clone(),
        name: typed.name.or(handset.and_then(|handset| handset.name)),
        kind: if typed.choice.is_some() { "choice" } else { content.kind() },
        text,
        media,
        reply_to: typed.reply_to,
    };
    let message = PhoneMessage {
        id,
        account: account.name.clone(),
        to: from.to_string(),
        body: Body { content, options: SendOptions::default() },
        at: now,
        incoming: true,
    };
    // Who writes in a chat has seen what stands in it. What was written is told first: runs go on by marks, and
    // might ask the next question before the answer to this one is heard.
    let seen = marks(house, from, MessageState::Read).await?;
    house.view.store.receive_on_phone(message).await?;
    take(house, account, view, vec![Told::Written(Box::new(written))]).await?;
    tell(house, seen).await?;
    Ok(id)
}
