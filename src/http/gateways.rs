//! What gateways send to us.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, Response, StatusCode, header};
use axum::response::IntoResponse;
use jiff::Timestamp;

use super::House;
use super::body::{too_large, whole};
use super::error::Refused;
use super::webhook::{caller, turned_away, word};
use crate::inbound::Letterbox;
use crate::model::inbound::Told;
use crate::outbox::{Account, Accounts, SharedView};
use crate::plain::shortened;
use crate::transport::answer::readable;
use crate::transport::{Heard, Incoming, NotHeard};

/// Most bytes of one request; Meta puts up to 3 MB into one.
const LARGEST: usize = 4 << 20;
/// Most characters of what gateways tell that are logged or shown.
const LONGEST_NAME: usize = 64;

const UNVERIFIABLE: &str =
    "the account has nothing to verify events by; set the gateway's secret, or `inbound_token`, in postrider.yaml";

/// `/gateways/<account>/<anything>`.
pub async fn incoming_below(
    State(house): State<Arc<House>>,
    Path((account, suffix)): Path<(String, String)>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response<Body> {
    noted(house, peer, &account, &suffix, request).await
}

/// `/gateways/<account>`.
pub async fn incoming(
    State(house): State<Arc<House>>,
    Path(name): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response<Body> {
    noted(house, peer, &name, "", request).await
}

/// Takes a request, and remembers one that was refused: by its account alone, for the rest may hold its token.
async fn noted(house: Arc<House>, peer: SocketAddr, name: &str, suffix: &str, request: Request) -> Response<Body> {
    let asked = format!("{} /gateways/{}", word(request.method()), shortened(&readable(name), LONGEST_NAME));
    let from = caller(&house, peer, request.headers());
    let response = heard(house.clone(), name, suffix, request).await.unwrap_or_else(IntoResponse::into_response);
    turned_away(&house, from, &asked, &response);
    response
}

async fn heard(house: Arc<House>, name: &str, suffix: &str, request: Request) -> Result<Response<Body>, Refused> {
    let (head, body) = request.into_parts();
    let accounts = house.view.accounts.borrow().clone();
    let door = Door::open(&accounts, name, suffix, &head, body.size_hint().lower(), house.view.clock.now())?;
    // Who has shown nothing yet is told nothing either: not even what is wrong with the body.
    let body = whole(body, LARGEST).await.map_err(|refused| match door.by_token || refused.is_busy() {
        true => refused,
        false => door.closed("the body cannot be read"),
    })?;
    match door.read(&body) {
        Ok(Heard::Challenge(text)) => return Ok(text.into_response()),
        Ok(Heard::Told(told)) => take(&house, door.account, door.view, told).await?,
        Err(NotHeard::Unverifiable) => return Err(door.closed(UNVERIFIABLE)),
        Err(NotHeard::WrongToken) => return Err(door.closed("`verify_token` is another one")),
        Err(NotHeard::Forged) => return Err(door.closed("the signature is missing or wrong")),
        Err(NotHeard::Unreadable) => return Err(Refused::bad("the body cannot be read")),
    }
    Ok(match door.account.transport.thanks() {
        "" => StatusCode::OK.into_response(),
        xml => ([(header::CONTENT_TYPE, "text/xml")], xml).into_response(),
    })
}

/// The way in to one account, for one request.
struct Door<'a> {
    account: &'a Account,
    view: &'a SharedView,
    head: &'a Parts,
    /// What stands behind the token in the address.
    path: &'a str,
    by_token: bool,
    /// The whole address as the world sees it.
    url: Option<String>,
    now: Timestamp,
}

impl<'a> Door<'a> {
    /// All that can be said before the body is there: nobody's body is held in memory for nothing.
    fn open(
        accounts: &'a Accounts,
        name: &str,
        suffix: &'a str,
        head: &'a Parts,
        declared: u64,
        now: Timestamp,
    ) -> Result<Self, Refused> {
        if !matches!(head.method, Method::GET | Method::POST) {
            return Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, "method", "gateways send GET or POST"));
        }
        if declared > LARGEST as u64 {
            return Err(too_large(LARGEST));
        }
        let found = accounts.iter().find(|(account, _)| account.name == name);
        let (account, view) = found.ok_or_else(|| closed(name, "there is no such account", None))?;
        let (path, by_token) = behind_token(account, view, suffix, now)?;
        let url = account.public_url.as_ref().map(|base| {
            let asked = head.uri.path_and_query().map_or("/", |asked| asked.as_str());
            format!("{}{asked}", base.as_str().trim_end_matches('/'))
        });
        let door = Self { account, view, head, path, by_token, url, now };
        // Where there is nothing to verify by, no body changes that.
        match door.read(&[]) {
            Err(NotHeard::Unverifiable) => Err(door.closed(UNVERIFIABLE)),
            _ => Ok(door),
        }
    }

    fn closed(&self, why: &'static str) -> Refused {
        closed(&self.account.name, why, Some((self.view, self.now)))
    }

    fn read(&self, body: &[u8]) -> Result<Heard, NotHeard> {
        let headers = &self.head.headers;
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        self.account.transport.receive(&Incoming {
            is_get: self.head.method == Method::GET,
            path: self.path,
            query: self.head.uri.query().unwrap_or_default(),
            url: self.url.as_deref(),
            header: &header,
            body,
            by_token: self.by_token,
            now: self.now,
        })
    }
}

