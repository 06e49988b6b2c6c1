//! Meta's Cloud API, version v23.0, after GATEWAYS section 6 and Meta's OpenAPI file
//! (`meta-business-messaging-api_v23.0.yaml`); the field `recipient` is younger than that file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Dialect;
use super::meta_interactive::interactive;
use super::strict::{Checked, Got, Object, is_phone, is_web};

const TOKEN: &str = "EAAJ/+meta=one";

pub const DIALECT: Dialect = Dialect {
    name: "meta",
    settings: "version: v23.0\nphone_number_id: \"106540352242922\"\naccess_token: \"EAAJ/+meta=one\"\n\
               app_secret: \"4pp/+meta=two\"\nverify_token: \"v3rify/+meta=three\"",
    secrets: &[TOKEN, "4pp/+meta=two", "v3rify/+meta=three"],
    check,
};

fn check(got: &Got) -> Checked {
    let read: fn(&Got) -> Checked = match (got.method.as_str(), got.path.as_str()) {
        ("POST", "/v23.0/106540352242922/messages") => message,
        ("POST", "/v23.0/106540352242922/media") => upload,
        _ => return Err("no such endpoint".into()),
    };
    got.wants_header("authorization", &format!("Bearer {TOKEN}"))?;
    got.wants_no_query()?;
    read(got)
}

/// A number of the body's own, so that different messages get different ids.
fn mark(bytes: &[u8]) -> u64 {
    bytes.iter().fold(7, |mark: u64, byte| mark.wrapping_mul(31).wrapping_add(u64::from(*byte)))
}

fn message(got: &Got) -> Checked {
    let mut body = Object::of(&got.json()?, "the body")?;
    body.any("future");
    if body.text("messaging_product")? != "whatsapp" {
        return Err("messaging_product is not whatsapp".into());
    }
    let contact = recipient(&mut body)?;
    if let Some(mut context) = body.maybe_object("context")? {
        context.text("message_id")?;
        context.end()?;
    }
    body.maybe_text("biz_opaque_callback_data")?;
    let kind = body.text("type")?;
    match kind.as_str() {
        "text" => text(body.object("text")?)?,
        "image" | "video" | "audio" | "document" | "sticker" => media(&kind, body.object(&kind)?)?,
        "location" => location(body.object("location")?)?,
        "contacts" => contacts(&body.list("contacts")?)?,
        "reaction" => reaction(body.object("reaction")?)?,
        "interactive" => interactive(body.object("interactive")?)?,
        "template" => template(body.object("template")?)?,
        other => return Err(format!("there is no type `{other}`")),
    }
    body.end()?;
    // The bytes that real ids begin with, then the recipient and a number.
    let input = contact["input"].as_str().unwrap_or_default();
    let id = STANDARD.encode(format!("\x1c\x18\x0b{input}\x15\x02\0\x11\x18\x12{:016X}\0", mark(&got.body)));
    let mut sent = json!({ "id": format!("wamid.{id}") });
    if kind == "template" {
        sent["message_status"] = json!("accepted");
    }
    Ok((200, json!({ "messaging_product": "whatsapp", "contacts": [contact], "messages": [sent] })))
}

/// The recipient as the answer names it: as it was given, and its WhatsApp id where it has one.
fn recipient(body: &mut Object) -> Result<Value, String> {
    let kind = body.maybe_text("recipient_type")?;
    let group = match kind.as_deref() {
        None | Some("individual") => false,
        Some("group") => true,
        Some(other) => return Err(format!("there is no recipient_type `{other}`")),
    };
    match (body.maybe_text("to")?, body.maybe_text("recipient")?) {
        // The id alone, without the suffix that bridges know groups by.
        (Some(to), None) if group && !to.is_empty() && !to.contains('@') => Ok(json!({ "input": to, "wa_id": to })),
        // Taken without the plus, but then a country code may be put in front.
        (Some(to), None) if !group && to.strip_prefix('+').is_some_and(is_phone) => {
            Ok(json!({ "input": to, "wa_id": to.trim_start_matches('+') }))
        }
        // In `to` it would be accepted and dropped.
        (None, Some(id)) if !group && kind.is_some() && is_scoped(&id) => Ok(json!({ "input": id })),
        // Both at once are taken, the phone wins; nobody who knows one recipient has a reason to.
        (to, id) => Err(format!("to {to:?} with recipient {id:?} and recipient_type {kind:?} reaches nobody")),
    }
}

