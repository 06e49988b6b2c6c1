//! Addresses of ours that others were given: files for gateways that fetch, links whose clicks are
//! counted.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use axum::response::IntoResponse;

use super::House;
use super::error::Refused;
use crate::model::message::Content;
use crate::outbox::served_type;

/// Visitors that are no persons, by words in their names: WhatsApp and other chats look at a link
/// when it is sent, scanners whenever they like.
const CRAWLERS: &[&str] = &[
    "whatsapp/",
    "facebookexternalhit",
    "facebot",
    "telegrambot",
    "twitterbot",
    "slackbot",
    "discordbot",
    "linkedinbot",
    "bot/",
    "bot;",
    "crawler",
    "spider",
    "preview",
    "headlesschrome",
    "go-http-client",
    "curl/",
    "wget/",
    "axios",
    "node-fetch",
    "undici",
    "python",
    "okhttp",
    "httpclient",
    "libwww",
    "java/",
    "got (",
    "guzzle",
    "barracuda",
    "google-safety",
    "scanner",
];

/// A file for a gateway that fetches.
pub async fn media(State(house): State<Arc<House>>, Path(token): Path<String>) -> Response<Body> {
    let gone = || Refused::missing("there is no such file, or its address has expired").into_response();
    let Some(blob) = house.link_key.read_media(&token, house.view.clock.now()) else { return gone() };
    let path = house.blobs.path(&blob);
    let kind = {
        let (blobs, token) = (house.blobs.clone(), token.clone());
        tokio::task::spawn_blocking(move || served_type(&blobs, &blob, &token)).await
    };
    let (Ok(kind), Ok(file)) = (kind, tokio::fs::File::open(&path).await) else { return gone() };
    let Ok(size) = file.metadata().await.map(|data| data.len()) else { return gone() };
    let mut response = Response::new(Body::from_stream(tokio_util::io::ReaderStream::new(file)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_LENGTH, size.into());
    // Whatever it is, a browser is not to show it as a page of ours.
    headers.insert(header::CONTENT_DISPOSITION, header::HeaderValue::from_static("attachment"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("private, no-store"));
    response
}

/// A tracked link: the visitor goes on to where it leads, and is counted if it is a person.
pub async fn link(
    State(house): State<Arc<House>>,
    Path(token): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response<Body>, Refused> {
    let gone = || Refused::missing("this link leads nowhere any more");
    let id = house.link_key.read_click(&token).ok_or_else(gone)?;
    let message = house.view.store.message(id).await?.ok_or_else(gone)?;
    let Content::Link { url, .. } = message.body.content else { return Err(gone()) };
    if method == Method::GET && is_person(&headers) {
        // The visitor goes on whatever becomes of the count.
        if let Err(error) = house.view.store.click(id, house.view.clock.now()).await {
            tracing::error!(%error, "a click cannot be counted");
        }
    }
    let mut response = StatusCode::FOUND.into_response();
    let place = header::HeaderValue::try_from(url::Url::parse(&url).map_or(url, String::from));
    response.headers_mut().insert(header::LOCATION, place.map_err(|_| gone())?);
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    Ok(response)
}

fn is_person(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let agent = text("user-agent").to_ascii_lowercase();
    // Browsers say so when they only look ahead.
    let ahead = [text("purpose"), text("sec-purpose"), text("x-moz")].iter().any(|word| word.contains("prefetch"));
    !agent.is_empty() && !ahead && !CRAWLERS.iter().any(|word| agent.contains(word))
}
