//! Whether a caller may start a run: by a token, or by a signature over the raw body.

use std::time::Duration;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::flow::webhook::{Encoding, Part, Place, Signed, Stamp, StampPlace, Verify, Way, key_within};
use crate::secret::{Secret, is_same, is_signed};
use crate::transport::twilio;

/// What `WWW-Authenticate` says of the ways that HTTP has words for (RFC 7617, 2; RFC 6750, 3).
pub const BASIC: &str = "Basic realm=\"postrider\", charset=\"UTF-8\"";
/// The same of a token.
pub const BEARER: &str = "Bearer realm=\"postrider\"";

/// For how long a message is known by its id: senders try again for longer than a signature holds.
const KNOWN: Duration = Duration::from_secs(24 * 3600);

/// What to do about a signature that is not there.
const UNSIGNED: &str = "give the sender the secret of this webhook, so that it signs what it sends";

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

/// Why a caller is not let in, in words for the caller.
#[derive(Debug, PartialEq, Eq)]
pub struct Denied {
    /// A sentence.
    pub why: String,
    /// What to do instead, where that is known.
    pub hint: Option<&'static str>,
}

impl<T: Into<String>> From<T> for Denied {
    fn from(why: T) -> Self {
        Self { why: why.into(), hint: None }
    }
}

impl Denied {
    fn hint(self, hint: &'static str) -> Self {
        Self { hint: Some(hint), ..self }
    }
}

/// Checks a request. Nothing that was computed is ever told. Gives what must be remembered so that nobody shows the
/// same again: of signatures with a time, and of messages with an id.
///
/// # Errors
/// A sentence for the caller.
pub fn verify(rule: &Verify, shown: &Shown<'_>) -> Result<Option<Once>, Denied> {
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

fn token(place: &Place, secrets: &[Secret], shown: &Shown<'_>) -> Result<(), Denied> {
    let header = |name: &str| shown.headers.get(name).map(|value| value.as_bytes().to_vec());
    let given = match place {
        Place::Usual => bearer(shown.headers).map(<[u8]>::to_vec).or_else(|| header("x-token")).ok_or_else(|| {
            Denied::from("a token is missing").hint("send it as `Authorization: Bearer ...` or `X-Token: ...`")
        })?,
        Place::Header(name) => {
            header(name).ok_or_else(|| format!("the token is missing: there is no header `{name}`"))?
        }
        Place::Query(name) => {
            let mut fields = form_urlencoded::parse(shown.query.as_bytes());
            let found = fields.find(|(known, _)| known == name).map(|(_, value)| value.into_owned().into_bytes());
            found.ok_or_else(|| format!("the token is missing: there is no `{name}` in the query of the address"))?
        }
    };
    any(secrets, |secret| secret.matches(&given)).then_some(()).ok_or_else(|| "the token is wrong".into())
}

/// RFC 7617: `user:password` in base64.
fn basic(pairs: &[Secret], headers: &HeaderMap) -> Result<(), Denied> {
    let Some(given) = authorization(headers, b"basic ") else {
        return Err(Denied::from("a name and a password are missing").hint("send them as `Authorization: Basic ...`"));
    };
    let given = STANDARD.decode(given).map_err(|_| "name and password are not written in base64")?;
    any(pairs, |pair| pair.matches(&given)).then_some(()).ok_or_else(|| "the name or the password is wrong".into())
}

fn signature(rule: &Signed, shown: &Shown<'_>) -> Result<Option<Once>, Denied> {
    let values = texts(shown.headers, &rule.header).map_err(|lack| lack.of("the signature", &rule.header))?;
    let stamp = match &rule.stamp {
        Some(stamp) => Some(time(stamp, &values, shown)?),
        None => None,
    };
    let mut pieces: Vec<&[u8]> = Vec::new();
    for part in &rule.over {
        pieces.push(match part {
            Part::Text(text) => text.as_bytes(),
            Part::Stamp => stamp.unwrap_or_default().as_bytes(),
            Part::Header(name) => first(shown.headers, name, "what is signed")?.as_bytes(),
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
    if let Some(name) = rule.id {
        let id = first(shown.headers, name, "the id of the message")?;
        return Ok(Some(Once { mark: Sha256::digest(id).into(), for_: KNOWN }));
    }
    Ok(rule.stamp.as_ref().map(|stamp| Once {
        mark: Sha256::digest(found).into(),
        // It may be from so far ahead, and is good until it is so old.
        for_: stamp.tolerance.saturating_mul(2),
    }))
}

/// Why a header says nothing.
enum Lack {
    Missing,
    /// It has letters that are not ASCII.
    Unreadable,
}

impl Lack {
    /// The same of what is meant to stand in the header.
    fn of(self, what: &str, name: &str) -> Denied {
        match self {
            Self::Missing => Denied::from(format!("{what} is missing: there is no header `{name}`")).hint(UNSIGNED),
            Self::Unreadable => {
                format!("{what} cannot be read: the header `{name}` has letters that are not ASCII").into()
            }
        }
    }
}

/// Values of a header that are texts, in all lines that it has: one at least.
fn texts<'a>(headers: &'a HeaderMap, name: &str) -> Result<Vec<&'a str>, Lack> {
    let lines: Vec<_> = headers.get_all(name).iter().collect();
    let texts: Vec<&str> = lines.iter().filter_map(|value| value.to_str().ok()).map(str::trim).collect();
    match (texts.is_empty(), lines.is_empty()) {
        (false, _) => Ok(texts),
        (true, true) => Err(Lack::Missing),
        (true, false) => Err(Lack::Unreadable),
    }
}

/// The first of them; `what` stands there.
fn first<'a>(headers: &'a HeaderMap, name: &str, what: &str) -> Result<&'a str, Denied> {
    texts(headers, name).map(|texts| texts[0]).map_err(|lack| lack.of(what, name))
}

