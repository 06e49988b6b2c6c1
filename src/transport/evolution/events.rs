//! What Evolution sends to us: events of WhatsApp's own protocol, little changed.
//!
//! Facts are from its source (2.3): `webhook.controller.ts`, `whatsapp.baileys.service.ts`. It signs
//! no bodies; at best it shows a token that says when it was made.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::Value;

use super::options::EvolutionOptions;
use crate::model::delivery::MessageState;
use crate::model::inbound::{Ack, Connection, Echo, Fate, InboundMedia, Reaction, Told, Written};
use crate::model::recipient::Recipient;
use crate::secret::{Hash, Secret};
use crate::transport::acks::ack;
use crate::transport::events::{fields, first_text, moment, one_person, person_in, text, whole};
use crate::transport::{Heard, Incoming, NotHeard};

/// Seconds that a token lives.
const LIFE: i64 = 600;
/// Seconds by which clocks may differ.
const LEEWAY: i64 = 60;

/// Reads what Evolution sent.
///
/// # Errors
/// [`NotHeard`].
pub fn read(options: &EvolutionOptions, incoming: &Incoming<'_>) -> Result<Heard, NotHeard> {
    incoming.proven(options.webhook_secret.as_ref(), |secret| {
        let given = (incoming.header)("authorization").unwrap_or_default();
        is_token(secret, &given, incoming.now) == Some(true)
    })?;
    let body = incoming.json()?;
    let mut told = Vec::new();
    if body["instance"].as_str().is_some_and(|named| named != options.instance) {
        return Ok(Heard::Told(told));
    }
    // One address for all events, or one for each: `.../messages-upsert`.
    let suffix = || incoming.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
    let event = text(&body["event"]).unwrap_or_else(suffix).to_ascii_lowercase().replace(['_', '-'], ".");
    let own = person_in(&body["sender"]);
    for data in body["data"].as_array().map_or(std::slice::from_ref(&body["data"]), Vec::as_slice) {
        match event.as_str() {
            "messages.upsert" if data["key"]["fromMe"] != true => written(&mut told, data, own.as_ref(), incoming.now),
            "messages.upsert" | "send.message" => {
                told.extend(echoed(data, event == "messages.upsert", incoming.now));
            }
            "messages.update" => told.extend(acknowledged(data)),
            "connection.update" => told.extend(text(&data["state"]).map(connection)),
            _ => {}
        }
    }
    Ok(Heard::Told(told))
}

/// Whether this is `Bearer` and a token (HS256) that Evolution made a moment ago; nothing for what is
/// no token at all.
fn is_token(secret: &Secret, given: &str, now: Timestamp) -> Option<bool> {
    let (scheme, token) = given.trim().split_once(' ')?;
    let (content, signature) = token.trim().rsplit_once('.')?;
    let (head, claims) = content.split_once('.')?;
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let object = |part: &str| serde_json::from_slice::<Value>(&decoded(part)?).ok();
    // Another algorithm is another meaning of the same bytes.
    let is_sound = scheme.eq_ignore_ascii_case("bearer") && object(head)?["alg"] == "HS256";
    if !is_sound || !secret.has_signed(Hash::Sha256, content.as_bytes(), &decoded(signature)?) {
        return None;
    }
    let claims = object(claims)?;
    let from_now = |name: &str| whole(&claims[name]).map(|second| second.saturating_sub(now.as_second()));
    let (made, ends) = (from_now("iat")?, from_now("exp")?);
    let is_fresh = (-LIFE - LEEWAY..=LEEWAY).contains(&made) && (-LEEWAY..=LIFE + LEEWAY).contains(&ends);
    Some(is_fresh && claims["app"] == "evolution" && claims["action"] == "webhook")
}

fn connection(state: String) -> Told {
    Told::Connection(Connection { is_up: state == "open", state })
}

