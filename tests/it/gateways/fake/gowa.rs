//! GOWA as GATEWAYS section 2 tells it: names and types are those of `docs/openapi.yaml`, refusals those of
//! `src/validations/*.go` (what the code refuses wins over what the pages call optional).

use serde_json::{Map, Value, json};

use super::Dialect;
use super::strict::{Checked, Got, Object, Part, from_base64, is_phone, is_web};

pub const DIALECT: Dialect = Dialect {
    name: "gowa",
    settings: "device: 'front-desk+1'\n\
               basic_auth: 'gowa:s3cret/+pass=one'",
    secrets: &["s3cret/+pass=one"],
    check,
};

const DEVICE: &str = "front-desk+1";
const BASIC_AUTH: &str = "gowa:s3cret/+pass=one";

/// Kinds that come as JSON only.
const WRITTEN: [&str; 5] = ["message", "link", "contact", "location", "poll"];

/// Flags of forms, which come there as words.
const FLAGS: [&str; 6] = ["is_forwarded", "view_once", "compress", "hd", "gif_playback", "ptt"];

/// A kind that comes as JSON with `<name>_url`, or as a form with the file `<name>`.
struct Medium {
    name: &'static str,
    texts: &'static [&'static str],
    flags: &'static [&'static str],
    /// Content types that the file may have, word for word, with blanks between; empty: any.
    types: &'static str,
    /// Bytes, by default settings; where the sheet has no figure, that of a file.
    most: usize,
}

const MEDIA: [Medium; 5] = [
    Medium {
        name: "image",
        texts: &["caption", "reply_message_id"],
        flags: &["view_once", "compress", "hd"],
        types: "image/jpeg image/jpg image/png",
        most: 20_000_000,
    },
    Medium {
        name: "video",
        texts: &["caption", "reply_message_id"],
        flags: &["view_once", "compress", "hd", "gif_playback"],
        types: "video/mp4 video/x-matroska video/avi video/x-msvideo",
        most: 100_000_000,
    },
    Medium {
        name: "audio",
        texts: &["reply_message_id"],
        flags: &["ptt"],
        // A parameter such as `; codecs=opus` is refused too: the server compares whole texts.
        types: "audio/aac audio/amr audio/flac audio/m4a audio/m4r audio/mp3 audio/mpeg audio/ogg audio/wma \
                audio/x-ms-wma audio/wav audio/vnd.wav audio/vnd.wave audio/wave audio/x-pn-wav audio/x-wav",
        most: 50_000_000,
    },
    Medium { name: "file", texts: &["caption", "reply_message_id"], flags: &[], types: "", most: 50_000_000 },
    Medium {
        name: "sticker",
        texts: &[],
        flags: &[],
        types: "image/jpeg image/jpg image/png image/webp image/gif",
        most: 50_000_000,
    },
];

