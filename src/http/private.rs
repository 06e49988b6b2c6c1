//! The private side: the API, for whoever holds the token.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::{get, post};

use super::House;
use super::api::{accounts, by_hand, flows, messages, occurrences, runs, sandbox};
use super::error::Refused;

/// Its routes.
pub fn router(house: Arc<House>) -> Router {
    let api = Router::new()
        .route("/flows", get(flows::list))
        // A flow's name may have several parts; the last part of the path tells what is wanted.
        .route("/flows/{*name}", get(flows::show).post(flows::trigger))
        .route("/runs", get(runs::list))
        .route("/runs/{id}", get(runs::show))
        .route("/runs/{id}/simulate", get(by_hand::simulated))
        .route("/runs/{id}/{decision}", post(by_hand::decide))
        .route("/forget", post(by_hand::forget))
        .route("/messages", get(messages::list).post(messages::send))
        .route("/messages/{id}", get(messages::show))
        .route("/messages/{id}/{decision}", post(messages::decide))
        .route("/occurrences", get(occurrences::list))
        .route("/accounts", get(accounts::list))
        .route("/accounts/{name}/check", post(accounts::check))
        .route("/accounts/{name}/groups", get(accounts::groups))
        .route("/sandbox/messages", get(sandbox::list).post(sandbox::reply))
        .fallback(|| async { Refused::missing("the API has no such route") })
        .layer(from_fn_with_state(house.clone(), authorized));
    Router::new()
        .nest("/api/v1", api)
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .fallback(|| async { Refused::missing("there is nothing here; the API is below /api/v1") })
        .layer(from_fn_with_state(house.clone(), called_by_name))
        .with_state(house)
}

async fn ready(State(house): State<Arc<House>>) -> Response<Body> {
    match house.shutdown.is_running() {
        true => "ready".into_response(),
        false => Refused::busy("Postrider is stopping").into_response(),
    }
}

/// A page of another site may make a browser call us by a name that leads here; it does not know
/// our names.
async fn called_by_name(State(house): State<Arc<House>>, request: Request<Body>, next: Next) -> Response<Body> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    // Where there are two, each may be looked at by somebody else.
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Refused::bad("a request has one `Host` header").into_response();
    };
    let host = host.to_str().unwrap_or_default();
    // A whole address in the request line says it too.
    let asked = request.uri().authority().map(|authority| authority.as_str());
    let unknown = [Some(host), asked].into_iter().flatten().map(name_of).find(|name| {
        let loopback = matches!(name.as_str(), "localhost" | "127.0.0.1" | "[::1]");
        !loopback && (name.is_empty() || !house.admin_hosts.borrow().contains(name))
    });
    match unknown {
        None => next.run(request).await,
        Some(name) => Refused::new(StatusCode::FORBIDDEN, "host", format!("this side is not called `{name}`"))
            .hint("call it by localhost, or list the name under `admin_hosts` in postrider.yaml")
            .into_response(),
    }
}

/// A host's name without its port, in small letters.
fn name_of(host: &str) -> String {
    let port = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    port.map_or(host, |(name, _)| name).to_ascii_lowercase()
}

async fn authorized(State(house): State<Arc<House>>, request: Request<Body>, next: Next) -> Response<Body> {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer "));
    match given {
        Some(token) if house.token.matches(token.trim().as_bytes()) => next.run(request).await,
        _ => Refused::new(StatusCode::UNAUTHORIZED, "unauthorized", "the API wants the admin token")
            .hint("send `Authorization: Bearer ...` with what is in .postrider/admin-token")
            .with(header::WWW_AUTHENTICATE, "Bearer")
            .into_response(),
    }
}