fn written(told: &mut Vec<Told>, data: &Value, own: Option<&Recipient>, now: Timestamp) {
    let key = &data["key"];
    // A list of people who get the same from somebody is no chat: it is written by its sender.
    let to_many =
        key["remoteJid"].as_str().is_some_and(|jid| jid.ends_with("@broadcast") && !jid.starts_with("status"));
    let chat = person_in(if to_many { &key["participant"] } else { &key["remoteJid"] });
    let (Some(id), Some(chat)) = (text(&key["id"]), chat) else { return };
    let fields = match chat {
        _ if to_many => ["participant", "participantAlt", "participantPn", "participantLid", "senderPn"],
        Recipient::Group(_) => ["participant", "participantAlt", "participantPn", "participantLid", "senderPn"],
        // In channels nobody writes to us.
        Recipient::Newsletter(_) => return,
        _ => ["remoteJid", "remoteJidAlt", "previousRemoteJid", "senderPn", "senderLid"],
    };
    // Some versions put our own number where the other address belongs.
    let addresses = fields.map(|field| person_in(&key[field]).filter(|address| Some(address) != own));
    let Some(said) = said(data, &id) else { return };
    let Some(from) = one_person(told, addresses) else { return };
    let chat = if matches!(chat, Recipient::Group(_)) { chat } else { from.clone() };
    let (event_id, at) = (format!("message:{id}"), moment(&data["messageTimestamp"], now));
    told.push(match said {
        Said::Mark { message_id, emoji } => Told::Reaction(Reaction { event_id, message_id, at, chat, from, emoji }),
        Said::Words { kind, text: words, media, fields, reply_to } => {
            // Without a name it takes the digits for one.
            let name = text(&data["pushName"]).filter(|name| name != from.id());
            let (message_id, text) = (id, words);
            Told::Written(Box::new(Written {
                event_id,
                message_id,
                at,
                chat,
                from,
                name,
                kind,
                text,
                media,
                fields,
                reply_to,
            }))
        }
    });
}

/// A message of our own. Which device it is from is read off its id: what phones write looks
/// otherwise than what programs do.
fn echoed(data: &Value, is_told_by_whatsapp: bool, now: Timestamp) -> Option<Told> {
    let (message_id, chat) = (text(&data["key"]["id"])?, person_in(&data["key"]["remoteJid"])?);
    let by_hand = is_told_by_whatsapp && (data["source"] == "android" || data["source"] == "ios");
    match said(data, &message_id)? {
        Said::Words { kind, text, .. } => {
            let at = moment(&data["messageTimestamp"], now);
            Some(Told::Echo(Echo { message_id, at, chat, kind, text, by_hand }))
        }
        Said::Mark { .. } => None,
    }
}

fn acknowledged(data: &Value) -> Option<Told> {
    // What we have read ourselves is told too. The channel of Meta's Cloud API says so of all, in words of its own.
    let by_meta = matches!(data["status"].as_str(), Some("SENT" | "DELIVERED" | "FAILED"))
        || (data["status"] == "READ" && data["remoteJid"].as_str().is_some_and(|chat| !chat.contains('@')));
    if !by_meta && (data["fromMe"] == false || data["key"]["fromMe"] == false) {
        return None;
    }
    let message_id = first_text([&data["keyId"], &data["key"]["id"], &data["id"]])?;
    let chat = [&data["remoteJid"], &data["key"]["remoteJid"]].into_iter().find_map(person_in);
    let fate = match text(&data["status"])?.to_ascii_uppercase().as_str() {
        "SERVER_ACK" | "SENT" => Fate::Reached(MessageState::Sent),
        "DELIVERY_ACK" | "DELIVERED" => Fate::Reached(MessageState::Delivered),
        "READ" | "PLAYED" => Fate::Reached(MessageState::Read),
        "ERROR" | "FAILED" => ack(-1)?,
        _ => return None,
    };
    Some(Told::Ack(Ack { message_id, fate, ours: None, chat }))
}

/// What a message says, or which mark it puts on another.
enum Said {
    Words {
        kind: &'static str,
        text: Option<String>,
        media: Option<InboundMedia>,
        fields: Option<Value>,
        reply_to: Option<String>,
    },
    Mark {
        message_id: String,
        emoji: String,
    },
}

/// Messages that lie within another.
const WRAPPERS: [&str; 5] = [
    "ephemeralMessage",
    "viewOnceMessage",
    "viewOnceMessageV2",
    "viewOnceMessageV2Extension",
    "documentWithCaptionMessage",
];

