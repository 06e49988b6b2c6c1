//! Requests of any kind, as scripts make them.

use std::time::Instant;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName};
use reqwest::{Method, StatusCode};
use url::Url;

use super::{Bounds, Fetch, FetchError, Fetched, HOPS, read, redirect, unreachable};

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
}

impl Fetch {
    /// Sends a request, follows redirects as browsers do, reads as much as the bounds allow.
    ///
    /// # Errors
    /// [`FetchError`]; a status that is no success is no error.
    pub async fn send(&self, request: Request, bounds: Bounds) -> Result<Fetched, FetchError> {
        tokio::time::timeout(bounds.time, self.sent(request, bounds.bytes))
            .await
            .unwrap_or(Err(FetchError::Slow(bounds.time)))
    }

    async fn sent(&self, request: Request, most: usize) -> Result<Fetched, FetchError> {
        let Request { mut method, mut url, mut headers, mut body, private } = request;
        let begun = Instant::now();
        let mut hops = Vec::new();
        loop {
            self.check(&url).await?;
            let mut next = self.client.request(method.clone(), url.clone()).headers(headers.clone());
            if let Some(body) = &body {
                next = next.body(body.clone());
            }
            let response = next.send().await.map_err(|error| unreachable(&url, &error))?;
            if let Some(next) = redirect(&url, &response) {
                if hops.len() == HOPS {
                    return Err(FetchError::Circles(super::shown(&next)));
                }
                // A 307 or 308 wants the same again; after the others one looks at what is there.
                let again =
                    matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
                if !again && !matches!(method, Method::GET | Method::HEAD) {
                    method = Method::GET;
                    body = None;
                    headers.remove(CONTENT_TYPE);
                }
                // What opens one door is nobody else's business.
                if next.origin() != url.origin() {
                    private.iter().chain([&AUTHORIZATION, &COOKIE]).for_each(|name| {
                        headers.remove(name);
                    });
                }
                hops.push(std::mem::replace(&mut url, next));
                continue;
            }
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let (body, whole) = read(response, most).await.map_err(|error| unreachable(&url, &error))?;
            return Ok(Fetched { url, status, headers, body, whole, hops, took: begun.elapsed() });
        }
    }
}
