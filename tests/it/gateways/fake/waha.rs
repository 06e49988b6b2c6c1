//! WAHA with engine GOWS and a named session, after GATEWAYS section 5 and WAHA's own OpenAPI file
//! (`waha.json`, 2026.7.1).

use serde_json::{Value, json};

use super::Dialect;
use super::strict::{Checked, Got, Object, from_base64, is_phone, is_web};

const KEY: &str = "k3y/+waha=one";
const SESSION: &str = "shop";

pub const DIALECT: Dialect = Dialect {
    name: "waha",
    settings: "api_key: \"k3y/+waha=one\"\nsession: shop\nengine: gows",
    secrets: &[KEY],
    check,
};

/// Takes what an endpoint has besides `session` and `chatId`; gives the message's text and whether
/// it has media.
type Reader = fn(&mut Object) -> Result<(String, bool), String>;

fn check(got: &Got) -> Checked {
    let read: Reader = match (got.method.as_str(), got.path.as_str()) {
        ("POST", "/api/sendText") => text,
        ("POST", "/api/send/link-custom-preview") => card,
        ("POST", "/api/sendLinkPreview") => old_card,
        ("POST", "/api/sendImage") => image,
        ("POST", "/api/sendFile") => document,
        ("POST", "/api/sendVideo") => video,
        ("POST", "/api/sendVoice") => voice,
        ("POST", "/api/sendLocation") => location,
        ("POST", "/api/sendContactVcard") => contacts,
        ("POST", "/api/sendPoll") => poll,
        ("PUT", "/api/reaction") => reaction,
        // Stickers have no endpoint in this version.
        _ => return Err("no such endpoint".into()),
    };
    got.wants_header("x-api-key", KEY)?;
    got.wants_no_query()?;
    let value = got.json()?;
    let mut body = Object::of(&value, "the body")?;
    body.any("future");
    let session = body.text("session")?;
    if session != SESSION {
        return Err(format!("there is no session `{session}`"));
    }
    let chat = match got.path.as_str() {
        // It has no `chatId`; the chat is part of the target's id.
        "/api/reaction" => "15550100001@c.us".to_owned(),
        _ => chat_id(&mut body)?,
    };
    let (text, media) = read(&mut body)?;
    body.end()?;
    // Where the caller may choose the id, it comes back inside the long one.
    let chosen = value.get("id").and_then(Value::as_str).map(str::to_owned);
    let id = chosen.unwrap_or_else(|| format!("3EB0{:016X}", mark(&got.body)));
    let status = if got.method == "PUT" { 200 } else { 201 };
    Ok((
        status,
        json!({
            "id": format!("true_{chat}_{id}"),
            "timestamp": 1_780_000_000,
            "from": "15550100009@c.us",
            "fromMe": true,
            "source": "api",
            "to": chat,
            "participant": null,
            "body": text,
            "hasMedia": media,
            "ack": 0,
            "ackName": "PENDING",
            "_data": {},
        }),
    ))
}

/// A number of the body's own, so that different messages get different ids.
fn mark(bytes: &[u8]) -> u64 {
    bytes.iter().fold(7, |mark: u64, byte| mark.wrapping_mul(31).wrapping_add(u64::from(*byte)))
}

fn chat_id(body: &mut Object) -> Result<String, String> {
    let chat = body.text("chatId")?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let fits = match chat.split_once('@') {
        Some((user, "c.us")) => is_phone(user),
        // Old groups are `phone-seconds`.
        Some((user, "g.us")) => user.split('-').all(digits),
        Some((user, "newsletter" | "lid")) => digits(user),
        _ => chat == "status@broadcast",
    };
    match fits {
        true => Ok(chat),
        false => Err(format!("chatId `{chat}` is none of digits@c.us, @g.us, @newsletter, @lid, status@broadcast")),
    }
}

/// A text that may be left out; null counts as left out, because WAHA documents it as the default.
fn optional(body: &mut Object, name: &str) -> Result<(), String> {
    match body.any(name) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(()),
        Some(other) => Err(format!("{name} is {other}, wanted a text that is not empty")),
    }
}

fn text(body: &mut Object) -> Result<(String, bool), String> {
    let text = body.text("text")?;
    optional(body, "reply_to")?;
    optional(body, "id")?;
    body.maybe_flag("linkPreview")?;
    body.maybe_flag("linkPreviewHighQuality")?;
    // Missing in the OpenAPI file, but documented.
    let mentions = body.maybe_list("mentions")?.unwrap_or_default();
    for mention in &mentions {
        let mention = mention.as_str().unwrap_or_default();
        match mention.strip_suffix("@c.us") {
            Some(digits) if is_phone(digits) && text.contains(&format!("@{digits}")) => {}
            None if mention == "all" && mentions.len() == 1 => {}
            _ => return Err(format!("the mention `{mention}` is neither \"all\" alone nor a phone named in the text")),
        }
    }
    Ok((text, false))
}

