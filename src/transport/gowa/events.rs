//! What GOWA sends to us.
//!
//! Facts are from its `docs/webhook-payload.md` and `src/infrastructure/whatsapp/event_*.go`. Votes
//! and buttons are told only by versions after the one that we send to; older ones send an empty
//! message instead.

use jiff::Timestamp;
use serde_json::Value;

use crate::model::delivery::MessageState;
use crate::model::inbound::{Ack, Echo, Fate, InboundMedia, Reaction, Told, Written};
use crate::model::recipient::Recipient;
use crate::secret::{Hash, Secret};
use crate::transport::events::{fields, first_text, moment, one_person, person, person_in, text};
use crate::transport::{Heard, Incoming, NotHeard};

/// Reads an event; `device` is the account's own, where it names one.
///
/// # Errors
/// [`NotHeard`].
pub fn read(device: Option<&str>, secret: Option<&Secret>, incoming: &Incoming<'_>) -> Result<Heard, NotHeard> {
    let given = (incoming.header)("x-hub-signature-256").unwrap_or_default();
    incoming.proven(secret, |secret| {
        given
            .trim()
            .strip_prefix("sha256=")
            .is_some_and(|given| secret.has_signed_hex(Hash::Sha256, incoming.body, given))
    })?;
    let event = incoming.json()?;
    let payload = &event["payload"];
    if let Some(device) = device {
        if is_of_another(device, &event) {
            return Ok(Heard::Told(Vec::new()));
        }
        if address_of(device).is_none() && text(&event["session_id"]).is_none() && event["device_id"] != device {
            return Ok(Heard::Told(vec![Told::LeftOut(WHICH_DEVICE)]));
        }
    }
    if event["event"].is_null() && (event["message"].is_object() || !event["sender_id"].is_null()) {
        return Ok(Heard::Told(vec![Told::LeftOut(TOO_OLD)]));
    }
    let told = match event["event"].as_str() {
        Some("message") => message(payload, incoming.now),
        Some("message.ack") => Some(acks(payload)),
        Some("message.reaction") => reaction(payload, incoming.now),
        _ => None,
    };
    Ok(Heard::Told(told.unwrap_or_default()))
}

/// Whether the event names a device, and another one. A device has an address, and maybe a name
/// that it was given when it was added.
fn is_of_another(device: &str, event: &Value) -> bool {
    let (address, name) = (&event["device_id"], &event["session_id"]);
    if *address == device || *name == device {
        return false;
    }
    match (address_of(device), person_in(address)) {
        (Some(own), Some(named)) if own.kind() == named.kind() => own != named,
        (Some(_), _) => false,
        // Versions that tell no name cannot be compared.
        (None, _) => text(name).is_some(),
    }
}

/// The address of a device that is given by it, in full or by its digits; none for a name.
fn address_of(device: &str) -> Option<Recipient> {
    let digits = device.strip_prefix('+').unwrap_or(device);
    let is_phone = digits.len() >= 7 && digits.bytes().all(|b| b.is_ascii_digit());
    person(device).filter(|_| is_phone || device.contains('@'))
}

/// The chat and the person who wrote; nothing for statuses and channels, where nobody writes to us.
fn written_by(told: &mut Vec<Told>, payload: &Value) -> Option<(Recipient, Recipient)> {
    let chat = person_in(&payload["chat_id"]);
    if payload["chat_id"] == "status@broadcast" || matches!(chat, Some(Recipient::Newsletter(_))) {
        return None;
    }
    let mut addresses = vec![person_in(&payload["from"]), person_in(&payload["from_lid"])];
    if chat.is_some() && addresses.contains(&chat) {
        addresses.push(person_in(&payload["chat_lid"]));
    }
    let from = one_person(told, addresses)?;
    let chat = chat.filter(|chat| matches!(chat, Recipient::Group(_))).unwrap_or_else(|| from.clone());
    Some((chat, from))
}

/// The chat of a message of our own.
fn own_chat(told: &mut Vec<Told>, payload: &Value) -> Option<Recipient> {
    let chat = person_in(&payload["chat_id"])?;
    match chat {
        Recipient::Group(_) => Some(chat),
        _ => one_person(told, [Some(chat), person_in(&payload["chat_lid"])]),
    }
}

