//! The private side: the API and the pages, for whoever holds the token or was let in.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::{get, post, put};
use percent_encoding::percent_decode_str;

use super::House;
use super::api::{accounts, by_hand, engine, flows, messages, occurrences, people, runs, sandbox, why};
use super::error::Refused;
use super::session::{at_the_door, authorized};
use super::{metrics, openapi, pages, stream};

/// The API's routes. Each stands in `openapi` too, which a test compares.
fn api() -> Router<Arc<House>> {
    Router::new()
        .route("/openapi.json", get(openapi::document))
        .route("/events", get(stream::events))
        .route("/engine", get(engine::engine))
        .route("/stats", get(engine::stats))
        .route("/activity", get(engine::activity))
        .route("/needs", get(engine::needs))
        .route("/incoming", get(engine::incoming))
        .route("/refused", get(engine::refused))
        .route("/sessions", post(engine::invite).delete(engine::sign_out_all))
        .route("/check", post(flows::check))
        .route("/flows", get(flows::list).post(flows::create))
        // A flow's name may have several parts; the last part of the path tells what is wanted.
        .route("/flows/{*name}", get(flows::get_one).post(flows::post_one).put(flows::put_one))
        .route("/runs", get(runs::list))
        .route("/runs/{id}", get(runs::show))
        .route("/runs/{id}/simulate", get(by_hand::simulated))
        .route("/runs/{id}/{decision}", post(by_hand::decide))
        .route("/forget", post(by_hand::forget))
        .route("/messages", get(messages::list).post(messages::send))
        .route("/messages/decisions", post(messages::decide_many))
        .route("/messages/{id}", get(messages::show))
        .route("/messages/{id}/{decision}", post(messages::decide))
        .route("/occurrences", get(occurrences::list))
        .route("/next", get(occurrences::next))
        .route("/why", get(why::why))
        .route("/people", get(people::list))
        .route("/people/{address}", get(people::show))
        .route("/people/{address}/opt-in", post(people::opt_in))
        .route("/accounts", get(accounts::list))
        .route("/accounts/{name}/check", post(accounts::check))
        .route("/accounts/{name}/probe", post(accounts::probe))
        .route("/accounts/{name}/groups", get(accounts::groups))
        .route("/sandbox/messages", get(sandbox::list).post(sandbox::reply).delete(sandbox::empty))
        .route("/sandbox/phones", get(sandbox::phones))
        .route("/sandbox/phones/{phone}", put(sandbox::change))
}

/// Its routes.
pub fn router(house: Arc<House>) -> Router {
    let api = api()
        .fallback(|| async { Refused::missing("the API has no such route") })
        .method_not_allowed_fallback(other_method)
        .layer(from_fn_with_state(house.clone(), authorized));
    let behind_the_door =
        pages::router().method_not_allowed_fallback(other_method).layer(from_fn_with_state(house.clone(), at_the_door));
    Router::new()
        .nest("/api/v1", api)
        .merge(behind_the_door)
        .merge(pages::door().method_not_allowed_fallback(other_method))
        .route("/metrics", get(metrics::metrics).layer(from_fn_with_state(house.clone(), authorized)))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .layer(axum::middleware::from_fn(readable))
        .layer(from_fn_with_state(house.clone(), pages::shown))
        .layer(axum::middleware::from_fn(pages::guarded))
        .layer(from_fn_with_state(house.clone(), called_by_name))
        .with_state(house)
}

/// Whether work can be done: the engine goes on, and its store answers.
async fn ready(State(house): State<Arc<House>>) -> Response<Body> {
    if !house.shutdown.is_running() {
        return Refused::busy("Postrider is stopping").into_response();
    }
    match house.view.store.prune_versions(Vec::new()).await {
        Ok(_) => "ready".into_response(),
        Err(error) => Refused::busy(format!("the store does not take writes: {error}")).into_response(),
    }
}

async fn other_method() -> Refused {
    Refused::new(StatusCode::METHOD_NOT_ALLOWED, "method", "this address does not take this method")
}

/// What stands in a path is text.
async fn readable(request: Request<Body>, next: Next) -> Response<Body> {
    match percent_decode_str(request.uri().path()).decode_utf8() {
        Ok(_) => next.run(request).await,
        Err(_) => Refused::bad("the address is not written in UTF-8").into_response(),
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