/// Whether a text is a business-scoped user id: `CC.` or `CC.ENT.` and up to 128 letters or digits.
fn is_scoped(text: &str) -> bool {
    text.split_once('.').is_some_and(|(country, rest)| {
        let name = rest.strip_prefix("ENT.").unwrap_or(rest);
        country.len() == 2
            && country.bytes().all(|b| b.is_ascii_uppercase())
            && (1..=128).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric())
    })
}

fn text(mut text: Object) -> Result<(), String> {
    let length = text.text("body")?.chars().count();
    if length > 4096 {
        return Err(format!("the text has {length} characters, 4096 are allowed"));
    }
    text.maybe_flag("preview_url")?;
    text.end()
}

fn media(kind: &str, mut media: Object) -> Result<(), String> {
    match (media.maybe_text("id")?, media.maybe_text("link")?) {
        (Some(id), None) if !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()) => {}
        (None, Some(link)) if is_web(&link) => {}
        (id, link) => return Err(format!("wanted either an id of digits or a link, got {id:?} and {link:?}")),
    }
    if matches!(kind, "image" | "video" | "document")
        && media.maybe_text("caption")?.is_some_and(|caption| caption.chars().count() > 1024)
    {
        return Err("the caption has more than 1024 characters".into());
    }
    if kind == "document" {
        media.maybe_text("filename")?;
    }
    media.end()
}

fn location(mut location: Object) -> Result<(), String> {
    for (name, limit) in [("latitude", 90.0), ("longitude", 180.0)] {
        // A text in the schema, a number in the example: both are taken.
        let number = match location.any(name) {
            Some(Value::Number(number)) => number.as_f64(),
            Some(Value::String(text)) => text.parse::<f64>().ok(),
            _ => None,
        };
        if !number.is_some_and(|number| number.abs() <= limit) {
            return Err(format!("{name} is {number:?}"));
        }
    }
    texts(&mut location, &["name", "address"])?;
    location.end()
}

/// Fields that may be there.
fn texts(object: &mut Object, names: &[&str]) -> Result<(), String> {
    for name in names {
        let text = object.maybe_text(name)?;
        if *name == "wa_id" && !text.as_deref().is_none_or(is_phone) {
            return Err(format!("wa_id {text:?} is not only digits"));
        }
    }
    Ok(())
}

fn contacts(list: &[Value]) -> Result<(), String> {
    if list.len() > 5 {
        return Err(format!("there are {} contacts, 5 are allowed", list.len()));
    }
    for entry in list {
        let mut contact = Object::of(entry, "a contact")?;
        let mut name = contact.object("name")?;
        // The file requires nothing; this is what the card shows.
        name.text("formatted_name")?;
        texts(&mut name, &["first_name", "last_name", "middle_name", "prefix", "suffix"])?;
        name.end()?;
        if let Some(mut org) = contact.maybe_object("org")? {
            texts(&mut org, &["company", "department", "title"])?;
            org.end()?;
        }
        contact.maybe_text("birthday")?;
        entries(&mut contact, "phones", Some("phone"), &["wa_id"])?;
        entries(&mut contact, "emails", Some("email"), &[])?;
        entries(&mut contact, "urls", Some("url"), &[])?;
        entries(&mut contact, "addresses", None, &["street", "city", "state", "zip", "country", "country_code"])?;
        contact.end()?;
    }
    Ok(())
}

fn entries(contact: &mut Object, list: &str, required: Option<&str>, others: &[&str]) -> Result<(), String> {
    for entry in contact.maybe_list(list)?.unwrap_or_default() {
        let mut entry = Object::of(&entry, list)?;
        if let Some(name) = required {
            entry.text(name)?;
        }
        texts(&mut entry, others)?;
        match entry.maybe_text("type")?.as_deref() {
            None | Some("HOME" | "WORK") => {}
            Some(other) => return Err(format!("{list} know no type `{other}`")),
        }
        entry.end()?;
    }
    Ok(())
}

fn reaction(mut reaction: Object) -> Result<(), String> {
    reaction.text("message_id")?;
    // Empty removes it.
    reaction.maybe_text("emoji")?.ok_or("reaction.emoji is missing")?;
    reaction.end()
}