/// Nothing came of it, for one reason or another. From outside all of them look alike: nobody can find out
/// which accounts there are, and how far a request came. The owner finds the reason in the log, and beside the
/// account.
fn closed(name: &str, why: &str, view: Option<(&SharedView, Timestamp)>) -> Refused {
    let account = shortened(&readable(name), LONGEST_NAME);
    if let Some(count) = view.map_or(Some(1), |(view, now)| view.leaves_out(why, now)) {
        tracing::warn!(account, count, "a request to `/gateways` was refused: {why}");
    }
    let message = "no gateway that is known here has sent this; the log of Postrider says what is missing";
    Refused::new(StatusCode::UNAUTHORIZED, "forged", message)
}

/// What stands behind the token that the account's address has, if it has one.
fn behind_token<'a>(
    account: &Account,
    view: &SharedView,
    suffix: &'a str,
    now: Timestamp,
) -> Result<(&'a str, bool), Refused> {
    let Some(token) = &account.inbound_token else { return Ok((suffix, false)) };
    let (given, path) = suffix.split_once('/').unwrap_or((suffix, ""));
    match token.matches(given.as_bytes()) {
        true => Ok((path, true)),
        false => Err(closed(&account.name, "`inbound_token` is not in its address", Some((view, now)))),
    }
}

/// Takes in what an account's gateway, or a person at a phone of the sandbox, told.
pub async fn take(house: &House, account: &Account, view: &SharedView, told: Vec<Told>) -> Result<(), Refused> {
    for told in &told {
        if let Told::LeftOut(why) = told
            && let Some(count) = view.leaves_out(why, house.view.clock.now())
        {
            tracing::warn!(account = %account.name, count, "{why}");
        }
        if let Told::Connection(link) = told {
            let state = shortened(&readable(&link.state), LONGEST_NAME);
            view.link(link.is_up, &state);
            house.lanes.ring(&account.name);
            match link.is_up {
                true => tracing::info!(account = %account.name, state, "the gateway is connected"),
                false => tracing::warn!(account = %account.name, state, "the gateway is not connected"),
            }
        }
    }
    let to = Letterbox {
        account: &account.name,
        window: account.transport.capabilities().window,
        opt_out: account.opt_out.as_ref(),
        retry: account.retry,
    };
    // On disk before the answer: what was answered is not sent again.
    for fate in house.inbox.take(to, told).await? {
        tracing::debug!(account = %account.name, fate = fate.name(), "a message came");
    }
    Ok(())
}
