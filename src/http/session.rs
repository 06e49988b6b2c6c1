//! Who may come into the private side: whoever holds the token, and browsers that were let in by a one-time code.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::House;
use super::error::Refused;
use super::origin::is_own;
use super::verify::{BEARER, bearer};
use crate::clock::after;
use crate::id::random_bytes;
use crate::store::StoreError;

/// How long a code lets in.
const CODE: Duration = Duration::from_secs(600);
/// How long a browser is known.
pub const SESSION: Duration = Duration::from_secs(30 * 86_400);
/// Codes that may be open at once.
const MOST_CODES: usize = 16;
/// After so many wrong guesses there is a pause.
pub const GUESSES: u32 = 3;
/// The pause.
pub const PAUSE: Duration = Duration::from_secs(30);
/// Addresses whose guesses are counted.
const MOST_GUESSERS: usize = 1_000;
/// Letters of a code: none that looks like another one.
const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
/// Letters of a code; each has five bits.
const LENGTH: usize = 16;

/// Codes that are open, and guesses that were wrong. Both are gone with the engine.
#[derive(Clone, Default)]
pub struct Doors {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    codes: Vec<([u8; 32], Timestamp)>,
    guesses: HashMap<IpAddr, (u32, Timestamp)>,
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

impl Doors {
    /// A code that lets one browser in, once, within ten minutes.
    pub fn invite(&self, now: Timestamp) -> String {
        let code: String =
            random_bytes::<LENGTH>().iter().map(|byte| char::from(LETTERS[usize::from(byte & 31)])).collect();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.codes.retain(|(_, until)| *until > now);
        if inner.codes.len() >= MOST_CODES {
            inner.codes.remove(0);
        }
        inner.codes.push((digest(&code), after(now, CODE)));
        code
    }

    /// Uses a code up. Says whether it was one.
    pub fn take(&self, code: &str, now: Timestamp) -> bool {
        // However it was typed.
        let typed: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
        let wanted = digest(&typed.to_ascii_lowercase());
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.codes.retain(|(_, until)| *until > now);
        let before = inner.codes.len();
        inner.codes.retain(|(code, _)| *code != wanted);
        inner.codes.len() < before
    }

    /// When somebody at this address may guess again; none, if at once.
    pub fn pause(&self, who: IpAddr, now: Timestamp) -> Option<Timestamp> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (wrong, last) = inner.guesses.get(&who.to_canonical())?;
        let until = after(*last, PAUSE);
        (wrong.is_multiple_of(GUESSES) && until > now).then_some(until)
    }

    /// A guess was wrong. Gives how many have been.
    pub fn wrong(&self, who: IpAddr, now: Timestamp) -> u32 {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.guesses.len() >= MOST_GUESSERS {
            inner.guesses.retain(|_, (_, last)| after(*last, PAUSE) > now);
        }
        let (wrong, last) = inner.guesses.entry(who.to_canonical()).or_insert((0, now));
        *wrong = wrong.saturating_add(1);
        *last = now;
        *wrong
    }

    /// A guess was right: those before it are forgotten.
    pub fn right(&self, who: IpAddr) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).guesses.remove(&who.to_canonical());
    }
}

/// The name of our cookie: browsers do not tell ports of one host apart.
fn cookie_name(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let port = host.rsplit_once(':').map(|(_, port)| port).filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
    format!("postrider-{}", port.unwrap_or("80"))
}

/// What a browser says under a name in its cookies.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// Lets a browser in: the cookie that it is to show.
pub async fn open(house: &House, headers: &HeaderMap) -> Result<HeaderValue, StoreError> {
    let shown = hex::encode(random_bytes::<32>());
    house.view.store.open_session(digest(&shown), house.view.clock.now()).await?;
    let (name, seconds) = (cookie_name(headers), SESSION.as_secs());
    let cookie = format!("{name}={shown}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict");
    HeaderValue::from_str(&cookie).map_err(|error| StoreError::Other(error.to_string()))
}

/// Lets a browser in no more.
pub async fn close(house: &House, headers: &HeaderMap) -> Result<HeaderValue, StoreError> {
    let name = cookie_name(headers);
    if let Some(shown) = cookie(headers, &name) {
        house.view.store.close_sessions(Some(digest(shown))).await?;
    }
    let gone = format!("{name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
    HeaderValue::from_str(&gone).map_err(|error| StoreError::Other(error.to_string()))
}

/// Whether the browser was let in.
async fn is_in(house: &House, headers: &HeaderMap) -> Result<bool, StoreError> {
    let Some(shown) = cookie(headers, &cookie_name(headers)) else { return Ok(false) };
    let now = house.view.clock.now();
    let oldest = now.checked_sub(SESSION).unwrap_or(now);
    house.view.store.session(digest(shown), oldest).await
}

/// Whether a request comes from a page of ours, or from no page at all. A browser sends its cookie also for pages of
/// other ports of the same host.
fn is_ours(method: &Method, headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (Some(origin), None) => is_own(origin, headers) && site.is_none_or(|site| site == "same-origin"),
        (None, _) if reads => {
            let goes_there = headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
            goes_there || site.is_none_or(|site| matches!(site, "same-origin" | "none"))
        }
        (None, _) => site == Some("same-origin"),
        _ => false,
    }
}

