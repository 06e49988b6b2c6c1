//! `/api/v1/events`: what changes, as server-sent events, for as long as somebody listens.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Response, header};
use tokio::sync::mpsc;

use super::House;
use super::api::Query;
use super::error::Refused;
use crate::feed::{Change, Mark};

/// A sign of life is sent this often.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// What changes within a moment is sent together.
const MOMENT: Duration = Duration::from_millis(100);
/// Frames that wait for a listener; then the changes wait in the feed.
const WAITING: usize = 4;

/// What changes from now on, or from where the listener has come to: `Last-Event-ID`, or `after`. Each event has the
/// kind of what changed as its name and JSON as its data; `reset` says that everything is to be looked at anew.
#[utoipa::path(get, path = "/events", tag = "engine",
    params(("after" = Option<String>, Query, description = "`feed` of `/engine`, or the id of the last event")),
    responses((status = 200, description = "server-sent events", content_type = "text/event-stream")))]
pub async fn events(
    State(house): State<Arc<House>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response<Body>, Refused> {
    let query = Query::read(query.as_deref(), &["after"])?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).or(query.get("after"));
    let from = last.and_then(|last| last.parse::<Mark>().ok());
    let (frames, mut sent) = mpsc::channel::<Bytes>(WAITING);
    tokio::spawn(follow(house, from, last.is_some(), frames));
    let body = futures_stream(move |context| sent.poll_recv(context));
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

type Polled = std::task::Poll<Option<Bytes>>;

/// A stream of what a function gives.
fn futures_stream(
    poll: impl FnMut(&mut std::task::Context<'_>) -> Polled + Send + 'static,
) -> impl futures_core::Stream<Item = Result<Bytes, Infallible>> {
    struct Polling<F>(F);
    impl<F: FnMut(&mut std::task::Context<'_>) -> Polled + Unpin> futures_core::Stream for Polling<F> {
        type Item = Result<Bytes, Infallible>;

        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Self::Item>> {
            (self.0)(context).map(|frame| frame.map(Ok))
        }
    }
    Polling(Box::new(poll))
}

/// Sends what changes until nobody listens any more, or the engine stops.
async fn follow(house: Arc<House>, from: Option<Mark>, wanted: bool, frames: mpsc::Sender<Bytes>) {
    let feed = &house.view.feed;
    let mut mark = match (from, wanted) {
        (Some(mark), _) => mark,
        (None, false) => feed.look(),
        // It says where it was, in words of somebody else: an earlier life of the engine, or an earlier version.
        (None, true) => {
            let mark = feed.look();
            if frames.send(frame(mark, "reset", "{}")).await.is_err() {
                return;
            }
            mark
        }
    };
    let hello = Bytes::from(format!("retry: 1000\nid: {mark}\nevent: engine\ndata: {}\n\n", engine(&house)));
    if frames.send(hello).await.is_err() {
        return;
    }
    loop {
        let sent = match feed.since(mark) {
            Some((next, changes)) => {
                mark = next;
                told(mark, changes)
            }
            None => {
                mark = feed.look();
                Some(frame(mark, "reset", "{}"))
            }
        };
        if let Some(sent) = sent
            && frames.send(sent).await.is_err()
        {
            return;
        }
        tokio::select! {
            () = house.shutdown.draining() => return,
            () = frames.closed() => return,
            () = feed.changed(mark) => tokio::time::sleep(MOMENT).await,
            () = tokio::time::sleep(HEARTBEAT) => {
                if frames.send(Bytes::from_static(b": still here\n\n")).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The frames of some changes, if there are any.
fn told(mark: Mark, changes: Vec<Change>) -> Option<Bytes> {
    let mut text = String::new();
    let count = changes.len();
    for (place, change) in changes.into_iter().enumerate() {
        let data = serde_json::to_string(&change).unwrap_or_default();
        text.push_str(&format!("event: {}\ndata: {data}\n", change.kind()));
        // Who was cut off in between gets all of them again.
        if place + 1 == count {
            text.push_str(&format!("id: {mark}\n"));
        }
        text.push('\n');
    }
    (!text.is_empty()).then(|| text.into())
}

fn engine(house: &House) -> String {
    serde_json::json!({ "state": "running", "version": env!("CARGO_PKG_VERSION"), "since": house.view.engine().started_at })
        .to_string()
}

fn frame(mark: Mark, event: &str, data: &str) -> Bytes {
    format!("event: {event}\ndata: {data}\nid: {mark}\n\n").into()
}
