//! What pages are drawn with: served by the hash of their content, for ever.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use sha2::{Digest as _, Sha256};

const STYLE_TEXT: &str = include_str!("assets/postrider.css");
const SCRIPT_TEXT: &str = include_str!("assets/postrider.js");
const ICONS_TEXT: &str = include_str!("assets/icons.svg");
const ICON_TEXT: &str = include_str!("assets/icon.svg");

/// The addresses of all of them.
#[derive(Debug)]
pub struct Assets {
    /// The style sheet.
    pub style: String,
    /// The script.
    pub script: String,
    /// The pictures.
    pub icons: String,
    /// The picture of the tab.
    pub icon: String,
}

impl Default for Assets {
    fn default() -> Self {
        let address = |name: &str, text: &str| {
            let hash = hex::encode(&Sha256::digest(text.as_bytes())[..6]);
            format!("/assets/{hash}/{name}")
        };
        Self {
            style: address("postrider.css", STYLE_TEXT),
            script: address("postrider.js", SCRIPT_TEXT),
            icons: address("icons.svg", ICONS_TEXT),
            icon: address("icon.svg", ICON_TEXT),
        }
    }
}

/// Serves one. The hash is there so that another text has another address.
pub async fn asset(Path((_, name)): Path<(String, String)>) -> Response<Body> {
    let (text, kind) = match name.as_str() {
        "postrider.css" => (STYLE_TEXT, "text/css; charset=utf-8"),
        "postrider.js" => (SCRIPT_TEXT, "text/javascript; charset=utf-8"),
        "icons.svg" => (ICONS_TEXT, "image/svg+xml"),
        "icon.svg" => (ICON_TEXT, "image/svg+xml"),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    response
}
