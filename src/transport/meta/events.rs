//! What Meta sends to us: its question whether we are there, what people wrote, how far our messages
//! are.
//!
//! From Meta's OpenAPI file (v23.0) and its pages on webhooks, groups and business-scoped ids, which
//! the file predates. The signature is over the raw bytes, which hold `\\u` escapes that no parser
//! would write again.

use jiff::Timestamp;
use reqwest::{Client, Method};
use serde_json::Value;
use url::Url;

use super::codes::classify_error;
use super::codes::refused;
use super::options::MetaOptions;
use crate::model::delivery::{ErrorClass, MessageState};
use crate::model::inbound::{Ack, Echo, Fate, InboundMedia, Reaction, Told, Written};
use crate::model::recipient::Recipient;
use crate::plain::shortened;
use crate::secret::{Hash, Secret};
use crate::transport::answer::{exchange, readable};
use crate::transport::events::{bytes, fields, first_text, moment, one_person, person_in, text, whole};
use crate::transport::gateway::Options as _;
use crate::transport::wire::{Wire, segment};
use crate::transport::{Heard, Incoming, NotHeard};

/// Most characters of an error.
const LONGEST_ERROR: usize = 400;

/// Reads what Meta sent.
///
/// # Errors
/// [`NotHeard`].
pub fn read(options: &MetaOptions, incoming: &Incoming<'_>) -> Result<Heard, NotHeard> {
    if incoming.is_get {
        return challenge(options.verify_token.as_ref(), incoming.query);
    }
    let given = (incoming.header)("x-hub-signature-256").unwrap_or_default();
    incoming.proven(options.app_secret.as_ref(), |secret| {
        given
            .trim()
            .strip_prefix("sha256=")
            .is_some_and(|given| secret.has_signed_hex(Hash::Sha256, incoming.body, given))
    })?;
    Ok(Heard::Told(events(&incoming.json()?, Some(&options.phone_number_id), incoming.now)))
}

/// Answers `hub.challenge` to whoever knows the token.
fn challenge(token: Option<&Secret>, query: &str) -> Result<Heard, NotHeard> {
    let token = token.ok_or(NotHeard::Unverifiable)?;
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let get = |wanted: &str| pairs.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    match (get("hub.mode"), get("hub.verify_token"), get("hub.challenge")) {
        (Some("subscribe"), Some(given), Some(challenge)) if token.matches(given.as_bytes()) => {
            Ok(Heard::Challenge(challenge.into()))
        }
        _ => Err(NotHeard::WrongToken),
    }
}

