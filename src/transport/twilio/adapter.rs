//! Twilio's WhatsApp channel: a reseller of Meta's API with its own, form-encoded one.
//!
//! Facts are from Twilio's OpenAPI file (`twilio_api_v2010`), its pages on WhatsApp media and its
//! list of error codes.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;

use super::codes::classify;
use super::events;
use super::options::{OURS, Sender, TwilioOptions};
use crate::model::capability::{Capabilities, Intake, Kind};
use crate::model::delivery::{ErrorClass, MessageState, Receipt, SendError};
use crate::model::message::Content;
use crate::model::mime::STILLS;
use crate::secret::Secret;
use crate::transport::answer::{Answer, exchange};
use crate::transport::extra::Raw;
use crate::transport::gateway::{Adapter, Options as _};
use crate::transport::reach::{Ask, Desk};
use crate::transport::site::Site;
use crate::transport::wire::{Header, Wire, attached, basic, segment};
use crate::transport::{Download, Heard, Incoming, NotHeard, Outgoing, Sending, Transport, client};

const CAPABILITIES: Capabilities = Capabilities {
    kinds: &[
        Kind::new("text", &[]),
        Kind::media("image", &["caption"], Intake::URL.served().up_to(5_000_000).of(STILLS)),
        Kind::media("file", &[], Intake::URL.served().up_to(16_000_000)),
        Kind::media("video", &["caption"], Intake::URL.served().up_to(16_000_000).of(&["video/mp4", "video/3gpp"])),
        Kind::media("audio", &[], Intake::URL.served().up_to(16_000_000)),
        Kind::new("location", &["name"]),
        Kind::new("template", &["variables"]),
    ],
    addresses: &["phone"],
    cards: false,
    whole_cards: false,
    in_flight: 16,
    max_text: Some(1600),
    max_caption: Some(1600),
    window: true,
};

/// What the parts of a message are called here, of whatever kind it is.
const RAW: Raw =
    Raw { gateway: TwilioOptions::NAME, own: "Body MediaUrl PersistentAction ContentSid ContentVariables" };

/// The adapter.
pub struct Twilio {
    wire: Wire,
    client: reqwest::Client,
    options: TwilioOptions,
    /// Where it is to tell how far a message is.
    callback: Option<Secret>,
    /// `2010-04-01/Accounts/{account_sid}`.
    account: String,
}

impl Adapter for Twilio {
    type Options = TwilioOptions;

    fn can(_: &TwilioOptions) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn new(options: &TwilioOptions, site: &Site<'_>) -> Result<Self, String> {
        let client = client(options.timeout)?;
        let credentials = basic(&format!("{}:{}", options.account_sid, options.auth_token.reveal()));
        let headers = [("authorization", Header::Made(credentials))];
        let wire = Wire::new(client.clone(), &options.url, options.timeout, &headers)?;
        let account = format!("2010-04-01/Accounts/{}", segment(&options.account_sid));
        Ok(Self { wire, client, options: options.clone(), callback: site.callback(), account })
    }
}

impl Transport for Twilio {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn raw(&self) -> &'static Raw {
        &RAW
    }

    fn send(&self, message: Outgoing) -> Sending {
        let (wire, from, callback) = (self.wire.clone(), self.options.from.clone(), self.callback.clone());
        let path = format!("{}/Messages.json", self.account);
        Box::pin(async move {
            let form = prepare(message, from, callback)?;
            let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
            let request = wire.request(Method::POST, &path);
            let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
            read(&exchange(request).await?)
        })
    }

    fn desk(&self) -> Option<Desk> {
        let status = |body: &Value| match body["status"].as_str() {
            Some("active") => Ok("the account is active".into()),
            other => Err(format!("the account is not active (`{}`)", other.unwrap_or("?"))),
        };
        let path = format!("{}.json", self.account);
        let account = Ask { path, query: "", read: Box::new(status) };
        Some(Desk { wire: self.wire.clone(), status: Some(account), groups: None })
    }

    fn receive(&self, incoming: &Incoming<'_>) -> Result<Heard, NotHeard> {
        events::read(&self.options, incoming)
    }

    /// It would send what else stands there to the person.
    fn thanks(&self) -> &'static str {
        "<Response/>"
    }

    fn download(&self, source: &str) -> Download {
        let (wire, client, base) = (self.wire.clone(), self.client.clone(), self.options.url.clone());
        Box::pin(events::download(wire, client, base, events::path(&self.account, source)))
    }
}

fn prepare(message: Outgoing, from: Sender, callback: Option<Secret>) -> Result<Vec<(String, String)>, SendError> {
    let mut form: Vec<(String, String)> = Vec::new();
    let mut field = |name: &str, value: String| form.push((name.into(), value));
    field("To", format!("whatsapp:+{}", message.to.id()));
    match from {
        Sender::Number(digits) => field("From", format!("whatsapp:+{digits}")),
        Sender::Service(id) => field("MessagingServiceSid", id),
    }
    if let Some(callback) = callback {
        // Twilio says it back, whether its answer came through or not.
        field("StatusCallback", format!("{}?{OURS}={}", callback.reveal(), message.own_id()));
    }
    let kind = message.body.content.kind();
    match message.body.content {
        Content::Text { text } => field("Body", text),
        // Of several media WhatsApp takes only the first.
        Content::Image(media) | Content::Video(media) | Content::File(media) | Content::Audio(media) => {
            if let Some(caption) = media.caption {
                field("Body", caption);
            }
            field("MediaUrl", attached(message.file)?.url().unwrap_or_default().to_owned());
        }
        Content::Location { latitude, longitude, name, .. } => {
            let place = format!("geo:{latitude},{longitude}");
            let label = name.unwrap_or_else(|| format!("{latitude}, {longitude}")).replace('|', " ");
            field("PersistentAction", format!("{place}|{label}"));
            field("Body", label);
        }
        Content::Template { name, variables, .. } => {
            field("ContentSid", name);
            if !variables.is_empty() {
                field("ContentVariables", Value::Object(variables).to_string());
            }
        }
        _ => return Err(SendError::new(ErrorClass::Unsupported, format!("twilio has no messages of kind `{kind}`"))),
    }
    let extra = message.body.options.extra;
    RAW.check(&extra, form.iter().map(|(name, _)| name.as_str()))?;
    form.extend(extra.into_iter().map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (name, text)
    }));
    Ok(form)
}

fn read(answer: &Answer) -> Result<Receipt, SendError> {
    let body: Value = answer.json().unwrap_or_default();
    let number = |field: &str| body[field].as_i64().or_else(|| body[field].as_str()?.parse().ok());
    let class = |code: i64| classify(code, answer.retry_after).unwrap_or_else(|| answer.class());
    let said = [&body["error_message"], &body["message"]].into_iter().find_map(Value::as_str).unwrap_or_default();
    if let (200 | 201, Some(id)) = (answer.status, body["sid"].as_str()) {
        let state = match body["status"].as_str() {
            Some("failed" | "undelivered" | "canceled") => {
                let class = number("error_code").map_or(ErrorClass::Invalid, class);
                return Err(answer.refusal(TwilioOptions::NAME, class, said));
            }
            Some("sent") => MessageState::Sent,
            Some("delivered") => MessageState::Delivered,
            Some("read") => MessageState::Read,
            _ => MessageState::Accepted,
        };
        let chat = body["to"].as_str().and_then(events::address);
        return Ok(Receipt { state, provider_id: Some(id.to_owned()), chat, degraded: Vec::new() });
    }
    let class = number("code").map_or_else(|| answer.class(), class);
    Err(answer.refusal(TwilioOptions::NAME, class, said))
}
