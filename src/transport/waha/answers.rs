//! What WAHA answers to a send that it refuses, and what it means.
//!
//! From its `src/nestjs/AllExceptionsFilter.ts` (any error whose code is ENOENT becomes a 404 with
//! `error.key`, any other one a 500 with `exception`), from Nest's own exceptions (`statusCode`, `message`,
//! `error`), and from what its engines say: a 500 is not always one of which nobody knows what became of
//! the message.

use std::time::Duration;

use serde_json::Value;

use crate::model::delivery::{ErrorClass, Scope};
use crate::transport::answer::Answer;

/// WhatsApp's lock on writing to new people lasts for hours.
const LOCKED: Duration = Duration::from_secs(3_600);

/// The class of an answer that is no success, and the words that it gives.
pub fn refused<'a>(answer: &Answer, body: &'a Value) -> (ErrorClass, &'a str) {
    let places = [&body["message"], &body["exception"]["message"], &body["error"]["message"], &body["error"]];
    let said = places.into_iter().find_map(Value::as_str).unwrap_or_default();
    let class = match answer.status {
        422 if body.get("expected").is_some() => ErrorClass::NotConnected,
        422 => ErrorClass::Unsupported,
        404 if body.is_object() => not_found(body, &said.to_ascii_lowercase()),
        500 if body.is_object() => broken(body, &said.to_ascii_lowercase(), answer),
        _ => answer.class(),
    };
    (class, said)
}

/// The session, a file, a person or a group, or the address itself.
fn not_found(body: &Value, said: &str) -> ErrorClass {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    // The session is not there, or stopped, which looks the same.
    if has(&["session"]) {
        return ErrorClass::NotConnected;
    }
    // Nest's word for a path that it does not have: this is another version of it, or `url` is wrong.
    let nest = body["statusCode"] == 404 && !has(&["cannot post", "cannot put", "cannot get"]);
    match (nest, body["error"]["key"].as_str()) {
        (_, Some("FILE_NOT_FOUND")) => ErrorClass::MediaRejected,
        (true, _) if has(&["file", "media", "url"]) => ErrorClass::MediaRejected,
        (true, _) if has(&["number", "contact"]) => ErrorClass::RecipientInvalid,
        (true, _) => ErrorClass::Invalid,
        // Its own shape, about something in this message.
        (_, Some(_)) => ErrorClass::Invalid,
        _ if body.get("code").is_some() && body.get("message").is_some() => ErrorClass::Invalid,
        _ => ErrorClass::NotConnected,
    }
}

/// An error inside of it. Most leave it open whether the message went out; these do not.
fn broken(body: &Value, said: &str, answer: &Answer) -> ErrorClass {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let code = body["exception"]["code"].as_str().unwrap_or_default();
    let fetches = body["exception"]["name"] == "AxiosError" || code.starts_with("ERR_BAD_RE");
    if has(&["no lid found"]) {
        ErrorClass::RecipientInvalid
    } else if has(&["error 463", "error 479"]) {
        ErrorClass::RateLimited { retry_after: answer.retry_after.or(Some(LOCKED)), scope: Scope::Recipient }
    } else if has(&["websocket not connected", "websocket disconnected", "not logged in", "connection closed"]) {
        ErrorClass::NotConnected
    } else if fetches || has(&["request failed with status code", "getaddrinfo"]) {
        // It fetches a file before it sends anything.
        match has(&["status code 5", "status code 429", "timeout", "etimedout", "eai_again"]) {
            true => ErrorClass::Upstream { retry_after: None },
            false => ErrorClass::MediaRejected,
        }
    } else {
        answer.class()
    }
}