/// What Meta's events tell; of one number alone, if it is given.
pub fn events(body: &Value, number: Option<&str>, now: Timestamp) -> Vec<Told> {
    let mut told = Vec::new();
    for change in list(&body["entry"]).iter().flat_map(|entry| list(&entry["changes"])) {
        let value = &change["value"];
        // One app may serve several numbers; each account is one of them.
        let named = value["metadata"]["phone_number_id"].as_str();
        if named.zip(number).is_some_and(|(named, own)| named != own) {
            continue;
        }
        let contacts: Vec<Contact> = list(&value["contacts"]).iter().map(Contact::read).collect();
        match change["field"].as_str() {
            Some("messages") => {
                for message in list(&value["messages"]) {
                    written(&mut told, &contacts, message, now);
                }
                for status in list(&value["statuses"]) {
                    acknowledged(&mut told, &contacts, status);
                }
            }
            // Written in the app of a phone that shares the number.
            Some("smb_message_echoes") => {
                for message in list(&value["message_echoes"]) {
                    echoed(&mut told, &contacts, message, now);
                }
            }
            _ => {}
        }
    }
    told
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A person as events introduce one.
struct Contact {
    addresses: Vec<Recipient>,
    name: Option<String>,
}

impl Contact {
    fn read(value: &Value) -> Self {
        let addresses = ["wa_id", "user_id", "parent_user_id"].iter().filter_map(|field| person_in(&value[*field]));
        let profile = &value["profile"];
        Self { addresses: addresses.collect(), name: first_text([&profile["name"], &profile["username"]]) }
    }
}

/// Whom these ids mean, with the name; a person may hide the phone, then only the other ids are there.
fn who(told: &mut Vec<Told>, contacts: &[Contact], ids: [&Value; 3]) -> Option<(Recipient, Option<String>)> {
    let ids: Vec<Recipient> = ids.into_iter().filter_map(person_in).collect();
    let contact = contacts.iter().find(|contact| contact.addresses.iter().any(|address| ids.contains(address)));
    let (more, name) = contact.map(|contact| (contact.addresses.clone(), contact.name.clone())).unwrap_or_default();
    Some((one_person(told, ids.into_iter().chain(more).map(Some))?, name))
}

fn written(told: &mut Vec<Told>, contacts: &[Contact], message: &Value, now: Timestamp) {
    let ids = [&message["from"], &message["from_user_id"], &message["from_parent_user_id"]];
    let (Some(id), Some((from, name))) = (text(&message["id"]), who(told, contacts, ids)) else { return };
    let chat = match message["group_id"].as_str() {
        Some(group) => Recipient::parse(&format!("{}@g.us", group.trim_end_matches("@g.us"))),
        None => Ok(from.clone()),
    };
    let Ok(chat) = chat else { return };
    let (event_id, at) = (format!("message:{id}"), moment(&message["timestamp"], now));
    if message["type"] == "reaction" {
        let Some(message_id) = text(&message["reaction"]["message_id"]) else { return };
        // Without an emoji it was taken back.
        let emoji = text(&message["reaction"]["emoji"]).unwrap_or_default();
        told.push(Told::Reaction(Reaction { event_id, message_id, at, chat, from, emoji }));
        return;
    }
    if message["type"] == "system" {
        return changed(told, message, &from);
    }
    let Some((kind, text, media)) = said(message) else { return };
    let fields = fields_of(message);
    let reply_to = crate::transport::events::text(&message["context"]["id"]);
    let written = Written { fields, event_id, message_id: id, at, chat, from, name, kind, text, media, reply_to };
    told.push(Told::Written(Box::new(written)));
}

fn echoed(told: &mut Vec<Told>, contacts: &[Contact], message: &Value, now: Timestamp) {
    let ids = [&message["to"], &message["to_user_id"], &message["to_parent_user_id"]];
    if let (Some(message_id), Some((chat, _))) = (text(&message["id"]), who(told, contacts, ids))
        && let Some((kind, text, _)) = said(message)
    {
        let at = moment(&message["timestamp"], now);
        told.push(Told::Echo(Echo { message_id, at, chat, kind, text, by_hand: true }));
    }
}

/// A person has another number, or another id: what was asked under the old one is answered under the new one.
fn changed(told: &mut Vec<Told>, message: &Value, from: &Recipient) {
    let system = &message["system"];
    let names = ["wa_id", "new_wa_id", "user_id", "previous_wa_id", "previous_user_id", "customer", "identity"];
    for other in names.iter().filter_map(|name| person_in(&system[*name])).filter(|other| other != from) {
        told.push(Told::Same(from.clone(), other));
    }
}

fn fields_of(message: &Value) -> Option<Value> {
    match message["type"].as_str()? {
        "location" => {
            let place = &message["location"];
            fields::place(&place["latitude"], &place["longitude"], &place["name"], &place["address"])
        }
        "contacts" => fields::cards(list(&message["contacts"]).iter().map(|card| {
            let phone = &card["phones"][0];
            let digits = text(&phone["wa_id"]).map(|digits| format!("+{digits}"));
            (
                first_text([&card["name"]["formatted_name"], &card["name"]["first_name"]]),
                digits.or(text(&phone["phone"])),
            )
        })),
        "interactive" => fields::form(&message["interactive"]["nfm_reply"]["response_json"]),
        _ => None,
    }
}

/// Kind, words and file of a message; nothing for what is none, such as an edit or a new number.
fn said(message: &Value) -> Option<(&'static str, Option<String>, Option<InboundMedia>)> {
    let word = message["type"].as_str()?;
    let object = &message[word];
    let kind = match word {
        "image" => "image",
        "video" => "video",
        "sticker" => "sticker",
        "document" => "file",
        "audio" if object["voice"] == true => "voice",
        "audio" => "audio",
        "text" => return Some(("text", text(&object["body"]), None)),
        "button" => return Some(("choice", text(&object["text"]), None)),
        "interactive" => {
            let form = &object["nfm_reply"];
            if form.is_object() {
                return Some(("form", first_text([&form["body"], &form["name"]]), None));
            }
            let chosen = first_text([&object["button_reply"]["title"], &object["list_reply"]["title"]]);
            return Some((if chosen.is_some() { "choice" } else { "other" }, chosen, None));
        }
        "location" => return Some(("location", None, None)),
        "contacts" => return Some(("contact", None, None)),
        "order" | "unsupported" | "unknown" => return Some(("other", None, None)),
        _ => return None,
    };
    let media = text(&object["id"]).map(|source| InboundMedia {
        mime: text(&object["mime_type"]),
        name: text(&object["filename"]),
        size: object["file_size"].as_u64(),
        source,
    });
    Some((kind, text(&object["caption"]), media))
}

fn acknowledged(told: &mut Vec<Told>, contacts: &[Contact], status: &Value) {
    let Some(message_id) = text(&status["id"]) else { return };
    let fate = match status["status"].as_str() {
        Some("sent") => Fate::Reached(MessageState::Sent),
        Some("delivered") => Fate::Reached(MessageState::Delivered),
        Some("read" | "played") => Fate::Reached(MessageState::Read),
        Some("failed") => failed(MetaOptions::NAME, &status["errors"][0]),
        _ => return,
    };
    // In a group this is the group itself, which has one address.
    who(told, contacts, [&status["recipient_id"], &status["recipient_user_id"], &status["recipient_parent_user_id"]]);
    // We send our own id along.
    let ours = text(&status["biz_opaque_callback_data"]).and_then(|id| id.parse().ok());
    told.push(Told::Ack(Ack { message_id, fate, ours, chat: None }));
}

/// A failure as Meta words it, and as its resellers pass it on.
pub fn failed(gateway: &str, error: &Value) -> Fate {
    let code = whole(&error["code"]);
    let number = code.map(|code| format!(" {code}")).unwrap_or_default();
    let mut words = vec![format!("{gateway} reported a failure{number}")];
    words.extend([&error["title"], &error["message"], &error["error_data"]["details"]].into_iter().filter_map(text));
    // Title and message are one and the same most of the time.
    words.dedup();
    let class = classify_error(error, None).unwrap_or(ErrorClass::Invalid);
    Fate::Failed { class, error: shortened(&readable(&words.join(": ")), LONGEST_ERROR) }
}

/// Gets a file by its id: Meta says where it is, for five minutes, and gives it to who has the token.
///
/// # Errors
/// A sentence.
pub async fn download(wire: Wire, client: Client, options: MetaOptions, id: String) -> Result<Vec<u8>, String> {
    if !id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b)) || id.is_empty() {
        return Err("this is no id of a file at meta".into());
    }
    let path = format!("{}/{}", options.version, segment(&id));
    let answer = exchange(wire.request(Method::GET, &path)).await.map_err(|error| error.message)?;
    let body: Value = answer.json().unwrap_or_default();
    let Some(url) = body["url"].as_str().filter(|_| answer.status == 200) else {
        return Err(refused(&answer, &body).message);
    };
    let url = Url::parse(url).ok().filter(|url| is_metas(url, &options.url));
    let url = url.ok_or("meta named an address for the file that is none of its own")?;
    bytes(client.get(url).bearer_auth(options.access_token.reveal())).await
}