fn card(body: &mut Object) -> Result<(String, bool), String> {
    let text = body.text("text")?;
    optional(body, "reply_to")?;
    body.maybe_flag("linkPreviewHighQuality")?;
    let mut preview = body.object("preview")?;
    let url = preview.text("url")?;
    if !is_web(&url) || !text.contains(&url) {
        return Err(format!("preview.url `{url}` is no web address or is not in the text `{text}`"));
    }
    preview.text("title")?;
    preview.text("description")?;
    if let Some(mut image) = preview.maybe_object("image")? {
        // Unlike `file`, it has neither `mimetype` nor `filename`.
        source(&mut image)?;
        image.end()?;
    }
    preview.end()?;
    Ok((text, false))
}

/// Deprecated, but still served.
fn old_card(body: &mut Object) -> Result<(String, bool), String> {
    let url = body.text("url")?;
    if !is_web(&url) {
        return Err(format!("url `{url}` is no web address"));
    }
    body.text("title")?;
    optional(body, "id")?;
    Ok((url, false))
}

/// Either an address or bytes.
fn source(file: &mut Object) -> Result<(), String> {
    match (file.maybe_text("url")?, file.maybe_text("data")?) {
        (Some(url), None) if is_web(&url) => Ok(()),
        (None, Some(data)) if !from_base64(&data)?.is_empty() => Ok(()),
        (url, data) => Err(format!("wanted either a web address or bytes, got url {url:?} and data {data:?}")),
    }
}

/// The field `file`; gives its MIME type without parameters, which must begin with `family`.
fn file(body: &mut Object, family: &str) -> Result<String, String> {
    let mut file = body.object("file")?;
    let mime = file.text("mimetype")?;
    let essence = mime.split(';').next().unwrap_or_default().trim().to_owned();
    if !essence.starts_with(family) || !essence.contains('/') {
        return Err(format!("the MIME type `{mime}` does not suit the endpoint"));
    }
    // The schema of a voice note by address is the only one without it. That of a video requires
    // it and calls it optional; the server has a default, so it may be left out.
    if !(family == "audio/" && file.has("url")) {
        optional(&mut file, "filename")?;
    }
    source(&mut file)?;
    file.end()?;
    Ok(essence)
}

fn caption(body: &mut Object) -> Result<(String, bool), String> {
    optional(body, "reply_to")?;
    Ok((body.maybe_text("caption")?.unwrap_or_default(), true))
}

fn image(body: &mut Object) -> Result<(String, bool), String> {
    file(body, "image/")?;
    caption(body)
}

fn document(body: &mut Object) -> Result<(String, bool), String> {
    file(body, "")?;
    caption(body)
}

fn video(body: &mut Object) -> Result<(String, bool), String> {
    let mime = file(body, "video/")?;
    if !body.flag("convert")? && mime != "video/mp4" {
        return Err(format!("a video of type {mime} must be converted"));
    }
    // The round video note.
    body.maybe_flag("asNote")?;
    caption(body)
}

fn voice(body: &mut Object) -> Result<(String, bool), String> {
    let mime = file(body, "audio/")?;
    if !body.flag("convert")? && mime != "audio/ogg" {
        return Err(format!("a voice note of type {mime} must be converted"));
    }
    // It has no caption.
    optional(body, "reply_to")?;
    Ok((String::new(), true))
}

fn location(body: &mut Object) -> Result<(String, bool), String> {
    let (latitude, longitude) = (body.number("latitude")?, body.number("longitude")?);
    if latitude.abs() > 90.0 || longitude.abs() > 180.0 {
        return Err(format!("{latitude}, {longitude} is no place on Earth"));
    }
    // Required, but nothing says that it must not be empty.
    let title = body.maybe_text("title")?.ok_or("title is missing")?;
    optional(body, "reply_to")?;
    optional(body, "id")?;
    Ok((title, false))
}

fn contacts(body: &mut Object) -> Result<(String, bool), String> {
    for entry in body.list("contacts")? {
        let mut contact = Object::of(&entry, "a contact")?;
        match contact.any("vcard") {
            Some(Value::String(card)) => {
                let whole = card.starts_with("BEGIN:VCARD") && card.trim_end().ends_with("END:VCARD");
                if !whole || !card.contains("\nFN:") {
                    return Err(format!("`{card}` is no vCard"));
                }
            }
            // The schema says that `vcard` is required with the default null; the guide leaves it out.
            None | Some(Value::Null) => {
                contact.text("fullName")?;
                contact.text("phoneNumber")?;
                contact.maybe_text("organization")?;
                match contact.maybe_text("whatsappId")? {
                    Some(id) if !is_phone(&id) => return Err(format!("whatsappId `{id}` is not only digits")),
                    _ => {}
                }
            }
            Some(other) => return Err(format!("vcard is {other}, wanted a text")),
        }
        contact.end()?;
    }
    optional(body, "reply_to")?;
    optional(body, "id")?;
    Ok((String::new(), false))
}

