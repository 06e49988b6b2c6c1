//! WAHA (devlikeapro/waha, 2026.7.1): a self-hosted bridge whose engines differ in what they can.
//!
//! Facts are from its OpenAPI file and `content/docs/how-to/*`, `src/core/exceptions.ts`,
//! `src/nestjs/AllExceptionsFilter.ts`; where it may have sent in spite of an error, from its
//! issues 1225 and 2054.

use reqwest::Method;
use serde_json::{Value, json};

use super::answers;
use super::engine::Engine;
use super::events;
use super::ids::{chat, chat_in, marked, provider_id};
use super::options::WahaOptions;
use crate::model::capability::Capabilities;
use crate::model::conversation::numbered;
use crate::model::delivery::{ErrorClass, Receipt, SendError};
use crate::model::inbound::bare_id;
use crate::model::message::Content;
use crate::secret::Secret;
use crate::transport::acks::reached;
use crate::transport::answer::{Answer, exchange};
use crate::transport::events::{below_folder, bytes, get};
use crate::transport::extra::Raw;
use crate::transport::gateway::{Adapter, Options as _};
use crate::transport::reach::{Ask, Desk, OTHER, listed};
use crate::transport::site::Site;
use crate::transport::wire::{Fields, Header, Wire, attached, fields, maybe, segment};
use crate::transport::{Attached, Download, Heard, Incoming, NotHeard, Outgoing, Sending, Transport, client};

/// What the parts of a message are called here, of whatever kind it is.
const RAW: Raw = Raw {
    gateway: WahaOptions::NAME,
    own: "id text caption file preview linkPreview latitude longitude title contacts poll reaction \
        messageId reply_to",
};

/// The adapter.
pub struct Waha {
    wire: Wire,
    base: url::Url,
    session: String,
    engine: Engine,
    webhook_secret: Option<Secret>,
}

impl Adapter for Waha {
    type Options = WahaOptions;

    fn can(options: &WahaOptions) -> &'static Capabilities {
        options.engine.capabilities()
    }

    fn new(options: &WahaOptions, _: &Site<'_>) -> Result<Self, String> {
        let key = options.api_key.as_ref().map(|key| ("x-api-key", Header::Secret(key)));
        let headers: Vec<_> = key.into_iter().collect();
        let wire = Wire::new(client(options.timeout)?, &options.url, options.timeout, &headers)?;
        let (session, webhook_secret) = (options.session.clone(), options.webhook_secret.clone());
        Ok(Self { wire, base: options.url.clone(), session, engine: options.engine, webhook_secret })
    }
}

impl Transport for Waha {
    fn capabilities(&self) -> &'static Capabilities {
        self.engine.capabilities()
    }

    fn raw(&self) -> &'static Raw {
        &RAW
    }

    fn send(&self, message: Outgoing) -> Sending {
        let (wire, session, engine) = (self.wire.clone(), self.session.clone(), self.engine);
        Box::pin(async move {
            let mut call = prepare(message, session, engine)?;
            let _room = wire.room(call.file.as_ref()).await;
            if let Some(file) = &call.file {
                let mut file = described(file).await?;
                // A voice note behind an address has no name there.
                if call.path == "api/sendVoice" && file.contains_key("url") {
                    file.remove("filename");
                }
                call.fields.insert("file".into(), file.into());
            }
            let reaction = call.path == "api/reaction";
            let own = call.fields.get("id").and_then(Value::as_str).map(str::to_owned);
            let answer = exchange(wire.json(call.method, call.path, call.fields)).await;
            let read = answer.and_then(|answer| read(&answer, reaction));
            // Should nobody know whether it went out, what is told of its id shows it.
            let mut receipt = read.map_err(|error| SendError { provider_id: own, ..error })?;
            if engine.is_client() {
                receipt.provider_id = receipt.provider_id.map(|id| bare_id(&id).to_owned());
            }
            Ok(receipt)
        })
    }

    fn desk(&self) -> Option<Desk> {
        let status = |body: &Value| match body["status"].as_str() {
            Some("WORKING") => Ok("the phone is linked".into()),
            Some("SCAN_QR_CODE") => Err("the phone is not linked; scan the QR code on WAHA's own page".into()),
            None => Err(OTHER.into()),
            Some(state) => Err(format!("the session is not working (`{state}`); start it on WAHA's own page")),
        };
        let groups = |body: &Value| {
            let (ids, names) = (["/id/_serialized", "/id", "/JID"], ["/name", "/subject", "/Name"]);
            match body {
                Value::Array(rows) => Some(listed(rows, &ids, &names)),
                // One of its engines gives a map by their ids.
                Value::Object(map) if map.values().all(Value::is_object) => Some(listed(map.values(), &ids, &names)),
                _ => None,
            }
        };
        let session = segment(&self.session);
        Some(Desk {
            wire: self.wire.clone(),
            status: Some(Ask { path: format!("api/sessions/{session}"), query: "", read: Box::new(status) }),
            groups: Some(Ask { path: format!("api/{session}/groups"), query: "", read: Box::new(groups) }),
        })
    }

    fn receive(&self, incoming: &Incoming<'_>) -> Result<Heard, NotHeard> {
        events::read(&self.session, self.engine.is_client(), self.webhook_secret.as_ref(), incoming)
    }

    fn download(&self, source: &str) -> Download {
        let request = below_folder(&self.base, FILES, source).map(|path| get(&self.wire, &path));
        Box::pin(async move { bytes(request.ok_or(ELSEWHERE)?).await })
    }
}

