//! Errors over HTTP: `{"error":{"kind","message","hint"}}`.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use crate::store::StoreError;

/// An answer that says no. Boxed, for a yes should not carry its weight around.
#[derive(Debug)]
pub struct Refused(Box<Parts>);

/// What a refusal says, beside its answer: a page says it in its own way.
#[derive(Clone, Debug)]
pub struct Told {
    /// What is wrong, and what the owner can do about it.
    pub message: String,
    /// What to do instead.
    pub hint: Option<String>,
}

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    kind: &'static str,
    message: String,
    hint: Option<String>,
    remedy: Option<&'static str>,
    header: Option<(header::HeaderName, String)>,
}

impl Refused {
    /// With a status, a kind and a sentence.
    pub fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Parts { status, kind, message: message.into(), hint: None, remedy: None, header: None }))
    }

    /// 400.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }

    /// 404.
    pub fn missing(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 503: come again.
    pub fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message).with(header::RETRY_AFTER, "5")
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// What is wrong, in a sentence.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do instead, where that is known.
    pub fn remedy(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Whether it may go well a little later.
    pub fn is_busy(&self) -> bool {
        self.0.status == StatusCode::SERVICE_UNAVAILABLE
    }

    /// What to do instead.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// What only the owner can do about it: for the log and the list of what was refused, not for callers.
    pub fn for_owner(mut self, remedy: &'static str) -> Self {
        self.0.remedy = Some(remedy);
        self
    }

    /// One more header.
    pub fn with(mut self, name: header::HeaderName, value: impl Into<String>) -> Self {
        self.0.header = Some((name, value.into()));
        self
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Backlog(_)
            | StoreError::NoRoom(_)
            | StoreError::Behind
            | StoreError::Busy
            | StoreError::Closed => Self::busy(error.to_string()),
            StoreError::Repeated(_) => Self::new(StatusCode::CONFLICT, "repeated", error.to_string()),
            StoreError::Unreadable(what) => {
                Self::new(StatusCode::CONFLICT, "damaged", format!("what is stored of it cannot be read: {what}"))
            }
            other => {
                tracing::error!(error = %other, "the store failed");
                Self::busy("the store failed; the log says why")
            }
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response<Body> {
        let Parts { status, kind, message, hint, remedy, header } = *self.0;
        let body = json!({ "error": { "kind": kind, "message": &message, "hint": &hint } });
        let mut response = answer(status, &body);
        let message = match remedy {
            Some(remedy) => format!("{message}; {remedy}"),
            None => message,
        };
        response.extensions_mut().insert(Told { message, hint });
        if let Some((name, value)) = header
            && let Ok(value) = HeaderValue::from_str(&value)
        {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// An answer in JSON.
pub fn answer(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