fn template(mut template: Object) -> Result<(), String> {
    template.text("name")?;
    let mut language = template.object("language")?;
    language.text("code")?;
    // Required by the schema, absent from most of its examples and from the sheet.
    match language.maybe_text("policy")?.as_deref() {
        None | Some("deterministic") => {}
        Some(other) => return Err(format!("there is no policy `{other}`")),
    }
    language.end()?;
    for component in template.maybe_list("components")?.unwrap_or_default() {
        // Open objects in the schema, and passed on as the script wrote them.
        let mut component = Object::of(&component, "a component")?;
        match component.text("type")?.as_str() {
            "header" | "body" => {}
            "button" => {
                component.text("sub_type")?;
                // A text in the schema, also a number in the examples.
                if !matches!(component.any("index"), Some(Value::String(_) | Value::Number(_))) {
                    return Err("a button's index is missing".into());
                }
            }
            other => return Err(format!("there is no component `{other}`")),
        }
        for parameter in component.maybe_list("parameters")?.unwrap_or_default() {
            Object::of(&parameter, "a parameter")?.text("type")?;
        }
    }
    template.end()
}

fn upload(got: &Got) -> Checked {
    let (mut product, mut file, mut kind) = (None, None, None);
    for part in got.multipart()? {
        let slot = match part.name.as_str() {
            "messaging_product" => &mut product,
            "file" => &mut file,
            "type" => &mut kind,
            other => return Err(format!("the form has no part `{other}`")),
        };
        if slot.replace(part).is_some() {
            return Err("a part is there twice".into());
        }
    }
    if product.ok_or("messaging_product is missing")?.text()? != "whatsapp" {
        return Err("messaging_product is not whatsapp".into());
    }
    let file = file.ok_or("file is missing")?;
    if file.file_name.as_deref().unwrap_or_default().is_empty() {
        return Err("the file has no name".into());
    }
    let mime = file.content_type.as_deref().unwrap_or_default();
    let essence = mime.split(';').next().unwrap_or_default().trim();
    let limit = limit(essence).ok_or_else(|| format!("files of type `{mime}` are not taken"))?;
    if file.bytes.is_empty() || file.bytes.len() > limit {
        return Err(format!("a file of type {mime} with {} bytes", file.bytes.len()));
    }
    // The sheet has it, the schema does not, so it may be left out.
    if let Some(kind) = &kind
        && kind.text()? != mime
    {
        return Err(format!("type is {:?}, the file's is `{mime}`", kind.text()));
    }
    let id = 1_000_000_000_000_000 + mark(&got.body) % 1_000_000_000_000_000;
    Ok((200, json!({ "id": id.to_string() })))
}

/// How many bytes a file of a type may have.
fn limit(mime: &str) -> Option<usize> {
    const MB: usize = 1024 * 1024;
    match mime {
        "image/jpeg" | "image/png" => Some(5 * MB),
        // Stickers; those that stand still would end at 100 KB.
        "image/webp" => Some(500 * 1024),
        "video/mp4" | "video/3gpp" => Some(16 * MB),
        "audio/aac" | "audio/amr" | "audio/mpeg" | "audio/mp4" | "audio/ogg" => Some(16 * MB),
        // Its list of documents, whole.
        "text/plain"
        | "application/pdf"
        | "application/msword"
        | "application/vnd.ms-excel"
        | "application/vnd.ms-powerpoint"
        | "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
        | "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
        | "application/vnd.openxmlformats-officedocument.presentationml.presentation" => Some(100 * MB),
        _ => None,
    }
}

const PROXY: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>nginx</body>\r\n</html>\r\n";

macro_rules! fault {
    ($code:literal, $title:literal, $class:literal) => {
        (
            400,
            concat!(
                r##"{"error":{"message":"(#"##,
                $code,
                ") ",
                $title,
                r#"","type":"OAuthException","code":"#,
                $code,
                r#","error_data":{"messaging_product":"whatsapp","details":""#,
                $title,
                r#""},"fbtrace_id":"Az8or2yhqkZfEZ-_4Qn_Bam"}}"#
            ),
            $class,
        )
    };
}

