//! The dashboard: pages that the server draws. The script swaps in pieces of them, and is never needed.

mod accounts;
mod actions;
mod assets;
mod door;
mod flow;
mod flows;
mod list;
mod look;
mod messages;
mod overview;
mod person;
mod phones;
mod run;
mod runs;
mod schedule;
mod source;
mod why;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use jiff::tz::TimeZone;

use super::House;
use super::api::Query;
use super::error::Refused;
use super::session::cookie;
use crate::id::random_bytes;
use crate::view::{EngineRow, Need};
pub use assets::Assets;
use look::Look;

/// Rows of a page.
pub const ROWS: usize = 50;
/// What is told to somebody is kept for so many.
const MOST_NOTES: usize = 200;

/// A page, or why there is none.
pub type Page = Result<Response<Body>, Refused>;

/// What nobody may do with our pages, and what they may do themselves.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data: blob:; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Pages for whoever was let in.
pub fn router() -> Router<Arc<House>> {
    Router::new()
        .route("/", get(overview::page))
        .route("/flows", get(flows::page))
        .route("/flows/new", get(flow::new).post(flow::create))
        .route("/flows/{*name}", get(flow::page).post(flow::act))
        .route("/file", get(flow::file).post(flow::save_file))
        .route("/runs", get(runs::page))
        .route("/runs/{id}", get(run::page))
        .route("/runs/{id}/{decision}", post(actions::run))
        .route("/incoming", get(runs::incoming))
        .route("/messages", get(messages::page).post(actions::write))
        .route("/messages/decisions", post(actions::messages))
        .route("/messages/{id}/{decision}", post(actions::message))
        .route("/people/{address}", get(person::page))
        .route("/people/{address}/{what}", post(actions::person))
        .route("/schedule", get(schedule::page))
        .route("/why", get(why::page))
        .route("/accounts", get(accounts::page))
        .route("/accounts/{name}/{what}", post(actions::account))
        .route("/phones", get(phones::page).post(phones::add))
        .route("/phones/empty", post(phones::empty))
        .route("/phones/{phone}/{what}", post(phones::act))
        .route("/pictures/{blob}", get(phones::picture))
        .route("/keys", get(door::keys))
        .route("/sign-out", post(door::sign_out))
}

/// Pages for everybody.
pub fn door() -> Router<Arc<House>> {
    Router::new()
        .route("/sign-in", get(door::page).post(door::sign_in))
        .route("/assets/{hash}/{name}", get(assets::asset))
        .fallback(door::nowhere)
}

/// Every answer of the private side says what browsers may do with it.
pub async fn guarded(request: Request, next: Next) -> Response<Body> {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// What came of something that somebody did, told on the page that comes next.
#[derive(Clone, Debug)]
pub struct Note {
    /// `ok`, `fail`, `wait`, ...
    pub tone: &'static str,
    /// What.
    pub title: String,
    /// Why, and what to do.
    pub text: String,
    /// What was typed, so that nobody types it twice.
    pub typed: String,
}

/// Notes that wait for their page.
#[derive(Clone, Default)]
pub struct Notes {
    kept: Arc<Mutex<VecDeque<(String, Note)>>>,
}

impl Notes {
    /// Keeps one; gives the name that it is found by.
    pub fn keep(&self, note: Note) -> String {
        let name = hex::encode(random_bytes::<8>());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back((name.clone(), note));
        if kept.len() > MOST_NOTES {
            kept.pop_front();
        }
        name
    }

    fn find(&self, name: &str) -> Option<Note> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(known, _)| known == name).map(|(_, note)| note.clone())
    }
}

/// What every page has around it.
pub struct Frame {
    /// How times and pictures are written.
    pub look: Look,
    /// Its title.
    pub title: String,
    /// Which place of the side it belongs to.
    pub place: &'static str,
    /// The engine.
    pub engine: EngineRow,
    /// What needs a person.
    pub needs: Vec<Need>,
    /// How many accounts cannot send.
    pub paused: usize,
    /// How many flows there are.
    pub flows: usize,
    /// Whether flows may be edited.
    pub editable: bool,
    /// What came of the last action.
    pub note: Option<Note>,
    /// The address of the page, to come back to.
    pub here: String,
}

