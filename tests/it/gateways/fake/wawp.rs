//! Wawp as GATEWAYS section 3 tells it. Where the sheet has names without types (poll, location, contact,
//! reaction), the vendor's pages `api.wawp.net/en/docs/v2/send/*` are followed.

use serde_json::{Map, Value, json};

use super::Dialect;
use super::strict::{Checked, Got, Object, from_base64, is_phone, is_web};

pub const DIALECT: Dialect = Dialect {
    name: "wawp",
    settings: "instance_id: '5F301A/73+8029'\n\
               access_token: 's3cret/+token=one'",
    secrets: &[TOKEN],
    check,
};

const INSTANCE: &str = "5F301A/73+8029";
const TOKEN: &str = "s3cret/+token=one";

const HTML: &str = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>";

/// Section 3.3: as `{code, message, data}`, as the OpenAPI export's `{status, message, error}`, as a
/// proxy's page, and within a 200.
pub const ERRORS: &[(u16, &str, &str)] = &[
    (400, r#"{"code":"missing_param","message":"Missing parameter: chatId","data":{"status":400}}"#, "invalid"),
    (400, r#"{"status":400,"message":"Missing parameter: chatId","error":"Bad Request"}"#, "invalid"),
    (401, r#"{"status":401,"message":"Missing access_token","error":"Unauthorized"}"#, "auth"),
    (401, "", "auth"),
    // What the plan allows is used up: nothing that the account sends would pass.
    (403, r#"{"code":"quota_reached","message":"Message quota reached","data":{"status":403}}"#, "quota"),
    (404, r#"{"code":"invalid_session","message":"Session not found","data":{"status":404}}"#, "not_connected"),
    (404, r#"{"status":404,"message":"Session not found","error":"invalid_session"}"#, "not_connected"),
    (413, "<html><head><title>413 Request Entity Too Large</title></head><body>nginx</body></html>", "too_large"),
    (429, r#"{"status":429,"message":"Too many requests","error":"Too Many Requests"}"#, "rate_limited"),
    (429, "", "rate_limited"),
    (500, r#"{"code":"wawp_upstream_error","message":"Upstream error","data":{"status":500}}"#, "ambiguous"),
    (500, HTML, "ambiguous"),
    (502, r#"{"code":"wawp_upstream_error","message":"Upstream error"}"#, "ambiguous"),
    (502, HTML, "ambiguous"),
    (200, r#"{"code":"missing_param","message":"Missing parameter: chatId"}"#, "invalid"),
    (200, r#"{"code":"quota_reached","message":"Message quota reached","data":{"status":403}}"#, "quota"),
    (200, r#"{"code":"invalid_session","message":"Session not found","data":{"status":404}}"#, "not_connected"),
    (200, r#"{"code":"wawp_upstream_error","message":"Upstream error","data":{"status":502}}"#, "ambiguous"),
];

/// Kinds that are posted; a reaction is put. There is no endpoint for audio that is no voice note, nor
/// for stickers.
const POSTED: [&str; 9] = ["text", "link-preview", "image", "pdf", "voice", "video", "location", "poll", "contact"];

fn check(got: &Got) -> Checked {
    let kind = match (got.method.as_str(), got.path.strip_prefix("/v2/send/")) {
        ("POST", Some(kind)) if POSTED.contains(&kind) => kind,
        ("PUT", Some("reaction")) => "reaction",
        _ => return Err(format!("no such endpoint: {} {}", got.method, got.path)),
    };
    // Of the four ways to prove who one is the sheet advises this: both in the JSON body, none in the URL.
    got.wants_no_query()?;
    let mut body = Object::of(&got.json()?, kind)?;
    for (name, value) in [("instance_id", INSTANCE), ("access_token", TOKEN)] {
        if body.text(name)? != value {
            return Err(format!("{kind}.{name} is not the account's"));
        }
    }
    let to = body.text("chatId")?;
    if !is_chat(&to) {
        return Err(format!("{kind}.chatId is {to:?}"));
    }
    match kind {
        "text" => {
            let message = body.text("message")?;
            if message.chars().count() > 4096 {
                return Err("text.message has more than 4096 characters".into());
            }
        }
        "link-preview" => link(&mut body)?,
        "image" => {
            let kind = file(&mut body)?;
            if !["image/jpeg", "image/png"].contains(&kind.as_str()) {
                return Err(format!("an image is JPEG or PNG, not `{kind}`"));
            }
            caption(&mut body)?;
        }
        // For documents of all kinds, whatever its name says.
        "pdf" => {
            file(&mut body)?;
            caption(&mut body)?;
        }
        "voice" => {
            let kind = file(&mut body)?;
            let convert = word(&mut body, "convert")?.ok_or("voice.convert is missing")?;
            // Without conversion only OGG becomes a voice note.
            if !kind.starts_with(if convert { "audio/" } else { "audio/ogg" }) {
                return Err(format!("a voice note of the type `{kind}`, convert: {convert}"));
            }
        }
        "video" => {
            let kind = file(&mut body)?;
            if !kind.starts_with("video/") {
                return Err(format!("a video of the type `{kind}`"));
            }
            word(&mut body, "convert")?;
            word(&mut body, "asNote")?;
            body.maybe_text("caption")?;
        }
        "location" => {
            // Decimal strings by the vendor's page; `message` is the address there.
            degrees(&mut body, "latitude", 90.0)?;
            degrees(&mut body, "longitude", 180.0)?;
            body.maybe_text("title")?;
            body.maybe_text("message")?;
        }
        "poll" => poll(&mut body)?,
        "contact" => contacts(&mut body)?,
        _ => {
            body.text("messageId")?;
            // An empty one takes the reaction back.
            body.maybe_text("reaction")?.ok_or("reaction.reaction is missing")?;
        }
    }
    if kind != "reaction" {
        reply(&mut body)?;
    }
    body.any("future");
    body.end()?;
    // Which of the two a success has is open; WAHA, which Wawp hosts, makes this difference.
    let status = if got.method == "PUT" { 200 } else { 201 };
    Ok((status, message(got, kind, &to)))
}

/// The server would strip a `+` and blanks; the sheet names these forms only.
fn is_chat(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('@') {
        None => is_phone(text),
        Some((user, "c.us")) => is_phone(user),
        Some((user, "g.us")) => user.split('-').all(digits),
        Some((user, "lid" | "newsletter")) => digits(user),
        Some(_) => false,
    }
}

fn reply(body: &mut Object) -> Result<(), String> {
    match body.any("reply_to") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(id)) if !id.is_empty() => Ok(()),
        Some(other) => Err(format!("reply_to is {other}, wanted a message id or null")),
    }
}

/// `title` and `description` are inferred to be optional, `text` and `thumbnail` known to be.
fn link(body: &mut Object) -> Result<(), String> {
    let url = body.text("url")?;
    let thumbnail = body.maybe_text("thumbnail")?;
    if !is_web(&url) || !thumbnail.as_deref().is_none_or(is_web) {
        return Err(format!("no web address: url {url:?}, thumbnail {thumbnail:?}"));
    }
    body.maybe_text("text")?;
    body.maybe_text("title")?;
    body.maybe_text("description")?;
    body.maybe_flag("linkPreviewHighQuality")?;
    Ok(())
}

/// The pages mark it required; clients that have none send one blank.
fn caption(body: &mut Object) -> Result<(), String> {
    match body.maybe_text("caption")?.unwrap_or_default().is_empty() {
        true => Err("caption is missing or empty; one blank would do".into()),
        false => Ok(()),
    }
}

/// An object, or its fields as flat keys; returns the content type.
fn file(body: &mut Object) -> Result<String, String> {
    let mut file = match body.maybe_object("file")? {
        Some(file) => file,
        None => {
            let mut flat = Map::new();
            for name in ["url", "filename", "mimetype"] {
                if let Some(value) = body.any(&format!("file[{name}]")) {
                    flat.insert(name.into(), value);
                }
            }
            Object::of(&Value::Object(flat), "file")?
        }
    };
    match (file.maybe_text("url")?, file.maybe_text("data")?) {
        (Some(url), None) if is_web(&url) => {}
        (None, Some(data)) if from_base64(&data).is_ok_and(|bytes| !bytes.is_empty()) => {}
        _ => return Err("file wants a web address as `url`, or else Base64 as `data`".into()),
    }
    file.text("filename")?;
    let kind = file.text("mimetype")?;
    file.end()?;
    Ok(kind)
}

/// True or false; clients send the words too.
fn word(body: &mut Object, name: &str) -> Result<Option<bool>, String> {
    match body.any(name) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(flag)),
        Some(Value::String(word)) if word == "true" || word == "false" => Ok(Some(word == "true")),
        Some(other) => Err(format!("{name} is {other}, wanted true or false")),
    }
}

fn degrees(body: &mut Object, name: &str, most: f64) -> Result<(), String> {
    let text = body.text(name)?;
    let decimal = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
    match decimal && text.parse::<f64>().is_ok_and(|degrees| degrees.abs() <= most) {
        true => Ok(()),
        false => Err(format!("{name} is {text:?}")),
    }
}

/// The question and its answers are an object of their own, as in WAHA.
fn poll(body: &mut Object) -> Result<(), String> {
    let mut poll = body.object("poll")?;
    poll.text("name")?;
    let options = poll.list("options")?;
    let good = |option: &Value| option.as_str().is_some_and(|text| (1..255).contains(&text.chars().count()));
    if !(2..=12).contains(&options.len()) || !options.iter().all(good) {
        return Err(format!("a poll has 2 to 12 options of under 255 characters: {options:?}"));
    }
    poll.maybe_flag("multipleAnswers")?;
    poll.end()
}

/// The server makes vCards of them itself.
fn contacts(body: &mut Object) -> Result<(), String> {
    for contact in body.list("contacts")? {
        let mut contact = Object::of(&contact, "contact")?;
        contact.text("fullName")?;
        contact.maybe_text("organization")?;
        let phone = contact.text("phoneNumber")?;
        let id = contact.maybe_text("whatsappId")?;
        if !is_phone(phone.strip_prefix('+').unwrap_or(&phone)) || !id.as_deref().is_none_or(is_phone) {
            return Err(format!("a contact's phoneNumber is {phone:?}, whatsappId {id:?}"));
        }
        contact.end()?;
    }
    Ok(())
}

/// The seed's message object, cut down to what tells messages apart; lists without entries are `{}` in it.
fn message(got: &Got, kind: &str, to: &str) -> Value {
    let mix = |digest: u64, byte: &u8| (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let digest = got.body.iter().fold(0xcbf2_9ce4_8422_2325, mix);
    let chat = if to.contains('@') { to.to_owned() } else { format!("{to}@c.us") };
    let own = format!("3EB0{digest:016X}");
    let id = json!({
        "fromMe": true, "remote": chat, "id": own, "_serialized": format!("true_{chat}_{own}"),
    });
    let inner = json!({
        "id": id, "viewed": false, "type": "chat", "t": 1_759_108_866, "ack": 0, "isNewMsg": true,
        "mentionedJidList": {}, "groupMentions": {}, "labels": {}, "links": {},
    });
    let media = ["image", "pdf", "voice", "video"].contains(&kind);
    json!({
        "_data": inner, "id": id, "ack": 0, "hasMedia": media, "body": "", "type": "chat", "timestamp": 1_759_108_866,
        "from": "111111111111@c.us", "to": chat, "deviceType": "android", "isForwarded": false, "fromMe": true,
        "hasQuotedMsg": false, "vCards": {}, "mentionedIds": {}, "groupMentions": {}, "links": {},
    })
}