fn poll(body: &mut Object) -> Result<(String, bool), String> {
    let mut poll = body.object("poll")?;
    let name = poll.text("name")?;
    for option in poll.list("options")? {
        if option.as_str().unwrap_or_default().trim().is_empty() {
            return Err(format!("the option {option} is no text or is empty"));
        }
    }
    // The schema's type is "object" with the default false: an artefact, it is a flag.
    poll.flag("multipleAnswers")?;
    poll.end()?;
    optional(body, "reply_to")?;
    optional(body, "id")?;
    Ok((name, false))
}

fn reaction(body: &mut Object) -> Result<(String, bool), String> {
    body.text("messageId")?;
    // Empty removes it.
    Ok((body.maybe_text("reaction")?.ok_or("reaction is missing")?, false))
}

const PROXY: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>nginx</body>\r\n</html>\r\n";

/// HTTP status, body, class. A fault of the account, not of the message, is of a class that pauses
/// the account.
pub const ERRORS: &[(u16, &str, &str)] = &[
    (400, r#"{"message":["chatId should not be empty"],"error":"Bad Request","statusCode":400}"#, "invalid"),
    (401, r#"{"message":"Unauthorized","statusCode":401}"#, "auth"),
    // Any error inside whose code is ENOENT, for instance without ffmpeg.
    (
        404,
        r#"{"error":{"code":404,"key":"FILE_NOT_FOUND","message":"File not found","details":"ENOENT: no such file"}}"#,
        "media_rejected",
    ),
    (404, r#"{"statusCode":404,"message":"Message with id 'X' not found","error":"Not Found"}"#, "invalid"),
    (404, r#"{"statusCode":404,"message":"Group not found","error":"Not Found"}"#, "invalid"),
    (404, r#"{"statusCode":404,"message":"Number not found","error":"Not Found"}"#, "recipient_invalid"),
    // Another version, or a wrong address.
    (404, r#"{"statusCode":404,"message":"Cannot POST /api/sendText","error":"Not Found"}"#, "not_connected"),
    (404, r#"{"detail":"no such tenant"}"#, "not_connected"),
    // A session that was stopped gets the same words as one that never was.
    (
        404,
        r#"{"message":"We didn't find a session with name 'shop'.\nPlease start it first by using POST /api/sessions/shop/start request","error":"Not Found","statusCode":404}"#,
        "not_connected",
    ),
    (
        422,
        r#"{"error":"Session status is not as expected. Try again later or restart the session","session":"shop","status":"STARTING","expected":["WORKING"]}"#,
        "not_connected",
    ),
    (
        422,
        r#"{"error":"Session status is not as expected. Try again later or restart the session","session":"shop","status":"SCAN_QR_CODE","expected":["WORKING"]}"#,
        "not_connected",
    ),
    (
        422,
        r#"{"message":"The method is not implemented by the engine.","error":"Unprocessable Entity","statusCode":422}"#,
        "unsupported",
    ),
    (
        422,
        r#"{"message":"The feature is available only in Plus version for 'GOWS' engine. Check this out: https://waha.devlike.pro/","error":"Unprocessable Entity","statusCode":422}"#,
        "unsupported",
    ),
    // An answer without a body says nothing.
    (201, "", "ambiguous"),
    // The engine GOWS: nobody there; WhatsApp's lock on new contacts; the phone is away.
    (
        500,
        r#"{"statusCode":500,"exception":{"message":"no LID found for 554187654321@s.whatsapp.net from server"}}"#,
        "recipient_invalid",
    ),
    (500, r#"{"statusCode":500,"exception":{"message":"server returned error 463"}}"#, "rate_limited"),
    (500, r#"{"statusCode":500,"exception":{"message":"server returned error 479"}}"#, "rate_limited"),
    (500, r#"{"statusCode":500,"exception":{"message":"websocket not connected"}}"#, "not_connected"),
    // It fetches a file before it sends it.
    (
        500,
        r#"{"statusCode":500,"exception":{"message":"Request failed with status code 404","name":"AxiosError","code":"ERR_BAD_REQUEST"}}"#,
        "media_rejected",
    ),
    (
        500,
        r#"{"statusCode":500,"exception":{"message":"Request failed with status code 503","name":"AxiosError","code":"ERR_BAD_RESPONSE"}}"#,
        "upstream",
    ),
    (
        500,
        r#"{"statusCode":500,"exception":{"message":"getaddrinfo ENOTFOUND files.example.com","code":"ENOTFOUND"}}"#,
        "media_rejected",
    ),
    // It quotes the request back, the text included.
    (
        500,
        r#"{"statusCode":500,"timestamp":"2026-02-10T23:38:04.173Z","exception":{"message":"Timed Out","name":"Error"},"request":{"path":"/api/sendText","method":"POST","body":{"chatId":"15550100001@c.us","text":"Hi","session":"shop"},"query":{}},"version":{"version":"2026.7.1","engine":"GOWS","tier":"PLUS","browser":null}}"#,
        "ambiguous",
    ),
    // A proxy may have passed the request on.
    (502, PROXY, "ambiguous"),
];