/// Whether the token may go there.
fn is_metas(url: &Url, base: &Url) -> bool {
    let houses = [".fbcdn.net", ".fbsbx.com", ".whatsapp.net", ".facebook.com"];
    let known = url.host_str().is_some_and(|host| houses.iter().any(|house| host.ends_with(house)));
    url.origin() == base.origin() || (known && url.scheme() == "https")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::transport::events::second;

    const BODY: &[u8] = br#"{"object":"whatsapp_business_account","entry":[]}"#;
    const SIGNATURE: &str = "sha256=d3e4f9da0ce6c71ab3dba55929b8eeeee2455349e534924ead19f98d143e904f";

    fn hear(keys: Option<&str>, get: Option<&str>, signature: &str, body: &[u8]) -> Result<Heard, NotHeard> {
        let options = MetaOptions {
            url: Url::parse("https://graph.facebook.com").unwrap(),
            version: "v25.0".into(),
            phone_number_id: "1".into(),
            access_token: Secret::new("token"),
            app_secret: keys.map(Secret::new),
            verify_token: keys.map(Secret::new),
            timeout: Duration::from_secs(1),
        };
        let header = |name: &str| (name == "x-hub-signature-256").then(|| signature.to_owned());
        let (query, by_token) = (get.unwrap_or_default(), false);
        let (is_get, now) = (get.is_some(), second(5));
        read(&options, &Incoming { is_get, path: "", query, url: None, header: &header, body, by_token, now })
    }

    fn told(value: &Value) -> Vec<Told> {
        let body = json!({ "entry": [{ "changes": [{ "field": "messages", "value": value }] }] });
        events(&body, Some("1"), second(5))
    }

    fn phone() -> Recipient {
        Recipient::Phone("15417543010".into())
    }

    fn bsuid() -> Recipient {
        Recipient::Bsuid("US.1349".into())
    }

    #[test]
    fn the_signature_is_over_the_bytes() {
        let key = Some("app-secret");
        assert_eq!(hear(key, None, SIGNATURE, BODY), Ok(Heard::Told(Vec::new())));
        let again = String::from_utf8_lossy(BODY).replace(',', ", ");
        assert_eq!(hear(key, None, SIGNATURE, again.as_bytes()), Err(NotHeard::Forged));
        assert_eq!(hear(key, None, &SIGNATURE.replace("904f", "904e"), BODY), Err(NotHeard::Forged));
        assert_eq!(hear(key, None, "", BODY), Err(NotHeard::Forged));
        assert_eq!(hear(None, None, SIGNATURE, BODY), Err(NotHeard::Unverifiable));
        let asked = "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=";
        assert_eq!(hear(key, Some(&format!("{asked}app-secret")), "", b""), Ok(Heard::Challenge("1158201444".into())));
        assert_eq!(hear(key, Some(&format!("{asked}wrong")), "", b""), Err(NotHeard::WrongToken));
        assert_eq!(hear(None, Some(asked), "", b""), Err(NotHeard::Unverifiable));
    }

    #[test]
    fn messages_are_read_and_odd_ones_lose_no_others() {
        let contact = json!({ "profile": { "name": "Ada" }, "wa_id": "15417543010", "user_id": "US.1349" });
        let with = |more: Value| {
            let mut message = json!({ "id": "wamid.1", "from_user_id": "US.1349", "timestamp": "7" });
            message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            message
        };
        let value = json!({ "metadata": { "phone_number_id": "1" }, "contacts": [contact, 7], "messages": [
            null, { "id": 3, "from": [] }, with(json!({ "type": {} })), with(json!({ "type": "system" })),
            with(json!({ "type": "image", "context": { "id": "wamid.0" }, "image": {
                "id": "77", "mime_type": "image/jpeg", "caption": "Look" } })),
            with(json!({ "type": "interactive", "group_id": "Y2FwaV9ncm91cDox",
                "interactive": { "type": "list_reply", "list_reply": { "id": "2", "title": "Tuesday" } } })),
            with(json!({ "type": "reaction", "reaction": { "message_id": "wamid.0", "emoji": "👍" } }))] });
        let all: Vec<Told> = told(&value).into_iter().filter(|told| !matches!(told, Told::Same(..))).collect();
        let media = InboundMedia { mime: Some("image/jpeg".into()), source: "77".into(), ..InboundMedia::default() };
        let image = Written {
            fields: None,
            event_id: "message:wamid.1".into(),
            message_id: "wamid.1".into(),
            at: second(7),
            chat: phone(),
            from: phone(),
            name: Some("Ada".into()),
            kind: "image",
            text: Some("Look".into()),
            media: Some(media),
            reply_to: Some("wamid.0".into()),
        };
        let chat = Recipient::Group("Y2FwaV9ncm91cDox".into());
        let (text, media, reply_to) = (Some("Tuesday".into()), None, None);
        let choice = Written { chat, kind: "choice", text, media, reply_to, ..image.clone() };
        let Told::Reaction(reaction) = &all[2] else { panic!("{all:?}") };
        assert_eq!((reaction.message_id.as_str(), reaction.emoji.as_str()), ("wamid.0", "👍"));
        assert_eq!(all[..2], [Told::Written(Box::new(image)), Told::Written(Box::new(choice))]);
        let elsewhere = json!({ "metadata": { "phone_number_id": "2" }, "messages": value["messages"] });
        assert!(told(&elsewhere).is_empty());
    }

    #[test]
    fn statuses_are_acks_and_tell_who_is_who() {
        let status = |word: &str, more: Value| {
            json!({ "statuses": [{ "id": "wamid.1", "status": word, "errors": [more],
                "recipient_id": "15417543010", "recipient_user_id": "US.1349" }] })
        };
        let ack = |fate| Told::Ack(Ack { message_id: "wamid.1".into(), fate, ours: None, chat: None });
        let read = ack(Fate::Reached(MessageState::Read));
        assert_eq!(told(&status("played", Value::Null)), [Told::Same(phone(), bsuid()), read]);
        let error = json!({ "code": 131_047, "title": "Re-engagement message", "message": "Re-engagement message" });
        let error_text = "meta reported a failure 131047: Re-engagement message".to_owned();
        let fate = Fate::Failed { class: ErrorClass::WindowClosed, error: error_text };
        assert_eq!(told(&status("failed", error))[1], ack(fate));
        assert!(told(&status("deleted", Value::Null)).is_empty());
    }

    #[test]
    fn the_token_goes_to_meta_alone() {
        let base = Url::parse("https://graph.facebook.com").unwrap();
        for (url, goes) in [
            ("https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=7", true),
            ("https://graph.facebook.com/a", true),
            ("http://lookaside.fbsbx.com/a", false),
            ("https://fbsbx.com.evil.example/a", false),
            ("https://evilfbsbx.com/a", false),
            ("https://127.0.0.1/a", false),
        ] {
            assert_eq!(is_metas(&Url::parse(url).unwrap(), &base), goes, "{url}");
        }
    }
}