/// Section 2.4, and the device errors of 2.1. Left out: malformed JSON, a 500 whose text is nowhere
/// given and which no test could cause. Bodies without a text in the sheet have that of `src/pkg/error`.
pub const ERRORS: &[(u16, &str, &str)] = &[
    (400, r#"{"code":"VALIDATION_ERROR","message":"phone: cannot be blank.","results":null}"#, "invalid"),
    (400, r#"{"code":"VALIDATION_ERROR","message":"link: must be a valid URL."}"#, "invalid"),
    (400, r#"{"code":"VALIDATION_ERROR","message":"either Image or ImageURL must be provided"}"#, "invalid"),
    (400, r#"{"code":"INVALID_JID","message":"user is not registered"}"#, "recipient_invalid"),
    (400, r#"{"code":"INVALID_JID","message":"your JID is invalid"}"#, "recipient_invalid"),
    (400, r#"{"code":"ALREADY_LOGGED_IN","message":"you are already logged in."}"#, "invalid"),
    // The account's `device` is missing or wrong: every message would fail alike, so the lane pauses.
    (400, r#"{"code":"DEVICE_ID_REQUIRED","message":"device_id is required via X-Device-Id header"}"#, "auth"),
    (401, r#"{"code":"AUTHENTICATION_ERROR","message":"you are not logged in"}"#, "not_connected"),
    (401, "Unauthorized", "auth"),
    (404, r#"{"code":"NOT_FOUND","message":"not found"}"#, "invalid"),
    (404, r#"{"code":"DEVICE_NOT_FOUND","message":"device not found","results":{"device_id":"a"}}"#, "auth"),
    (408, r#"{"code":"CONTEXT_ERROR","message":"context canceled"}"#, "ambiguous"),
    (413, "Request Entity Too Large", "too_large"),
    // WhatsApp's lock is on new contacts only, and passes by itself: the account need not pause.
    (429, r#"{"code":"WA_REACHOUT_TIMELOCK","message":"WhatsApp rejected this send (error 463)"}"#, "rate_limited"),
    (500, r#"{"code":"INTERNAL_SERVER_ERROR","message":"failed to download image: status 404"}"#, "upstream"),
    (500, r#"{"code":"INTERNAL_SERVER_ERROR","message":"info query timed out"}"#, "ambiguous"),
    (500, r#"{"code":"INVALID_WA_CLI","message":"your WhatsApp CLI is invalid or empty"}"#, "ambiguous"),
    (500, r#"{"code":"UPLOAD_MEDIA_ERROR","message":"failed to upload file"}"#, "ambiguous"),
    (500, r#"{"code":"WEBHOOK_ERROR","message":"error when submitting webhook"}"#, "ambiguous"),
    // A proxy before the server; it may have broken off after the request was handed on.
    (502, "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>", "ambiguous"),
    (503, r#"{"code":"DEVICE_MANAGER_UNAVAILABLE","message":"Device manager is not initialized"}"#, "upstream"),
    (504, r#"{"code":"GATEWAY_TIMEOUT","message":"Request timed out waiting for WhatsApp server"}"#, "ambiguous"),
];

fn check(got: &Got) -> Checked {
    authorized(got)?;
    if got.method == "GET" && got.path == "/devices" {
        got.wants_no_query()?;
        return Ok((200, devices()));
    }
    if got.method != "POST" {
        return Err(nowhere(got));
    }
    if let Some(id) = got.path.strip_prefix("/message/").and_then(|rest| rest.strip_suffix("/reaction")) {
        return reaction(got, id);
    }
    let Some(kind) = got.path.strip_prefix("/send/") else { return Err(nowhere(got)) };
    match MEDIA.iter().find(|medium| medium.name == kind) {
        Some(medium) => media(got, medium),
        None if WRITTEN.contains(&kind) => written(got, kind),
        None => Err(nowhere(got)),
    }
}

fn nowhere(got: &Got) -> String {
    format!("no such endpoint: {} {}", got.method, got.path)
}

fn authorized(got: &Got) -> Result<(), String> {
    let header = got.header("authorization").ok_or("no Authorization header")?;
    let code = header.strip_prefix("Basic ").ok_or("Authorization is not HTTP Basic")?;
    match from_base64(code)? == BASIC_AUTH.as_bytes() {
        true => Ok(()),
        false => Err("wrong Basic credentials".into()),
    }
}

/// The device, which may stand in the header or in the query. The server decodes the header as it
/// would a query, so a bare `+` in it is a blank.
fn device(got: &Got) -> Result<(), String> {
    let there = match (got.header("x-device-id"), got.query().as_slice()) {
        (Some(header), []) => unescaped(header),
        (None, [(name, value)]) if name == "device_id" => value.clone(),
        (header, query) => return Err(format!("the device is wanted once: header {header:?}, query {query:?}")),
    };
    match there == DEVICE {
        true => Ok(()),
        false => Err(format!("there is no device {there:?}")),
    }
}

fn unescaped(header: &str) -> String {
    let pair = format!("id={header}");
    let value = form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned());
    value.unwrap_or_default()
}

/// The fields that all kinds have; returns the recipient.
fn common(body: &mut Object) -> Result<String, String> {
    body.maybe_flag("is_forwarded")?;
    let duration = body.maybe_whole("duration")?.unwrap_or(0);
    if ![0, 86_400, 604_800, 7_776_000].contains(&duration) {
        return Err(format!("duration is {duration}; only 0, 86400, 604800 and 7776000 are accepted"));
    }
    recipient(body)
}

/// The server takes bare digits too, but guesses then: the sheet says to send the full JID.
fn recipient(body: &mut Object) -> Result<String, String> {
    let phone = body.text("phone")?;
    match is_jid(&phone) {
        true => Ok(phone),
        false => Err(format!("phone is {phone:?}, wanted a full JID")),
    }
}

fn is_jid(text: &str) -> bool {
    let Some((user, server)) = text.split_once('@') else { return false };
    match server {
        "s.whatsapp.net" => is_phone(user),
        "g.us" => user.split('-').all(is_digits),
        "lid" | "newsletter" => is_digits(user),
        _ => false,
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn written(got: &Got, kind: &str) -> Checked {
    device(got)?;
    let mut body = Object::of(&got.json()?, kind)?;
    let to = common(&mut body)?;
    match kind {
        "message" => {
            body.text("message")?;
            body.maybe_text("reply_message_id")?;
            for mention in body.maybe_list("mentions")?.unwrap_or_default() {
                if !mention.as_str().is_some_and(|mention| mention == "@everyone" || is_phone(mention)) {
                    return Err(format!("message.mentions holds {mention}"));
                }
            }
        }
        "link" => {
            // The pages call the caption optional; the code refuses a blank one.
            body.text("caption")?;
            let link = body.text("link")?;
            if !is_web(&link) {
                return Err(format!("link: must be a valid URL: {link:?}"));
            }
        }
        "contact" => {
            body.text("contact_name")?;
            let phone = body.text("contact_phone")?;
            // A leading `+` is tolerated for phones.
            if !is_phone(phone.strip_prefix('+').unwrap_or(&phone)) {
                return Err(format!("contact_phone is {phone:?}"));
            }
        }
        "location" => {
            for (name, most) in [("latitude", 90.0), ("longitude", 180.0)] {
                let text = body.text(name)?;
                if !is_degrees(&text, most) {
                    return Err(format!("{name} is {text:?}"));
                }
            }
        }
        "poll" => poll(&mut body)?,
        _ => return Err(nowhere(got)),
    }
    body.any("future");
    body.end()?;
    sent(got, kind, &to)
}

/// Degrees as the server's pattern has them: decimal digits with at most one point, no exponent.
fn is_degrees(text: &str, most: f64) -> bool {
    let bare = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, rest) = bare.split_once('.').unwrap_or((bare, "0"));
    is_digits(whole) && is_digits(rest) && bare.parse::<f64>().is_ok_and(|degrees| degrees <= most)
}

fn poll(body: &mut Object) -> Result<(), String> {
    body.text("question")?;
    let options = body.list("options")?;
    for (index, option) in options.iter().enumerate() {
        if option.as_str().is_none_or(|text| text.trim().is_empty()) {
            return Err(format!("poll.options holds {option}"));
        }
        if options[..index].contains(option) {
            return Err(format!("options should be unique: {option}"));
        }
    }
    let most = body.whole("max_answer")?;
    match usize::try_from(most).is_ok_and(|most| (1..=options.len()).contains(&most)) {
        true => Ok(()),
        false => Err(format!("max_answer is {most} for {} options", options.len())),
    }
}

fn media(got: &Got, medium: &Medium) -> Checked {
    device(got)?;
    let (mut body, file) = fields(got, medium.name)?;
    let to = common(&mut body)?;
    for name in medium.texts {
        body.maybe_text(name)?;
    }
    for name in medium.flags {
        body.maybe_flag(name)?;
    }
    let address = body.maybe_text(&format!("{}_url", medium.name))?;
    match (file, address) {
        (Some(file), None) => upload(&file, medium)?,
        (None, Some(address)) => download(&address, medium)?,
        _ => return Err(format!("either `{0}` or `{0}_url` must be provided", medium.name)),
    }
    body.any("future");
    body.end()?;
    sent(got, medium.name, &to)
}

/// The fields of a body, which is JSON, or a form with the same names and perhaps a file.
fn fields(got: &Got, file_name: &str) -> Result<(Object, Option<Part>), String> {
    if !got.header("content-type").unwrap_or_default().starts_with("multipart/") {
        return Ok((Object::of(&got.json()?, file_name)?, None));
    }
    let mut fields = Map::new();
    let mut file = None;
    for part in got.multipart()? {
        let name = part.name.clone();
        let twice = match name == file_name {
            true => file.replace(part).is_some(),
            false => fields.insert(name.clone(), typed(&part)?).is_some(),
        };
        if twice {
            return Err(format!("the part `{name}` is there twice"));
        }
    }
    Ok((Object::of(&Value::Object(fields), file_name)?, file))
}

/// A field of a form with the type that its text stands for.
fn typed(part: &Part) -> Result<Value, String> {
    if part.file_name.is_some() {
        return Err(format!("the gateway knows no file `{}` here", part.name));
    }
    let text = part.text()?;
    let wrong = || format!("the part `{}` is {text:?}", part.name);
    match part.name.as_str() {
        "duration" => text.parse::<i64>().map(Value::from).map_err(|_| wrong()),
        name if FLAGS.contains(&name) => text.parse::<bool>().map(Value::from).map_err(|_| wrong()),
        _ => Ok(Value::from(text)),
    }
}

fn upload(file: &Part, medium: &Medium) -> Result<(), String> {
    if file.file_name.as_deref().unwrap_or_default().is_empty() {
        return Err(format!("the part `{}` has no file name, so it is no file", medium.name));
    }
    let kind = file.content_type.as_deref().unwrap_or_default();
    if !medium.types.is_empty() && !medium.types.split(' ').any(|known| known == kind) {
        return Err(format!("your {} type is not allowed: `{kind}`", medium.name));
    }
    match (1..=medium.most).contains(&file.bytes.len()) {
        true => Ok(()),
        false => Err(format!("the {} has {} bytes", medium.name, file.bytes.len())),
    }
}

fn download(address: &str, medium: &Medium) -> Result<(), String> {
    if !is_web(address) {
        return Err(format!("`{}_url` must be a valid URL: {address:?}", medium.name));
    }
    // The server takes the kind of an image from the end of the path, whatever it is served as.
    let path = address.split(['?', '#']).next().unwrap_or_default();
    let named = [".jpg", ".jpeg", ".png", ".webp"].into_iter().any(|ending| path.ends_with(ending));
    match medium.name != "image" || named {
        true => Ok(()),
        false => Err(format!("image_url without the ending of an image: {address:?}")),
    }
}

/// An empty emoji would take a reaction back elsewhere; here it is refused as blank.
fn reaction(got: &Got, id: &str) -> Checked {
    device(got)?;
    if id.is_empty() || id.contains('/') {
        return Err(nowhere(got));
    }
    let mut body = Object::of(&got.json()?, "reaction")?;
    let to = recipient(&mut body)?;
    body.text("emoji")?;
    body.any("future");
    body.end()?;
    sent(got, "reaction", &to)
}

/// The id has the seed's shape: `3EB0` and 28 hex digits.
fn sent(got: &Got, kind: &str, to: &str) -> Checked {
    let mix = |digest: u64, byte: &u8| (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let digest = got.body.iter().fold(0xcbf2_9ce4_8422_2325, mix);
    let id = format!("3EB0{digest:016X}B6F8F1D0E053");
    let status = format!("{kind} sent to {to}");
    let results = json!({ "message_id": id, "status": status });
    Ok((200, json!({ "code": "SUCCESS", "message": status, "results": results })))
}

fn devices() -> Value {
    let device = |id: &str, phone: &str, name: &str| {
        json!({
            "id": id,
            "phone_number": phone,
            "display_name": name,
            "state": "logged_in",
            "jid": format!("{phone}@s.whatsapp.net"),
            "created_at": "2024-01-01T00:00:00Z",
        })
    };
    let both = [device(DEVICE, "628123456789", "Front Desk"), device("org_2", "628960561000", "John Doe")];
    json!({ "code": "SUCCESS", "message": "List devices", "results": both })
}