/// The field that a message has by its kind, the kind, and where the words are in there.
const KINDS: &[(&str, &str, &str)] = &[
    ("extendedTextMessage", "text", "/text"),
    ("imageMessage", "image", "/caption"),
    ("videoMessage", "video", "/caption"),
    ("ptvMessage", "video", "/caption"),
    ("audioMessage", "audio", ""),
    ("documentMessage", "file", "/caption"),
    ("stickerMessage", "sticker", ""),
    ("locationMessage", "location", ""),
    ("liveLocationMessage", "location", ""),
    ("contactMessage", "contact", ""),
    ("contactsArrayMessage", "contact", ""),
    ("pollCreationMessage", "poll", "/name"),
    ("pollCreationMessageV2", "poll", "/name"),
    ("pollCreationMessageV3", "poll", "/name"),
    ("buttonsResponseMessage", "choice", "/selectedDisplayText"),
    ("templateButtonReplyMessage", "choice", "/selectedDisplayText"),
    ("listResponseMessage", "choice", "/title"),
    ("interactiveResponseMessage", "choice", "/body/text"),
    ("pollUpdateMessage", "choice", ""),
    ("groupInviteMessage", "other", "/caption"),
    ("productMessage", "other", "/body"),
    ("orderMessage", "other", "/message"),
    ("eventMessage", "other", "/name"),
    ("interactiveMessage", "other", "/body/text"),
    ("buttonsMessage", "other", "/contentText"),
    ("listMessage", "other", "/description"),
    ("templateMessage", "other", "/hydratedTemplate/hydratedContentText"),
    ("requestPaymentMessage", "other", ""),
];

/// Nothing for what shows no message: keys, edits, deletions.
fn said(data: &Value, id: &str) -> Option<Said> {
    let mut message = &data["message"];
    // Deeper than that nothing lies.
    for _ in WRAPPERS {
        let outer = message;
        let mut within = WRAPPERS.iter().map(|field| &outer[*field]["message"]);
        message = within.find(|within| within.is_object()).unwrap_or(outer);
    }
    let mark = &message["reactionMessage"];
    if mark.is_object() {
        // Without an emoji it was taken back.
        let emoji = text(&mark["text"]).unwrap_or_default();
        return Some(Said::Mark { message_id: text(&mark["key"]["id"])?, emoji });
    }
    let quoted = |object: &Value| first_text([&object["contextInfo"]["stanzaId"], &data["contextInfo"]["stanzaId"]]);
    let Some(&(field, kind, place)) = KINDS.iter().find(|(field, ..)| message[*field].is_object()) else {
        let words = Some(text(&message["conversation"])?);
        return Some(Said::Words { kind: "text", text: words, media: None, fields: None, reply_to: quoted(message) });
    };
    let object = &message[field];
    let is_file = ["image", "video", "audio", "file", "sticker"].contains(&kind);
    let words = object.pointer(place).and_then(text);
    let reply_to = match field {
        "pollUpdateMessage" => text(&object["pollCreationMessageKey"]["id"]),
        _ => quoted(object),
    };
    let (kind, words) = match (field, kind) {
        ("pollUpdateMessage", _) => (kind, Some(votes(object)?)),
        ("audioMessage", _) if object["ptt"] == true => ("voice", None),
        _ => (kind, words),
    };
    let size = &object["fileLength"];
    let media = is_file.then(|| InboundMedia {
        mime: text(&object["mimetype"]),
        name: first_text([&object["fileName"], &object["title"]]),
        // A number that JavaScript keeps in two halves; the upper one is for more than 4 GiB.
        size: whole(size).or_else(|| whole(&size["low"])).and_then(|size| size.try_into().ok()),
        source: id.to_owned(),
    });
    Some(Said::Words { kind, text: words, media, fields: fields_of(kind, object), reply_to })
}

fn fields_of(kind: &str, object: &Value) -> Option<Value> {
    match kind {
        "location" => {
            fields::place(&object["degreesLatitude"], &object["degreesLongitude"], &object["name"], &object["address"])
        }
        "contact" => {
            let several = object["contacts"].as_array().map(Vec::as_slice).unwrap_or_default();
            fields::cards([object].into_iter().chain(several).filter(|card| !card["vcard"].is_null()).map(|contact| {
                let (name, phone) = fields::card(contact["vcard"].as_str().unwrap_or_default());
                (text(&contact["displayName"]).or(name), phone)
            }))
        }
        _ => None,
    }
}

