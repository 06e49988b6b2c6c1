//! Whose pages may call a webhook. A browser sends what any page wants it to send, also to places that
//! only the browser can reach; it says from which page.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use url::{Host, Url};

use super::error::Refused;
use crate::flow::webhook::Webhook;

/// How long a browser may remember what it was permitted, in seconds: an edited list counts soon.
const REMEMBERED: &str = "600";

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The method that a browser asks about before it sends a request.
pub fn asked_before<'a>(method: &Method, headers: &'a HeaderMap) -> Option<&'a str> {
    headers.get(header::ACCESS_CONTROL_REQUEST_METHOD).filter(|_| *method == Method::OPTIONS)?.to_str().ok()
}

/// The answer to that question.
///
/// # Errors
/// 403, when the page is not listed.
pub fn permitted(webhook: &Webhook, headers: &HeaderMap) -> Result<Response<Body>, Refused> {
    let page = listed(webhook, headers).ok_or_else(foreign)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    tell(&mut response, page);
    let methods = HeaderValue::from_str(&webhook.methods.join(", "));
    let said = response.headers_mut();
    if let Ok(methods) = methods {
        said.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    if let Some(wanted) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        said.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    said.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(REMEMBERED));
    Ok(response)
}

/// Lets a request in, and says which listed page it comes from, if from one. Whoever has to show a token or a
/// signature is let in from anywhere: a page has neither. `public` is where the engine is known to be.
///
/// # Errors
/// 403, when a page wants it that is not listed.
pub fn admitted(webhook: &Webhook, headers: &HeaderMap, public: Option<&Url>) -> Result<Option<HeaderValue>, Refused> {
    if let Some(page) = listed(webhook, headers) {
        return Ok(Some(page));
    }
    if webhook.is_verified() {
        return Ok(None);
    }
    let sites = headers.get_all(SITE).iter();
    let mut others = sites.filter(|site| {
        let site = site.as_bytes();
        site.eq_ignore_ascii_case(b"cross-site") || site.eq_ignore_ascii_case(b"same-site")
    });
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let is_page = headers.contains_key(SITE) || headers.contains_key(header::ORIGIN);
    let is_ours = others.next().is_none() && origins.all(|origin| is_own(origin, headers));
    match !is_page || (is_ours && is_known(headers, public)) {
        true => Ok(None),
        false => Err(foreign()),
    }
}

/// Whether a browser was sent to a name that is ours for certain. Whoever owns another name can have it lead here at
/// any moment (DNS rebinding): a page of theirs is then of the same site to the browser.
fn is_known(headers: &HeaderMap, public: Option<&Url>) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(url) = host.and_then(|host| Url::parse(&format!("http://{host}")).ok()) else { return false };
    match url.host() {
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
        Some(Host::Domain(name)) => {
            let is_local = name == "localhost" || name.ends_with(".localhost");
            is_local || public.and_then(Url::host_str).is_some_and(|own| own.eq_ignore_ascii_case(name))
        }
        None => false,
    }
}

/// Tells the browser that the page may read the answer.
pub fn tell(response: &mut Response<Body>, page: HeaderValue) {
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, page);
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
}

/// The page that a request comes from, if it is one of the list.
fn listed(webhook: &Webhook, headers: &HeaderMap) -> Option<HeaderValue> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else { return None };
    let known = webhook.origins.iter().any(|known| known == "*" || known.as_bytes() == origin.as_bytes());
    known.then(|| origin.clone())
}

/// Whether a page's origin is the very address that the request goes to.
pub fn is_own(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let own = || {
        let origin = Url::parse(origin.to_str().ok()?).ok()?;
        let host = Url::parse(&format!("{}://{}", origin.scheme(), host.to_str().ok()?)).ok()?;
        let same = host.host() == origin.host() && host.port_or_known_default() == origin.port_or_known_default();
        Some(same && origin.has_host())
    };
    own().unwrap_or(false)
}

fn foreign() -> Refused {
    let message = "a page of another site may not call this webhook";
    Refused::new(StatusCode::FORBIDDEN, "origin", message)
        .hint("list the page under `origins:` of the webhook, such as `origins: [\"https://shop.example.com\"]`")
}
