//! What Wapim sends to us.
//!
//! Its pages name the events and show none of them. Messages are read here as its lists of past
//! messages show them (`get-messages/chat-history.md`); all else is a guess, made so that a wrong
//! one leaves an event out. Nothing is signed.

use jiff::Timestamp;
use serde_json::Value;

use crate::model::delivery::MessageState;
use crate::model::inbound::{Ack, Echo, Fate, Told, Written};
use crate::model::recipient::Recipient;
use crate::transport::events::{first_text, moment, one_person, person_in, text};
use crate::transport::{Heard, Incoming, NotHeard};

/// Reads what Wapim sent to the address that only it knows.
///
/// # Errors
/// [`NotHeard`].
pub fn read(incoming: &Incoming<'_>) -> Result<Heard, NotHeard> {
    incoming.proven(None, |_| false)?;
    let body = incoming.json()?;
    let events = body.as_array().map_or(std::slice::from_ref(&body), Vec::as_slice);
    let mut told = Vec::new();
    for event in events {
        heard(&mut told, event, incoming.now);
    }
    Ok(Heard::Told(told))
}

fn heard(told: &mut Vec<Told>, event: &Value, now: Timestamp) {
    // `TextMessage`, `Text Message` and `text_message` are one.
    let name = event["event_name"].as_str().unwrap_or_default();
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    if name.starts_with("ack") {
        let state = match name.trim_start_matches("acknowledge") {
            "delivered" => MessageState::Delivered,
            "read" | "readed" => MessageState::Read,
            _ => return,
        };
        // What a send answers is the id in its queue, which it may name or not.
        let ids = [&event["queue_message_id"], &event["message_id"]].into_iter().filter_map(text);
        told.extend(
            ids.map(|message_id| Told::Ack(Ack { message_id, fate: Fate::Reached(state), ours: None, chat: None })),
        );
        return;
    }
    let kind = match name.as_str() {
        "textmessage" => "text",
        "imagemessage" => "image",
        "videomessage" => "video",
        "audiomessage" => "audio",
        "documentmessage" => "file",
        "locationmessage" | "livelocationmessage" => "location",
        "contactmessage" => "contact",
        _ => return,
    };
    message(told, event, kind, now);
}

fn message(told: &mut Vec<Told>, event: &Value, kind: &'static str, now: Timestamp) {
    let Some(message_id) = text(&event["message_id"]) else { return };
    let (from, to) = (&event["from_phone_number"], &event["to_phone_number"]);
    let words = first_text([&event["text"], &event["caption"]]);
    let in_group = event["from_group"] != false && !event["from_group"].is_null();
    let group = [&event["from_group"], from, to].into_iter().find_map(group);
    if in_group && group.is_none() {
        return;
    }
    if event["from_me"] == true {
        let chat = group.or_else(|| person_in(to));
        let at = moment(&event["timestamp"], now);
        told.extend(chat.map(|chat| Told::Echo(Echo { message_id, at, chat, kind, text: words, by_hand: false })));
        return;
    }
    // Where the sender in a group stands is not known; then the group itself is named.
    let Some(from) = one_person(told, [person_in(from)]).or_else(|| group.clone()) else { return };
    told.push(Told::Written(Box::new(Written {
        fields: None,
        event_id: format!("message:{message_id}"),
        message_id,
        at: moment(&event["timestamp"], now),
        chat: group.unwrap_or_else(|| from.clone()),
        from,
        name: None,
        kind,
        text: words,
        media: None,
        reply_to: None,
    })));
}

/// Groups go by their bare id here, such as `15417543010-1570918620`.
fn group(value: &Value) -> Option<Recipient> {
    let id = value.as_str()?.trim_end_matches("@g.us");
    Recipient::parse(&format!("{id}@g.us")).ok().filter(|_| id.contains('-'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::transport::events::{person, post, second};

    fn told(event: &Value) -> Vec<Told> {
        match post(None, event.to_string().as_bytes(), read) {
            Ok(Heard::Told(told)) => told,
            other => panic!("{other:?}"),
        }
    }

    fn event(more: &Value) -> Value {
        let mut event = json!({ "event_name": "TextMessage", "from_group": false, "from_me": false, "text": "Hi",
            "from_phone_number": "16417543016", "to_phone_number": "15417543010", "message_id": "3A06",
            "timestamp": 1_582_291_178 });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    }

    #[test]
    fn only_the_secret_address_is_believed() {
        assert_eq!(post(Some(("x-other", "")), b"{}", read), Err(NotHeard::Unverifiable));
        assert_eq!(post(None, b"{", read), Err(NotHeard::Unreadable));
    }

    #[test]
    fn messages_are_read_as_their_history_shows_them() {
        let from = person("16417543016").unwrap();
        let written = Written {
            fields: None,
            event_id: "message:3A06".into(),
            message_id: "3A06".into(),
            at: second(1_582_291_178),
            chat: from.clone(),
            from,
            name: None,
            kind: "text",
            text: Some("Hi".into()),
            media: None,
            reply_to: None,
        };
        let expected = Told::Written(Box::new(written));
        assert_eq!(told(&json!([7, event(&json!({})), { "event_name": [] }])), [expected]);
        let (message_id, chat) = ("3A06".to_owned(), person("15417543010").unwrap());
        let (at, text) = (second(1_582_291_178), Some("Hi".into()));
        let echo = Echo { message_id, at, chat, kind: "text", text, by_hand: false };
        assert_eq!(told(&event(&json!({ "from_me": true }))), [Told::Echo(echo)]);
        let group = told(&event(&json!({ "from_group": true, "to_phone_number": "15417543010-1570918620" })));
        assert!(matches!(&group[..], [Told::Written(written)] if written.chat.kind() == "group"));
        for more in [json!({ "event_name": "Battery" }), json!({ "message_id": 7 }), json!({ "from_group": true })] {
            assert!(told(&event(&more)).is_empty(), "{more}");
        }
    }

    #[test]
    fn acknowledgements_are_acks() {
        let ack =
            |state| [Told::Ack(Ack { message_id: "3A06".into(), fate: Fate::Reached(state), ours: None, chat: None })];
        assert_eq!(told(&event(&json!({ "event_name": "Acknowledge Readed" }))), ack(MessageState::Read));
        assert_eq!(told(&event(&json!({ "event_name": "AcknowledgeDelivered" }))), ack(MessageState::Delivered));
    }
}
