//! Wawp: a hosted service whose objects are WAHA's.
//!
//! Facts are from api.wawp.net/en/docs/v2/send/*, its node for n8n and its Python client. It takes
//! the credentials in four ways; in the JSON body is the documented one.

use reqwest::Method;
use serde_json::{Value, json};

use super::events;
use super::options::WawpOptions;
use crate::model::capability::{Capabilities, Intake, Kind};
use crate::model::delivery::{ErrorClass, Receipt, SendError};
use crate::model::message::{Contact, Content, Media};
use crate::model::recipient::Recipient;
use crate::secret::Secret;
use crate::transport::acks::reached;
use crate::transport::answer::{Answer, exchange};
use crate::transport::events::{below_folder, bytes, get};
use crate::transport::extra::Raw;
use crate::transport::gateway::{Adapter, Options as _};
use crate::transport::reach::Desk;
use crate::transport::site::Site;
use crate::transport::waha::adapter::{ELSEWHERE, FILES, described};
use crate::transport::waha::engine::FILE;
use crate::transport::waha::ids::{chat, chat_in, marked, provider_id};
use crate::transport::wire::{Fields, Wire, attached, fields, maybe};
use crate::transport::{Attached, Download, Heard, Incoming, NotHeard, Outgoing, Sending, Transport, client};

const PICTURE: Intake = FILE.of(&["image/jpeg", "image/png"]);

const CAPABILITIES: Capabilities = Capabilities {
    kinds: &[
        Kind::new("text", &["reply_to"]),
        Kind::new("link", &["caption", "title", "description", "thumbnail", "high_quality", "reply_to"]),
        Kind::media("image", &["caption", "name", "reply_to"], PICTURE),
        Kind::media("file", &["caption", "name", "reply_to"], FILE),
        Kind::media("video", &["caption", "name", "note", "reply_to"], FILE),
        Kind::media("voice", &["name", "reply_to"], FILE),
        Kind::new("location", &["name", "address", "reply_to"]),
        Kind::new("contact", &["several", "organization", "reply_to"]),
        Kind::new("poll", &["reply_to"]),
        Kind::new("reaction", &[]),
    ],
    addresses: &["phone", "group", "newsletter", "lid"],
    cards: true,
    whole_cards: false,
    in_flight: 8,
    max_text: Some(4096),
    max_caption: None,
    window: false,
};

/// What the parts of a message are called here, of whatever kind it is.
const RAW: Raw = Raw {
    gateway: WawpOptions::NAME,
    own: "message text url caption file latitude longitude title contacts poll reaction messageId \
        reply_to",
};

/// The adapter.
pub struct Wawp {
    wire: Wire,
    base: url::Url,
    instance: String,
    token: Secret,
    webhook_secret: Option<Secret>,
    webhook_header: String,
}

impl Adapter for Wawp {
    type Options = WawpOptions;

    fn can(_: &WawpOptions) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn new(options: &WawpOptions, _: &Site<'_>) -> Result<Self, String> {
        let wire = Wire::new(client(options.timeout)?, &options.url, options.timeout, &[])?;
        Ok(Self {
            wire,
            base: options.url.clone(),
            instance: options.instance_id.clone(),
            token: options.access_token.clone(),
            webhook_secret: options.webhook_secret.clone(),
            webhook_header: options.webhook_header.clone(),
        })
    }
}

impl Transport for Wawp {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn raw(&self) -> &'static Raw {
        &RAW
    }

    fn send(&self, message: Outgoing) -> Sending {
        let (wire, instance, token) = (self.wire.clone(), self.instance.clone(), self.token.clone());
        Box::pin(async move {
            let Call { method, path, mut fields, file } = prepare(message)?;
            let _room = wire.room(file.as_ref()).await;
            if let Some(file) = &file {
                fields.insert("file".into(), described(file).await?.into());
            }
            fields.insert("instance_id".into(), instance.into());
            fields.insert("access_token".into(), token.reveal().into());
            read(&exchange(wire.json(method, path, fields)).await?)
        })
    }

    fn desk(&self) -> Option<Desk> {
        Some(Desk { wire: self.wire.clone(), status: None, groups: None })
    }

    fn receive(&self, incoming: &Incoming<'_>) -> Result<Heard, NotHeard> {
        events::read(&self.instance, &self.webhook_header, self.webhook_secret.as_ref(), incoming)
    }

    fn download(&self, source: &str) -> Download {
        // A request without a body takes them from headers, as its Python client sends them.
        let request = below_folder(&self.base, FILES, source).map(|path| {
            get(&self.wire, &path).bearer_auth(self.token.reveal()).header("x-instance-id", self.instance.as_str())
        });
        Box::pin(async move { bytes(request.ok_or(ELSEWHERE)?).await })
    }
}

struct Call {
    method: Method,
    path: &'static str,
    fields: Fields,
    file: Option<Attached>,
}

fn prepare(message: Outgoing) -> Result<Call, SendError> {
    let fields = fields([("chatId", chat(&message.to).into())]);
    let mut call = Call { method: Method::POST, path: "", fields, file: None };
    let options = message.body.options;
    maybe(&mut call.fields, "reply_to", options.reply_to);
    call.path = call.fill(message.body.content, &message.to, message.file)?;
    RAW.add(&mut call.fields, options.extra)?;
    Ok(call)
}