/// HTTP status, body, class. Meta lists no HTTP status per code. A fault of the account, not of the
/// message, is of a class that pauses the account.
pub const ERRORS: &[(u16, &str, &str)] = &[
    fault!(0, "AuthException", "auth"),
    fault!(190, "Access token has expired", "auth"),
    fault!(3, "API Method", "auth"),
    fault!(10, "Permission Denied", "auth"),
    // The ends of 200 to 299.
    fault!(200, "API Permission", "auth"),
    fault!(299, "API Permission", "auth"),
    fault!(131005, "Access denied", "auth"),
    // Once it is worth trying again; a class cannot say once.
    fault!(1, "API Unknown", "upstream"),
    fault!(2, "API Service", "upstream"),
    fault!(131000, "Something went wrong", "upstream"),
    fault!(131016, "Service unavailable", "upstream"),
    fault!(133004, "Server Temporarily Unavailable", "upstream"),
    fault!(131057, "Account in maintenance mode", "upstream"),
    fault!(2494100, "Account in maintenance mode", "upstream"),
    fault!(4, "API Too Many Calls", "rate_limited"),
    fault!(80007, "Rate limit issues", "rate_limited"),
    fault!(130429, "Rate limit hit", "rate_limited"),
    fault!(131056, "(Business Account, Consumer Account) pair rate limit hit", "rate_limited"),
    // The number as a whole may not send more until its quality is better: the account pauses.
    fault!(131048, "Spam rate limit hit", "quota"),
    // These concern one user, templates, one template, calls that register, or one flow. They end
    // by themselves, and nothing else has to wait for them.
    fault!(131049, "This message was not delivered to maintain healthy ecosystem engagement", "rate_limited"),
    fault!(131064, "Template misclassification", "rate_limited"),
    fault!(132015, "Template is Paused", "rate_limited"),
    fault!(133016, "Account register deregister rate limit exceeded", "rate_limited"),
    fault!(132069, "Flow is throttled", "rate_limited"),
    // The account may not send at all until a person acts.
    fault!(368, "Temporarily blocked for policies violations", "quota"),
    fault!(131031, "Account has been locked", "quota"),
    fault!(131037, "Display name approval required", "quota"),
    fault!(131042, "Business eligibility payment issue", "quota"),
    fault!(134011, "Payments terms of service not accepted", "quota"),
    // The sending number is gone or not registered: as a phone that is not connected.
    fault!(33, "Parameter value is not valid", "not_connected"),
    fault!(131045, "Incorrect certificate", "not_connected"),
    fault!(133010, "Phone number not registered", "not_connected"),
    fault!(100, "Invalid parameter", "invalid"),
    // The number's id is wrong, or the token may not use it.
    (
        400,
        r#"{"error":{"message":"Unsupported post request. Object with ID '1065' does not exist","type":"GraphMethodException","code":100,"error_subcode":33}}"#,
        "not_connected",
    ),
    fault!(131008, "Required parameter is missing", "invalid"),
    fault!(131009, "Parameter value is not valid", "invalid"),
    fault!(131051, "Unsupported message type", "invalid"),
    fault!(135000, "Generic user error", "invalid"),
    // No other content would reach this recipient from this sender.
    fault!(131021, "Recipient cannot be sender", "recipient_invalid"),
    fault!(131026, "Message undeliverable", "recipient_invalid"),
    fault!(130403, "User is blocked", "recipient_invalid"),
    fault!(130472, "User's number is part of an experiment", "recipient_invalid"),
    fault!(131050, "User has stopped marketing messages", "recipient_invalid"),
    fault!(130497, "Business account is restricted from messaging users in this country.", "recipient_invalid"),
    fault!(131047, "Re-engagement message", "window_closed"),
    fault!(131052, "Media download error", "media_rejected"),
    fault!(131053, "Media upload error", "media_rejected"),
    fault!(131055, "Method not allowed", "invalid"),
    fault!(131063, "Marketing messages are not available", "invalid"),
    fault!(132000, "Template Param Count Mismatch", "invalid"),
    fault!(132001, "Template does not exist", "invalid"),
    fault!(132005, "Template Hydrated Text Too Long", "invalid"),
    fault!(132007, "Template Format Character Policy Violated", "invalid"),
    fault!(132012, "Template Parameter Format Mismatch", "invalid"),
    fault!(132018, "Template validation failed", "invalid"),
    fault!(132016, "Template is Disabled", "invalid"),
    fault!(132068, "Flow is blocked", "invalid"),
    // Without JSON nobody knows whether the message was taken.
    (500, "", "ambiguous"),
    (502, PROXY, "ambiguous"),
];
