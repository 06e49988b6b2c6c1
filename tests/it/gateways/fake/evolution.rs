//! Evolution API 2.3.6, after GATEWAYS section 7.1 and the files of its source named there (message
//! schema, DTO, routers, error answers). The instance has a blank in its name.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Dialect;
use super::strict::{Checked, Got, Object, from_base64, is_phone, is_web};

const KEY: &str = "ev0/+key=one";

pub const DIALECT: Dialect =
    Dialect { name: "evolution", settings: "api_key: \"ev0/+key=one\"\ninstance: \"my shop\"", secrets: &[KEY], check };

/// Takes what an action has besides `number`; the flag says that the file came as a part of a form.
/// Gives the `messageType` of the answer.
type Reader = fn(&mut Object, bool) -> Result<&'static str, String>;

fn check(got: &Got) -> Checked {
    let action = got.path.strip_prefix("/message/").and_then(|rest| rest.strip_suffix("/my%20shop"));
    let read: Reader = match (got.method.as_str(), action) {
        ("POST", Some("sendText")) => text,
        ("POST", Some("sendMedia")) => media,
        ("POST", Some("sendWhatsAppAudio")) => audio,
        ("POST", Some("sendPtv")) => note,
        ("POST", Some("sendSticker")) => sticker,
        ("POST", Some("sendLocation")) => location,
        ("POST", Some("sendContact")) => contact,
        ("POST", Some("sendReaction")) => reaction,
        ("POST", Some("sendPoll")) => poll,
        ("POST", Some("sendTemplate")) => template,
        _ => return Err("no such endpoint".into()),
    };
    got.wants_header("apikey", KEY)?;
    got.wants_no_query()?;
    let takes_file = matches!(action, Some("sendMedia" | "sendWhatsAppAudio" | "sendPtv" | "sendSticker"));
    let is_form = got.header("content-type").unwrap_or_default().starts_with("multipart/form-data");
    let value = match is_form && takes_file {
        true => form(got)?,
        false => got.json()?,
    };
    let mut body = Object::of(&value, "the body")?;
    body.any("future");
    let chat = match action {
        // It names the chat in the target's key.
        Some("sendReaction") => value["key"]["remoteJid"].as_str().unwrap_or_default().to_owned(),
        _ => number(&mut body)?,
    };
    let kind = read(&mut body, is_form)?;
    body.end()?;
    let message = match kind {
        "conversation" => json!({ "conversation": value["text"] }),
        _ => json!({ kind: {} }),
    };
    Ok((
        201,
        json!({
            "key": { "remoteJid": chat, "fromMe": true, "id": format!("3EB0{:016X}", mark(&got.body)) },
            "pushName": "",
            "status": "PENDING",
            "message": message,
            "messageType": kind,
            "messageTimestamp": 1_780_000_000,
            "instanceId": "8f4f3a52-6a0e-4d0d-9a3c-2f1f6a1b7c3e",
            "source": "unknown",
        }),
    ))
}

/// A number of the body's own, so that different messages get different ids.
fn mark(bytes: &[u8]) -> u64 {
    bytes.iter().fold(7, |mark: u64, byte| mark.wrapping_mul(31).wrapping_add(u64::from(*byte)))
}

/// The fields of a form with the part `file`; all others are texts, so that one with another type
/// in the schema cannot be given.
fn form(got: &Got) -> Result<Value, String> {
    let mut fields = Map::new();
    let mut file = false;
    for part in got.multipart()? {
        if part.name == "file" {
            let named = part.file_name.as_deref().is_some_and(|name| !name.is_empty());
            if file || !named || part.content_type.is_none() || part.bytes.is_empty() {
                return Err("the file is there twice, or lacks a name, a content type, or bytes".into());
            }
            file = true;
        } else if fields.insert(part.name.clone(), Value::from(part.text()?)).is_some() {
            return Err(format!("the part `{}` is there twice", part.name));
        }
    }
    match file {
        true => Ok(Value::Object(fields)),
        false => Err("the form has no file".into()),
    }
}

/// Whether a text is a JID that the gateway leaves as it is. Newsletters are not: their id would be
/// rewritten to a group.
fn is_jid(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.split_once('@') {
        Some((user, "s.whatsapp.net")) => is_phone(user),
        Some((user, "g.us")) => user.split('-').all(digits),
        Some((user, "lid")) => digits(user),
        _ => false,
    }
}

/// The recipient as a JID.
fn number(body: &mut Object) -> Result<String, String> {
    match body.text("number")? {
        number if is_phone(&number) => Ok(format!("{number}@s.whatsapp.net")),
        number if is_jid(&number) => Ok(number),
        number => Err(format!("number `{number}` is neither digits nor a JID of a phone, group or lid")),
    }
}