/// Where it keeps what came with messages, unless a store of somebody else's does.
pub const FILES: &str = "api/files/";
pub const ELSEWHERE: &str = "the gateway keeps its files somewhere else, where nothing is fetched from";

struct Call {
    method: Method,
    path: &'static str,
    fields: Fields,
    file: Option<Attached>,
}

/// `{url | data, mimetype, filename}`.
pub async fn described(file: &Attached) -> Result<Fields, SendError> {
    let mut described = fields([("mimetype", file.mime().into()), ("filename", file.name.as_str().into())]);
    maybe(&mut described, "url", file.url());
    maybe(&mut described, "data", file.base64().await?);
    Ok(described)
}

/// A client's own id for a message: uppercase hexadecimal as WhatsApp's own are, the same for
/// each try, so that phones may drop a second copy.
fn own_id(message: &Outgoing) -> String {
    let bytes = message.id.as_bytes();
    // The part takes the place of a byte of time, which is the same for all parts.
    format!("3EB0{}{:02X}", hex::encode_upper(&bytes[7..]), message.part & 0xff)
}

fn prepare(message: Outgoing, session: String, engine: Engine) -> Result<Call, SendError> {
    let id = engine.is_client().then(|| own_id(&message));
    let to = chat(&message.to);
    let mut call = Call {
        method: Method::POST,
        path: "api/sendText",
        fields: fields([("session", session.into()), ("chatId", to.as_str().into())]),
        file: None,
    };
    let options = message.body.options;
    maybe(&mut call.fields, "reply_to", options.reply_to);
    match message.body.content {
        Content::Reaction { message: theirs, emoji, own } => {
            (call.method, call.path) = (Method::PUT, "api/reaction");
            // The message's own id names its chat; what was sent by a client is known without it.
            call.fields.remove("chatId");
            let theirs = match theirs.contains('_') {
                true => marked(theirs, &message.to)?,
                false => format!("{own}_{to}_{theirs}"),
            };
            call.fields.insert("messageId".into(), theirs.into());
            call.fields.insert("reaction".into(), emoji.into());
        }
        content => call.fill(asked(content), &options.mentions, message.file, id)?,
    }
    RAW.add(&mut call.fields, options.extra)?;
    Ok(call)
}

/// The card of a link, as whoever sends it has made it.
fn card(url: String, (title, description): (String, String), thumbnail: Option<String>) -> Fields {
    let mut card = fields([("url", url.into()), ("title", title.into()), ("description", description.into())]);
    maybe(&mut card, "image", thumbnail.map(|url| json!({ "url": url })));
    card
}

