//! A webhook: verified, read, made a durable run, answered.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::House;
use super::body::whole;
use super::content::{Kind, unpacked};
use super::error::{Refused, Told, answer};
use super::event::{self, event};
use super::origin;
use super::side::Seat;
use super::verify::{BASIC, BEARER, Denied, Once, Shown, verify};
use crate::clock::after;
use crate::feed::Change;
use crate::flow::catalog::Catalog;
use crate::flow::webhook::{Handshake, Mark as DedupeBy, Place, Respond, Signed, Verify, Way, Webhook};
use crate::flow::{Matched, Route};
use crate::id::RunId;
use crate::model::call::is_framing;
use crate::model::run::{Mark, NewRun, RunState, WhenFull};
use crate::plain::shortened;
use crate::run::{Reply, said_before};
use crate::store::StoreError;
use crate::store::records::RunRecord;
use crate::units::format_duration;

/// How long a caller with `respond: result` waits before it gets the run's id instead.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most characters of a path that are remembered.
const LONGEST_PATH: usize = 200;
/// The same of a method; the longest that are in use have about so many.
const LONGEST_METHOD: usize = 20;

/// Takes any request below `/hooks`.
pub async fn webhook(
    State(house): State<Arc<House>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response<Body> {
    let asked = format!("{} {}", word(request.method()), request.uri().path());
    let from = caller(&house, peer, request.headers());
    let taken = accept(&house, from, request).await;
    let response = taken.unwrap_or_else(IntoResponse::into_response);
    turned_away(&house, from, &asked, &response);
    response
}

/// A method as it is told: callers may write words of any length.
pub fn word(method: &Method) -> String {
    shortened(method.as_str(), LONGEST_METHOD)
}

/// Who calls: the other end of the connection, or whom a proxy that we trust says that it speaks for. The list is
/// written by each proxy at its end, so it is read from there, and no further than it can be trusted.
pub fn caller(house: &House, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
    let ground = house.view.catalog.borrow().ground.clone();
    let trusted = |ip: &IpAddr| ground.trusted_proxies.iter().any(|net| net.contains(ip));
    let mut from = peer.ip().to_canonical();
    let lines: Vec<&str> = headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok()).collect();
    let told = lines.iter().rev().flat_map(|line| line.rsplit(','));
    for entry in told {
        if !trusted(&from) {
            break;
        }
        let entry = entry.trim();
        let ip = entry.parse::<IpAddr>().ok().or_else(|| Some(entry.parse::<SocketAddr>().ok()?.ip()));
        let Some(ip) = ip else { break };
        from = ip.to_canonical();
    }
    from
}

/// Notes a request that was refused. What it was refused for stands in the answer's extensions.
pub fn turned_away(house: &House, from: IpAddr, asked: &str, response: &Response<Body>) {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return;
    }
    house.view.tally.refused("public", status.as_u16());
    let told = response.extensions().get::<Told>();
    let Some(told) = told.filter(|_| status.is_client_error()) else { return };
    let what: String = asked.chars().take(LONGEST_PATH).collect();
    let from = from.to_string();
    match status {
        // What is wrong with it was said by the account.
        StatusCode::UNAUTHORIZED if what.contains(" /gateways") => {}
        // Whoever tries addresses makes many of these.
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            tracing::info!(asked = what, status = status.as_u16(), from, "a request was refused: {}", told.message);
        }
        _ => tracing::warn!(asked = what, status = status.as_u16(), from, "a request was refused: {}", told.message),
    }
    house.view.turned_away.note(house.view.clock.now(), &what, status.as_u16(), &told.message, &from);
    house.view.feed.tell([Change::Incoming { what: "refused", from: what, outcome: "refused" }]);
}

