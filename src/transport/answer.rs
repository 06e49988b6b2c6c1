//! What all gateways' answers have in common: a bounded body, and the ways of not arriving.

use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use serde_json::Value;

use crate::fetch::causes;
use crate::model::delivery::{ErrorClass, Scope, SendError};
use crate::plain::steers;

/// Most bytes of an answer that are read; what follows is of no use to us.
const LONGEST: usize = 256 << 10;

/// An answer, read as far as is useful.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After`, if it was given in seconds.
    pub retry_after: Option<Duration>,
    /// The body, or its beginning.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The body's first line as people can read it.
    pub fn excerpt(&self) -> String {
        readable(&String::from_utf8_lossy(&self.body))
    }
}

impl Answer {
    /// The class that a status has with every gateway unless its own table says otherwise.
    pub fn class(&self) -> ErrorClass {
        let retry_after = self.retry_after;
        match self.status {
            // Some other server answers at this address: a proxy, a login page, a wrong path.
            300..=399 => ErrorClass::NotConnected,
            404 | 405 if self.json::<Value>().is_none() => ErrorClass::NotConnected,
            401 | 403 => ErrorClass::Auth,
            413 => ErrorClass::TooLarge,
            429 => ErrorClass::RateLimited { retry_after, scope: Scope::Account },
            400..=499 if self.status != 408 => ErrorClass::Invalid,
            // 408 and 5xx come after the request was read; a success that cannot be understood
            // says nothing either.
            _ => ErrorClass::Ambiguous,
        }
    }

    /// The gateway's no: its class and, in one line, what it said.
    pub fn refusal(&self, gateway: &str, class: ErrorClass, said: &str) -> SendError {
        let said = match said.trim() {
            "" => self.excerpt(),
            said => readable(said),
        };
        // Before what was said, which may be long.
        let hint = match (&class, self.status) {
            (ErrorClass::NotConnected, 300..=399 | 404 | 405) => " (another server answers there, is `url` right?)",
            (ErrorClass::Auth, _) => " (are the account's credentials right?)",
            _ => "",
        };
        SendError::new(class, format!("{gateway} answered {}{hint}: {said}", self.status))
    }
}

/// Text of others as people can read it: one line, no control characters, nothing that turns the order
/// of letters round. It is cut short only when no credential can be cut in two by that.
pub fn readable(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    line.chars().filter(|letter| !steers(*letter)).collect()
}

/// Sends a request and reads the answer.
///
/// # Errors
/// [`ErrorClass::NotConnected`] when nobody was reached, so that the request certainly did not go out, else
/// [`ErrorClass::Ambiguous`].
pub async fn exchange(request: reqwest::RequestBuilder) -> Result<Answer, SendError> {
    exchange_up_to(LONGEST, request).await
}

/// The same where an answer of more bytes is of use.
///
/// # Errors
/// As [`exchange`].
pub async fn exchange_up_to(most: usize, request: reqwest::RequestBuilder) -> Result<Answer, SendError> {
    let mut response = request.send().await.map_err(|error| unsent(&error))?;
    let status = response.status().as_u16();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        // A day is the longest that is believed.
        .map(|seconds: u64| Duration::from_secs(seconds.min(86_400)));
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() < most => body.extend_from_slice(&chunk),
            // The rest of an endless answer is not waited for.
            Ok(Some(_) | None) => break,
            // A no is a no, whatever else was to be said.
            Err(_) if (400..500).contains(&status) && status != 408 => break,
            Err(error) => return Err(doubt(format!("the answer broke off: {}", causes(&error)))),
        }
    }
    body.truncate(most);
    Ok(Answer { status, retry_after, body })
}

/// Nobody knows what the gateway did.
pub fn doubt(message: impl Into<String>) -> SendError {
    SendError::new(ErrorClass::Ambiguous, message)
}

fn unsent(error: &reqwest::Error) -> SendError {
    if error.is_builder() {
        return SendError::new(ErrorClass::Invalid, format!("the request cannot be made: {}", causes(error)));
    }
    if error.is_connect() {
        let message = format!("the gateway cannot be reached: {}; is it running, is `url` right?", causes(error));
        return SendError { unreached: true, ..SendError::new(ErrorClass::NotConnected, message) };
    }
    if error.is_timeout() {
        return doubt("the gateway did not answer in time");
    }
    doubt(format!("the connection broke: {}", causes(error)))
}