impl Call {
    /// All but marks on other messages.
    fn fill(
        &mut self,
        content: Content,
        mentions: &[String],
        file: Option<Attached>,
        id: Option<String>,
    ) -> Result<(), SendError> {
        let fields = &mut self.fields;
        match content {
            Content::Text { text } => {
                words(fields, text, mentions);
                maybe(fields, "id", id);
            }
            Content::Link { url, caption, title, description, thumbnail, high_quality, preview, .. } => {
                // The text must hold the address of the card.
                let text = caption.map_or_else(|| url.clone(), |caption| format!("{caption}\n{url}"));
                fields.insert("text".into(), text.into());
                match title.zip(description).filter(|_| preview != Some(false)) {
                    Some(said) => {
                        self.path = "api/send/link-custom-preview";
                        fields.insert("preview".into(), card(url, said, thumbnail).into());
                    }
                    None => {
                        fields.insert("linkPreview".into(), preview.unwrap_or(true).into());
                        maybe(fields, "id", id);
                    }
                }
                maybe(fields, "linkPreviewHighQuality", high_quality);
            }
            Content::Location { latitude, longitude, name, .. } => {
                self.path = "api/sendLocation";
                fields.insert("latitude".into(), latitude.into());
                fields.insert("longitude".into(), longitude.into());
                // Required there.
                fields.insert("title".into(), name.unwrap_or_else(|| format!("{latitude}, {longitude}")).into());
                maybe(fields, "id", id);
            }
            Content::Contact { contacts } => {
                self.path = "api/sendContactVcard";
                // The schema wants every one of the other fields, or this one.
                let cards = contacts.iter().map(|contact| json!({ "vcard": contact.vcard() })).collect::<Vec<_>>();
                fields.insert("contacts".into(), cards.into());
                maybe(fields, "id", id);
            }
            Content::Poll { question, answers, max_answers } => {
                self.path = "api/sendPoll";
                let poll = json!({ "name": question, "options": answers, "multipleAnswers": max_answers > 1 });
                fields.insert("poll".into(), poll);
                maybe(fields, "id", id);
            }
            content => self.fill_file(content, file)?,
        }
        Ok(())
    }

    fn fill_file(&mut self, content: Content, file: Option<Attached>) -> Result<(), SendError> {
        let kind = content.kind();
        match content {
            Content::Image(media) => self.media("api/sendImage", media, file)?,
            Content::File(media) => self.media("api/sendFile", media, file)?,
            Content::Video(media) => {
                maybe(&mut self.fields, "asNote", media.note);
                // What is not in WhatsApp's own format is converted there.
                self.fields.insert("convert".into(), true.into());
                self.media("api/sendVideo", media, file)?;
            }
            Content::Voice(media) => {
                self.fields.insert("convert".into(), true.into());
                self.media("api/sendVoice", media, file)?;
            }
            _ => {
                return Err(SendError::new(ErrorClass::Unsupported, format!("waha has no messages of kind `{kind}`")));
            }
        }
        Ok(())
    }

    fn media(
        &mut self,
        path: &'static str,
        media: crate::model::message::Media,
        file: Option<Attached>,
    ) -> Result<(), SendError> {
        self.path = path;
        self.file = Some(attached(file)?);
        maybe(&mut self.fields, "caption", media.caption);
        Ok(())
    }
}

/// A question becomes a poll, where it fits into one that WhatsApp's programs let people make.
fn asked(content: Content) -> Content {
    let Content::Question { text, choices } = content else { return content };
    let short = |text: &str, most: usize| text.chars().count() <= most;
    match (2..=12).contains(&choices.len()) && short(&text, 255) && choices.iter().all(|choice| short(choice, 100)) {
        true => Content::Poll { question: text, answers: choices, max_answers: 1 },
        false => Content::Text { text: numbered(&text, &choices) },
    }
}

/// Text with its mentions, each of which must also stand in the text.
fn words(fields: &mut Fields, mut text: String, mentions: &[String]) {
    // Everybody is named alone.
    let everyone = mentions.iter().any(|mention| mention == "everyone");
    let mut named: Vec<String> = everyone.then(|| "all".to_owned()).into_iter().collect();
    for mention in mentions.iter().filter(|_| !everyone) {
        let digits = mention.trim_start_matches('+');
        named.push(format!("{digits}@c.us"));
        if !text.contains(&format!("@{digits}")) {
            text.push_str(&format!(" @{digits}"));
        }
    }
    fields.insert("text".into(), text.into());
    if !named.is_empty() {
        fields.insert("mentions".into(), named.into());
    }
}

fn read(answer: &Answer, reaction: bool) -> Result<Receipt, SendError> {
    let body: Value = answer.json().unwrap_or_default();
    let id = provider_id(&body);
    // Only a reaction is answered without a message; an error has words of its own.
    let refused = ["exception", "error", "code", "statusCode", "status"].iter().any(|word| body.get(word).is_some());
    let taken = id.is_some() || (reaction && !refused);
    if matches!(answer.status, 200 | 201) && body.is_object() && taken {
        let (state, chat) = (reached(&body["ack"]), chat_in(&body));
        return Ok(Receipt { state, provider_id: id, chat, degraded: Vec::new() });
    }
    let (class, said) = answers::refused(answer, &body);
    Err(answer.refusal(WahaOptions::NAME, class, said))
}