async fn accept(house: &House, from: IpAddr, request: Request<Body>) -> Result<Response<Body>, Refused> {
    if !house.shutdown.is_running() {
        return Err(Refused::busy("Postrider is stopping; come again in a moment"));
    }
    let (head, body) = request.into_parts();
    let path = head.uri.path().strip_prefix("/hooks").unwrap_or_default();
    let catalog = house.view.catalog.borrow().clone();
    let Some(matched) = catalog.route(path) else {
        let refused = Refused::missing(format!("no flow has a webhook at {}", shortened(path, LONGEST_PATH)));
        return Err(with_near(refused, &catalog, path));
    };
    let method = head.method.as_str();
    let route = |method: &str| matched.routes.iter().find(|route| route.webhook.methods.iter().any(|m| m == method));
    if let Some(asked) = origin::asked_before(&head.method, &head.headers)
        && matched.routes.iter().any(|route| !route.webhook.origins.is_empty())
    {
        let Some(route) = route(asked) else { return Err(not_taken(path, asked, &matched)) };
        return origin::permitted(&route.webhook, &head.headers);
    }
    if head.method == Method::GET
        && let Some(answer) = matched.routes.iter().find_map(|route| handshake(&route.webhook, &head))
    {
        return answer;
    }
    let Some(route) = route(method) else { return Err(not_taken(path, method, &matched)) };
    let page = origin::admitted(&route.webhook, &head.headers, catalog.ground.public_url.as_ref())?;
    let call = Call { route, params: &matched.params, head: &head, from };
    let mut answered = match call.take(house, &catalog, body).await {
        Ok(answered) => answered,
        Err(refused) => refused.into_response(),
    };
    if let Some(page) = page {
        origin::tell(&mut answered, page);
    }
    Ok(answered)
}

/// Names the webhook that was meant by a path with slashes too many: a base address often ends with one.
fn with_near(refused: Refused, catalog: &Catalog, path: &str) -> Refused {
    let near: String = path.split('/').filter(|part| !part.is_empty()).map(|part| format!("/{part}")).collect();
    match near != path && catalog.route(&near).is_some() {
        true => refused.hint(format!("there is one at /hooks{near}, without a slash too many")),
        false => refused,
    }
}

/// Takes what no other route of the public side does.
pub async fn elsewhere(State(house): State<Arc<House>>, uri: Uri) -> Refused {
    let refused = Refused::missing("there is nothing here; webhooks are below /hooks");
    // A slash before the first part leads here.
    match uri.path().trim_start_matches('/').strip_prefix("hooks/") {
        Some(path) => with_near(refused, &house.view.catalog.borrow(), path),
        None => refused,
    }
}

fn not_taken(path: &str, method: &str, matched: &Matched<'_>) -> Refused {
    let allowed: Vec<_> = matched.routes.iter().flat_map(|route| route.webhook.methods.iter().cloned()).collect();
    let (path, method) = (shortened(path, LONGEST_PATH), shortened(method, LONGEST_METHOD));
    let message = format!("{path} takes {}, not {method}", allowed.join(" and "));
    let refused = Refused::new(StatusCode::METHOD_NOT_ALLOWED, "method", message);
    refused.with(header::ALLOW, allowed.join(", "))
}

/// The answer to Meta's question whether this is the right address, where the webhook knows it:
/// <https://developers.facebook.com/docs/graph-api/webhooks/getting-started#verification-requests>.
fn handshake(webhook: &Webhook, head: &Parts) -> Option<Result<Response<Body>, Refused>> {
    let rule = webhook.verify.as_ref()?;
    let Way::Signed(Signed { handshake: Some(Handshake::Word(word)), .. }) = &rule.way else { return None };
    let field = |name: &str| {
        let mut fields = form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes());
        fields.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    };
    field("hub.mode").filter(|mode| mode == "subscribe")?;
    let is_right = field("hub.verify_token").is_some_and(|given| word.matches(given.as_bytes()));
    Some(match is_right {
        true => Ok(field("hub.challenge").unwrap_or_default().into_response()),
        false => Err(unauthorized(rule, "`hub.verify_token` is another one".into())),
    })
}