fn message(payload: &Value, now: Timestamp) -> Option<Vec<Told>> {
    let mut told = Vec::new();
    let id = text(&payload["id"])?;
    let Some(said) = said(payload, &id) else {
        let is_own = payload["is_from_me"] == true || !payload["poll"].is_null();
        return (!is_own).then(|| vec![Told::LeftOut(EMPTY)]);
    };
    if payload["is_from_me"] == true {
        let chat = own_chat(&mut told, payload)?;
        // Nothing tells the phone from another program on the same number.
        let (message_id, at) = (id, moment(&payload["timestamp"], now));
        told.push(Told::Echo(Echo { message_id, at, chat, kind: said.kind, text: said.text, by_hand: false }));
        return Some(told);
    }
    let (chat, from) = written_by(&mut told, payload)?;
    told.push(Told::Written(Box::new(Written {
        event_id: format!("message:{id}"),
        message_id: id,
        at: moment(&payload["timestamp"], now),
        chat,
        from,
        name: first_text([&payload["from_name"], &payload["sender_display_name"]]),
        kind: said.kind,
        text: said.text,
        media: said.media,
        fields: said.fields,
        reply_to: said.reply_to,
    })));
    Some(told)
}

/// What a message says.
struct Said {
    kind: &'static str,
    text: Option<String>,
    media: Option<InboundMedia>,
    fields: Option<Value>,
    reply_to: Option<String>,
}

/// Versions before 8 write events in another way: <https://github.com/aldinokemal/go-whatsapp-web-multidevice>,
/// release notes of 8.0.0.
const TOO_OLD: &str = "this GOWA is older than version 8, whose events Postrider reads; update it";
/// What a picture looks like that it could not load; and what tells nothing.
const EMPTY: &str = "a message shows nothing; a picture that GOWA could not load looks like that, and votes of older \
                     versions do too";
/// Versions before 8.8 do not tell which device an event is for by its name.
const WHICH_DEVICE: &str = "this GOWA does not say which device an event is for; write the phone's address as `device`, \
                            such as `628111000001@s.whatsapp.net`, or update it to 8.8";

/// Nothing for messages that show nothing: votes of versions that do not tell them, pins, keys.
fn said(payload: &Value, id: &str) -> Option<Said> {
    let has = |keys: &[&str]| keys.iter().any(|key| !payload[*key].is_null());
    let mut said = Said { kind: "text", text: text(&payload["body"]), media: None, fields: None, reply_to: None };
    said.reply_to = text(&payload["replied_to_id"]);
    let poll = &payload["poll"];
    if let Some(what) = poll["type"].as_str() {
        // The body is then a sentence of the gateway's own.
        (said.kind, said.text) = match what {
            "creation" => ("poll", text(&poll["question"])),
            "vote" => ("choice", Some(words(&poll["selected_options"])?)),
            _ => return None,
        };
        if what == "vote" {
            said.reply_to = text(&poll["poll_id"]);
        }
    } else if payload["selection"].is_object() {
        let chosen = &payload["selection"];
        // Rows of lists often come without their words.
        (said.kind, said.text) = ("choice", first_text([&chosen["text"], &chosen["selected_id"]]));
    } else if let Some((kind, media)) = media(payload, id) {
        (said.kind, said.media) = (kind, media);
    } else if has(&["contact", "contacts_array"]) {
        said.kind = "contact";
        let several = payload["contacts_array"].as_array().map(Vec::as_slice).unwrap_or_default();
        said.fields = fields::cards([&payload["contact"]].into_iter().chain(several).map(|contact| {
            let (name, phone) = fields::card(contact["vcard"].as_str().unwrap_or_default());
            (first_text([&contact["displayName"], &contact["display_name"]]).or(name), phone)
        }));
    } else if has(&["location", "live_location"]) {
        said.kind = "location";
        let place = [&payload["location"], &payload["live_location"]].into_iter().find(|place| place.is_object());
        said.fields = place.and_then(|place| {
            let at = |one: &str, other: &str| if place[one].is_null() { &place[other] } else { &place[one] };
            let (latitude, longitude) = (at("degreesLatitude", "latitude"), at("degreesLongitude", "longitude"));
            fields::place(latitude, longitude, &place["name"], &place["address"])
        });
    } else if has(&["list", "order", "interactive", "template", "buttons", "product"]) {
        said.kind = "other";
    } else if said.text.is_none() {
        return None;
    }
    Some(said)
}

