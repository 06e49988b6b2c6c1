//! What gateways post, each in its own words: after GATEWAYS and the pages that it names.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value, json};

/// Who writes in most tests: as scripts see it, and as gateways write it.
pub const PHONE: &str = "+15417543010";
pub const PERSON: &str = "15417543010";
pub const GROUP: &str = "120363024512345678@g.us";
/// The same person's id at Meta.
pub const BSUID: &str = "US.13491208655302741918";
/// When tests begin, in seconds.
pub const NOW: i64 = 1_795_158_000;

/// An object with more fields, or other ones.
pub fn with(mut base: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        base[name.as_str()] = value.clone();
    }
    base
}

/// What a person wrote, as a gateway tells it; `bare` names the message and is unique.
pub fn text(gateway: &str, bare: &str, text: &str) -> Value {
    let id = id(gateway, bare);
    match gateway {
        "gowa" => gowa_message(&id, json!({ "body": text })),
        "wapim" => wapim(&id, json!({ "text": text })),
        "waha" | "wawp" => waha(gateway, "message", waha_message(bare, json!({ "body": text }))),
        "meta" => meta_message(&id, json!({ "type": "text", "text": { "body": text } })),
        "evolution" => evolution_message(&id, json!({ "message": { "conversation": text } })),
        "twilio" => twilio(&id, &[("Body", text)]),
        other => panic!("nobody knows how {other} tells it"),
    }
}

/// The gateway's own id of such a message.
pub fn id(gateway: &str, bare: &str) -> String {
    match gateway {
        "waha" | "wawp" => format!("false_{PERSON}@c.us_{bare}"),
        "meta" => format!("wamid.{bare}"),
        "twilio" => format!("SM{bare:0>32}"),
        _ => bare.to_owned(),
    }
}

/// How far a message of ours is: `sent`, `delivered`, `read`, `played` or `failed`; none where the
/// gateway does not say that.
pub fn ack(gateway: &str, id: &str, step: &str) -> Option<Value> {
    match gateway {
        "gowa" => ["delivered", "read", "played"].contains(&step).then(|| gowa_receipt(&[id], step)),
        "waha" | "wawp" => {
            let (ack, name) = match step {
                "failed" => (-1, "ERROR"),
                "sent" => (1, "SERVER"),
                "delivered" => (2, "DEVICE"),
                "read" => (3, "READ"),
                "played" => (4, "PLAYED"),
                other => panic!("{other}"),
            };
            let chat = format!("{PERSON}@c.us");
            let payload = json!({ "id": id, "from": chat, "to": null, "participant": null, "fromMe": true,
                "ack": ack, "ackName": name });
            Some(waha(gateway, "message.ack", payload))
        }
        "meta" => Some(meta(json!({ "statuses": [meta_status(id, step)] }))),
        "evolution" => {
            let word = match step {
                "failed" => "ERROR",
                "sent" => "SERVER_ACK",
                "delivered" => "DELIVERY_ACK",
                "read" => "READ",
                "played" => "PLAYED",
                other => panic!("{other}"),
            };
            let data = json!({ "keyId": id, "remoteJid": format!("{PERSON}@s.whatsapp.net"), "fromMe": true,
                "participant": null, "status": word, "instanceId": "8f4f3a52", "messageId": "cmfyoow42000hov4" });
            Some(evolution("messages.update", data))
        }
        "twilio" if step == "failed" => {
            let error = "Invalid message recipient";
            Some(twilio_status(id, "undelivered", &[("ErrorCode", "63024"), ("ChannelStatusMessage", error)]))
        }
        "twilio" => (step != "played").then(|| twilio_status(id, step, &[])),
        _ => None,
    }
}

pub fn gowa(event: &str, payload: Value) -> Value {
    let device = "628123456789@s.whatsapp.net";
    json!({ "event": event, "device_id": device, "session_id": "front-desk+1", "payload": payload })
}

pub fn gowa_message(id: &str, more: Value) -> Value {
    let jid = format!("{PERSON}@s.whatsapp.net");
    let base = json!({ "id": id, "chat_id": jid, "from": jid, "from_name": "Ada", "timestamp": "2026-11-20T07:00:00Z",
        "is_from_me": false });
    gowa("message", with(base, more))
}

pub fn gowa_receipt(ids: &[&str], kind: &str) -> Value {
    let jid = format!("{PERSON}@s.whatsapp.net");
    let payload = json!({ "ids": ids, "chat_id": jid, "from": jid, "receipt_type": kind,
        "receipt_type_description": "what it means" });
    with(gowa("message.ack", payload), json!({ "timestamp": "2026-11-20T07:00:01Z" }))
}

pub fn wapim(id: &str, more: Value) -> Value {
    let base = json!({ "event_name": "TextMessage", "from_group": false, "from_me": false, "from_phone_number": PERSON,
        "to_phone_number": "15550100009", "instance_id": "ck6w8bq3n05hg07995ztv1a33", "message_id": id,
        "timestamp": NOW });
    with(base, more)
}