/// What was voted for. Nothing when the vote was taken back, or when the gateway could not read it:
/// for that it has to have stored the poll.
fn votes(object: &Value) -> Option<String> {
    let chosen: Vec<String> = object["vote"]["selectedOptions"].as_array()?.iter().filter_map(text).collect();
    (!chosen.is_empty()).then(|| chosen.join(", "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::transport::events::{person, second};

    // Made for 1,800,000,000 with the key `my-jwt-key`.
    const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
        eyJpYXQiOjE4MDAwMDAwMDAsImV4cCI6MTgwMDAwMDYwMCwiYXBwIjoiZXZvbHV0aW9uIiwiYWN0aW9uIjoid2ViaG9vayJ9\
        .RU6LclCnLQu4dpGeO1Sf0HuQEN4SSPkicy0CoLO-n2I";
    const NO_ALGORITHM: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.\
        eyJpYXQiOjE4MDAwMDAwMDAsImV4cCI6MTgwMDAwMDYwMCwiYXBwIjoiZXZvbHV0aW9uIiwiYWN0aW9uIjoid2ViaG9vayJ9\
        .vuK5JkJfpHrczF_Y2Fyy7o9c4y5ibc3QxN-yoMjewAo";
    const FOR_OTHER_USE: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
        eyJpYXQiOjE4MDAwMDAwMDAsImV4cCI6MTgwMDAwMDYwMCwiYXBwIjoiZXZvbHV0aW9uIiwiYWN0aW9uIjoibG9naW4ifQ\
        .t1EM3NwTAem33mxLNebU8FWRSTd_GxePtiIXgfP3hPE";

    fn hear(key: Option<&str>, given: &str, now: i64, path: &str, body: &Value) -> Result<Heard, NotHeard> {
        let options = EvolutionOptions {
            url: url::Url::parse("http://127.0.0.1:8080").unwrap(),
            api_key: Secret::new("key"),
            instance: "shop".into(),
            webhook_secret: key.map(Secret::new),
            timeout: Duration::from_secs(1),
        };
        let header = |name: &str| (name == "authorization").then(|| format!("Bearer {given}"));
        let (body, now, by_token) = (body.to_string(), second(now), key.is_none() && given.is_empty());
        let (body, url, query) = (body.as_bytes(), None, "");
        read(&options, &Incoming { is_get: false, path, query, url, header: &header, body, by_token, now })
    }

    fn told(event: &str, data: &Value) -> Vec<Told> {
        let sender = "19995550000@s.whatsapp.net";
        let body = json!({ "event": event, "instance": "shop", "sender": sender, "data": data });
        match hear(None, "", 5, "", &body) {
            Ok(Heard::Told(told)) => told,
            other => panic!("{other:?}"),
        }
    }

    fn message(id: &str, key: &Value, content: &Value) -> Value {
        let mut data = json!({ "key": { "id": id, "remoteJid": "77@lid", "fromMe": false }, "pushName": "Ada",
            "message": content, "messageTimestamp": 7, "contextInfo": { "stanzaId": "Q" }, "source": "android" });
        data["key"].as_object_mut().unwrap().extend(key.as_object().unwrap().clone());
        data
    }

    #[test]
    fn the_token_is_fresh_and_meant_for_this() {
        let (key, now, body) = (Some("my-jwt-key"), 1_800_000_000, json!({ "event": "call" }));
        let heard = |key, token: &str, now| hear(key, token, now, "", &body);
        for (now, is_heard) in [(now, true), (now + 659, true), (now - 59, true), (now + 661, false), (now - 61, false)]
        {
            assert_eq!(heard(key, TOKEN, now).is_ok(), is_heard, "{now}");
        }
        let (content, signature) = TOKEN.rsplit_once('.').unwrap();
        let changed = format!("{content}._{}", &signature[1..]);
        let unsigned = format!("{content}.");
        for token in [changed.as_str(), &unsigned, NO_ALGORITHM, FOR_OTHER_USE, "", "a.b.c", ".."] {
            assert_eq!(heard(key, token, now), Err(NotHeard::Forged), "{token}");
        }
        assert_eq!(heard(Some("another key"), TOKEN, now), Err(NotHeard::Forged));
        assert_eq!(heard(None, TOKEN, now), Err(NotHeard::Unverifiable));
    }

    #[test]
    fn messages_are_read_and_odd_ones_lose_no_others() {
        let (phone, lid) = (person("15417543010").unwrap(), person("77@lid").unwrap());
        let alias = json!({ "remoteJidAlt": "15417543010@s.whatsapp.net", "senderPn": "19995550000@s.whatsapp.net" });
        let image =
            json!({ "imageMessage": { "caption": "Look", "mimetype": "image/jpeg", "fileLength": { "low": 9 } } });
        let within = json!({ "ephemeralMessage": { "message": image }, "base64": "AAAA" });
        let list = json!([null, 7, { "key": [] }, message("A", &alias, &within)]);
        let media = InboundMedia { mime: Some("image/jpeg".into()), name: None, size: Some(9), source: "A".into() };
        let written = Written {
            fields: None,
            event_id: "message:A".into(),
            message_id: "A".into(),
            at: second(7),
            chat: phone.clone(),
            from: phone.clone(),
            name: Some("Ada".into()),
            kind: "image",
            text: Some("Look".into()),
            media: Some(media),
            reply_to: Some("Q".into()),
        };
        let expected = vec![Told::Same(phone, lid.clone()), Told::Written(Box::new(written.clone()))];
        assert_eq!(told("MESSAGES_UPSERT", &list), expected);
        let body = json!({ "instance": "shop", "sender": "19995550000@s.whatsapp.net", "data": list });
        assert_eq!(hear(None, "", 5, "messages-upsert/", &body), Ok(Heard::Told(expected)));
        let elsewhere = json!({ "event": "messages.upsert", "instance": "office", "data": list });
        assert_eq!(hear(None, "", 5, "", &elsewhere), Ok(Heard::Told(Vec::new())));
        // In groups the sender is one person; votes carry their words.
        let key = json!({ "remoteJid": "120363024512345678@g.us", "participant": "77@lid" });
        let vote = json!({ "pollUpdateMessage": { "pollCreationMessageKey": { "id": "P" },
            "vote": { "selectedOptions": ["Mo", "Tu"] } } });
        let chat = person("120363024512345678@g.us").unwrap();
        let (text, media, reply_to) = (Some("Mo, Tu".into()), None, Some("P".into()));
        let choice = Written { chat, from: lid, kind: "choice", text, media, reply_to, ..written };
        assert_eq!(told("messages.upsert", &message("A", &key, &vote)), [Told::Written(Box::new(choice))]);
        let (status, words) = (json!({ "remoteJid": "status@broadcast" }), json!({ "conversation": "x" }));
        assert!(told("messages.upsert", &message("A", &status, &words)).is_empty());
        assert!(told("messages.upsert", &message("A", &json!({}), &json!({ "protocolMessage": {} }))).is_empty());
    }

    #[test]
    fn own_messages_marks_and_states() {
        let own = message("A", &json!({ "fromMe": true }), &json!({ "conversation": "Hi" }));
        let echo = |by_hand| {
            let (message_id, chat, text) = ("A".to_owned(), person("77@lid").unwrap(), Some("Hi".to_owned()));
            [Told::Echo(Echo { message_id, at: second(7), chat, kind: "text", text, by_hand })]
        };
        assert_eq!(told("messages.upsert", &own), echo(true));
        assert_eq!(told("send.message", &own), echo(false));
        let mark = json!({ "reactionMessage": { "key": { "id": "B" }, "text": "👍" } });
        let marked = told("messages.upsert", &message("A", &json!({}), &mark));
        assert!(matches!(&marked[..], [Told::Reaction(mark)] if mark.message_id == "B" && mark.emoji == "👍"));
        let update = |status: &str| told("messages.update", &json!([{ "keyId": "A", "status": status }]));
        let ack = |fate| [Told::Ack(Ack { message_id: "A".into(), fate, ours: None, chat: None })];
        assert_eq!(update("DELIVERY_ACK"), ack(Fate::Reached(MessageState::Delivered)));
        assert!(matches!(&update("ERROR")[..], [Told::Ack(Ack { fate: Fate::Failed { .. }, .. })]));
        assert!(update("DELETED").is_empty());
        // Its chat may have another address than we wrote to; and what we have read of others is no ack.
        let item = |own: bool| json!([{ "keyId": "A", "remoteJid": "77@lid", "fromMe": own, "status": "READ" }]);
        let chat = person("77@lid");
        let seen = Ack { message_id: "A".into(), fate: Fate::Reached(MessageState::Read), ours: None, chat };
        assert_eq!(told("messages.update", &item(true)), [Told::Ack(seen)]);
        assert!(told("messages.update", &item(false)).is_empty());
        let down = Told::Connection(Connection { is_up: false, state: "close".into() });
        assert_eq!(told("connection.update", &json!({ "state": "close", "statusReason": 401 })), [down]);
    }
}
