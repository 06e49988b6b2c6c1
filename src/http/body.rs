//! Bodies of requests: read whole, within bounds of size and time.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::error::Refused;
use super::side::Crowded;
use crate::json::mistake;

/// How long a body may take; whoever lets it drip holds its memory.
const PATIENCE: Duration = Duration::from_secs(30);
/// After so long it must have brought so many bytes for each second more.
const START: Duration = Duration::from_secs(5);
const RATE: usize = 1_024;
/// Most bytes of a call of the API.
const LARGEST_CALL: usize = 2 << 20;

/// 413.
pub fn too_large(limit: usize) -> Refused {
    let message = format!("the body is larger than {limit} bytes");
    Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// 413, 408, 503 when too many are under way, or 400 when it broke off.
pub async fn whole(mut body: Body, limit: usize) -> Result<Bytes, Refused> {
    // Said before a byte of it is asked for.
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(limit));
    }
    let begun = Instant::now();
    let (mut first, mut more) = (Bytes::new(), Vec::new());
    loop {
        let came = first.len() + more.len();
        // What was brought buys time.
        let time = START + Duration::from_secs((came / RATE) as u64);
        let Ok(frame) = timeout_at(begun + time.min(PATIENCE), body.frame()).await else {
            let message = format!("the body comes too slowly: {came} bytes in {} seconds", begun.elapsed().as_secs());
            return Err(Refused::new(StatusCode::REQUEST_TIMEOUT, "timeout", message));
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| broken(error.into_inner().is::<Crowded>()))?;
        let Ok(piece) = frame.into_data() else { continue };
        if came + piece.len() > limit {
            return Err(too_large(limit));
        }
        // Most come in one piece, which is not copied.
        match (came, more.is_empty()) {
            (0, _) => first = piece,
            (_, true) => {
                more = [&first[..], &piece[..]].concat();
                first = Bytes::new();
            }
            (_, false) => more.extend_from_slice(&piece),
        }
    }
    Ok(if more.is_empty() { first } else { more.into() })
}

/// What a call of the API brings: JSON; `null` where it brings nothing.
pub struct Json(pub Value);

impl<S: Sync> FromRequest<S> for Json {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refused> {
        let body = whole(request.into_body(), LARGEST_CALL).await?;
        if body.is_empty() {
            return Ok(Self(Value::Null));
        }
        let value = serde_json::from_slice(&body);
        value.map(Self).map_err(|error| Refused::bad(mistake("the body", &body, &error)))
    }
}

fn broken(crowded: bool) -> Refused {
    match crowded {
        true => Refused::busy("too many bodies are under way; come again in a moment").with(header::RETRY_AFTER, "2"),
        false => Refused::bad("the body broke off"),
    }
}
