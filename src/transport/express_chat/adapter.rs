//! Express-Chat, also sold as m1bot and EkoChat: brands of one reseller of Meta's API.
//!
//! Facts are from the brands' common page on `send-message` and from bot-penguin's own node for
//! n8n. What it answers is documented nowhere; what is read here is what client code reads.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::events;
use super::options::ExpressChatOptions;
use crate::model::capability::{Capabilities, Intake, Kind};
use crate::model::delivery::{ErrorClass, MessageState, Receipt, SendError};
use crate::model::message::{Content, Media};
use crate::secret::Secret;
use crate::transport::answer::{Answer, exchange};
use crate::transport::extra::Raw;
use crate::transport::gateway::{Adapter, Options as _};
use crate::transport::meta::adapter as meta;
use crate::transport::meta::codes::classify_error;
use crate::transport::reach::Desk;
use crate::transport::site::Site;
use crate::transport::wire::{Fields, Header, Wire, attached, fields, maybe};
use crate::transport::{Download, Heard, Incoming, NotHeard, Outgoing, Sending, Transport, client};

const CAPABILITIES: Capabilities = Capabilities {
    kinds: &[
        Kind::new("text", &["recipient_name"]),
        Kind::media("image", &["caption", "recipient_name"], meta::PICTURE.inline(0)),
        Kind::media("file", &["caption", "recipient_name"], Intake::URL.up_to(meta::LARGEST_FILE)),
        Kind::new("template", &["components", "variables", "recipient_name"]),
    ],
    addresses: &["phone"],
    cards: false,
    whole_cards: false,
    in_flight: 16,
    max_text: Some(4096),
    max_caption: Some(1024),
    window: true,
};

/// What the parts of a message are called here, of whatever kind it is.
const RAW: Raw = Raw { gateway: ExpressChatOptions::NAME, own: "type message templateId params userName" };

/// The adapter.
pub struct ExpressChat {
    wire: Wire,
    key: Secret,
}

impl Adapter for ExpressChat {
    type Options = ExpressChatOptions;

    fn can(_: &ExpressChatOptions) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn new(options: &ExpressChatOptions, _: &Site<'_>) -> Result<Self, String> {
        // Header names have no case on the wire; theirs is written `apiKey`.
        let headers = [("apikey", Header::Secret(&options.api_key))];
        let wire = Wire::new(client(options.timeout)?, &options.url, options.timeout, &headers)?;
        Ok(Self { wire, key: options.api_key.clone() })
    }
}

impl Transport for ExpressChat {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn raw(&self) -> &'static Raw {
        &RAW
    }

    fn send(&self, message: Outgoing) -> Sending {
        let (wire, key) = (self.wire.clone(), self.key.clone());
        Box::pin(async move {
            let (path, fields) = prepare(message)?;
            // The key is asked for twice. The address is in no error and no log for that reason.
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("apiKey", key.reveal()).finish();
            let request = wire.with_query(Method::POST, path, &query);
            let request = request.header(CONTENT_TYPE, "application/json").body(Value::Object(fields).to_string());
            read(&exchange(request).await?)
        })
    }

    fn desk(&self) -> Option<Desk> {
        Some(Desk { wire: self.wire.clone(), status: None, groups: None })
    }

    fn receive(&self, incoming: &Incoming<'_>) -> Result<Heard, NotHeard> {
        events::read(incoming)
    }

    fn download(&self, _: &str) -> Download {
        let refusal: Result<Vec<u8>, String> = Err("express-chat has no documented way to fetch a file".into());
        Box::pin(std::future::ready(refusal))
    }
}

fn prepare(message: Outgoing) -> Result<(&'static str, Fields), SendError> {
    let options = message.body.options;
    let digits = message.to.id();
    let name = options.recipient_name.unwrap_or_else(|| digits.to_owned());
    let mut fields = fields([("userName", name.into()), ("wa_id", digits.into())]);
    let kind = message.body.content.kind();
    let mut path = "whatsapp-automation/wa/send-message";
    match message.body.content {
        Content::Text { text } => {
            fields.insert("type".into(), "text".into());
            fields.insert("message".into(), json!({ "text": text }));
        }
        Content::Image(media) => with_media(&mut fields, "image", media, message.file)?,
        Content::File(media) => with_media(&mut fields, "document", media, message.file)?,
        Content::Template { name, mut components, variables, .. } => {
            components.extend(meta::body_of(&variables)?);
            path = "whatsapp-automation/wa/send-template";
            fields.insert("templateId".into(), name.into());
            fields.insert("params".into(), components.into());
        }
        _ => {
            let message = format!("express-chat has no messages of kind `{kind}`");
            return Err(SendError::new(ErrorClass::Unsupported, message));
        }
    }
    RAW.add(&mut fields, options.extra)?;
    Ok((path, fields))
}

fn with_media(
    fields: &mut Fields,
    word: &str,
    media: Media,
    file: Option<crate::transport::Attached>,
) -> Result<(), SendError> {
    let url = attached(file)?.url().unwrap_or_default().to_owned();
    let mut message = crate::transport::wire::fields([("source", url.into()), ("type", word.into())]);
    maybe(&mut message, "label", media.caption);
    fields.insert("type".into(), word.into());
    fields.insert("message".into(), message.into());
    Ok(())
}

fn read(answer: &Answer) -> Result<Receipt, SendError> {
    let body: Value = answer.json().unwrap_or_default();
    let code = meta_error(&body);
    let refused = body.get("success") == Some(&Value::Bool(false));
    let places = [&body["messageId"], &body["data"]["messageId"], &body["data"]["id"], &body["messages"][0]["id"]];
    let id = places.into_iter().find_map(Value::as_str).map(str::to_owned);
    // What its yes looks like is documented nowhere; an error within one has words of its own.
    let odd = ["error", "errors", "code", "statusCode", "status"].iter().any(|word| body.get(word).is_some())
        || body.get("success").is_some_and(|success| !success.is_boolean());
    let taken = id.is_some() || !odd;
    if (200..300).contains(&answer.status) && body.is_object() && !refused && code.is_none() && taken {
        return Ok(Receipt { state: MessageState::Accepted, provider_id: id, chat: None, degraded: Vec::new() });
    }
    let said = [&body["message"], &body["error"], &body["error"]["message"]].into_iter().find_map(Value::as_str);
    let class = match code.and_then(|error| classify_error(error, answer.retry_after)) {
        Some(class) => class,
        // Its own no within a yes: certain, and about the request.
        None if refused && answer.status < 300 => ErrorClass::Invalid,
        None => answer.class(),
    };
    Err(answer.refusal(ExpressChatOptions::NAME, class, said.unwrap_or_default()))
}

/// An error of Meta's in an answer, where the brands pass one on.
fn meta_error(body: &Value) -> Option<&Value> {
    let mut places = [&body["error"], body, &body["errors"][0], &body["data"]["error"]].into_iter();
    let (error, code) = places.find_map(|error| Some((error, error["code"].as_i64()?)))?;
    // What only repeats an HTTP status is no such code, but for 470 and 471 of the older list.
    (!(200..600).contains(&code) || matches!(code, 470 | 471)).then_some(error)
}
