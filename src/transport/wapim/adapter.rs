//! Wapim: a hosted bridge to a phone that must be online.
//!
//! Facts are from Wapim/wapim-docs (commit 59b3891): `send-messages/*.md`, `queue/*.md`,
//! `group/send-message-to-group.md`. What it answers is the id of its own queue.

use serde::Deserialize;
use serde_json::Value;

use super::events;
use super::options::WapimOptions;
use crate::model::capability::{Capabilities, Intake, Kind};
use crate::model::delivery::{ErrorClass, MessageState, Receipt, SendError};
use crate::model::message::{Content, Media};
use crate::transport::answer::{Answer, exchange};
use crate::transport::extra::Raw;
use crate::transport::gateway::{Adapter, Options as _};
use crate::transport::reach::Desk;
use crate::transport::site::Site;
use crate::transport::wire::{Fields, Header, Wire, attached, fields, maybe};
use crate::transport::{Download, Heard, Incoming, NotHeard, Outgoing, Sending, Transport, client};

const FIVE: Intake = Intake::URL.up_to(5_000_000);

const CAPABILITIES: Capabilities = Capabilities {
    kinds: &[
        Kind::new("text", &[]),
        Kind::new("link", &["title", "description"]),
        Kind::media("image", &["caption"], FIVE),
        Kind::media("file", &[], FIVE),
        Kind::media("video", &["caption"], FIVE),
        Kind::new("location", &["name"]),
        Kind::new("contact", &[]),
    ],
    addresses: &["phone", "group"],
    cards: true,
    whole_cards: false,
    in_flight: 16,
    max_text: None,
    max_caption: None,
    window: false,
};

/// What the parts of a message are called here, of whatever kind it is.
const RAW: Raw = Raw {
    gateway: WapimOptions::NAME,
    own: "message url title description content_url caption lat lon contact_name contact_number",
};

/// The adapter.
pub struct Wapim(Wire);

impl Adapter for Wapim {
    type Options = WapimOptions;

    fn can(_: &WapimOptions) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn new(options: &WapimOptions, _: &Site<'_>) -> Result<Self, String> {
        Wire::new(client(options.timeout)?, &options.url, options.timeout, &[("token", Header::Secret(&options.token))])
            .map(Self)
    }
}

impl Transport for Wapim {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn raw(&self) -> &'static Raw {
        &RAW
    }

    fn send(&self, message: Outgoing) -> Sending {
        let wire = self.0.clone();
        Box::pin(async move {
            let (path, fields) = prepare(message)?;
            read(&exchange(wire.post(path, fields)).await?)
        })
    }

    fn desk(&self) -> Option<Desk> {
        Some(Desk { wire: self.0.clone(), status: None, groups: None })
    }

    fn receive(&self, incoming: &Incoming<'_>) -> Result<Heard, NotHeard> {
        events::read(incoming)
    }

    fn download(&self, _: &str) -> Download {
        let refusal: Result<Vec<u8>, String> = Err("wapim has no documented way to fetch a file".into());
        Box::pin(std::future::ready(refusal))
    }
}

fn prepare(message: Outgoing) -> Result<(&'static str, Fields), SendError> {
    // Groups go by their bare id, such as `15417543010-1570918620`.
    let mut fields = fields([("phone_number", message.to.id().into())]);
    let kind = message.body.content.kind();
    let file = message.file;
    let mut media = |media: Media| -> Result<(), SendError> {
        let url = attached(file.clone())?.url().unwrap_or_default().to_owned();
        fields.insert("content_url".into(), url.into());
        maybe(&mut fields, "caption", media.caption);
        Ok(())
    };
    let path = match message.body.content {
        Content::Image(image) => media(image).map(|()| "message/image")?,
        Content::Video(video) => media(video).map(|()| "message/video")?,
        Content::File(document) => media(document).map(|()| "message/document")?,
        Content::Text { text } => {
            fields.insert("message".into(), text.into());
            "message/text"
        }
        Content::Link { url, title, description, .. } => {
            fields.insert("url".into(), url.into());
            maybe(&mut fields, "title", title);
            maybe(&mut fields, "description", description);
            "message/link"
        }
        Content::Location { latitude, longitude, name, .. } => {
            fields.insert("lat".into(), latitude.into());
            fields.insert("lon".into(), longitude.into());
            maybe(&mut fields, "title", name);
            "message/location"
        }
        Content::Contact { contacts } => {
            if let Some(contact) = contacts.into_iter().next() {
                fields.insert("contact_number".into(), contact.digits().into());
                fields.insert("contact_name".into(), contact.name.into());
            }
            "message/contact"
        }
        _ => return Err(SendError::new(ErrorClass::Unsupported, format!("wapim has no messages of kind `{kind}`"))),
    };
    RAW.add(&mut fields, message.body.options.extra)?;
    Ok((path, fields))
}

#[derive(Deserialize)]
struct Queued {
    queue_message_id: String,
}

/// `error` is a text, or a map of lists of texts whose key is `Send Text` whatever was sent.
#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    message: String,
    #[serde(default)]
    error: Value,
}

fn read(answer: &Answer) -> Result<Receipt, SendError> {
    if answer.status == 200
        && let Some(queued) = answer.json::<Queued>()
    {
        // Queued by the service, which is less than sent.
        let id = Some(queued.queue_message_id);
        return Ok(Receipt { state: MessageState::Accepted, provider_id: id, chat: None, degraded: Vec::new() });
    }
    let said = answer.json::<Failure>().map(|failure| {
        let reasons: Vec<&str> = match &failure.error {
            Value::String(text) => vec![text.as_str()],
            Value::Object(lists) => {
                lists.values().filter_map(Value::as_array).flatten().filter_map(Value::as_str).collect()
            }
            _ => Vec::new(),
        };
        match reasons.is_empty() {
            true => failure.message.clone(),
            false => format!("{}: {}", failure.message, reasons.join("; ")),
        }
    });
    let class = match answer.status {
        500.. => ErrorClass::Upstream { retry_after: answer.retry_after },
        _ => answer.class(),
    };
    Err(answer.refusal(WapimOptions::NAME, class, &said.unwrap_or_default()))
}
