//! GOWA (aldinokemal/go-whatsapp-web-multidevice, 9.2.0): a self-hosted bridge to a single phone.
//!
//! Facts are from its source: `src/ui/rest/send.go`, `src/validations/send_validation.go`,
//! `src/pkg/error/*.go`. Its OpenAPI file lags behind the code.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::RequestBuilder;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::multipart::{Form, Part};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::answer::{Answer, doubt, exchange};
use super::{Outgoing, Sending, Transport};
use crate::model::capability::Capabilities;
use crate::model::delivery::{Degraded, ErrorClass, MessageState, Receipt, Scope, SendError};
use crate::model::message::{Content, SendOptions, Source};
use crate::model::recipient::Recipient;
use crate::secret::Secret;

const CAPABILITIES: Capabilities = Capabilities {
    kinds: &[
        ("text", &["reply_to", "forwarded", "disappear", "mentions"]),
        ("link", &["caption", "forwarded", "disappear"]),
        ("image", &["caption", "view_once", "hd", "reply_to", "forwarded", "disappear"]),
        ("file", &["caption", "name", "reply_to", "forwarded", "disappear"]),
    ],
    addresses: &["phone", "group", "newsletter", "lid"],
    in_flight: 64,
};

/// Its default limits; a larger upload is refused by it after all bytes have travelled.
const LARGEST_IMAGE: u64 = 20 << 20;
const LARGEST_FILE: u64 = 50 << 20;

/// What an account of this transport is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GowaOptions {
    /// Base address, with `APP_BASE_PATH` if one is set there.
    pub url: url::Url,
    /// Device, where the gateway has several.
    pub device: Option<String>,
    /// `user:password`.
    pub basic_auth: Option<Secret>,
    /// For one request; the server itself gives up after 45 s.
    pub timeout: Duration,
}

/// The adapter.
pub struct Gowa {
    /// For each path that messages are posted to, made once.
    endpoints: BTreeMap<&'static str, url::Url>,
    headers: HeaderMap,
    timeout: Duration,
    client: reqwest::Client,
}

const PATHS: [&str; 4] = ["send/message", "send/link", "send/image", "send/file"];

impl Gowa {
    /// For one account.
    ///
    /// # Errors
    /// When device or credentials cannot be sent in a header.
    pub fn new(options: GowaOptions, client: reqwest::Client) -> Result<Self, String> {
        let base = options.url.as_str().trim_end_matches('/');
        let endpoint = |path: &'static str| {
            let url = url::Url::parse(&format!("{base}/{path}")).map_err(|error| error.to_string())?;
            Ok((path, url))
        };
        let mut headers = HeaderMap::new();
        let sendable = |text: String| HeaderValue::try_from(text).map_err(|_| "a header cannot carry it".to_owned());
        if let Some(device) = &options.device {
            // The server URL-decodes the header.
            headers.insert("X-Device-Id", sendable(utf8_percent_encode(device, NON_ALPHANUMERIC).to_string())?);
        }
        if let Some(auth) = &options.basic_auth {
            let mut value = sendable(format!("Basic {}", STANDARD.encode(auth.reveal())))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let endpoints = PATHS.into_iter().map(endpoint).collect::<Result<_, String>>()?;
        Ok(Self { endpoints, headers, timeout: options.timeout, client })
    }

    fn post(&self, path: &str) -> Option<RequestBuilder> {
        let url = self.endpoints.get(path)?.clone();
        Some(self.client.post(url).timeout(self.timeout).headers(self.headers.clone()))
    }
}

impl Transport for Gowa {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn send(&self, message: Outgoing) -> Sending {
        let prepared = prepare(message);
        let request = prepared.as_ref().ok().and_then(|prepared| self.post(prepared.path));
        Box::pin(async move {
            let prepared = prepared?;
            let Some(request) = request else { return Err(doubt("no request was made")) };
            let request = match prepared.upload {
                None => {
                    let body = Value::Object(prepared.fields).to_string();
                    request.header("Content-Type", "application/json").body(body)
                }
                Some(upload) => request.multipart(form(prepared.fields, upload).await?),
            };
            let mut receipt = read(&exchange(request).await?)?;
            receipt.degraded = prepared.degraded;
            Ok(receipt)
        })
    }
}

/// A request before it is one.
struct Prepared {
    path: &'static str,
    fields: Map<String, Value>,
    upload: Option<Upload>,
    degraded: Vec<Degraded>,
}

struct Upload {
    field: &'static str,
    name: String,
    path: std::path::PathBuf,
    size: u64,
}

fn address(to: &Recipient) -> String {
    match to {
        Recipient::Phone(digits) => format!("{digits}@s.whatsapp.net"),
        other => other.to_string(),
    }
}

