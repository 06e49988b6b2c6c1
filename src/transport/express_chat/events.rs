//! What Express-Chat and its sister brands send to us.
//!
//! None of it is documented. They resell Meta's API, so its events are read where they are passed on;
//! else what client code reads, in its several writings: `{botId, platform, data}` around a message,
//! and reports on deliveries. What is not understood is left out. Nothing is signed.

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::options::ExpressChatOptions;
use crate::model::delivery::MessageState;
use crate::model::inbound::{Ack, Echo, Fate, Told, Written};
use crate::transport::events::{first_text, moment, person_in};
use crate::transport::gateway::Options as _;
use crate::transport::meta::events as meta;
use crate::transport::{Heard, Incoming, NotHeard};

/// Reads what came to the address that only the gateway knows.
///
/// # Errors
/// [`NotHeard`].
pub fn read(incoming: &Incoming<'_>) -> Result<Heard, NotHeard> {
    incoming.proven(None, |_| false)?;
    let body = incoming.json()?;
    if body["entry"].is_array() {
        return Ok(Heard::Told(meta::events(&body, None, incoming.now)));
    }
    // Its bots speak on other platforms too.
    let elsewhere = body["platform"].as_str().is_some_and(|name| !name.to_ascii_lowercase().contains("whats"));
    let data = if body["data"].is_null() { &body } else { &body["data"] };
    let items = data.as_array().map_or(std::slice::from_ref(data), Vec::as_slice);
    let mut told = Vec::new();
    for item in items.iter().filter(|item| item.is_object() && !elsewhere) {
        match report(item) {
            Some(ack) => told.push(Told::Ack(ack)),
            None => message(&mut told, item, incoming.now),
        }
    }
    Ok(Heard::Told(told))
}

/// The id of a message, wherever it stands.
fn id(item: &Value) -> Option<String> {
    let message = &item["message"];
    let places = [&item["messageId"], &item["message_id"], &message["messageId"], &message["id"], &item["wamid"]];
    first_text(places.into_iter().chain([&item["id"], &item["_id"]]))
}

/// How far a message is.
fn report(item: &Value) -> Option<Ack> {
    let word = first_text([&item["status"], &item["event"]])?.to_ascii_lowercase();
    let error = if item["errors"][0].is_object() { &item["errors"][0] } else { &item["error"] };
    let fate = match word.as_str() {
        "sent" => Fate::Reached(MessageState::Sent),
        "delivered" => Fate::Reached(MessageState::Delivered),
        "read" => Fate::Reached(MessageState::Read),
        "failed" => meta::failed(ExpressChatOptions::NAME, error),
        _ => return None,
    };
    Some(Ack { message_id: id(item)?, fate, ours: None, chat: None })
}

fn message(told: &mut Vec<Told>, item: &Value, now: Timestamp) {
    let (message, contact) = (&item["message"], &item["contact"]);
    let people = ["wa_id", "waId", "from", "phone", "phoneNumber"];
    let mut people = people.iter().flat_map(|name| [&item[*name], &contact[*name], &message[*name]]);
    let Some(chat) = people.find_map(person_in) else { return };
    let words = [&message["text"], &message["text"]["body"], message, &message["body"], &message["label"]];
    let words = first_text(words.into_iter().chain([&item["text"], &item["text"]["body"], &item["body"]]));
    let kind = match first_text([&item["type"], &message["type"]]).unwrap_or_default().to_ascii_lowercase().as_str() {
        "image" => "image",
        "video" => "video",
        "audio" => "audio",
        "document" => "file",
        "location" => "location",
        "button" | "interactive" if words.is_some() => "choice",
        _ if words.is_some() => "text",
        // Neither words nor a file: some event that nobody knows.
        _ => return,
    };
    // Without an id the same words at another time are known by the time, if it is there.
    let message_id = id(item).unwrap_or_else(|| hex::encode(Sha256::digest(item.to_string())));
    if item["fromMe"] == true || item["from_me"] == true {
        let at = moment(&item["timestamp"], now);
        told.push(Told::Echo(Echo { message_id, at, chat, kind, text: words, by_hand: false }));
        return;
    }
    told.push(Told::Written(Box::new(Written {
        fields: None,
        event_id: format!("message:{message_id}"),
        message_id,
        at: moment(&item["timestamp"], now),
        from: chat.clone(),
        chat,
        name: first_text([&item["userName"], &item["name"], &contact["name"]]),
        kind,
        text: words,
        media: None,
        reply_to: first_text([&item["context"]["id"], &message["context"]["id"]]),
    })));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::delivery::ErrorClass;
    use crate::transport::events::{person, post, second};

    fn told(body: &Value) -> Vec<Told> {
        match post(None, body.to_string().as_bytes(), read) {
            Ok(Heard::Told(told)) => told,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_the_secret_address_is_believed() {
        assert_eq!(post(Some(("x-other", "")), b"{}", read), Err(NotHeard::Unverifiable));
        assert_eq!(post(None, b"{", read), Err(NotHeard::Unreadable));
    }

    #[test]
    fn messages_are_read_in_several_writings() {
        let from = person("15417543010").unwrap();
        let expected = [Told::Written(Box::new(Written {
            fields: None,
            event_id: "message:M1".into(),
            message_id: "M1".into(),
            at: second(7),
            chat: from.clone(),
            from,
            name: Some("Ada".into()),
            kind: "text",
            text: Some("Hi".into()),
            media: None,
            reply_to: None,
        }))];
        let flat =
            json!({ "messageId": "M1", "wa_id": "15417543010", "userName": "Ada", "message": "Hi", "timestamp": 7 });
        let deep = json!({ "platform": "WhatsApp", "data": [{ "contact": { "phone": "15417543010", "name": "Ada" },
            "message": { "id": "M1", "type": "text", "text": { "body": "Hi" } }, "timestamp": "7" }] });
        let metas = json!({ "entry": [{ "changes": [{ "field": "messages", "value": {
            "contacts": [{ "wa_id": "15417543010", "profile": { "name": "Ada" } }],
            "messages": [{ "id": "M1", "from": "15417543010", "timestamp": "7", "type": "text",
                "text": { "body": "Hi" } }] } }] }] });
        for body in [flat, deep, metas] {
            assert_eq!(told(&body), expected, "{body}");
        }
        let other = json!({ "platform": "telegram", "data": { "id": "M1", "from": "15417543010", "text": "Hi" } });
        for body in [other, json!([7]), json!({ "wa_id": "15417543010" }), json!({ "data": { "from": [] } })] {
            assert!(told(&body).is_empty(), "{body}");
        }
    }

    #[test]
    fn reports_are_acks() {
        let report = |status: &str| told(&json!({ "messageId": "M1", "status": status, "errors": [{ "code": 470 }] }));
        let ack = |fate| [Told::Ack(Ack { message_id: "M1".into(), fate, ours: None, chat: None })];
        assert_eq!(report("Delivered"), ack(Fate::Reached(MessageState::Delivered)));
        let error = "express-chat reported a failure 470".to_owned();
        assert_eq!(report("failed"), ack(Fate::Failed { class: ErrorClass::WindowClosed, error }));
        assert!(report("queued").is_empty());
    }
}
