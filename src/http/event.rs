//! What a script sees of a request.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;

use axum::body::Bytes;
use axum::http::HeaderMap;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::content::{self, Kind};
use super::error::Refused;
use super::parts::{Part, Parts};
use crate::flow::webhook::Verify;
use crate::json::{is_too_deep, mistake, place};
use crate::model::event::{at, from_bytes, swells};

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
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    files: &'a [Part],
    method: &'a str,
    path: &'a str,
    params: BTreeMap<&'a str, &'a str>,
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
    pub body: &'a Read<'a>,
    /// Where it came from.
    pub ip: IpAddr,
}

/// A body, read as far as anybody can without knowing what is wanted of it.
pub struct Read<'a> {
    /// What is said of it.
    pub kind: Kind,
    /// Unpacked.
    pub bytes: &'a [u8],
    /// By its charset; none when it is no text.
    pub text: Option<Cow<'a, str>>,
    /// The text as JSON, with its half pairs of surrogates mended.
    pub json: Option<String>,
    /// A form in parts.
    pub parts: Option<Parts>,
}

impl<'a> Read<'a> {
    /// Reads an unpacked body.
    ///
    /// # Errors
    /// 400 or 415, when it is not what it says.
    pub async fn of(headers: &HeaderMap, bytes: &'a Bytes) -> Result<Self, Refused> {
        let kind = Kind::of(headers);
        if kind.is_multipart() {
            let parts = Some(Parts::read(&kind, bytes).await?);
            return Ok(Self { kind, bytes, text: None, json: None, parts });
        }
        let text = content::text(&kind, bytes)?;
        let json = match text.as_deref().map(content::mended) {
            Some(Cow::Owned(mended)) => Some(mended),
            _ => None,
        };
        Ok(Self { kind, bytes, text, json, parts: None })
    }

    /// What stands in the body behind these names, as text; none where there is nothing.
    pub fn at(&self, names: &[String]) -> Option<String> {
        match read_body(self).ok()? {
            Content::Json(root) => at(root.get(), names),
            Content::Form(fields) => at(&fields.to_string(), names),
            Content::Parts(fields) => at(&fields.to_string(), names),
            Content::Text(_) | Content::Bytes | Content::Nothing => None,
        }
    }

    fn json(&self) -> &str {
        self.json.as_deref().or(self.text.as_deref()).unwrap_or_default()
    }
}

/// The event of a request.
///
/// # Errors
/// 400, when the body is not what it says.
pub fn event<'a>(request: &Request<'a>) -> Result<Event<'a>, Refused> {
    let body = request.body;
    let mut event = Event {
        body: None,
        files: body.parts.as_ref().map_or(&[], |parts| &parts.files),
        method: request.method,
        path: request.path,
        params: request.params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        query: content::query(request.query),
        headers: visible(request.headers, request.verify),
        raw: None,
        raw_bytes: None,
        raw_around: None,
        ip: request.ip,
    };
    if let (Some(name), Value::Object(query)) = (request.verify.and_then(Verify::query), &mut event.query) {
        query.remove(name);
    }
    let text = body.text.as_deref().unwrap_or_default();
    let content = read_body(body)?;
    match &content {
        Content::Json(value) if body.json.is_none() && !matches!(value.get().as_bytes(), [b'"', ..] | b"null") => {
            let begin = text.len() - text.trim_start_matches(BLANKS).len();
            let around = [&text[..begin], &text[begin + value.get().len()..]];
            event.raw_around = (around != [""; 2]).then_some(around);
        }
        Content::Bytes => event.raw_bytes = Some(from_bytes(body.bytes)),
        Content::Text(_) | Content::Form(_) if swells(text) => event.raw_bytes = Some(from_bytes(text.as_bytes())),
        Content::Text(_) => {}
        // Their bytes are with the files, and kept once.
        Content::Parts(_) => event.raw = Some(""),
        Content::Json(_) | Content::Form(_) | Content::Nothing => event.raw = (!text.is_empty()).then_some(text),
    }
    let is_raw = event.raw_bytes.is_some() && matches!(content, Content::Text(_) | Content::Bytes);
    event.body = (!is_raw).then_some(content);
    Ok(event)
}