impl Frame {
    /// For a page.
    pub async fn of(
        house: &House,
        request: &Asked,
        place: &'static str,
        title: impl Into<String>,
    ) -> Result<Self, Refused> {
        let view = &house.view;
        let look = request.look.clone();
        let accounts = view.accounts.borrow().clone();
        let (flows, editable) = {
            let catalog = view.catalog.borrow();
            (catalog.flows.len(), catalog.ground.editable)
        };
        Ok(Self {
            title: title.into(),
            place,
            engine: request.engine.clone(),
            needs: view.needs(view.midnight(&look.zone)).await?,
            paused: accounts.iter().filter(|(_, view)| view.look().paused.is_some()).count(),
            flows,
            editable,
            note: request.query.get("note").and_then(|name| house.notes.find(name)),
            here: request.here.clone(),
            look,
        })
    }

    /// Whether a place is where the viewer is.
    pub fn is(&self, place: &str) -> bool {
        self.place == place
    }
}

/// What a page is asked for.
pub struct Asked {
    /// How the viewer sees things.
    pub look: Look,
    /// What stands behind the `?`.
    pub query: Query,
    /// The address without the note.
    pub here: String,
    /// The engine, and where its feed was before anything was read for the page: what changes while the page is
    /// drawn is told to it afterwards.
    pub engine: EngineRow,
}

impl Asked {
    /// Reads what a browser asks for.
    pub fn of(house: &House, headers: &HeaderMap, uri: &axum::http::Uri, known: &[&str]) -> Result<Self, Refused> {
        let known: Vec<&str> = known.iter().copied().chain(["note"]).collect();
        let query = Query::read(uri.query(), &known)?;
        let zone = cookie(headers, "tz").and_then(|name| TimeZone::get(&name.replace("%2F", "/")).ok());
        let theme = match cookie(headers, "theme") {
            Some("light") => "light",
            Some("dark") => "dark",
            _ => "",
        };
        let kept =
            form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).filter(|(name, _)| name != "note");
        let kept = form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish();
        let here = if kept.is_empty() { uri.path().to_owned() } else { format!("{}?{kept}", uri.path()) };
        let look = Look {
            zone: zone.unwrap_or_else(|| house.view.zone()),
            now: house.view.clock.now(),
            theme,
            assets: house.assets.clone(),
        };
        Ok(Self { look, query, here, engine: house.view.engine() })
    }
}

/// Draws a page.
pub fn drawn(page: &impl Template) -> Page {
    drawn_as(StatusCode::OK, page)
}

/// Draws a page with another status.
pub fn drawn_as(status: StatusCode, page: &impl Template) -> Page {
    let text = page.render();
    let text = text.map_err(|error| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()))?;
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    Ok(response)
}

/// Sends the browser on to another page of ours.
pub fn go(place: &str) -> Response<Body> {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let place = HeaderValue::from_str(&own(place)).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(header::LOCATION, place);
    response
}

/// An address of ours: whatever was asked for, nobody is sent anywhere else.
pub fn own(place: &str) -> String {
    let sound =
        place.starts_with('/') && !place.starts_with("//") && !place.contains(|c: char| c == '\\' || c.is_control());
    if sound { place.to_owned() } else { "/".to_owned() }
}

/// Why there is no page, as a page.
pub async fn shown(State(house): State<Arc<House>>, request: Request, next: Next) -> Response<Body> {
    let theme = cookie(request.headers(), "theme").map(str::to_owned);
    let accepts = request.headers().get(header::ACCEPT).and_then(|kinds| kinds.to_str().ok()).unwrap_or_default();
    let wants = accepts.contains("text/html");
    let response = next.run(request).await;
    match response.extensions().get::<super::error::Told>() {
        Some(told) if wants => door::told(&house, response.status(), told, theme.as_deref()),
        _ => response,
    }
}
