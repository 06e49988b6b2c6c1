//! A form in parts (RFC 7578): its fields as values, and its files.

use axum::body::{Body, Bytes};
use axum::http::header;
use multer::Multipart;
use serde::Serialize;
use serde_json::Value;

use super::content::{self, Kind};
use super::error::Refused;
use crate::model::event::from_bytes;

/// Most parts; a form has fewer fields.
const MOST: usize = 1_000;

/// A form in parts.
pub struct Parts {
    /// Fields by name; one that comes again is a list.
    pub fields: Value,
    /// In their order.
    pub files: Vec<Part>,
}

/// A file of a form. Its bytes are kept with the event, and scripts see them only by `save`.
#[derive(Serialize)]
pub struct Part {
    /// Of the field.
    name: String,
    /// As the sender calls it.
    file_name: String,
    /// Such as `image/jpeg`.
    #[serde(rename = "type")]
    kind: String,
    size: usize,
    bytes: String,
}

impl Parts {
    /// Reads a body that is whole.
    ///
    /// # Errors
    /// 400, when it is no such form.
    pub async fn read(kind: &Kind, body: &Bytes) -> Result<Self, Refused> {
        let broken = |error: &dyn std::fmt::Display| Refused::bad(format!("the form cannot be read: {error}"));
        let Some(boundary) = &kind.boundary else {
            return Err(broken(&"its content type names no `boundary`"));
        };
        let mut form = Multipart::new(Body::from(body.clone()).into_data_stream(), boundary);
        let (mut fields, mut files) = (Vec::new(), Vec::new());
        while let Some(part) = form.next_field().await.map_err(|error| broken(&error))? {
            if fields.len() + files.len() >= MOST {
                return Err(broken(&format!("it has more than {MOST} parts")));
            }
            let names = part.headers().get(header::CONTENT_DISPOSITION);
            if names.is_some_and(|names| std::str::from_utf8(names.as_bytes()).is_err()) {
                return Err(broken(&"the name of a field or file is not written in UTF-8"));
            }
            let name = part.name().unwrap_or_default().to_owned();
            let file_name = part.file_name().map(str::to_owned);
            let kind = part.content_type().map(ToString::to_string);
            let bytes = part.bytes().await.map_err(|error| broken(&error))?;
            match file_name {
                // A field for a file that was left empty.
                Some(file_name) if file_name.is_empty() && bytes.is_empty() => {}
                Some(file_name) => {
                    let kind = kind.unwrap_or_else(|| "application/octet-stream".into());
                    files.push(Part { name, file_name, kind, size: bytes.len(), bytes: from_bytes(&bytes) });
                }
                None => {
                    let mut kind = Kind::read(&kind.unwrap_or_default());
                    if kind.name.is_empty() {
                        kind.name = "text/plain".into();
                    }
                    let text = content::text(&kind, &bytes)?;
                    let text = text.unwrap_or_else(|| String::from_utf8_lossy(&bytes));
                    fields.push((name, text.into_owned()));
                }
            }
        }
        Ok(Self { fields: content::map(fields.into_iter()), files })
    }
}
