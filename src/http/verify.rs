//! Whether a caller may start a run: by a token, or by a signature over the raw body.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::flow::webhook::{Encoding, Part, Place, Signed, Stamp, StampPlace, Verify, Way, key_within};
use crate::secret::{Secret, is_same, is_signed};
use crate::transport::twilio;

/// A request, as far as it can prove anything.
pub struct Shown<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Behind the `?`.
    pub query: &'a str,
    /// As it came.
    pub body: &'a [u8],
    /// Where it came to, as the sender knows it.
    pub url: Option<&'a str>,
    /// When.
    pub now: Timestamp,
}

/// A signature that is right. It is good for once.
#[derive(Debug, PartialEq, Eq)]
pub struct Once {
    /// What makes the same request the same.
    pub mark: [u8; 32],
    /// For how long it could be shown again.
    pub for_: Duration,
}

/// Checks a request. Nothing that was computed is ever told. Gives what must be remembered so that nobody shows the
/// same again: of signatures with a time.
///
/// # Errors
/// A sentence for the caller.
pub fn verify(rule: &Verify, shown: &Shown<'_>) -> Result<Option<Once>, &'static str> {
    match &rule.way {
        Way::Token(place, secrets) => token(place, secrets, shown).map(|()| None),
        Way::Basic(pairs) => basic(pairs, shown.headers).map(|()| None),
        Way::Signed(rule) => signature(rule, shown),
        Way::Twilio(secrets) => by_twilio(secrets, shown).map(|()| None),
    }
}

/// The token of `Authorization: Bearer ...`; the word may be written in any letters (RFC 9110, 11.1).
pub fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    authorization(headers, b"bearer ")
}

fn authorization<'a>(headers: &'a HeaderMap, scheme: &[u8]) -> Option<&'a [u8]> {
    let value = headers.get("authorization")?.as_bytes();
    let (given, rest) = value.split_at_checked(scheme.len())?;
    given.eq_ignore_ascii_case(scheme).then(|| rest.trim_ascii())
}

fn token(place: &Place, secrets: &[Secret], shown: &Shown<'_>) -> Result<(), &'static str> {
    let header = |name: &str| shown.headers.get(name).map(|value| value.as_bytes().to_vec());
    let (given, missing) = match place {
        Place::Usual => (
            bearer(shown.headers).map(<[u8]>::to_vec).or_else(|| header("x-token")),
            "a token is missing; send it as `Authorization: Bearer ...` or `X-Token: ...`",
        ),
        Place::Header(name) => (header(name), "the header with the token is missing"),
        Place::Query(name) => {
            let mut fields = form_urlencoded::parse(shown.query.as_bytes());
            let found = fields.find(|(known, _)| known == name).map(|(_, value)| value.into_owned().into_bytes());
            (found, "the token is missing in the address")
        }
    };
    let given = given.ok_or(missing)?;
    any(secrets, |secret| secret.matches(&given)).then_some(()).ok_or("the token is wrong")
}

/// RFC 7617: `user:password` in base64.
fn basic(pairs: &[Secret], headers: &HeaderMap) -> Result<(), &'static str> {
    let Some(given) = authorization(headers, b"basic ") else {
        return Err("a name and a password are missing; send them as `Authorization: Basic ...`");
    };
    let given = STANDARD.decode(given).map_err(|_| "name and password are not written as they should be")?;
    any(pairs, |pair| pair.matches(&given)).then_some(()).ok_or("the name or the password is wrong")
}