/// The options that all actions but reactions have.
fn options(body: &mut Object) -> Result<(), String> {
    if let Some(delay) = body.maybe_whole("delay")?
        && delay < 0
    {
        return Err(format!("delay is {delay}"));
    }
    if let Some(mut quoted) = body.maybe_object("quoted")? {
        let mut target = quoted.object("key")?;
        key(&mut target)?;
        target.end()?;
        quoted.maybe_object("message")?;
        quoted.end()?;
    }
    // The schema says `everyOne`; what is read is `mentionsEveryOne`.
    body.maybe_flag("mentionsEveryOne")?;
    if let Some(mentioned) = body.maybe_list("mentioned")? {
        let distinct: BTreeSet<&str> = mentioned.iter().filter_map(Value::as_str).collect();
        if mentioned.is_empty() || distinct.len() != mentioned.len() || !distinct.iter().all(|text| is_phone(text)) {
            return Err(format!("mentioned is {mentioned:?}, wanted different texts of digits"));
        }
    }
    Ok(())
}

/// The parts of a message's key; `participant` is part of the type that the DTO names.
fn key(key: &mut Object) -> Result<(bool, bool), String> {
    key.text("id")?;
    let chat = key.maybe_text("remoteJid")?;
    let participant = key.maybe_text("participant")?;
    for jid in chat.iter().chain(&participant) {
        if !is_jid(jid) {
            return Err(format!("`{jid}` in a key is no JID"));
        }
    }
    Ok((chat.is_some(), key.maybe_flag("fromMe")?.is_some()))
}

/// A web address or Base64 (a data URL is neither), unless the file came as a part. Whether it is
/// Base64.
fn source(body: &mut Object, name: &str, uploaded: bool) -> Result<bool, String> {
    match (body.maybe_text(name)?, uploaded) {
        (None, true) => Ok(false),
        (Some(text), false) if is_web(&text) => Ok(false),
        (Some(text), false) if !from_base64(&text)?.is_empty() => Ok(true),
        _ => Err(format!("wanted one of: `{name}` as a web address or Base64, a file in a form")),
    }
}

fn text(body: &mut Object, _: bool) -> Result<&'static str, String> {
    body.text("text")?;
    body.maybe_flag("linkPreview")?;
    options(body)?;
    Ok("conversation")
}

fn media(body: &mut Object, uploaded: bool) -> Result<&'static str, String> {
    let kind = match body.text("mediatype")?.as_str() {
        "image" => "imageMessage",
        "document" => "documentMessage",
        "video" => "videoMessage",
        "audio" => "audioMessage",
        other => return Err(format!("there is no mediatype `{other}`")),
    };
    let bytes = source(body, "media", uploaded)?;
    if let Some(mime) = body.maybe_text("mimetype")?
        && !mime.contains('/')
    {
        return Err(format!("`{mime}` is no MIME type"));
    }
    // The controller refuses it: there is nothing to take a name from.
    if body.maybe_text("fileName")?.is_none() && bytes && kind == "documentMessage" {
        return Err("a document in Base64 needs a fileName".into());
    }
    body.maybe_text("caption")?;
    options(body)?;
    Ok(kind)
}

fn audio(body: &mut Object, uploaded: bool) -> Result<&'static str, String> {
    source(body, "audio", uploaded)?;
    options(body)?;
    Ok("audioMessage")
}

/// The round video note.
fn note(body: &mut Object, uploaded: bool) -> Result<&'static str, String> {
    source(body, "video", uploaded)?;
    options(body)?;
    Ok("ptvMessage")
}

fn sticker(body: &mut Object, uploaded: bool) -> Result<&'static str, String> {
    source(body, "sticker", uploaded)?;
    options(body)?;
    Ok("stickerMessage")
}

fn location(body: &mut Object, _: bool) -> Result<&'static str, String> {
    let (latitude, longitude) = (body.number("latitude")?, body.number("longitude")?);
    if latitude.abs() > 90.0 || longitude.abs() > 180.0 {
        return Err(format!("{latitude}, {longitude} is no place on Earth"));
    }
    // Both are required; the schema lets them be empty.
    body.maybe_text("name")?.ok_or("name is missing")?;
    body.maybe_text("address")?.ok_or("address is missing")?;
    options(body)?;
    Ok("locationMessage")
}

fn contact(body: &mut Object, _: bool) -> Result<&'static str, String> {
    let list = body.list("contact")?;
    for (place, entry) in list.iter().enumerate() {
        if list[..place].contains(entry) {
            return Err("a contact is there twice".into());
        }
        let mut contact = Object::of(entry, "a contact")?;
        contact.text("fullName")?;
        let phone = contact.text("phoneNumber")?;
        let wuid = contact.maybe_text("wuid")?;
        if phone.len() < 10 || wuid.is_some_and(|wuid| wuid.len() < 10 || !is_phone(&wuid)) {
            return Err("phoneNumber and wuid have at least 10 characters, wuid only digits".into());
        }
        for name in ["organization", "email", "url"] {
            contact.maybe_text(name)?;
        }
        contact.end()?;
    }
    options(body)?;
    Ok(if list.len() == 1 { "contactMessage" } else { "contactsArrayMessage" })
}

