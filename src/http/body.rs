//! Bodies of requests: read whole, within bounds of size and time.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::error::Refused;

/// How long a body may take; whoever lets it drip holds its memory.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long, and for how many bytes, a body is let pass by that nobody wants.
const MOMENT: Duration = Duration::from_secs(1);
const PASSING: usize = 16 << 20;

/// Lets a body pass by, and keeps nothing of it: a caller that still writes would lose the answer when the
/// connection is closed on it.
pub async fn pass_by(mut body: Body) {
    let passing = async {
        let mut left = PASSING;
        while left > 0
            && let Some(Ok(frame)) = body.frame().await
        {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        }
    };
    // Whoever sends nothing has nothing to lose.
    let _ = tokio::time::timeout(MOMENT, passing).await;
}

/// 413.
pub fn too_large(limit: usize) -> Refused {
    let message = format!("the body is larger than {limit} bytes");
    Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// 413, 408, or 400 when it broke off.
pub async fn whole(body: Body, limit: usize) -> Result<Bytes, Refused> {
    let Ok(read) = tokio::time::timeout(PATIENCE, Limited::new(body, limit).collect()).await else {
        let message = format!("the body was not there after {} seconds", PATIENCE.as_secs());
        return Err(Refused::new(StatusCode::REQUEST_TIMEOUT, "timeout", message));
    };
    match read {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => Err(too_large(limit)),
        Err(_) => Err(Refused::bad("the body broke off")),
    }
}
