//! Requests of any kind, as scripts make them.

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName};
use reqwest::{Method, StatusCode};
use url::Url;

use super::time::Time;
use super::{Bounds, Fetch, FetchError, Fetched, HOPS, cannot_be_reached, redirect, server, shown};

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// What to do.
    pub method: Method,
    /// Where.
    pub url: Url,
    /// What else is said.
    pub headers: HeaderMap,
    /// What is carried along.
    pub body: Option<Vec<u8>>,
    /// Headers that only the first server may see.
    pub private: Vec<HeaderName>,
    /// Whether only the first server may see the body: a redirect that would carry it elsewhere is the
    /// answer then.
    pub private_body: bool,
    /// Whether only the first server may see the path: errors name servers alone then.
    pub private_path: bool,
}

impl Fetch {
    /// Sends a request, follows redirects as browsers do, reads as much as the bounds allow.
    ///
    /// # Errors
    /// [`FetchError`]; a status that is no success is no error.
    pub async fn send(&self, request: Request, bounds: Bounds) -> Result<Fetched, FetchError> {
        let time = Time::new(bounds.time);
        time.bounds(self.sent(request, bounds.bytes, &time)).await
    }

    async fn sent(&self, request: Request, most: usize, time: &Time) -> Result<Fetched, FetchError> {
        let Request { mut method, mut url, mut headers, mut body, private, private_body, private_path } = request;
        let place = |url: &Url| if private_path { server(url) } else { shown(url) };
        let mut hops = Vec::new();
        loop {
            self.check(&url).await?;
            let mut next = self.client.request(method.clone(), url.clone()).headers(headers.clone());
            if let Some(body) = &body {
                next = next.body(body.clone());
            }
            let response = next.send().await.map_err(|error| cannot_be_reached(&place(&url), &error))?;
            let next = redirect(&url, &response).filter(|next| {
                let keeps = keeps_body(&method, response.status());
                !(private_body && body.is_some() && keeps && next.origin() != url.origin())
            });
            if let Some(next) = next {
                if hops.len() == HOPS {
                    return Err(FetchError::Circles(place(&next)));
                }
                if !keeps_body(&method, response.status()) {
                    if method != Method::HEAD {
                        method = Method::GET;
                    }
                    body = None;
                    headers.remove(CONTENT_TYPE);
                }
                // What opens one door is nobody else's business.
                if next.origin() != url.origin() {
                    private.iter().chain([&AUTHORIZATION, &COOKIE, &HOST]).for_each(|name| {
                        headers.remove(name);
                    });
                }
                hops.push(std::mem::replace(&mut url, next));
                continue;
            }
            let fetched = self.fetched(response, url, hops, most, time).await;
            return fetched.map_err(|(url, error)| cannot_be_reached(&place(&url), &error));
        }
    }
}

/// Whether a redirect wants the same again: a 307 or 308 does, a 303 wants one to look at what is
/// there, and after a POST so do the old ones (RFC 9110, 15.4).
fn keeps_body(method: &Method, status: StatusCode) -> bool {
    match status {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        StatusCode::SEE_OTHER => false,
        _ => *method != Method::POST,
    }
}