fn prepare(message: Outgoing) -> Result<Prepared, SendError> {
    let mut fields = Map::new();
    fields.insert("phone".into(), address(&message.to).into());
    let SendOptions { reply_to, forwarded, disappear, mentions, extra, .. } = message.body.options;
    let mut degraded = Vec::new();
    let mut upload = None;
    let path = match message.body.content {
        Content::Text { text } => {
            fields.insert("message".into(), text.into());
            "send/message"
        }
        Content::Link { url, caption, .. } => {
            // The documentation calls the caption optional, the validator refuses a blank one.
            let caption = caption.unwrap_or_else(|| {
                degraded.push(Degraded { field: "caption".into(), action: "filled with the link".into() });
                url.clone()
            });
            fields.insert("caption".into(), caption.into());
            fields.insert("link".into(), url.into());
            "send/link"
        }
        Content::Image { source, caption, view_once, hd } => {
            optional(&mut fields, "caption", caption);
            optional(&mut fields, "view_once", view_once);
            optional(&mut fields, "hd", hd);
            match source {
                Source::Url { url } => fields.insert("image_url".into(), picture(url)?.into()).map_or((), drop),
                Source::Snapshot(copy) => {
                    upload = Some(uploaded("image", copy.file_name, copy.size, LARGEST_IMAGE, message.file)?);
                }
            }
            "send/image"
        }
        Content::File { source, caption, name } => {
            optional(&mut fields, "caption", caption);
            match source {
                Source::Url { url } => {
                    if name.is_some() {
                        let action = "left out: the gateway takes it from the address".into();
                        degraded.push(Degraded { field: "name".into(), action });
                    }
                    fields.insert("file_url".into(), url.into());
                }
                Source::Snapshot(copy) => {
                    let name = name.unwrap_or(copy.file_name);
                    upload = Some(uploaded("file", name, copy.size, LARGEST_FILE, message.file)?);
                }
            }
            "send/file"
        }
    };
    optional(&mut fields, "reply_message_id", reply_to);
    optional(&mut fields, "is_forwarded", forwarded.then_some(true));
    optional(&mut fields, "duration", disappear);
    if !mentions.is_empty() {
        let mentions = mentions.iter().map(|mention| match mention.as_str() {
            "everyone" => "@everyone".to_owned(),
            phone => phone.trim_start_matches('+').to_owned(),
        });
        fields.insert("mentions".into(), mentions.collect());
    }
    fields.extend(extra);
    Ok(Prepared { path, fields, upload, degraded })
}

fn optional(fields: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        fields.insert(name.into(), value.into());
    }
}

/// The gateway looks at the ending of the address's last part, not at what is behind it.
fn picture(url: String) -> Result<String, SendError> {
    let ending = url::Url::parse(&url).ok().and_then(|url| {
        let last = url.path_segments()?.next_back()?.to_ascii_lowercase();
        [".jpg", ".jpeg", ".png", ".webp"].iter().any(|known| last.ends_with(known)).then_some(())
    });
    if ending.is_some() {
        return Ok(url);
    }
    let message = "this gateway takes pictures only from addresses that end in .jpg, .jpeg, .png or .webp; \
        download it into files/ and send the file";
    Err(SendError::new(ErrorClass::MediaRejected, message))
}

fn uploaded(
    field: &'static str,
    name: String,
    size: u64,
    largest: u64,
    path: Option<std::path::PathBuf>,
) -> Result<Upload, SendError> {
    if size > largest {
        let message = format!("the {field} has {size} bytes, the gateway takes {largest}");
        return Err(SendError::new(ErrorClass::TooLarge, message));
    }
    let missing = || SendError::new(ErrorClass::MediaRejected, "the copy of the file is gone from .postrider/blobs");
    Ok(Upload { field, name, path: path.ok_or_else(missing)?, size })
}

async fn form(fields: Map<String, Value>, upload: Upload) -> Result<Form, SendError> {
    let file = tokio::fs::File::open(&upload.path).await.map_err(|error| {
        SendError::new(ErrorClass::MediaRejected, format!("the copy of the file cannot be read: {error}"))
    })?;
    let kind = content_type(&upload.name);
    let part = Part::stream_with_length(file, upload.size).file_name(upload.name);
    let part = part.mime_str(kind).map_err(|error| SendError::new(ErrorClass::Invalid, error.to_string()))?;
    let mut form = Form::new();
    for (name, value) in fields {
        let text = match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        form = form.text(name, text);
    }
    Ok(form.part(upload.field, part))
}

fn content_type(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    match ending.as_deref() {
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("png") => "image/png",
        Some("webp") => "image/webp",
        Some("gif") => "image/gif",
        Some("pdf") => "application/pdf",
        Some("txt") => "text/plain",
        Some("csv") => "text/csv",
        _ => "application/octet-stream",
    }
}

