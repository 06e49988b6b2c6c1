//! The public side: webhooks, addresses of ours that others were given, health; nothing else.

use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get};

use super::House;
use super::gateways::{incoming, incoming_below};
use super::hosted::{link, media};
use super::webhook::{elsewhere, webhook};

/// Its routes.
pub fn router(house: Arc<House>) -> Router {
    Router::new()
        .route("/hooks/{*path}", any(webhook))
        .route("/gateways/{account}", any(incoming))
        .route("/gateways/{account}/", any(incoming))
        .route("/gateways/{account}/{*suffix}", any(incoming_below))
        .route("/media/{token}", get(media))
        .route("/l/{token}", get(link))
        .route("/healthz", get(|| async { "ok" }))
        .fallback(elsewhere)
        .with_state(house)
}