/// Whether it is what WooCommerce sends once when a webhook is saved, and does not sign: it only looks whether it gets
/// 200 (`WC_Webhook::deliver_ping`).
fn is_ping(webhook: &Webhook, headers: &HeaderMap, body: &[u8]) -> bool {
    let rule = webhook.verify.as_ref().map(|rule| &rule.way);
    let Some(Way::Signed(Signed { handshake: Some(Handshake::Ping), header, .. })) = rule else { return false };
    let number = body.strip_prefix(b"webhook_id=");
    Kind::of(headers).is_form()
        && !headers.contains_key(header)
        && number.is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
}

/// 401, with the way to show something where HTTP has a word for it (RFC 9110, 11.6.1).
fn unauthorized(rule: &Verify, denied: Denied) -> Refused {
    let refused = Refused::new(StatusCode::UNAUTHORIZED, "unauthorized", denied.why);
    let refused = match denied.hint {
        Some(hint) => refused.hint(hint),
        None => refused,
    };
    match rule.way {
        Way::Basic(_) => refused.with(header::WWW_AUTHENTICATE, BASIC),
        Way::Token(Place::Usual, _) => refused.with(header::WWW_AUTHENTICATE, BEARER),
        Way::Token(..) | Way::Signed(_) | Way::Twilio(_) => refused,
    }
}

/// A request that came to its webhook.
struct Call<'a> {
    route: &'a Route,
    params: &'a [(String, String)],
    head: &'a Parts,
    from: IpAddr,
}

