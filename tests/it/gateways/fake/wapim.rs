//! Wapim as GATEWAYS section 1 tells it, which follows Wapim/wapim-docs `send-messages/*.md` and seeds 000
//! and 004. Bytes, captions of documents, audio, stickers, polls, reactions and replies do not exist.

use serde_json::{Value, json};

use super::Dialect;
use super::strict::{Checked, Got, Object, is_phone, is_web};

pub const DIALECT: Dialect =
    Dialect { name: "wapim", settings: "token: 's3cret/+token=one'", secrets: &[TOKEN], check };

const TOKEN: &str = "s3cret/+token=one";

const BAD_REQUEST: &str = concat!(
    r#"{"status":false,"code":400,"message":"Bad Request","#,
    r#""error":{"Send Text":["Malformed or missing phone id or message data!"]}}"#
);

/// Section 1.2. Only 400 and 413 are documented; for the others the sheet gives classes but no bodies.
pub const ERRORS: &[(u16, &str, &str)] = &[
    (400, BAD_REQUEST, "invalid"),
    (401, "", "auth"),
    (401, r#"{"status":false,"code":401,"message":"Unauthorized"}"#, "auth"),
    (403, r#"{"status":false,"code":403,"message":"Forbidden"}"#, "auth"),
    (413, r#"{"status":false,"code":413,"message":"Big file","error":"Max 5 MB file."}"#, "too_large"),
    (429, r#"{"status":false,"code":429,"message":"Too Many Requests"}"#, "rate_limited"),
    (429, "", "rate_limited"),
    (500, r#"{"status":false,"code":500,"message":"Internal Server Error"}"#, "upstream"),
    (502, "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>", "upstream"),
    (503, "", "upstream"),
    (504, "<html><head><title>504 Gateway Time-out</title></head><body>nginx</body></html>", "upstream"),
];

fn check(got: &Got) -> Checked {
    let kind = match (got.method.as_str(), got.path.strip_prefix("/message/")) {
        ("POST", Some(kind)) => kind,
        _ => return Err(nowhere(got)),
    };
    got.wants_no_query()?;
    got.wants_header("token", TOKEN)?;
    let mut body = Object::of(&got.json()?, kind)?;
    let to = body.text("phone_number")?;
    if !is_phone(&to) && !is_group(&to) {
        return Err(format!("phone_number is {to:?}, wanted digits, or a group's id without a suffix"));
    }
    match kind {
        "text" => {
            body.text("message")?;
        }
        // The table of the page lacks `title`; both of its examples send it. There is no picture.
        "link" => {
            address(&mut body, "url")?;
            body.maybe_text("title")?;
            body.maybe_text("description")?;
        }
        "image" | "video" => {
            address(&mut body, "content_url")?;
            body.maybe_text("caption")?;
        }
        "document" => address(&mut body, "content_url")?,
        "location" => {
            degrees(&mut body, "lat", 90.0)?;
            degrees(&mut body, "lon", 180.0)?;
            body.maybe_text("title")?;
        }
        "contact" => {
            body.text("contact_name")?;
            let number = body.text("contact_number")?;
            // The page gives the number no form; a `+` is at home on a card that people read.
            if !is_phone(number.strip_prefix('+').unwrap_or(&number)) {
                return Err(format!("contact_number is {number:?}"));
            }
        }
        _ => return Err(nowhere(got)),
    }
    // A number on some pages and a string on others; the sheet says to send a number. Unit: seconds, as
    // inferred there.
    if body.maybe_whole("scheduled_time")?.is_some_and(|time| time <= 0) {
        return Err(format!("{kind}.scheduled_time is no time"));
    }
    body.any("future");
    body.end()?;
    Ok((200, queued(got, &to)))
}

fn nowhere(got: &Got) -> String {
    format!("no such endpoint: {} {}", got.method, got.path)
}

/// Such as `15417543010-1570918620`: who made the group, and when.
fn is_group(text: &str) -> bool {
    let made = |text: &str| text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('-').is_some_and(|(owner, when)| is_phone(owner) && made(when))
}

fn address(body: &mut Object, name: &str) -> Result<(), String> {
    let text = body.text(name)?;
    match is_web(&text) {
        true => Ok(()),
        false => Err(format!("{name} is no web address: {text:?}")),
    }
}

fn degrees(body: &mut Object, name: &str, most: f64) -> Result<(), String> {
    let number = body.number(name)?;
    match number.abs() <= most {
        true => Ok(()),
        false => Err(format!("{name} is {number}")),
    }
}

/// The id is the number and 20 hex digits, and means no more than that the message waits.
fn queued(got: &Got, to: &str) -> Value {
    let mix = |digest: u64, byte: &u8| (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let digest = got.body.iter().fold(0xcbf2_9ce4_8422_2325, mix);
    json!({ "queue_message_id": format!("{to}_{digest:016X}041D"), "message": "We reached successfully" })
}