/// What was voted for; nothing when a vote is taken back, or cannot be read.
fn words(options: &Value) -> Option<String> {
    let words: Vec<String> = options.as_array()?.iter().filter_map(text).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// Files are there by a path, or are loaded from WhatsApp when they are asked for.
fn media(payload: &Value, id: &str) -> Option<(&'static str, Option<InboundMedia>)> {
    const KINDS: [(&str, &str); 6] = [
        ("image", "image"),
        ("video", "video"),
        ("video_note", "video"),
        ("document", "file"),
        ("audio", "audio"),
        ("sticker", "sticker"),
    ];
    let (key, kind) = KINDS.into_iter().find(|(key, _)| !payload[*key].is_null())?;
    let value = &payload[key];
    if let Some(path) = text(value).or_else(|| text(&value["path"])) {
        let name = path.rsplit('/').next().filter(|name| !name.is_empty()).map(str::to_owned);
        // Voice notes are Ogg, sound files hardly ever are.
        let kind = if kind == "audio" && path.ends_with(".ogg") { "voice" } else { kind };
        return Some((kind, Some(InboundMedia { name, source: path, ..InboundMedia::default() })));
    }
    // Its address leads to bytes that only WhatsApp's programs can read.
    let source = text(&payload["chat_id"]).map(|chat| format!("{UNLOADED}{id}:{chat}"));
    let name = text(&value["filename"]);
    Some((kind, source.map(|source| InboundMedia { name, source, ..InboundMedia::default() })))
}

const UNLOADED: &str = "message:";

/// Message and chat of a file that the gateway is still to load.
pub fn unloaded(source: &str) -> Option<(&str, Recipient)> {
    let (id, chat) = source.strip_prefix(UNLOADED)?.split_once(':')?;
    // It becomes a part of a path.
    let is_id = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric());
    Some((id, person(chat)?)).filter(|_| is_id)
}

fn acks(payload: &Value) -> Vec<Told> {
    let reached = match payload["receipt_type"].as_str() {
        Some("delivered") => MessageState::Delivered,
        Some("read" | "played") => MessageState::Read,
        // What our own devices tell each other.
        _ => return Vec::new(),
    };
    let mut told = Vec::new();
    // Whoever has read it is often named twice.
    one_person(&mut told, [person_in(&payload["from"]), person_in(&payload["from_lid"])]);
    let chat = person_in(&payload["chat_id"]);
    let ids = payload["ids"].as_array().into_iter().flatten().filter_map(text);
    let fate = Fate::Reached(reached);
    let ack = |message_id| Told::Ack(Ack { message_id, fate: fate.clone(), ours: None, chat: chat.clone() });
    told.extend(ids.map(ack));
    told
}