fn reaction(body: &mut Object, _: bool) -> Result<&'static str, String> {
    let mut target = body.object("key")?;
    if key(&mut target)? != (true, true) {
        return Err("the key of a reaction's target needs remoteJid and fromMe".into());
    }
    target.end()?;
    // Empty removes it.
    body.maybe_text("reaction")?.ok_or("reaction is missing")?;
    Ok("reactionMessage")
}

fn poll(body: &mut Object, _: bool) -> Result<&'static str, String> {
    body.text("name")?;
    let values = body.list("values")?;
    let distinct: BTreeSet<&str> = values.iter().filter_map(Value::as_str).collect();
    if !(2..=10).contains(&values.len()) || distinct.len() != values.len() {
        return Err(format!("values are {values:?}, wanted 2 to 10 different texts"));
    }
    let count = body.whole("selectableCount")?;
    if !(0..=10).contains(&count) {
        return Err(format!("selectableCount is {count}, wanted 0 to 10"));
    }
    options(body)?;
    Ok("pollCreationMessageV3")
}

fn template(body: &mut Object, _: bool) -> Result<&'static str, String> {
    body.text("name")?;
    body.text("language")?;
    for component in body.maybe_list("components")?.unwrap_or_default() {
        Object::of(&component, "a component")?;
    }
    Ok("templateMessage")
}

const PROXY: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>nginx</body>\r\n</html>\r\n";

/// HTTP status, body, class. A fault of the account, not of the message, is of a class that pauses
/// the account.
pub const ERRORS: &[(u16, &str, &str)] = &[
    (
        400,
        r#"{"status":400,"error":"Bad Request","response":{"message":[{"jid":"15550100002@s.whatsapp.net","exists":false,"number":"15550100002"}]}}"#,
        "recipient_invalid",
    ),
    // The schema's complaints are a list in the list; they come before anything is sent.
    (
        400,
        r#"{"status":400,"error":"Bad Request","response":{"message":[["instance requires property \"text\""]]}}"#,
        "invalid",
    ),
    // A failed send is a text in the list. This one is known to come after the message went out.
    (
        400,
        r#"{"status":400,"error":"Bad Request","response":{"message":["PrismaClientKnownRequestError: \nInvalid `this.prismaRepository.message.create()` invocation"]}}"#,
        "ambiguous",
    ),
    (400, r#"{"status":400,"error":"Bad Request","response":{"message":["Error: Timed Out"]}}"#, "ambiguous"),
    (401, r#"{"status":401,"error":"Unauthorized","response":{"message":"Unauthorized"}}"#, "auth"),
    (
        404,
        r#"{"status":404,"error":"Not Found","response":{"message":["The \"my shop\" instance does not exist"]}}"#,
        "not_connected",
    ),
    // What is a 500 happened before the send, which stands in a `try` that answers 400.
    (
        500,
        r#"{"status":500,"error":"Internal Server Error","response":{"message":"Internal Server Error"}}"#,
        "not_connected",
    ),
    (
        500,
        r#"{"status":500,"error":"Internal Server Error","response":{"message":"Connection Closed"}}"#,
        "not_connected",
    ),
    (
        500,
        r#"{"status":500,"error":"Internal Server Error","response":{"message":"Cannot read properties of undefined (reading 'id')"}}"#,
        "not_connected",
    ),
    (
        503,
        r#"{"status":503,"error":"LICENSE_REQUIRED","response":{"message":"activate your license"}}"#,
        "not_connected",
    ),
    // These are known to come before anything went out.
    (
        400,
        r#"{"status":400,"error":"Bad Request","response":{"message":["Owned media must be a url or base64"]}}"#,
        "media_rejected",
    ),
    (
        400,
        r#"{"status":400,"error":"Bad Request","response":{"message":["Request failed with status code 404"]}}"#,
        "media_rejected",
    ),
    (
        400,
        r#"{"status":400,"error":"Bad Request","response":{"message":["Method not available on WhatsApp Business API"]}}"#,
        "unsupported",
    ),
    (400, r#"{"status":400,"error":"Bad Request","response":{"message":["[object Object]"]}}"#, "recipient_invalid"),
    // Version 1, which wants other fields.
    (
        400,
        r#"{"status":400,"error":"Bad Request","response":{"message":[["instance requires property \"textMessage\""]]}}"#,
        "not_connected",
    ),
    (404, r#"{"status":404,"error":"Not Found","response":{"message":["Number not found"]}}"#, "recipient_invalid"),
    (404, r#"{"status":404,"error":"Not Found","response":{"message":["Message not found"]}}"#, "invalid"),
    // Its channel of Meta's Cloud API puts Meta's error where the message would be.
    (
        201,
        r#"{"message":"(#131047) x","type":"OAuthException","code":131047,"error_data":{"details":"x"},"fbtrace_id":"A"}"#,
        "window_closed",
    ),
    (201, r#"{"message":"(#131026) x","type":"OAuthException","code":131026,"fbtrace_id":"A"}"#, "recipient_invalid"),
    (201, r#"{"message":"expired","type":"OAuthException","code":190,"fbtrace_id":"A"}"#, "auth"),
    // A proxy may have passed the request on.
    (502, PROXY, "ambiguous"),
];
