//! A webhook: verified, read, made a durable run, answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value, json};

use super::House;
use super::error::{Refused, answer};
use super::verify::verify;
use crate::clock::after;
use crate::flow::{Respond, Verify};
use crate::id::RunId;
use crate::run::Reply;

/// How long a caller with `respond: result` waits before it gets the run's id instead.
const PATIENCE: Duration = Duration::from_secs(30);

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
    let Some(route) = matched.routes.iter().find(|route| route.webhook().methods.iter().any(|known| known == method))
    else {
        let allowed: Vec<_> = matched.routes.iter().flat_map(|route| route.webhook().methods.iter().cloned()).collect();
        let message = format!("{path} takes {}, not {method}", allowed.join(" and "));
        let refused = Refused::new(StatusCode::METHOD_NOT_ALLOWED, "method", message);
        return Err(refused.with(header::ALLOW, allowed.join(", ")));
    };
    let webhook = route.webhook();
    let raw = whole(body, house.body_limit).await?;
    if let Some(rule) = &webhook.verify {
        verify(rule, &head.headers, &raw).map_err(|why| Refused::new(StatusCode::UNAUTHORIZED, "unauthorized", why))?;
    }
    let text = String::from_utf8_lossy(&raw);
    let mut event = Map::new();
    event.insert("body".into(), read_body(&head.headers, &text)?);
    event.insert("method".into(), method.into());
    event.insert("path".into(), path.into());
    let params = matched.params.iter().map(|(name, value)| (name.clone(), Value::String(decoded(value))));
    event.insert("params".into(), params.collect::<Map<_, _>>().into());
    event.insert("query".into(), pairs(head.uri.query().unwrap_or_default()));
    event.insert("headers".into(), visible(&head.headers, webhook.verify.as_ref()));
    event.insert("raw".into(), text.into());
    event.insert("ip".into(), peer.ip().to_canonical().to_string().into());

    let run = house.intake.prepare(&route.flow, "webhook", event);
    let id = run.id;
    if webhook.respond == Respond::Accepted {
        house.intake.accept(run).await?;
        return Ok(accepted(id));
    }
    let mut place = house.waiters.wait_for(id);
    house.intake.accept(run).await?;
    let deadline = house.clock.sleep_until(after(house.clock.now(), PATIENCE));
    tokio::select! {
        reply = place.reply() => Ok(reply.map_or_else(|| accepted(id), |reply| said(id, reply))),
        () = deadline => Ok(accepted(id)),
        // The run goes on after the restart, this connection does not.
        () = house.shutdown.draining() => Ok(accepted(id)),
    }
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

async fn whole(body: Body, limit: usize) -> Result<Bytes, Refused> {
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            let message = format!("the body is larger than {limit} bytes");
            Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
                .hint("raise `limits.body` in postrider.yaml"))
        }
        Err(_) => Err(Refused::bad("the body broke off")),
    }
}

/// JSON and forms parsed, else the text. A form that is JSON is JSON: that is what curl sends
/// when it is told nothing.
fn read_body(headers: &HeaderMap, text: &str) -> Result<Value, Refused> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let looks_like_json = text.trim_start().starts_with(['{', '[']);
    if kind == "application/json" || kind.ends_with("+json") {
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        return serde_json::from_str(text).map_err(|error| Refused::bad(format!("the body is no JSON: {error}")));
    }
    if (kind.is_empty() || kind == "application/x-www-form-urlencoded")
        && looks_like_json
        && let Ok(value) = serde_json::from_str(text)
    {
        return Ok(value);
    }
    if kind == "application/x-www-form-urlencoded" {
        return Ok(pairs(text));
    }
    Ok(if text.is_empty() { Value::Null } else { text.into() })
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

fn visible(headers: &HeaderMap, rule: Option<&Verify>) -> Value {
    let signature = match rule {
        Some(Verify::Hmac(rule)) => Some(rule.header.as_str()),
        _ => None,
    };
    let mut map = Map::new();
    for (name, value) in headers {
        let name = name.as_str();
        if SECRET_HEADERS.contains(&name) || signature == Some(name) {
            continue;
        }
        map.insert(name.to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned().into());
    }
    Value::Object(map)
}
