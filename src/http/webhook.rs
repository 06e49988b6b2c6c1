//! A webhook: verified, read, made a durable run, answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::House;
use super::body::whole;
use super::error::{Refused, Told, answer};
use super::event::{self, event};
use super::origin;
use super::side::Seat;
use super::verify::verify;
use crate::clock::after;
use crate::feed::Change;
use crate::flow::catalog::Catalog;
use crate::flow::{Matched, Respond, Route};
use crate::id::RunId;
use crate::model::call::is_framing;
use crate::run::Reply;

/// How long a caller with `respond: result` waits before it gets the run's id instead.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most characters of a path that are remembered.
const LONGEST_PATH: usize = 200;

/// Takes any request below `/hooks`.
pub async fn webhook(
    State(house): State<Arc<House>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response<Body> {
    let asked = format!("{} {}", request.method(), request.uri().path());
    let taken = accept(&house, peer, request).await;
    let response = taken.unwrap_or_else(IntoResponse::into_response);
    turned_away(&house, peer, &asked, &response);
    response
}

/// Notes a request that was refused. What it was refused for stands in the answer's extensions.
pub fn turned_away(house: &House, peer: SocketAddr, asked: &str, response: &Response<Body>) {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return;
    }
    house.view.tally.refused("public", status.as_u16());
    let told = response.extensions().get::<Told>();
    let Some(told) = told.filter(|_| status.is_client_error()) else { return };
    let what: String = asked.chars().take(LONGEST_PATH).collect();
    let from = peer.ip().to_canonical().to_string();
    house.view.turned_away.note(house.view.clock.now(), &what, status.as_u16(), &told.message, &from);
    house.view.feed.tell([Change::Incoming { what: "refused", from: what, outcome: "refused" }]);
}

async fn accept(house: &House, peer: SocketAddr, request: Request<Body>) -> Result<Response<Body>, Refused> {
    if !house.shutdown.is_running() {
        return Err(Refused::busy("Postrider is stopping; come again in a moment"));
    }
    let (head, body) = request.into_parts();
    let path = head.uri.path().strip_prefix("/hooks").unwrap_or_default();
    let catalog = house.view.catalog.borrow().clone();
    let Some(matched) = catalog.route(path) else {
        return Err(Refused::missing(format!("no flow has a webhook at {path}")));
    };
    let method = head.method.as_str();
    let route = |method: &str| matched.routes.iter().find(|route| route.webhook.methods.iter().any(|m| m == method));
    if let Some(asked) = origin::asked_before(&head.method, &head.headers)
        && matched.routes.iter().any(|route| !route.webhook.origins.is_empty())
    {
        let Some(route) = route(asked) else { return Err(not_taken(path, asked, &matched)) };
        return origin::permitted(&route.webhook, &head.headers);
    }
    let Some(route) = route(method) else { return Err(not_taken(path, method, &matched)) };
    let page = origin::admitted(&route.webhook, &head.headers)?;
    let mut answered = match take(house, peer, &catalog, route, &matched, &head, body).await {
        Ok(answered) => answered,
        Err(refused) => refused.into_response(),
    };
    if let Some(page) = page {
        origin::tell(&mut answered, page);
    }
    Ok(answered)
}

fn not_taken(path: &str, method: &str, matched: &Matched<'_>) -> Refused {
    let allowed: Vec<_> = matched.routes.iter().flat_map(|route| route.webhook.methods.iter().cloned()).collect();
    let message = format!("{path} takes {}, not {method}", allowed.join(" and "));
    let refused = Refused::new(StatusCode::METHOD_NOT_ALLOWED, "method", message);
    refused.with(header::ALLOW, allowed.join(", "))
}

/// Takes a request that came to its webhook.
async fn take(
    house: &House,
    peer: SocketAddr,
    catalog: &Catalog,
    route: &Route,
    matched: &Matched<'_>,
    head: &Parts,
    body: Body,
) -> Result<Response<Body>, Refused> {
    let webhook = &route.webhook;
    let limit = usize::try_from(catalog.ground.limits.body).unwrap_or(usize::MAX);
    let raw = whole(body, limit).await.map_err(|refused| match refused.status() {
        StatusCode::PAYLOAD_TOO_LARGE => refused.hint("raise `limits.body` in postrider.yaml"),
        _ => refused,
    })?;
    if let Some(rule) = &webhook.verify {
        verify(rule, &head.headers, &raw).map_err(|why| Refused::new(StatusCode::UNAUTHORIZED, "unauthorized", why))?;
    }
    let run = {
        let text = String::from_utf8_lossy(&raw);
        let event = event(&event::Request {
            method: head.method.as_str(),
            path: head.uri.path().strip_prefix("/hooks").unwrap_or_default(),
            params: &matched.params,
            query: head.uri.query().unwrap_or_default(),
            headers: &head.headers,
            verify: webhook.verify.as_ref(),
            raw: &raw,
            text: &text,
            ip: peer.ip().to_canonical(),
        })?;
        house.intake.prepare(&route.flow, "webhook", &event)
    };
    drop(raw);
    let id = run.id;
    if webhook.respond == Respond::Accepted {
        house.intake.accept(run).await?;
        return Ok(accepted(id));
    }
    let mut place = house.subscribers.subscribe(id);
    let deadline = house.view.clock.sleep_until(after(house.view.clock.now(), PATIENCE));
    house.intake.accept(run).await?;
    // Whoever waits does so without its body.
    if let Some(seat) = head.extensions.get::<Arc<Seat>>() {
        seat.releases();
    }
    let said = |reply| said(id, reply, webhook.verify.is_some());
    tokio::select! {
        reply = place.reply() => Ok(reply.map_or_else(|| accepted(id), said)),
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

/// What a run says, over HTTP. Why it failed is for those alone who have shown who they are.
fn said(run: RunId, reply: Reply, verified: bool) -> Response<Body> {
    match reply {
        Reply::Value(value) => answer(StatusCode::OK, &value),
        Reply::Failed(error) => {
            let error = match verified {
                true => json!({ "kind": error.kind, "message": error.message }),
                false => json!({ "kind": "failed" }),
            };
            answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": error, "run": run }))
        }
        Reply::Ended(state) => answer(StatusCode::CONFLICT, &json!({ "run": run, "reason": state.name() })),
        Reply::Response(said) => {
            let status = StatusCode::from_u16(said.status).unwrap_or(StatusCode::OK);
            let bare = matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED);
            let mut response = match said.body {
                // These have no body, whatever is handed on.
                _ if bare => Response::new(Body::empty()),
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
                // Also in answers that were put on record when they could still be given.
                if !is_framing(&name)
                    && let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
                {
                    response.headers_mut().insert(name, value);
                }
            }
            response
        }
    }
}
