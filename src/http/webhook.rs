//! A webhook: verified, read, made a durable run, answered.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::House;
use super::body::whole;
use super::error::{Refused, answer};
use super::verify::verify;
use crate::clock::after;
use crate::flow::{Respond, Verify};
use crate::id::RunId;
use crate::run::Reply;

/// How long a caller with `respond: result` waits before it gets the run's id instead.
const PATIENCE: Duration = Duration::from_secs(30);

/// How deep a body in JSON may be nested; serde_json itself stops at 128, and an event adds some.
const DEEPEST: usize = 100;

/// Headers that the script does not see: they are credentials.
const SECRET_HEADERS: [&str; 6] =
    ["authorization", "proxy-authorization", "cookie", "x-token", "x-hub-signature", "x-hub-signature-256"];

/// Takes any request below `/hooks`.
pub async fn webhook(
    State(house): State<Arc<House>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response<Body> {
    match accept(&house, peer, request).await {
        Ok(response) => response,
        Err(refused) => refused.into_response(),
    }
}

async fn accept(house: &House, peer: SocketAddr, request: Request<Body>) -> Result<Response<Body>, Refused> {
    if !house.shutdown.is_running() {
        return Err(Refused::busy("Postrider is stopping; come again in a moment"));
    }
    let (head, body) = request.into_parts();
    let path = head.uri.path().strip_prefix("/hooks").unwrap_or_default();
    let catalog = house.catalog.borrow().clone();
    let Some(matched) = catalog.route(path) else {
        return Err(Refused::missing(format!("no flow has a webhook at {path}")));
    };
    let method = head.method.as_str();
    let Some(route) = matched.routes.iter().find(|route| route.webhook.methods.iter().any(|known| known == method))
    else {
        let allowed: Vec<_> = matched.routes.iter().flat_map(|route| route.webhook.methods.iter().cloned()).collect();
        let message = format!("{path} takes {}, not {method}", allowed.join(" and "));
        let refused = Refused::new(StatusCode::METHOD_NOT_ALLOWED, "method", message);
        return Err(refused.with(header::ALLOW, allowed.join(", ")));
    };
    let webhook = &route.webhook;
    let limit = usize::try_from(catalog.ground.limits.body).unwrap_or(usize::MAX);
    let raw = whole(body, limit).await.map_err(|refused| match refused.status() {
        StatusCode::PAYLOAD_TOO_LARGE => refused.hint("raise `limits.body` in postrider.yaml"),
        _ => refused,
    })?;
    if let Some(rule) = &webhook.verify {
        verify(rule, &head.headers, &raw).map_err(|why| Refused::new(StatusCode::UNAUTHORIZED, "unauthorized", why))?;
    }
    let text = String::from_utf8_lossy(&raw);
    let event = Event {
        body: read_body(&head.headers, &text)?,
        method,
        path,
        params: matched.params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        query: pairs(head.uri.query().unwrap_or_default()),
        headers: visible(&head.headers, webhook.verify.as_ref()),
        raw: &text,
        ip: peer.ip().to_canonical(),
    };
    let run = house.intake.prepare(&route.flow, "webhook", &event);
    let id = run.id;
    if webhook.respond == Respond::Accepted {
        house.intake.accept(run).await?;
        return Ok(accepted(id));
    }
    let mut place = house.waiters.wait_for(id);
    let deadline = house.clock.sleep_until(after(house.clock.now(), PATIENCE));
    house.intake.accept(run).await?;
    tokio::select! {
        reply = place.reply() => Ok(reply.map_or_else(|| accepted(id), |reply| said(id, reply))),
        () = deadline => Ok(accepted(id)),
        // The run goes on after the restart, this connection does not.
        () = house.shutdown.draining() => Ok(accepted(id)),
    }
}

/// What the script sees of a request.
#[derive(Serialize)]
struct Event<'a> {
    body: Content<'a>,
    method: &'a str,
    path: &'a str,
    params: BTreeMap<&'a str, &'a str>,
    query: Value,
    headers: BTreeMap<&'a str, Cow<'a, str>>,
    raw: &'a str,
    ip: IpAddr,
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

fn accepted(run: RunId) -> Response<Body> {
    let mut response = answer(StatusCode::ACCEPTED, &json!({ "run": run }));
    if let Ok(place) = HeaderValue::from_str(&format!("/api/v1/runs/{run}")) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

/// What a run says, over HTTP.
fn said(run: RunId, reply: Reply) -> Response<Body> {
    match reply {
        Reply::Value(value) => answer(StatusCode::OK, &value),
        Reply::Failed(error) => {
            let body = json!({ "error": { "kind": error.kind, "message": error.message }, "run": run });
            answer(StatusCode::INTERNAL_SERVER_ERROR, &body)
        }
        Reply::Ended(state) => answer(StatusCode::CONFLICT, &json!({ "run": run, "reason": state.name() })),
        Reply::Response(said) => {
            let status = StatusCode::from_u16(said.status).unwrap_or(StatusCode::OK);
            let mut response = match said.body {
                Value::String(text) => {
                    let mut response = Response::new(Body::from(text));
                    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
                    response.headers_mut().insert(header::CONTENT_TYPE, plain);
                    response
                }
                Value::Null => Response::new(Body::empty()),
                body => answer(status, &body),
            };
            *response.status_mut() = status;
            for (name, value) in said.headers {
                if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                    response.headers_mut().insert(name, value);
                }
            }
            response
        }
    }
}

/// JSON and forms parsed, else the text. A form that is JSON is JSON: that is what curl sends
/// when it is told nothing.
fn read_body<'a>(headers: &HeaderMap, text: &'a str) -> Result<Content<'a>, Refused> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let form = kind == "application/x-www-form-urlencoded";
    if text.trim().is_empty() {
        return Ok(if form { Content::Form(pairs("")) } else { Content::Nothing });
    }
    if kind == "application/json" || kind.ends_with("+json") {
        return read_json(text).map_err(|error| Refused::bad(format!("the body is no JSON: {error}")));
    }
    let looks_like_json = text.trim_start().starts_with(['{', '[']);
    if (kind.is_empty() || form) && looks_like_json {
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

fn visible<'a>(headers: &'a HeaderMap, rule: Option<&Verify>) -> BTreeMap<&'a str, Cow<'a, str>> {
    let signature = match rule {
        Some(Verify::Hmac(rule)) => Some(rule.header.as_str()),
        _ => None,
    };
    let plain = headers.iter().filter(|(name, _)| {
        let name = name.as_str();
        !SECRET_HEADERS.contains(&name) && signature != Some(name)
    });
    plain.map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()))).collect()
}