/// A body: JSON goes into the event as it stands, once it was seen to be JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Json(&'a RawValue),
    Form(Value),
    Parts(&'a Value),
    Text(&'a str),
    Bytes,
    Nothing,
}

/// JSON and forms parsed, else the text. A form that is JSON is JSON: that is what curl sends
/// when it is told nothing.
fn read_body<'a>(body: &'a Read<'_>) -> Result<Content<'a>, Refused> {
    if let Some(parts) = &body.parts {
        return Ok(Content::Parts(&parts.fields));
    }
    let (kind, form) = (&body.kind, body.kind.is_form());
    let Some(text) = body.text.as_deref() else { return Ok(Content::Bytes) };
    if text.trim_matches(BLANKS).is_empty() {
        return Ok(if form { Content::Form(Value::Object(Map::new())) } else { Content::Nothing });
    }
    if kind.is_json() {
        return read_json(body.json());
    }
    let looks_like_json = text.trim_start().starts_with(['{', '[']);
    if (kind.name.is_empty() || form) && looks_like_json {
        match read_json(body.json()) {
            Ok(content) => return Ok(content),
            Err(refused) if form && !names_fields(text) => {
                return Err(refused.hint("a body that is no JSON needs its content type, such as `text/plain`"));
            }
            Err(_) => {}
        }
    }
    Ok(if form { Content::Form(content::form(kind, body.bytes)?) } else { Content::Text(text) })
}

/// Whether a text is a form, though it begins as JSON does: before its first `=` stands a name, and no name of a form
/// has a quote that is not encoded. Without that it is JSON with a mistake, which curl calls a form.
fn names_fields(text: &str) -> bool {
    text.split_once('=').is_some_and(|(name, _)| !name.contains('"'))
}

/// Reads the whole text without keeping it: whatever is wrong with it is known before anything
/// is accepted.
fn read_json(text: &str) -> Result<Content<'_>, Refused> {
    let broken = |error| Refused::bad(mistake("the body", text.as_bytes(), &error));
    match serde_json::from_str::<Sound>(text) {
        Err(error) if !is_too_deep(&error) => return Err(broken(error)),
        Ok(_) | Err(_) => {}
    }
    match too_deep(text) {
        Some(at) => {
            let place = place(text.as_bytes(), at);
            Err(Refused::bad(format!("the body is nested more than {DEEPEST} deep, at {place}")))
        }
        None => serde_json::from_str(text).map(Content::Json).map_err(broken),
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

/// Where JSON is nested deeper than it could be read again.
fn too_deep(text: &str) -> Option<usize> {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    text.bytes().position(|byte| {
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

/// Headers as scripts see them. One that came twice is joined (RFC 9110, 5.3).
fn visible<'a>(headers: &'a HeaderMap, rule: Option<&Verify>) -> BTreeMap<&'a str, Cow<'a, str>> {
    let shown = |name: &str| !proves(name) && rule.is_none_or(|rule| rule.headers().all(|proof| proof != name));
    let mut seen: BTreeMap<&str, Cow<'_, str>> = BTreeMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| shown(name.as_str())) {
        let value = String::from_utf8_lossy(value.as_bytes());
        match seen.entry(name.as_str()) {
            Entry::Vacant(free) => {
                free.insert(value);
            }
            Entry::Occupied(mut before) => {
                let joined = before.get_mut().to_mut();
                joined.push_str(", ");
                joined.push_str(&value);
            }
        }
    }
    seen
}

/// Whether a header of this name carries a credential or a signature.
fn proves(name: &str) -> bool {
    let mut parts = name.split(['-', '_', '.']);
    let is_key = matches!(parts.clone().next_back(), Some("key" | "keys")) && !name.ends_with("idempotency-key");
    is_key || PROOFS_WITHIN.iter().any(|word| name.contains(word)) || parts.any(|part| PROOFS.contains(&part))
}