fn reaction(payload: &Value, now: Timestamp) -> Option<Vec<Told>> {
    if payload["is_from_me"] == true {
        return None;
    }
    let mut told = Vec::new();
    let (id, message_id) = (text(&payload["id"])?, text(&payload["reacted_message_id"])?);
    let (chat, from) = written_by(&mut told, payload)?;
    let emoji = payload["reaction"].as_str()?.to_owned();
    let at = moment(&payload["timestamp"], now);
    told.push(Told::Reaction(Reaction { event_id: format!("reaction:{id}"), message_id, at, chat, from, emoji }));
    Some(told)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::transport::events::{post, second};

    const SIGNED: &str = "sha256=060444711aa527aff3af780ffd78961e2195428d6f29e268a8ca0ce23b7e1a5a";
    const BODY: &[u8] =
        br#"{"event":"message","device_id":"628987654321@s.whatsapp.net","payload":{"id":"A1","body":"hi"}}"#;

    fn told(device: Option<&str>, event: &Value) -> Vec<Told> {
        match post(None, event.to_string().as_bytes(), |incoming| read(device, None, incoming)) {
            Ok(Heard::Told(told)) => told,
            other => panic!("{other:?}"),
        }
    }

    /// A message of `from` with these fields more.
    fn message(more: Value) -> Vec<Told> {
        let mut payload = json!({
            "id": "3EB0A", "chat_id": "15417543010@s.whatsapp.net", "chat_lid": "77@lid",
            "from": "15417543010@s.whatsapp.net", "from_lid": "77@lid", "from_name": "Ann",
            "timestamp": "2023-11-14T22:13:20Z", "is_from_me": false,
        });
        payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        told(None, &json!({ "event": "message", "payload": payload }))
    }

    fn written(more: Value) -> Written {
        match message(more).pop() {
            Some(Told::Written(written)) => *written,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_signature_is_over_the_bytes() {
        let secret = Secret::new("secret");
        let read = |header, body: &[u8]| post(header, body, |incoming| read(None, Some(&secret), incoming));
        let header = Some(("x-hub-signature-256", SIGNED));
        assert_eq!(read(header, BODY), Ok(Heard::Told(Vec::new())));
        let mut other = BODY.to_vec();
        other[10] ^= 1;
        assert_eq!(read(header, &other), Err(NotHeard::Forged));
        let again = serde_json::to_vec_pretty(&serde_json::from_slice::<Value>(BODY).unwrap()).unwrap();
        assert_eq!(read(header, &again), Err(NotHeard::Forged));
        assert_eq!(read(None, BODY), Err(NotHeard::Forged));
        let unsigned = post(Some(("x-other", "")), BODY, |incoming| super::read(None, None, incoming));
        assert_eq!(unsigned, Err(NotHeard::Unverifiable));
        assert_eq!(post(None, b"{", |incoming| super::read(None, None, incoming)), Err(NotHeard::Unreadable));
    }

    #[test]
    fn a_person_writes() {
        let (phone, lid) = (person("15417543010").unwrap(), person("77@lid").unwrap());
        let all = message(json!({ "body": "hi", "replied_to_id": "3EB0Q" }));
        assert_eq!(all[0], Told::Same(phone.clone(), lid));
        let expected = Written {
            fields: None,
            event_id: "message:3EB0A".into(),
            message_id: "3EB0A".into(),
            at: second(1_700_000_000),
            chat: phone.clone(),
            from: phone.clone(),
            name: Some("Ann".into()),
            kind: "text",
            text: Some("hi".into()),
            media: None,
            reply_to: Some("3EB0Q".into()),
        };
        assert_eq!(all[1..], [Told::Written(Box::new(expected))]);
        let group = written(json!({ "chat_id": "120363024512345678@g.us", "body": "hi" }));
        assert_eq!((group.chat.kind(), group.from), ("group", phone));
        for more in [json!({ "chat_id": "status@broadcast", "body": "hi" }), json!({ "id": 7, "body": "" })] {
            assert_eq!(message(more), []);
        }
        // It may be a picture that could not be loaded.
        assert_eq!(message(json!({})), [Told::LeftOut(EMPTY)]);
    }

    #[test]
    fn files_and_choices() {
        let photo = written(json!({ "image": { "path": "statics/media/a.jpeg", "caption": "x" }, "body": "x" }));
        assert_eq!((photo.kind, photo.text.as_deref()), ("image", Some("x")));
        let media = photo.media.unwrap();
        assert_eq!((media.name.as_deref(), media.source.as_str()), (Some("a.jpeg"), "statics/media/a.jpeg"));
        assert_eq!(written(json!({ "audio": "statics/media/a.ogg" })).kind, "voice");
        let later = written(json!({ "document": { "url": "https://mmg.whatsapp.net/x", "filename": "a.pdf" } }));
        let source = later.media.unwrap().source;
        assert_eq!(unloaded(&source), Some(("3EB0A", person("15417543010").unwrap())));
        assert_eq!(unloaded("message:..:15417543010"), None);
        let poll = json!({ "type": "vote", "poll_id": "3EB0P", "selected_options": ["Yes"] });
        let vote = written(json!({ "poll": poll, "body": "Poll vote: Yes" }));
        assert_eq!((vote.kind, vote.text.as_deref(), vote.reply_to.as_deref()), ("choice", Some("Yes"), Some("3EB0P")));
        assert_eq!(message(json!({ "poll": { "type": "vote", "selected_options": [] }, "body": "cleared" })), []);
    }

    #[test]
    fn what_is_ours_and_what_became_of_it() {
        let echo =
            message(json!({ "is_from_me": true, "body": "hi", "from": "1@s.whatsapp.net", "from_lid": "9@lid" }));
        let Some(Told::Echo(echo)) = echo.last() else { panic!("{echo:?}") };
        assert_eq!((echo.message_id.as_str(), echo.chat.to_string().as_str()), ("3EB0A", "+15417543010"));
        let ack = |kind: &str| {
            let payload = json!({ "ids": ["A", 7, "B"], "from": "77@lid", "receipt_type": kind });
            told(None, &json!({ "event": "message.ack", "payload": payload }))
        };
        let read = |id: &str| {
            Told::Ack(Ack { message_id: id.into(), fate: Fate::Reached(MessageState::Read), ours: None, chat: None })
        };
        assert_eq!(ack("played"), [read("A"), read("B")]);
        assert_eq!(ack("sender"), []);
        let marked =
            json!({ "id": "R", "reacted_message_id": "A", "reaction": "", "from": "77@lid", "chat_id": "77@lid" });
        let marked = told(None, &json!({ "event": "message.reaction", "payload": marked }));
        assert!(matches!(&marked[..], [Told::Reaction(mark)] if mark.message_id == "A" && mark.emoji.is_empty()));
    }

    #[test]
    fn other_devices_are_not_ours() {
        let heard = |device, address: &str, name: Value| {
            let payload = json!({ "ids": ["A"], "receipt_type": "read" });
            let event = json!({ "event": "message.ack", "device_id": address, "session_id": name, "payload": payload });
            !told(Some(device), &event).is_empty()
        };
        let (own, other) = ("15417543010@s.whatsapp.net", "15417543011@s.whatsapp.net");
        assert!(heard(own, own, Value::Null) && heard("shop", own, "shop".into()) && heard("shop", own, Value::Null));
        assert!(!heard(own, other, Value::Null) && !heard("shop", own, "office".into()));
    }
}