impl Call {
    /// Gives the path.
    fn fill(&mut self, content: Content, to: &Recipient, file: Option<Attached>) -> Result<&'static str, SendError> {
        let fields = &mut self.fields;
        Ok(match content {
            Content::Text { text } => {
                // Here it is called `message`, beside a link `text`.
                fields.insert("message".into(), text.into());
                "v2/send/text"
            }
            Content::Link { url, caption, title, description, thumbnail, high_quality, .. } => {
                fields.insert("url".into(), url.into());
                maybe(fields, "text", caption);
                maybe(fields, "thumbnail", thumbnail);
                maybe(fields, "title", title);
                maybe(fields, "description", description);
                maybe(fields, "linkPreviewHighQuality", high_quality);
                "v2/send/link-preview"
            }
            Content::Location { latitude, longitude, name, address } => {
                // Its page gives them as texts, and calls the address `message`.
                fields.insert("latitude".into(), latitude.to_string().into());
                fields.insert("longitude".into(), longitude.to_string().into());
                maybe(fields, "title", name);
                maybe(fields, "message", address);
                "v2/send/location"
            }
            Content::Contact { contacts } => {
                fields.insert("contacts".into(), contacts.iter().map(card).collect());
                "v2/send/contact"
            }
            Content::Poll { question, answers, max_answers } => {
                let poll = json!({ "name": question, "options": answers, "multipleAnswers": max_answers > 1 });
                fields.insert("poll".into(), poll);
                "v2/send/poll"
            }
            Content::Reaction { message: theirs, emoji, .. } => {
                self.method = Method::PUT;
                fields.insert("messageId".into(), marked(theirs, to)?.into());
                fields.insert("reaction".into(), emoji.into());
                "v2/send/reaction"
            }
            content => return self.fill_file(content, file),
        })
    }

    fn fill_file(&mut self, content: Content, file: Option<Attached>) -> Result<&'static str, SendError> {
        let kind = content.kind();
        let fields = &mut self.fields;
        Ok(match content {
            Content::Image(Media { caption, .. }) | Content::File(Media { caption, .. }) => {
                self.file = Some(attached(file)?);
                // Marked as required; clients send one blank for none.
                fields.insert("caption".into(), caption.unwrap_or_else(|| " ".into()).into());
                if kind == "image" { "v2/send/image" } else { "v2/send/pdf" }
            }
            Content::Video(media) => {
                self.file = Some(attached(file)?);
                maybe(fields, "caption", media.caption);
                // Clients write these as words.
                fields.insert("convert".into(), "true".into());
                fields.insert("asNote".into(), media.note.unwrap_or(false).to_string().into());
                "v2/send/video"
            }
            Content::Voice(_) => {
                self.file = Some(attached(file)?);
                fields.insert("convert".into(), "true".into());
                "v2/send/voice"
            }
            _ => return Err(SendError::new(ErrorClass::Unsupported, format!("wawp has no messages of kind `{kind}`"))),
        })
    }
}

fn card(contact: &Contact) -> Value {
    let mut card = fields([
        ("fullName", contact.name.as_str().into()),
        ("phoneNumber", contact.phone.as_str().into()),
        ("whatsappId", contact.digits().into()),
    ]);
    maybe(&mut card, "organization", contact.organization.as_deref());
    card.into()
}

fn read(answer: &Answer) -> Result<Receipt, SendError> {
    let body: Value = answer.json().unwrap_or_default();
    let waiting = matches!(body["status"].as_str(), Some("queued" | "accepted" | "pending" | "scheduled"));
    let id = provider_id(&body);
    if (200..300).contains(&answer.status) && (id.is_some() || waiting) {
        let (state, chat) = (reached(&body["ack"]), chat_in(&body));
        return Ok(Receipt { state, provider_id: id, chat, degraded: Vec::new() });
    }
    let code = [&body["code"], &body["error"]].into_iter().find_map(Value::as_str).unwrap_or_default();
    // An error may come with status 200 and its own inside.
    let status = match answer.status {
        200..=299 => body["data"]["status"].as_u64().or(body["status"].as_u64()).unwrap_or(u64::from(answer.status)),
        status => u64::from(status),
    };
    let class = match (status, code) {
        (_, "missing_param") => ErrorClass::Invalid,
        (_, "quota_reached") => ErrorClass::Quota,
        // The instance is stopped or unknown.
        (_, "invalid_session") => ErrorClass::NotConnected,
        (_, "wawp_upstream_error") => ErrorClass::Ambiguous,
        (_, code) if code.contains("token") => ErrorClass::Auth,
        (status, _) if body.is_object() => {
            Answer { status: status as u16, retry_after: answer.retry_after, body: answer.body.clone() }.class()
        }
        _ => answer.class(),
    };
    let said = body["message"].as_str().unwrap_or_default();
    let said = format!("{code}: {said}");
    Err(answer.refusal(WawpOptions::NAME, class, said.trim_matches([':', ' '])))
}