impl Call<'_> {
    async fn take(&self, house: &House, catalog: &Catalog, body: Body) -> Result<Response<Body>, Refused> {
        let webhook = &self.route.webhook;
        self.is_near()?;
        // Where callers show who they are, strangers take no room from them.
        if !webhook.is_verified() {
            self.has_room(house)?;
        }
        let limit = usize::try_from(catalog.ground.limits.body).unwrap_or(usize::MAX);
        let larger = |refused: Refused| match refused.status() {
            StatusCode::PAYLOAD_TOO_LARGE => refused.for_owner("raise `limits.body` in postrider.yaml"),
            _ => refused,
        };
        let raw = whole(body, limit).await.map_err(larger)?;
        if is_ping(webhook, &self.head.headers, &raw) {
            return Ok(StatusCode::OK.into_response());
        }
        let once = self.verified(catalog, house.view.clock.now(), &raw)?;
        if webhook.is_verified() {
            self.has_room(house)?;
        }
        let run = {
            let bytes = unpacked(&self.head.headers, &raw, limit).map_err(larger)?;
            let read = event::Read::of(&self.head.headers, &bytes).await?;
            let event = event(&event::Request {
                method: self.head.method.as_str(),
                path: self.head.uri.path().strip_prefix("/hooks").unwrap_or_default(),
                params: self.params,
                query: self.head.uri.query().unwrap_or_default(),
                headers: &self.head.headers,
                verify: webhook.verify.as_deref(),
                body: &read,
                ip: self.from,
            })?;
            let mut run = house.intake.prepare(&self.route.flow, "webhook", &event);
            run.marks = self.marks(once, &read, run.at);
            run
        };
        drop(raw);
        let id = run.id;
        match webhook.respond {
            Respond::Accepted(status) => Ok(match house.intake.accept(run).await {
                Err(StoreError::Repeated(first)) => accepted(StatusCode::OK, first, true),
                outcome => {
                    outcome?;
                    match self.passed_over(house, id).await? {
                        Some(skipped) => skipped,
                        None => accepted(StatusCode::from_u16(status).unwrap_or(StatusCode::OK), id, false),
                    }
                }
            }),
            Respond::Result => self.answered(house, run).await,
        }
    }

    /// Whether it comes from where it may.
    fn is_near(&self) -> Result<(), Refused> {
        let webhook = &self.route.webhook;
        if !webhook.from.is_empty() && !webhook.from.iter().any(|net| net.contains(&self.from)) {
            let message = format!("{} is no address that may call this webhook", self.from);
            return Err(Refused::new(StatusCode::FORBIDDEN, "address", message).hint("`from:` lists those that may"));
        }
        Ok(())
    }

    /// Whether it does not come too often.
    fn has_room(&self, house: &House) -> Result<(), Refused> {
        let Route { flow, webhook } = self.route;
        let Some(rate) = webhook.rate else { return Ok(()) };
        house.rates.take((&flow.name, &webhook.path), rate, house.view.clock.now()).map_err(|wait| {
            let message = format!("more than {} requests came in {}", rate.most, format_duration(rate.per));
            let seconds = wait.as_secs_f64().ceil().max(1.0).to_string();
            Refused::new(StatusCode::TOO_MANY_REQUESTS, "rate", message).with(header::RETRY_AFTER, seconds)
        })
    }

    /// Whether the caller has shown that it may.
    fn verified(&self, catalog: &Catalog, now: Timestamp, raw: &[u8]) -> Result<Option<Once>, Refused> {
        let Some(rule) = &self.route.webhook.verify else { return Ok(None) };
        let url = catalog.ground.public_url.as_ref().map(|base| {
            let asked = self.head.uri.path_and_query().map_or("/", |asked| asked.as_str());
            format!("{}{asked}", base.as_str().trim_end_matches('/'))
        });
        let query = self.head.uri.query().unwrap_or_default();
        let shown = Shown { headers: &self.head.headers, query, body: raw, url: url.as_deref(), now };
        match verify(rule, &shown) {
            Ok(once) => Ok(once),
            Err(denied) if rule.observe => {
                let (flow, path) = (&self.route.flow.name, &self.route.webhook.path);
                tracing::warn!(%flow, path, from = %self.from, "let in, for `mode` is `observe`: {}", denied.why);
                Ok(None)
            }
            Err(denied) => Err(unauthorized(rule, denied)),
        }
    }

    /// What makes another request the same event.
    fn marks(&self, once: Option<Once>, read: &event::Read<'_>, at: Timestamp) -> Vec<Mark> {
        let Route { flow, webhook } = self.route;
        let mark = |kind: &str, value: &[u8], window: Duration| {
            let mut hash = Sha256::new();
            let pieces = [flow.name.as_bytes(), webhook.path.as_bytes(), kind.as_bytes()];
            // What a signature is over does not tell one path from another.
            let params = self.params.iter().filter(|_| kind == "dedupe").map(|(_, value)| value.as_bytes());
            for piece in pieces.into_iter().chain(params) {
                hash.update(piece);
                hash.update([0]);
            }
            let hash = hash.chain_update(value).finalize();
            let mut mark = [0; 16];
            mark.copy_from_slice(&hash[..16]);
            Mark { mark, until: after(at, window) }
        };
        let signed = once.map(|once| mark("signature", &once.mark, once.for_));
        let named = webhook.dedupe.as_ref().and_then(|dedupe| {
            let value = match &dedupe.by {
                DedupeBy::Whole if read.bytes.is_empty() => {
                    Sha256::digest(self.head.uri.query().unwrap_or_default()).to_vec()
                }
                DedupeBy::Whole => Sha256::digest(read.bytes).to_vec(),
                DedupeBy::Header(name) => self.head.headers.get(name)?.as_bytes().to_vec(),
                DedupeBy::Body(names) => read.at(names)?.into_bytes(),
            };
            (!value.is_empty()).then(|| mark("dedupe", &value, dedupe.window))
        });
        signed.into_iter().chain(named).collect()
    }

    /// What a run that was passed over says.
    async fn ended_at_once(&self, house: &House, id: RunId) -> Result<Option<Reply>, Refused> {
        Ok(match self.route.flow.concurrency.is_some() {
            true => said_before(&*house.view.store, id).await?,
            false => None,
        })
    }

    /// The answer for a run that its flow has passed over, if it has.
    async fn passed_over(&self, house: &House, id: RunId) -> Result<Option<Response<Body>>, Refused> {
        let skips = self.route.flow.concurrency.as_ref().is_some_and(|rule| rule.when_full == WhenFull::Skip);
        if !skips {
            return Ok(None);
        }
        let run = house.view.store.run(id).await?.filter(|run| run.state == RunState::Skipped);
        let body = |run: RunRecord| {
            let reason = run.error.map(|error| error.message);
            answer(StatusCode::OK, &json!({ "run": id, "skipped": true, "reason": reason }))
        };
        Ok(run.map(body))
    }

    /// Accepts a run and waits for what it has to say; a duplicate waits for what the first one says.
    async fn answered(&self, house: &House, run: NewRun) -> Result<Response<Body>, Refused> {
        let mut id = run.id;
        let mut place = house.subscribers.subscribe(id);
        let deadline = house.view.clock.rest(PATIENCE);
        let verified = self.route.webhook.is_verified();
        match house.intake.accept(run).await {
            Ok(_) => {
                if let Some(reply @ Reply::Ended(_)) = self.ended_at_once(house, id).await? {
                    return Ok(said(id, reply, verified));
                }
            }
            Err(StoreError::Repeated(first)) => {
                // Before it is asked what was said: between the two nothing is missed.
                (id, place) = (first, house.subscribers.subscribe(first));
                if let Some(reply) = said_before(&*house.view.store, first).await? {
                    return Ok(said(first, reply, verified));
                }
            }
            Err(error) => return Err(error.into()),
        }
        // Whoever waits does so without its body.
        if let Some(seat) = self.head.extensions.get::<Arc<Seat>>() {
            seat.releases();
        }
        let later = || accepted(StatusCode::ACCEPTED, id, false);
        tokio::select! {
            reply = place.reply() => Ok(reply.map_or_else(later, |reply| said(id, reply, verified))),
            () = deadline => Ok(later()),
            // The run goes on after the restart, this connection does not.
            () = house.shutdown.draining() => Ok(later()),
        }
    }
}

