//! What a script sees of a request.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::http::{HeaderMap, header};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::error::Refused;
use crate::flow::Verify;
use crate::model::event::{from_bytes, swells};

/// How deep a body in JSON may be nested; serde_json itself stops at 128, and an event adds some.
const DEEPEST: usize = 100;

/// What JSON may have around it.
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// Parts of the names of headers that prove something: credentials are not for scripts, nor kept.
const PROOFS: [&str; 13] = [
    "apikey",
    "assertion",
    "auth",
    "authentication",
    "authorization",
    "bearer",
    "cookie",
    "credential",
    "credentials",
    "jwt",
    "passwd",
    "password",
    "sig",
];
/// The same wherever they stand in a name.
const PROOFS_WITHIN: [&str; 5] = ["token", "signature", "secret", "hmac", "api-key"];

/// What the script sees of a request; how `raw` is kept says [`crate::model::event`].
#[derive(Serialize)]
pub struct Event<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Content<'a>>,
    method: &'a str,
    path: &'a str,
    params: BTreeMap<&'a str, String>,
    query: Value,
    headers: BTreeMap<&'a str, Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_bytes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_around: Option<[&'a str; 2]>,
    ip: IpAddr,
}

/// A request whose body is whole.
pub struct Request<'a> {
    /// Such as `POST`.
    pub method: &'a str,
    /// Below `/hooks`.
    pub path: &'a str,
    /// Of the path, as they stand in it.
    pub params: &'a [(String, String)],
    /// Behind the `?`.
    pub query: &'a str,
    /// All of them.
    pub headers: &'a HeaderMap,
    /// How the caller showed that it may.
    pub verify: Option<&'a Verify>,
    /// The body.
    pub raw: &'a [u8],
    /// The body as text, with marks in the places of what is none.
    pub text: &'a Cow<'a, str>,
    /// Where it came from.
    pub ip: IpAddr,
}

/// The event of a request.
///
/// # Errors
/// 400, when the body is not what it says.
pub fn event<'a>(request: &Request<'a>) -> Result<Event<'a>, Refused> {
    let (text, raw): (&str, _) = (request.text, request.raw);
    let is_utf8 = matches!(request.text, Cow::Borrowed(_));
    let mut event = Event {
        body: None,
        method: request.method,
        path: request.path,
        params: request.params.iter().map(|(name, value)| (name.as_str(), decoded(value))).collect(),
        query: pairs(request.query),
        headers: visible(request.headers, request.verify),
        raw: None,
        raw_bytes: None,
        raw_around: None,
        ip: request.ip,
    };
    let content = read_body(request.headers, text, is_utf8)?;
    match &content {
        Content::Json(value) if !matches!(value.get().as_bytes(), [b'"', ..] | b"null") => {
            let begin = text.len() - text.trim_start_matches(BLANKS).len();
            let around = [&text[..begin], &text[begin + value.get().len()..]];
            event.raw_around = (around != [""; 2]).then_some(around);
        }
        Content::Text(_) | Content::Form(_) if !is_utf8 || swells(text) => event.raw_bytes = Some(from_bytes(raw)),
        Content::Text(_) => {}
        Content::Json(_) | Content::Form(_) | Content::Nothing => event.raw = (!text.is_empty()).then_some(text),
    }
    let is_raw = event.raw_bytes.is_some() && matches!(content, Content::Text(_));
    event.body = (!is_raw).then_some(content);
    Ok(event)
}

/// A body: JSON goes into the event as it stands, once it was seen to be JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Json(&'a RawValue),
    Form(Value),
    Text(&'a str),
    Nothing,
}

/// JSON and forms parsed, else the text. A form that is JSON is JSON: that is what curl sends
/// when it is told nothing.
fn read_body<'a>(headers: &HeaderMap, text: &'a str, is_utf8: bool) -> Result<Content<'a>, Refused> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let form = kind == "application/x-www-form-urlencoded";
    if text.trim_matches(BLANKS).is_empty() {
        return Ok(if form { Content::Form(pairs("")) } else { Content::Nothing });
    }
    if kind == "application/json" || kind.ends_with("+json") {
        if !is_utf8 {
            return Err(Refused::bad("the body is no JSON: it is not written in UTF-8"));
        }
        return read_json(text).map_err(|error| Refused::bad(format!("the body is no JSON: {error}")));
    }
    let looks_like_json = text.trim_start().starts_with(['{', '[']);
    if (kind.is_empty() || form) && looks_like_json && is_utf8 {
        match read_json(text) {
            Ok(content) => return Ok(content),
            // In a form these characters are written another way.
            Err(error) if form => {
                return Err(Refused::bad(format!("the body is no JSON: {error}"))
                    .hint("a body that is no JSON needs its content type, such as `text/plain`"));
            }
            Err(_) => {}
        }
    }
    Ok(if form { Content::Form(pairs(text)) } else { Content::Text(text) })
}

/// Reads the whole text without keeping it: whatever is wrong with it is known before anything
/// is accepted.
fn read_json(text: &str) -> serde_json::Result<Content<'_>> {
    serde_json::from_str::<Sound>(text)?;
    let content = serde_json::from_str(text).map(Content::Json)?;
    match too_deep(text) {
        true => Err(serde::de::Error::custom(format!("it is nested more than {DEEPEST} deep"))),
        false => Ok(content),
    }
}

/// Sees every value as a reader would, without keeping any: numbers and escapes that could not be
/// read again are found at the door.
struct Sound;

impl<'de> serde::Deserialize<'de> for Sound {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> serde::de::Visitor<'de> for Sound {
    type Value = Self;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }
    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut fields: A) -> Result<Self, A::Error> {
        while fields.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

/// Whether JSON is nested deeper than it could be read again.
fn too_deep(text: &str) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    text.bytes().any(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > DEEPEST
    })
}

/// A query or form as a map; a name that comes again makes a list.
fn pairs(text: &str) -> Value {
    let mut map = Map::new();
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        let value = Value::String(value.into_owned());
        match map.entry(name.into_owned()) {
            serde_json::map::Entry::Vacant(free) => {
                free.insert(value);
            }
            serde_json::map::Entry::Occupied(mut taken) => match taken.get_mut() {
                Value::Array(list) => list.push(value),
                one => *one = Value::Array(vec![one.take(), value]),
            },
        }
    }
    Value::Object(map)
}

fn decoded(part: &str) -> String {
    percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned()
}

fn visible<'a>(headers: &'a HeaderMap, rule: Option<&Verify>) -> BTreeMap<&'a str, Cow<'a, str>> {
    let signature = match rule {
        Some(Verify::Hmac(rule)) => Some(rule.header.as_str()),
        _ => None,
    };
    let plain = headers.iter().filter(|(name, _)| !proves(name.as_str()) && signature != Some(name.as_str()));
    plain.map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()))).collect()
}

/// Whether a header of this name carries a credential or a signature.
fn proves(name: &str) -> bool {
    let mut parts = name.split(['-', '_', '.']);
    let is_key = matches!(parts.clone().next_back(), Some("key" | "keys")) && !name.ends_with("idempotency-key");
    is_key || PROOFS_WITHIN.iter().any(|word| name.contains(word)) || parts.any(|part| PROOFS.contains(&part))
}
