//! What WAHA sends to us, and its hosted sister, whose events are the same.
//!
//! Facts are from WAHA's OpenAPI file and from its `src/core/engines/*/session.*.core.ts`: which
//! fields are filled, and how, depends on the engine. What is the same everywhere is the long id,
//! `false_<chat>_<id>`, which is why so much is read from it.

use jiff::Timestamp;
use serde_json::Value;

use super::kinds::{kind, medium, question};
use crate::model::inbound::{Ack, Connection, Echo, Reaction, Told, Written, bare_id};
use crate::model::recipient::Recipient;
use crate::secret::{Hash, Secret};
use crate::transport::acks::ack;
use crate::transport::events::{fields, first_text, moment, one_person, person, person_in, text, whole};
use crate::transport::{Heard, Incoming, NotHeard};

/// Reads an event of a session. `bare` says how our own messages are known, see [`own`].
///
/// # Errors
/// [`NotHeard`].
pub fn read(session: &str, bare: bool, secret: Option<&Secret>, incoming: &Incoming<'_>) -> Result<Heard, NotHeard> {
    let given = (incoming.header)("x-webhook-hmac").unwrap_or_default();
    incoming.proven(secret, |secret| secret.has_signed_hex(Hash::Sha512, incoming.body, given.trim()))?;
    let event = incoming.json()?;
    if event["session"].as_str().is_some_and(|other| other != session) {
        return Ok(Heard::Told(Vec::new()));
    }
    Ok(Heard::Told(told(&event, bare, incoming.now)))
}

/// WAHA tells of it, and not what was chosen: it has not stored the poll, or its store has lost it.
const UNREAD_VOTE: &str = "somebody has voted in a poll, and WAHA could not read the vote; ask for the answer in words";

/// What an event tells; it is the account's own.
pub fn told(event: &Value, bare: bool, now: Timestamp) -> Vec<Told> {
    let payload = &event["payload"];
    let told = match event["event"].as_str() {
        // Two names for one message: both may be on.
        Some("message" | "message.any") => message(payload, &event["me"], bare, now),
        Some("message.ack" | "message.ack.group") => acknowledged(payload, bare),
        Some("message.reaction") => reaction(payload, bare, now),
        Some("poll.vote") => vote(payload, bare, now),
        Some("poll.vote.failed") => Some(vec![Told::LeftOut(UNREAD_VOTE)]),
        Some("session.status") => status(payload),
        _ => None,
    };
    told.unwrap_or_default()
}

/// The chat that a long id names.
pub fn chat_of(id: &str) -> Option<&str> {
    let (_, rest) = id.split_once('_')?;
    let chat = rest.split('_').next()?;
    chat.contains('@').then_some(chat)
}

/// The id by which a message is known. Engines that are clients of their own name the chat in the
/// answer as we wrote it and in events as WhatsApp does, by phone here and hidden there: then our
/// own messages are known by the part that stays (`bare`). Other people's keep the long id, which is
/// needed to answer and to mark them.
fn own(id: String, bare: bool) -> String {
    match bare && id.starts_with("true_") {
        true => bare_id(&id).to_owned(),
        false => id,
    }
}

/// Where something stands, and who did it: nobody when it was us.
struct Place {
    id: String,
    chat: Recipient,
    from: Option<Recipient>,
}

fn is_person(address: &Recipient) -> bool {
    matches!(address, Recipient::Phone(_) | Recipient::Lid(_) | Recipient::Bsuid(_))
}

/// Reads a message, a mark or a vote; `data` is what the engine itself knows of it. Nothing for
/// statuses and channels, where nobody writes to us.
fn place(told: &mut Vec<Told>, item: &Value, data: &Value) -> Option<Place> {
    let id = first_text([&item["id"], &item["id"]["_serialized"]])?;
    let is_own = item["fromMe"].as_bool().unwrap_or(id.starts_with("true_"));
    let chat = chat_of(&id).or(item[if is_own { "to" } else { "from" }].as_str())?;
    let address = person(chat);
    if chat == "status@broadcast" || matches!(address, Some(Recipient::Newsletter(_))) {
        return None;
    }
    let group = address.clone().filter(|chat| matches!(chat, Recipient::Group(_)));
    let (info, key) = (&data["Info"], &data["key"]);
    if is_own {
        let chat = match group {
            Some(group) => group,
            None => one_person(told, [address, person_in(&info["RecipientAlt"]), person_in(&key["remoteJidAlt"])])?,
        };
        return Some(Place { id, chat, from: None });
    }
    // Outside of groups the chat is the person.
    let mut addresses = vec![address.filter(|_| group.is_none())];
    let named = [&item["participant"], &item["author"], &item["from"], &info["Sender"], &info["SenderAlt"]];
    addresses.extend(named.map(person_in));
    let alternatives = match group {
        Some(_) => ["participant", "participantAlt", "participantPn", "participantLid"],
        None => ["remoteJid", "remoteJidAlt", "senderPn", "senderLid"],
    };
    addresses.extend(alternatives.map(|name| person_in(&key[name])));
    let from = one_person(told, addresses.into_iter().map(|address| address.filter(is_person)))?;
    Some(Place { id, chat: group.unwrap_or_else(|| from.clone()), from: Some(from) })
}