/// The envelope of WAHA and of Wawp. Its id is another one each time; a retry has the same.
pub fn waha(gateway: &str, event: &str, payload: Value) -> Value {
    static EVENTS: AtomicU64 = AtomicU64::new(1);
    let session = if gateway == "waha" { "shop" } else { "5F301A/73+8029" };
    json!({
        "id": format!("evt_{:026}", EVENTS.fetch_add(1, Ordering::Relaxed)),
        "timestamp": NOW * 1000 + 853,
        "event": event,
        "session": session,
        "metadata": { "user.id": "123" },
        "me": { "id": "15550100009@c.us", "pushName": "Shop", "lid": "172078351257794@lid" },
        "payload": payload,
        "engine": "GOWS",
        "environment": { "version": "2026.7.1", "engine": "GOWS", "tier": "PLUS", "browser": null },
    })
}

pub fn waha_message(bare: &str, more: Value) -> Value {
    let base = json!({ "id": id("waha", bare), "timestamp": NOW, "from": format!("{PERSON}@c.us"), "fromMe": false,
        "source": "app", "to": "15550100009@c.us", "participant": null, "body": "", "hasMedia": false, "media": null,
        "ack": 1, "ackName": "SERVER", "location": null, "vCards": [], "replyTo": null, "_data": {} });
    with(base, more)
}

/// One change of this account's number.
pub fn meta(value: Value) -> Value {
    let metadata = json!({ "display_phone_number": "15550783881", "phone_number_id": "106540352242922" });
    let value = with(json!({ "messaging_product": "whatsapp", "metadata": metadata }), value);
    json!({ "object": "whatsapp_business_account",
        "entry": [{ "id": "102290129340398", "changes": [{ "field": "messages", "value": value }] }] })
}

pub fn meta_message(id: &str, more: Value) -> Value {
    let base = json!({ "from": PERSON, "from_user_id": BSUID, "id": id, "timestamp": NOW.to_string() });
    let contact = json!({ "profile": { "name": "Ada" }, "wa_id": PERSON, "user_id": BSUID });
    meta(json!({ "contacts": [contact], "messages": [with(base, more)] }))
}

pub fn meta_status(id: &str, word: &str) -> Value {
    let status = json!({ "id": id, "status": word, "timestamp": (NOW + 1).to_string(), "recipient_id": PERSON,
        "recipient_user_id": BSUID, "pricing": { "billable": true, "pricing_model": "PMP", "category": "service" } });
    let error = json!({ "code": 131026, "title": "Message undeliverable", "message": "Message undeliverable",
        "error_data": { "details": "Message Undeliverable." }, "href": "https://developers.facebook.com/docs" });
    if word == "failed" { with(status, json!({ "errors": [error] })) } else { status }
}

pub fn evolution(event: &str, data: Value) -> Value {
    json!({ "event": event, "instance": "my shop", "data": data,
        "destination": "https://hooks.example.com/gateways/main", "date_time": "2026-11-20T04:00:00.000Z",
        "sender": "15550100009@s.whatsapp.net", "server_url": "http://127.0.0.1:8080", "apikey": "ev0/+key=one" })
}

pub fn evolution_message(id: &str, more: Value) -> Value {
    let key = json!({ "remoteJid": format!("{PERSON}@s.whatsapp.net"), "fromMe": false, "id": id });
    let base = json!({ "key": key, "pushName": "Ada", "status": "DELIVERY_ACK", "message": {},
        "messageType": "conversation", "messageTimestamp": NOW, "instanceId": "8f4f3a52", "source": "android" });
    evolution("messages.upsert", with(base, more))
}

const SID: &str = "AC0123456789abcdef0123456789abcdef";

pub fn twilio(id: &str, more: &[(&str, &str)]) -> Value {
    let base = [
        ("SmsMessageSid", id),
        ("NumMedia", "0"),
        ("ProfileName", "Ada"),
        ("MessageType", "text"),
        ("SmsSid", id),
        ("WaId", PERSON),
        ("SmsStatus", "received"),
        ("Body", ""),
        ("To", "whatsapp:+14155238886"),
        ("NumSegments", "1"),
        ("ReferralNumMedia", "0"),
        ("MessageSid", id),
        ("AccountSid", SID),
        ("ChannelMetadata", r#"{"type":"whatsapp","data":{"context":{"ProfileName":"Ada","WaId":"15417543010"}}}"#),
        ("From", "whatsapp:+15417543010"),
        ("ApiVersion", "2010-04-01"),
    ];
    form_of(&[&base[..], more].concat())
}

pub fn twilio_status(id: &str, word: &str, more: &[(&str, &str)]) -> Value {
    let base = [
        ("ChannelPrefix", "whatsapp"),
        // Twilio hides the last digits itself.
        ("ChannelToAddress", "+1541754XXXX"),
        ("SmsSid", id),
        ("SmsStatus", word),
        ("MessageSid", id),
        ("MessageStatus", word),
        ("To", "whatsapp:+15417543010"),
        ("From", "whatsapp:+14155238886"),
        ("AccountSid", SID),
        ("StructuredMessage", "false"),
        ("ApiVersion", "2010-04-01"),
    ];
    form_of(&[&base[..], more].concat())
}

fn form_of(fields: &[(&str, &str)]) -> Value {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
    Value::Object(fields.collect::<Map<_, _>>())
}

/// The fields of a form that is written as an object.
pub fn fields(form: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    form.as_object().unwrap().iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// A form as it stands in a body.
pub fn encoded(fields: &[(String, String)]) -> Vec<u8> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields {
        form.append_pair(name, value);
    }
    form.finish().into_bytes()
}
