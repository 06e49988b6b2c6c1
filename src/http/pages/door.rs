//! The door: signing in and out, and pages that are not there.

use std::net::SocketAddr;
use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::extract::{ConnectInfo, RawQuery, State};
use axum::http::{HeaderMap, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;
use jiff::tz::TimeZone;

use super::actions::Fields;
use super::look::Look;
use super::{Asked, Frame, Page, drawn, drawn_as, go, own};
use crate::http::House;
use crate::http::api::Query;
use crate::http::error::{Refused, Told};
use crate::http::session::{GUESSES, PAUSE, close, open};

#[derive(Template)]
#[template(path = "door.html")]
struct Door {
    look: Look,
    title: String,
    body: Inside,
}

enum Inside {
    /// The way in.
    Way { back: String },
    /// The code did not open.
    Closed { back: String, title: &'static str, why: &'static str, guesses: String },
    /// It did.
    Open { to: String },
    /// There is no such page.
    Nowhere { title: String, why: String },
}

fn look(house: &House, theme: &'static str) -> Look {
    Look { zone: TimeZone::UTC, now: house.view.clock.now(), theme, assets: house.assets.clone() }
}

/// Whoever has a code in the address is let in by it.
pub async fn page(
    State(house): State<Arc<House>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Page {
    let query = Query::read(query.as_deref(), &["code", "back"])?;
    let back = own(query.get("back").unwrap_or("/"));
    match query.get("code") {
        Some(code) => enter(&house, peer, &headers, code, back).await,
        None => {
            let look = look(&house, "");
            drawn(&Door { look, title: "Open with a link".into(), body: Inside::Way { back } })
        }
    }
}

/// The same for a code that was typed.
pub async fn sign_in(
    State(house): State<Arc<House>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    fields: Fields,
) -> Page {
    let back = own(fields.get("back").unwrap_or("/"));
    enter(&house, peer, &headers, fields.get("code").unwrap_or_default(), back).await
}

async fn enter(house: &House, peer: SocketAddr, headers: &HeaderMap, code: &str, back: String) -> Page {
    let now = house.view.clock.now();
    let closed = |status, title, why, guesses| {
        let body = Inside::Closed { back: back.clone(), title, why, guesses };
        drawn_as(status, &Door { look: look(house, ""), title: title.to_owned(), body })
    };
    // Who has a right one need not wait for others' guesses: any page that a browser shows can make them.
    let right = house.doors.take(code, now);
    if !right && house.doors.pause(peer.ip(), now).is_some() {
        let mut response = closed(
            StatusCode::TOO_MANY_REQUESTS,
            "Wait a moment",
            "Too many codes were wrong. After half a minute you can try again.",
            String::new(),
        )?;
        response.headers_mut().insert(header::RETRY_AFTER, PAUSE.as_secs().into());
        return Ok(response);
    }
    if !right {
        let wrong = house.doors.wrong(peer.ip(), now) % GUESSES;
        let guesses = match wrong {
            0 => format!("That was the third wrong one: there is a pause of {} seconds now.", PAUSE.as_secs()),
            nth => format!(
                "After {GUESSES} wrong codes there is a pause of {} seconds. This was number {nth}.",
                PAUSE.as_secs()
            ),
        };
        let (title, why) = match code.is_empty() {
            true => ("No code was typed", "Type the code from the link."),
            false => (
                "This link does not open any more",
                "The code was used already, is older than 10 minutes, or is none of ours.",
            ),
        };
        return closed(StatusCode::UNAUTHORIZED, title, why, guesses);
    }
    house.doors.right(peer.ip());
    let cookie = open(house, headers).await?;
    // Not a redirect: a browser that came from another place would not show its new cookie on the way.
    let body = Inside::Open { to: back };
    let mut response = drawn(&Door { look: look(house, ""), title: "Welcome".into(), body })?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// Ends the browser's session.
pub async fn sign_out(State(house): State<Arc<House>>, headers: HeaderMap) -> Page {
    let cookie = close(&house, &headers).await?;
    let mut response = go("/sign-in");
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// There is nothing at that address.
pub async fn nowhere() -> Response<Body> {
    Refused::missing("there is nothing here; the API is below /api/v1").into_response()
}

/// A refusal as a page.
pub fn told(house: &House, status: StatusCode, told: &Told, theme: Option<&str>) -> Response<Body> {
    let theme = match theme {
        Some("light") => "light",
        Some("dark") => "dark",
        _ => "",
    };
    let title = super::look::capital(&told.message);
    let why = match (&told.hint, status) {
        (Some(hint), _) => format!("{}.", super::look::capital(hint)),
        (None, StatusCode::NOT_FOUND) => {
            "It may have been removed, or the address was cut when it was copied.".to_owned()
        }
        (None, _) => String::new(),
    };
    let body = Inside::Nowhere { title: title.clone(), why };
    drawn_as(status, &Door { look: look(house, theme), title, body }).unwrap_or_else(IntoResponse::into_response)
}

#[derive(Template)]
#[template(path = "keys.html")]
struct Keys {
    frame: Frame,
}

/// The keys.
pub async fn keys(State(house): State<Arc<House>>, headers: HeaderMap, uri: Uri) -> Page {
    let asked = Asked::of(&house, &headers, &uri, &[])?;
    drawn(&Keys { frame: Frame::of(&house, &asked, "", "Keys").await? })
}