fn signature(rule: &Signed, shown: &Shown<'_>) -> Result<Option<Once>, &'static str> {
    let values: Vec<&str> = text_of(shown.headers, &rule.header).collect();
    if values.is_empty() {
        return Err("the signature is missing");
    }
    let stamp = match &rule.stamp {
        Some(stamp) => Some(time(stamp, &values, shown)?),
        None => None,
    };
    let mut pieces: Vec<&[u8]> = Vec::new();
    for part in &rule.over {
        pieces.push(match part {
            Part::Text(text) => text.as_bytes(),
            Part::Stamp => stamp.unwrap_or_default().as_bytes(),
            Part::Header(name) => {
                text_of(shown.headers, name).next().ok_or("a header that is signed is missing")?.as_bytes()
            }
            Part::Body => shown.body,
        });
    }
    let given = given(rule, &values)?;
    let right = |key: &[u8], given: &[u8]| is_signed(key, rule.algorithm, &pieces, given);
    let mut found: Option<&Vec<u8>> = None;
    // All are tried, so that the time tells nothing.
    for secret in &rule.secrets {
        let key = match rule.wrapped {
            true => key_within(secret).unwrap_or_default(),
            false => secret.reveal().as_bytes().to_vec(),
        };
        for one in given.iter().filter(|one| !key.is_empty() && right(&key, one)) {
            found = Some(one);
        }
    }
    let found = found.ok_or("the signature is wrong")?;
    Ok(rule.stamp.as_ref().map(|stamp| Once {
        mark: Sha256::digest(found).into(),
        // It may be from so far ahead, and is good until it is so old.
        for_: stamp.tolerance.saturating_mul(2),
    }))
}

/// Values of a header that are texts, in all lines that it has.
fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let name = HeaderName::try_from(name).ok();
    let values = name.map(|name| headers.get_all(name).iter()).into_iter().flatten();
    values.filter_map(|value| value.to_str().ok()).map(str::trim)
}

/// The signatures of a header: one, or several while the sender changes its secret. Where each has a prefix, others
/// are of another kind.
fn given(rule: &Signed, values: &[&str]) -> Result<Vec<Vec<u8>>, &'static str> {
    // A prefix may itself hold a comma or a blank, so the whole is looked at as well.
    let pieces = values.iter().flat_map(|value| {
        let listed = value.split(',').map(str::trim).chain(value.split_ascii_whitespace());
        std::iter::once(*value).chain(listed)
    });
    let behind: Vec<&str> = pieces.filter_map(|piece| piece.strip_prefix(rule.prefix.as_str())).collect();
    if behind.is_empty() {
        return Err("the signature has not the prefix that it should have");
    }
    let decoded = |text: &&str| match rule.encoding {
        Encoding::Hex => hex::decode(text.trim()).ok(),
        Encoding::Base64 => STANDARD.decode(text.trim()).ok(),
    };
    let given: Vec<Vec<u8>> = behind.iter().filter_map(decoded).filter(|bytes| !bytes.is_empty()).collect();
    match given.is_empty() {
        true => Err("the signature is not written as it should be"),
        false => Ok(given),
    }
}

/// The time of a signature as it is written, unless it is too far from now.
fn time<'a>(stamp: &Stamp, values: &[&'a str], shown: &Shown<'a>) -> Result<&'a str, &'static str> {
    let written = match &stamp.place {
        StampPlace::Header(name) => text_of(shown.headers, name).next(),
        StampPlace::Within(prefix) => {
            let mut pieces = values.iter().flat_map(|value| value.split(','));
            pieces.find_map(|piece| piece.trim().strip_prefix(prefix))
        }
    };
    let written = written.ok_or("the time of the signature is missing")?;
    let seconds = written.parse::<i64>().map_err(|_| "the time of the signature is no number of seconds")?;
    let away = shown.now.as_second().abs_diff(seconds);
    match Duration::from_secs(away) <= stamp.tolerance {
        true => Ok(written),
        false => Err("the signature is stale: its time is too far from now"),
    }
}

fn by_twilio(secrets: &[Secret], shown: &Shown<'_>) -> Result<(), &'static str> {
    let Some(given) = text_of(shown.headers, "x-twilio-signature").next() else {
        return Err("the signature is missing");
    };
    let Some(url) = shown.url else {
        return Err("the signature is over an address that is not known here: `public_url` is not set");
    };
    let query = form_urlencoded::parse(shown.query.as_bytes());
    let digest = query.into_owned().find(|(name, _)| name == "bodySHA256").map(|(_, digest)| digest);
    // JSON is signed by its digest in the address, a form by its fields.
    let pairs = match &digest {
        Some(digest) => {
            let own = Sha256::digest(shown.body);
            let same = hex::decode(digest).is_ok_and(|given| is_same(&own, &given));
            same.then(Vec::new).ok_or("the signature is that of another body")?
        }
        None => form_urlencoded::parse(shown.body).into_owned().collect(),
    };
    let right = any(secrets, |secret| twilio::is_signed(secret, url, &pairs, given));
    right.then_some(()).ok_or("the signature is wrong")
}

/// Whether one of the secrets fits; all are tried, so that the time tells nothing.
fn any(secrets: &[Secret], fits: impl Fn(&Secret) -> bool) -> bool {
    secrets.iter().fold(false, |found, secret| fits(secret) | found)
}
