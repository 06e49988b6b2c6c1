//! Express-Chat, a white label of BotPenguin, as GATEWAYS section 4 tells it, which follows seed 003 and the
//! vendor's pages. What it answers is documented nowhere: answers here are those that client code reads.

use serde_json::{Value, json};

use super::Dialect;
use super::strict::{Checked, Got, Object, is_phone, is_web};

pub const DIALECT: Dialect =
    Dialect { name: "express-chat", settings: "api_key: 's3cret/+key=one'", secrets: &[KEY], check };

const KEY: &str = "s3cret/+key=one";

/// Section 4.3. A body may carry a code of Meta's, then section 6.5 says what it means; some of each class
/// here, and those that the sheet names of Meta's older on-premises list.
pub const ERRORS: &[(u16, &str, &str)] = &[
    (401, r#"{"success":false,"message":"Unauthorized"}"#, "auth"),
    (401, "", "auth"),
    (403, r#"{"success":false,"error":"Forbidden"}"#, "auth"),
    (429, r#"{"success":false,"message":"Too many requests"}"#, "rate_limited"),
    (500, r#"{"success":false,"message":"Internal server error"}"#, "ambiguous"),
    (502, "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>", "ambiguous"),
    (503, "", "ambiguous"),
    // No code tells why; a refusal is still certain.
    (200, r#"{"success":false,"message":"wa_id is not valid"}"#, "invalid"),
    (200, r#"{"success":false,"error":"wa_id is not valid"}"#, "invalid"),
    (200, r#"{"success":false,"error":{"message":"(#131047) Re-engagement message","code":131047}}"#, "window_closed"),
    (400, r#"{"error":{"message":"(#131047) Re-engagement message","code":131047}}"#, "window_closed"),
    (400, r#"{"error":{"message":"(#131026) Message undeliverable","code":131026}}"#, "recipient_invalid"),
    (400, r#"{"error":{"message":"(#131056) Pair rate limit hit","code":131056}}"#, "rate_limited"),
    (400, r#"{"error":{"message":"(#131053) Media upload error","code":131053}}"#, "media_rejected"),
    (400, r#"{"error":{"message":"(#131042) Payment issue","code":131042}}"#, "quota"),
    (400, r#"{"error":{"message":"(#190) Access token expired","code":190}}"#, "auth"),
    (400, r#"{"error":{"message":"(#131016) Service unavailable","code":131016}}"#, "upstream"),
    (400, r#"{"error":{"message":"(#132001) Template does not exist","code":132001}}"#, "invalid"),
    (400, r#"{"errors":[{"code":470,"title":"Message failed to send: more than 24 hours"}]}"#, "window_closed"),
    (400, r#"{"errors":[{"code":471,"title":"Spam rate limit hit"}]}"#, "rate_limited"),
    (400, r#"{"errors":[{"code":1013,"title":"User is not valid"}]}"#, "recipient_invalid"),
];

fn check(got: &Got) -> Checked {
    let kind = match (got.method.as_str(), got.path.strip_prefix("/whatsapp-automation/wa/")) {
        ("POST", Some(kind @ ("send-message" | "send-template"))) => kind,
        _ => return Err(format!("no such endpoint: {} {}", got.method, got.path)),
    };
    // The key is asked for twice.
    got.wants_header("apikey", KEY)?;
    let query = got.query();
    if query != [("apiKey".to_owned(), KEY.to_owned())] {
        return Err(format!("the query is {query:?}, wanted `apiKey` with the key"));
    }
    let mut body = Object::of(&got.json()?, kind)?;
    // In every sample, so inferred to be required.
    body.text("userName")?;
    let to = body.text("wa_id")?;
    if !is_phone(&to) {
        return Err(format!("wa_id is {to:?}, wanted digits without `+`"));
    }
    for tag in body.maybe_list("tags")?.unwrap_or_default() {
        if !tag.is_string() {
            return Err(format!("tags holds {tag}"));
        }
    }
    match kind {
        "send-message" => message(&mut body)?,
        _ => template(&mut body)?,
    }
    body.any("future");
    body.end()?;
    let mix = |digest: u64, byte: &u8| (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let digest = got.body.iter().fold(0xcbf2_9ce4_8422_2325, mix);
    Ok((200, json!({ "success": true, "messageId": format!("62b5c16b{digest:016x}"), "message": "Message sent" })))
}

/// The pages list these three types and no others; video and audio may work, but nobody says so.
fn message(body: &mut Object) -> Result<(), String> {
    let kind = body.text("type")?;
    let mut message = body.object("message")?;
    match kind.as_str() {
        "text" => short(&message.text("text")?, 4096)?,
        "image" | "document" => {
            let source = message.text("source")?;
            if !is_web(&source) {
                return Err(format!("message.source is no web address: {source:?}"));
            }
            short(&message.maybe_text("label")?.unwrap_or_default(), 1024)?;
            // In the second table and the second sample of the page only; the sheet says to send it.
            let again = message.text("type")?;
            if again != kind {
                return Err(format!("type is {kind:?}, message.type {again:?}"));
            }
        }
        _ => return Err(format!("the gateway lists no type {kind:?}")),
    }
    message.end()
}

/// Meta carries the messages, so its limits hold.
fn short(text: &str, most: usize) -> Result<(), String> {
    match text.chars().count() <= most {
        true => Ok(()),
        false => Err(format!("a text of more than {most} characters")),
    }
}

fn template(body: &mut Object) -> Result<(), String> {
    body.text("templateId")?;
    if body.maybe_text("assignTo")?.is_some_and(|agent| !agent.contains('@')) {
        return Err("assignTo is no agent's e-mail address".into());
    }
    // Empty for a template without variables, but there.
    for component in body.maybe_list("params")?.ok_or("params is missing")? {
        let mut component = Object::of(&component, "params[]")?;
        let kind = component.text("type")?;
        if !["header", "body"].contains(&kind.as_str()) {
            return Err(format!("params[].type is {kind:?}"));
        }
        for parameter in component.maybe_list("parameters")?.ok_or("params[].parameters is missing")? {
            variable(&parameter)?;
        }
        component.end()?;
    }
    Ok(())
}

/// As in Meta's components: the type, and a field with its name; `parameter_name` where variables have names.
fn variable(value: &Value) -> Result<(), String> {
    let mut variable = Object::of(value, "parameters[]")?;
    variable.maybe_text("parameter_name")?;
    let kind = variable.text("type")?;
    match kind.as_str() {
        "text" => {
            variable.text("text")?;
        }
        "image" | "video" | "document" => {
            let mut media = variable.object(&kind)?;
            let link = media.text("link")?;
            if !is_web(&link) {
                return Err(format!("parameters[].{kind}.link is no web address: {link:?}"));
            }
            media.maybe_text("filename")?;
            media.end()?;
        }
        "currency" | "date_time" => {
            variable.object(&kind)?;
        }
        _ => return Err(format!("parameters[].type is {kind:?}")),
    }
    variable.end()
}
