//! Whether a caller may start a run: by a token, or by a signature over the raw body.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::flow::{Encoding, Hmac, Verify};
use crate::secret::Secret;

/// Checks a request. Nothing that was computed is ever told.
///
/// # Errors
/// A sentence for the caller.
pub fn verify(rule: &Verify, headers: &HeaderMap, body: &[u8]) -> Result<(), &'static str> {
    match rule {
        Verify::Token(secrets) => token(secrets, headers),
        Verify::Hmac(rule) => signature(rule, headers, body),
    }
}

/// The token of `Authorization: Bearer ...`; the word may be written in any letters (RFC 9110, 11.1).
pub fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get("authorization")?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn token(secrets: &[Secret], headers: &HeaderMap) -> Result<(), &'static str> {
    let Some(given) = bearer(headers).or_else(|| headers.get("x-token").map(|value| value.as_bytes())) else {
        return Err("a token is missing; send it as `Authorization: Bearer ...` or `X-Token: ...`");
    };
    match any(secrets, |secret| secret.matches(given)) {
        true => Ok(()),
        false => Err("the token is wrong"),
    }
}

fn signature(rule: &Hmac, headers: &HeaderMap, body: &[u8]) -> Result<(), &'static str> {
    let Some(given) = headers.get(rule.header.as_str()).and_then(|value| value.to_str().ok()) else {
        return Err("the signature is missing");
    };
    let Some(given) = given.trim().strip_prefix(rule.prefix.as_str()) else {
        return Err("the signature has not the prefix that it should have");
    };
    let given = match rule.encoding {
        Encoding::Hex => hex::decode(given).ok(),
        Encoding::Base64 => STANDARD.decode(given).ok(),
    };
    let Some(given) = given else { return Err("the signature is not written as it should be") };
    match any(&rule.secrets, |secret| secret.has_signed(rule.algorithm, body, &given)) {
        true => Ok(()),
        false => Err("the signature is wrong"),
    }
}

/// Whether one of the secrets fits; all are tried, so that the time tells nothing.
fn any(secrets: &[Secret], fits: impl Fn(&Secret) -> bool) -> bool {
    secrets.iter().fold(false, |found, secret| fits(secret) | found)
}