/// The signatures of a header: one, or several while the sender changes its secret. Where each has a prefix, others
/// are of another kind.
fn given(rule: &Signed, values: &[&str]) -> Result<Vec<Vec<u8>>, Denied> {
    // A prefix may itself hold a comma or a blank, so the whole is looked at as well.
    let pieces = values.iter().flat_map(|value| {
        let listed = value.split(',').map(str::trim).chain(value.split_ascii_whitespace());
        std::iter::once(*value).chain(listed)
    });
    let behind: Vec<&str> = pieces.filter_map(|piece| piece.strip_prefix(rule.prefix.as_str())).collect();
    if behind.is_empty() {
        return Err(format!("the signature in `{}` does not begin with `{}`", rule.header, rule.prefix).into());
    }
    let decoded = |text: &&str| match rule.encoding {
        Encoding::Hex => hex::decode(text.trim()).ok(),
        Encoding::Base64 => STANDARD.decode(text.trim()).ok(),
    };
    let given: Vec<Vec<u8>> = behind.iter().filter_map(decoded).filter(|bytes| !bytes.is_empty()).collect();
    match given.is_empty() {
        true => Err(format!("the signature in `{}` is not written in {}", rule.header, rule.encoding.name()).into()),
        false => Ok(given),
    }
}

/// The time of a signature as it is written, unless it is too far from now.
fn time<'a>(stamp: &Stamp, values: &[&'a str], shown: &Shown<'a>) -> Result<&'a str, Denied> {
    let written = match &stamp.place {
        StampPlace::Header(name) => first(shown.headers, name, "the time of the signature")?,
        StampPlace::Within(prefix) => {
            let mut pieces = values.iter().flat_map(|value| value.split(','));
            let found = pieces.find_map(|piece| piece.trim().strip_prefix(prefix));
            found.ok_or_else(|| format!("the time of the signature is missing: there is no `{prefix}` before it"))?
        }
    };
    let seconds = written.parse::<i64>().map_err(|_| "the time of the signature is no number of seconds")?;
    let away = shown.now.as_second().abs_diff(seconds);
    match Duration::from_secs(away) <= stamp.tolerance {
        true => Ok(written),
        false => Err(Denied::from("the signature is stale: its time is too far from now")
            .hint("sign anew, and see that the clocks of both sides are right")),
    }
}

fn by_twilio(secrets: &[Secret], shown: &Shown<'_>) -> Result<(), Denied> {
    let given = first(shown.headers, "x-twilio-signature", "the signature")?;
    let Some(url) = shown.url else {
        return Err("the signature is over an address that is not known here: `public_url` is not set".into());
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
    right.then_some(()).ok_or_else(|| "the signature is wrong".into())
}

/// Whether one of the secrets fits; all are tried, so that the time tells nothing.
fn any(secrets: &[Secret], fits: impl Fn(&Secret) -> bool) -> bool {
    secrets.iter().fold(false, |found, secret| fits(secret) | found)
}