fn message(payload: &Value, me: &Value, bare: bool, now: Timestamp) -> Option<Vec<Told>> {
    let mut told = Vec::new();
    let data = &payload["_data"];
    let Place { id, chat, from } = place(&mut told, payload, data)?;
    let kind = kind(payload)?;
    let media = medium(payload);
    let text = said(payload, kind);
    if kind == "other" && text.is_none() && media.is_none() {
        return None;
    }
    let Some(from) = from else {
        let by_hand = payload["source"] == "app";
        let (message_id, at) = (own(id, bare), moment(&payload["timestamp"], now));
        told.push(Told::Echo(Echo { message_id, at, chat, kind, text, by_hand }));
        return Some(told);
    };
    let reply_to = quoted(payload, &id, me, &told, &from).map(|id| own(id, bare));
    told.push(Told::Written(Box::new(Written {
        fields: fields_of(payload),
        // The same message may be told under two ids, one with the phone and one with the hidden address.
        event_id: format!("message:{}", bare_id(&id)),
        at: moment(&payload["timestamp"], now),
        message_id: id,
        chat,
        from,
        name: first_text([&data["Info"]["PushName"], &data["pushName"], &data["notifyName"]]),
        kind,
        text,
        media,
        reply_to,
    })));
    Some(told)
}

fn fields_of(payload: &Value) -> Option<Value> {
    let place = &payload["location"];
    let cards = payload["vCards"].as_array().into_iter().flatten().filter_map(Value::as_str).map(fields::card);
    let name = if place["name"].is_null() { &place["description"] } else { &place["name"] };
    fields::place(&place["latitude"], &place["longitude"], name, &place["address"]).or_else(|| fields::cards(cards))
}

/// What was said, where the body holds that.
fn said(payload: &Value, kind: &str) -> Option<String> {
    let body = text(&payload["body"]);
    match kind {
        // The body is a small picture of the map, or a card.
        "location" | "contact" => None,
        // An engine may put the file's name there.
        "file" => body.filter(|body| payload["media"]["filename"] != body.as_str()),
        // The body has the button's id behind its words.
        "choice" => text(&payload["interactiveResponse"]["selectedText"]).or(body),
        "poll" => body.or_else(|| question(payload)),
        _ => body,
    }
}

/// The long id of the message that this one answers. Mostly only its last part is told.
fn quoted(payload: &Value, id: &str, me: &Value, told: &[Told], from: &Recipient) -> Option<String> {
    let quote = &payload["replyTo"];
    let last = text(&quote["id"])?;
    if last.contains('_') {
        return Some(last);
    }
    if let Some(whole) = text(&quote["_data"]["id"]["_serialized"]) {
        return Some(whole);
    }
    let chat = chat_of(id)?;
    let author = person_in(&quote["participant"]);
    let is_senders = |author: &Recipient| {
        author == from || told.iter().any(|told| matches!(told, Told::Same(a, b) if a == from && b == author))
    };
    let group = chat.ends_with("@g.us");
    let ours = match &author {
        Some(author) if group => [&me["id"], &me["lid"]].into_iter().any(|me| person_in(me).as_ref() == Some(author)),
        Some(author) => !is_senders(author),
        None => false,
    };
    let behind = text(&quote["participant"]).filter(|_| group).map(|author| format!("_{author}")).unwrap_or_default();
    Some(format!("{ours}_{chat}_{last}{behind}"))
}

fn acknowledged(payload: &Value, bare: bool) -> Option<Vec<Told>> {
    let id = first_text([&payload["id"], &payload["id"]["_serialized"]])?;
    // What we have read ourselves is told too. In groups an engine turns one of the two signs round.
    if payload["fromMe"] == false && !id.starts_with("true_") {
        return None;
    }
    let fate = ack(whole(&payload["ack"])?)?;
    let mut told = Vec::new();
    one_person(&mut told, [&payload["_data"]["Sender"], &payload["_data"]["SenderAlt"]].map(person_in));
    let chat = chat_of(&id).and_then(person);
    told.push(Told::Ack(Ack { message_id: own(id, bare), fate, ours: None, chat }));
    Some(told)
}

fn reaction(payload: &Value, bare: bool, now: Timestamp) -> Option<Vec<Told>> {
    let mut told = Vec::new();
    let Place { id, chat, from } = place(&mut told, payload, &payload["_data"])?;
    let mark = &payload["reaction"];
    let message_id = own(first_text([&mark["messageId"], &mark["messageId"]["_serialized"]])?, bare);
    // Of one message there may be several marks, one after another.
    let event_id = format!("reaction:{}:{}", bare_id(&id), payload["timestamp"]);
    let (emoji, at) = (mark["text"].as_str()?.to_owned(), moment(&payload["timestamp"], now));
    told.push(Told::Reaction(Reaction { event_id, message_id, at, chat, from: from?, emoji }));
    Some(told)
}

/// An answer to a poll; nothing when it is taken back.
fn vote(payload: &Value, bare: bool, now: Timestamp) -> Option<Vec<Told>> {
    let mut told = Vec::new();
    let vote = &payload["vote"];
    let Place { id, chat, from } = place(&mut told, vote, &payload["_data"])?;
    let words: Vec<String> = vote["selectedOptions"].as_array()?.iter().filter_map(text).collect();
    if words.is_empty() {
        return None;
    }
    told.push(Told::Written(Box::new(Written {
        fields: None,
        // An engine gives every vote on a poll the poll's id.
        event_id: format!("vote:{}:{}:{}", bare_id(&id), from.as_ref()?, vote["timestamp"]),
        message_id: id,
        at: moment(&vote["timestamp"], now),
        chat,
        from: from?,
        name: text(&payload["_data"]["Info"]["PushName"]),
        kind: "choice",
        text: Some(words.join(", ")),
        media: None,
        reply_to: text(&payload["poll"]["id"]).map(|id| own(id, bare)),
    })));
    Some(told)
}

fn status(payload: &Value) -> Option<Vec<Told>> {
    let state = first_text([&payload["status"], payload])?;
    Some(vec![Told::Connection(Connection { is_up: state == "WORKING", state })])
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
