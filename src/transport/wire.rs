//! What all dialects write requests with: base address, headers, fields, files.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::multipart::Part;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Attached, FilePlace};
use crate::model::delivery::{ErrorClass, SendError};
use crate::secret::Secret;

/// Fields of a request in JSON.
pub type Fields = Map<String, Value>;

/// The way to one gateway. Cheap to clone.
#[derive(Clone)]
pub struct Wire(Arc<Inside>);

struct Inside {
    client: Client,
    base: url::Url,
    headers: HeaderMap,
    timeout: Duration,
    /// Room for files that travel inside a request, which are held in memory whole.
    inside: Arc<Semaphore>,
}

/// Files that travel inside requests of one account at once.
const INSIDE: usize = 2;

impl Wire {
    /// To a base address; `headers` go with every request, secret ones are marked so.
    ///
    /// # Errors
    /// When a header cannot carry its value.
    pub fn new(
        client: Client,
        base: &url::Url,
        timeout: Duration,
        headers: &[(&'static str, Header<'_>)],
    ) -> Result<Self, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let (text, secret) = match value {
                Header::Plain(text) => ((*text).to_owned(), false),
                Header::Secret(secret) => (secret.reveal().to_owned(), true),
                Header::Made(text) => (text.clone(), true),
            };
            let mut value =
                HeaderValue::try_from(text).map_err(|_| format!("the header `{name}` cannot carry what was given"))?;
            value.set_sensitive(secret);
            map.insert(HeaderName::from_static(name), value);
        }
        let inside = Arc::new(Semaphore::new(INSIDE));
        Ok(Self(Arc::new(Inside { client, base: base.clone(), headers: map, timeout, inside })))
    }

    /// The host and the port of the gateway.
    pub fn server(&self) -> (&str, u16) {
        (self.0.base.host_str().unwrap_or_default(), self.0.base.port_or_known_default().unwrap_or_default())
    }

    /// A request to a path below the base address. The path's parts must be encoded already.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.built(method, path, None)
    }

    /// The same with a query, encoded already.
    pub fn with_query(&self, method: Method, path: &str, query: &str) -> RequestBuilder {
        self.built(method, path, Some(query))
    }

    /// Waits for room in memory for a file of ours; held until the answer is there.
    pub async fn room(&self, file: Option<&Attached>) -> Option<OwnedSemaphorePermit> {
        let local = file.is_some_and(|file| matches!(file.place, FilePlace::Local { .. }));
        // Nobody ever closes it.
        if local { self.0.inside.clone().acquire_owned().await.ok() } else { None }
    }

    fn built(&self, method: Method, path: &str, query: Option<&str>) -> RequestBuilder {
        let mut url = self.0.base.clone();
        url.set_path(&format!("{}/{path}", self.0.base.path().trim_end_matches('/')));
        url.set_query(query);
        self.0.client.request(method, url).timeout(self.0.timeout).headers(self.0.headers.clone())
    }

    /// A POST of JSON.
    pub fn post(&self, path: &str, fields: Fields) -> RequestBuilder {
        self.json(Method::POST, path, fields)
    }

    /// Any request with JSON.
    pub fn json(&self, method: Method, path: &str, fields: Fields) -> RequestBuilder {
        let body = Value::Object(fields).to_string();
        self.request(method, path).header(CONTENT_TYPE, "application/json").body(body)
    }
}

/// The value of a header.
pub enum Header<'a> {
    /// May be seen.
    Plain(&'a str),
    /// May not.
    Secret(&'a Secret),
    /// Made from a secret.
    Made(String),
}

/// `Basic` credentials from `user:password`.
pub fn basic(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

/// A text as one part of a path.
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Sets a field that may be left out.
pub fn maybe(fields: &mut Fields, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        fields.insert(name.into(), value.into());
    }
}

/// Fields from pairs.
pub fn fields<const N: usize>(pairs: [(&str, Value); N]) -> Fields {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A file that a message cannot do without.
///
/// # Errors
/// When it is missing, which only a damaged message can bring about.
pub fn attached(file: Option<Attached>) -> Result<Attached, SendError> {
    file.ok_or_else(|| SendError::new(ErrorClass::MediaRejected, "the message has no file"))
}

fn unreadable(error: &std::io::Error) -> SendError {
    SendError::new(ErrorClass::MediaRejected, format!("the copy of the file cannot be read: {error}"))
}

impl Attached {
    /// Its type, or that of bytes that nobody knows.
    pub fn mime(&self) -> &str {
        self.mime.as_deref().unwrap_or("application/octet-stream")
    }

    /// Its address, if the gateway is to fetch it.
    pub fn url(&self) -> Option<&str> {
        match &self.place {
            FilePlace::Url(url) => Some(url),
            FilePlace::Local { .. } => None,
        }
    }

    /// Its bytes in Base64, if we have them.
    ///
    /// # Errors
    /// When the copy cannot be read.
    pub async fn base64(&self) -> Result<Option<String>, SendError> {
        let FilePlace::Local { path, .. } = &self.place else { return Ok(None) };
        let bytes = tokio::fs::read(path).await.map_err(|error| unreadable(&error))?;
        Ok(Some(STANDARD.encode(bytes)))
    }

    /// Its bytes as a part of a form, read as they are sent.
    ///
    /// # Errors
    /// When the copy cannot be read.
    pub async fn part(&self) -> Result<Option<Part>, SendError> {
        let FilePlace::Local { path, size } = &self.place else { return Ok(None) };
        let file = tokio::fs::File::open(path).await.map_err(|error| unreadable(&error))?;
        let part = Part::stream_with_length(file, *size).file_name(self.name.clone());
        let part = part.mime_str(self.mime());
        part.map(Some).map_err(|error| SendError::new(ErrorClass::Invalid, error.to_string()))
    }
}