/// Every answer is of this shape, but for plain texts from the basic-auth guard and proxies.
#[derive(Deserialize)]
struct Envelope {
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    results: Value,
}

fn read(answer: &Answer) -> Result<Receipt, SendError> {
    let envelope: Option<Envelope> = answer.json();
    if let (200, Some(envelope)) = (answer.status, &envelope)
        && envelope.code == "SUCCESS"
    {
        let id = envelope.results.get("message_id").and_then(Value::as_str);
        return Ok(Receipt { state: MessageState::Sent, provider_id: id.map(str::to_owned), degraded: Vec::new() });
    }
    let said = match &envelope {
        Some(envelope) => format!("{} {}: {}", answer.status, envelope.code, envelope.message),
        None => format!("{} {}", answer.status, answer.excerpt()),
    };
    let text = envelope.as_ref().map_or("", |envelope| envelope.message.as_str());
    let code = envelope.as_ref().map_or("", |envelope| envelope.code.as_str());
    Err(SendError::new(classify(answer, code, text), format!("gowa answered {said}")))
}

fn classify(answer: &Answer, code: &str, text: &str) -> ErrorClass {
    let retry_after = answer.retry_after;
    match (answer.status, code) {
        (400, "INVALID_JID") => ErrorClass::RecipientInvalid,
        // The account's settings are wrong, not the message.
        (400, "DEVICE_ID_REQUIRED") | (404, "DEVICE_NOT_FOUND") => ErrorClass::Auth,
        (401, "AUTHENTICATION_ERROR") => ErrorClass::NotConnected,
        (401 | 403, _) => ErrorClass::Auth,
        (413, _) => ErrorClass::TooLarge,
        // WhatsApp's lock on new contacts lasts for hours.
        (429, "WA_REACHOUT_TIMELOCK") => ErrorClass::RateLimited {
            retry_after: retry_after.or(Some(Duration::from_secs(3_600))),
            scope: Scope::Recipient,
        },
        (429, _) => ErrorClass::RateLimited { retry_after, scope: Scope::Recipient },
        // The link's page or the picture could not be loaded; nothing had been sent by then.
        (500, _) if text.starts_with("failed to download") => ErrorClass::Upstream { retry_after },
        (503, _) => ErrorClass::Upstream { retry_after },
        // Some other server answers at this address.
        (300..=399, _) => ErrorClass::NotConnected,
        (408, _) | (200..=299, _) | (500..=599, _) => ErrorClass::Ambiguous,
        _ => ErrorClass::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn class(status: u16, body: &Value) -> &'static str {
        let body = match body {
            Value::String(text) => text.clone().into_bytes(),
            other => other.to_string().into_bytes(),
        };
        match read(&Answer { status, retry_after: None, body }) {
            Ok(_) => "success",
            Err(error) => error.class.name(),
        }
    }

    #[test]
    fn every_documented_answer_has_its_class() {
        let coded = |code: &str, text: &str| json!({ "code": code, "message": text });
        for (status, body, wanted) in [
            (200, json!({ "code": "SUCCESS", "message": "", "results": { "message_id": "3EB0" } }), "success"),
            (400, coded("VALIDATION_ERROR", "phone: cannot be blank."), "invalid"),
            (400, coded("INVALID_JID", "not on WhatsApp"), "recipient_invalid"),
            (400, coded("DEVICE_ID_REQUIRED", ""), "auth"),
            (401, coded("AUTHENTICATION_ERROR", "not logged in"), "not_connected"),
            (401, json!("Unauthorized"), "auth"),
            (404, coded("DEVICE_NOT_FOUND", ""), "auth"),
            (404, coded("NOT_FOUND", ""), "invalid"),
            (408, coded("CONTEXT_ERROR", ""), "ambiguous"),
            (413, json!(""), "too_large"),
            (429, coded("WA_REACHOUT_TIMELOCK", ""), "rate_limited"),
            (500, coded("INTERNAL_SERVER_ERROR", "failed to download image"), "upstream"),
            (500, coded("INTERNAL_SERVER_ERROR", "websocket closed"), "ambiguous"),
            (502, json!("<html>bad gateway</html>"), "ambiguous"),
            (503, coded("DEVICE_MANAGER_UNAVAILABLE", ""), "upstream"),
            (504, coded("GATEWAY_TIMEOUT", ""), "ambiguous"),
            (200, json!("<html>a login page</html>"), "ambiguous"),
            (302, json!(""), "not_connected"),
        ] {
            assert_eq!(class(status, &body), wanted, "{status} {body}");
        }
    }
}