fn accepted(status: StatusCode, run: RunId, duplicate: bool) -> Response<Body> {
    let body = match duplicate {
        true => json!({ "run": run, "duplicate": true }),
        false => json!({ "run": run }),
    };
    let mut response = answer(status, &body);
    if let Ok(place) = HeaderValue::from_str(&format!("/api/v1/runs/{run}")) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

/// What a run says, over HTTP. Why it failed is for those alone who have shown who they are.
fn said(run: RunId, reply: Reply, verified: bool) -> Response<Body> {
    match reply {
        Reply::Value(value) => answer(StatusCode::OK, &value),
        Reply::Failed(error) => {
            let error = match verified {
                true => json!({ "kind": error.kind, "message": error.message }),
                false => json!({ "kind": "failed" }),
            };
            answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": error, "run": run }))
        }
        Reply::Ended(state) => answer(StatusCode::CONFLICT, &json!({ "run": run, "reason": state.name() })),
        Reply::Response(said) => {
            let status = StatusCode::from_u16(said.status).unwrap_or(StatusCode::OK);
            let bare = matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED);
            let mut response = match said.body {
                // These have no body, whatever is handed on.
                _ if bare => Response::new(Body::empty()),
                Value::String(text) => {
                    let mut response = Response::new(Body::from(text));
                    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
                    response.headers_mut().insert(header::CONTENT_TYPE, plain);
                    response
                }
                Value::Null => Response::new(Body::empty()),
                body => answer(status, &body),
            };
            *response.status_mut() = status;
            for (name, value) in said.headers {
                // Also in answers that were put on record when they could still be given.
                if !is_framing(&name)
                    && let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
                {
                    response.headers_mut().insert(name, value);
                }
            }
            response
        }
    }
}