async fn entrance(house: &House, method: &Method, headers: &HeaderMap, peer: SocketAddr) -> Result<(), Refused> {
    if let Some(given) = bearer(headers) {
        // Who has the right one need not wait for others' guesses.
        if house.token.matches(given) {
            return Ok(());
        }
        let now = house.view.clock.now();
        if house.doors.pause(peer.ip(), now).is_some() {
            return Err(Refused::new(StatusCode::TOO_MANY_REQUESTS, "guesses", "too many wrong tokens; wait a moment")
                .with(header::RETRY_AFTER, PAUSE.as_secs().to_string()));
        }
        house.doors.wrong(peer.ip(), now);
    } else if is_in(house, headers).await? {
        if !is_ours(method, headers) {
            let message = "a page of another address may not do this";
            return Err(Refused::new(StatusCode::FORBIDDEN, "origin", message));
        }
        return Ok(());
    }
    Err(Refused::new(StatusCode::UNAUTHORIZED, "unauthorized", "the API wants the admin token, or a session")
        .hint("send `Authorization: Bearer ...` with what is in .postrider/admin-token, or open the link of `postrider open`")
        .with(header::WWW_AUTHENTICATE, BEARER))
}

/// Programs come in by the token, pages by their session.
pub async fn authorized(
    State(house): State<Arc<House>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request<Body>,
    next: Next,
) -> Response<Body> {
    match entrance(&house, request.method(), request.headers(), peer).await {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

/// Whoever is not let in is shown the door, and comes back to where it wanted to go.
pub async fn at_the_door(
    State(house): State<Arc<House>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request<Body>,
    next: Next,
) -> Response<Body> {
    match entrance(&house, request.method(), request.headers(), peer).await {
        Ok(()) => next.run(request).await,
        Err(refused) if refused.status() == StatusCode::UNAUTHORIZED => {
            let back = request.uri().path_and_query().map_or("/", |asked| asked.as_str());
            let back = if request.method() == Method::GET { back } else { "/" };
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("back", back).finish();
            let place = HeaderValue::from_str(&format!("/sign-in?{query}"));
            let mut response = StatusCode::SEE_OTHER.into_response();
            if let Ok(place) = place {
                response.headers_mut().insert(header::LOCATION, place);
            }
            response
        }
        Err(refused) => refused.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-20T08:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_code_lets_in_once_and_not_for_long() {
        let doors = Doors::default();
        let code = doors.invite(now());
        assert_eq!(code.len(), LENGTH);
        let spelt = format!("{}-{}", &code[..8].to_uppercase(), &code[8..]);
        assert!(doors.take(&spelt, now()));
        assert!(!doors.take(&code, now()), "each code opens once");
        let late = doors.invite(now());
        assert!(!doors.take(&late, after(now(), CODE)));
        assert!(!doors.take("", now()));
    }

    #[test]
    fn wrong_guesses_make_a_pause() {
        let (doors, who) = (Doors::default(), "127.0.0.1".parse().unwrap());
        for guess in 1..=GUESSES {
            assert_eq!(doors.pause(who, now()), None);
            assert_eq!(doors.wrong(who, now()), guess);
        }
        assert_eq!(doors.pause(who, now()), Some(after(now(), PAUSE)));
        assert_eq!(doors.pause("::ffff:127.0.0.1".parse().unwrap(), now()), Some(after(now(), PAUSE)));
        assert_eq!(doors.pause("127.0.0.2".parse().unwrap(), now()), None);
        assert_eq!(doors.pause(who, after(now(), PAUSE)), None);
        doors.right(who);
        assert_eq!(doors.wrong(who, now()), 1);
    }

    #[test]
    fn pages_of_other_addresses_are_not_ours() {
        let request = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("localhost:8701"));
            for (name, value) in pairs {
                headers.append(*name, HeaderValue::from_static(value));
            }
            headers
        };
        let own = ("origin", "http://localhost:8701");
        for (pairs, reads, writes) in [
            (&[][..], true, false),
            (&[own], true, true),
            (&[own, ("sec-fetch-site", "same-origin")], true, true),
            (&[own, ("sec-fetch-site", "cross-site")], false, false),
            (&[("sec-fetch-site", "same-origin")], true, true),
            (&[("sec-fetch-site", "none")], true, false),
            (&[("sec-fetch-site", "same-site")], false, false),
            (&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], true, false),
            (&[("origin", "http://localhost:3000")], false, false),
            (&[("origin", "http://evil.example")], false, false),
            (&[("origin", "null")], false, false),
            (&[own, ("origin", "http://evil.example")], false, false),
        ] {
            let headers = request(pairs);
            assert_eq!(
                (is_ours(&Method::GET, &headers), is_ours(&Method::POST, &headers)),
                (reads, writes),
                "{pairs:?}"
            );
        }
    }
}
