//! Evolution API (EvolutionAPI/evolution-api 2.3.6): a self-hosted bridge, one instance a phone.
//!
//! Facts are from its source at commit 3454bec: `src/validate/message.schema.ts`,
//! `src/api/dto/sendMessage.dto.ts`, `src/api/routes/sendMessage.router.ts`, `src/utils/createJid.ts`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answers;
use super::events;
use super::options::EvolutionOptions;
use crate::model::capability::{Capabilities, Intake, Kind};
use crate::model::delivery::{ErrorClass, SendError};
use crate::model::message::{Contact, Content, Media};
use crate::model::mime::PICTURES;
use crate::model::recipient::Recipient;
use crate::transport::answer::exchange;
use crate::transport::events::bytes_up_to;
use crate::transport::extra::Raw;
use crate::transport::gateway::{Adapter, Options as _};
use crate::transport::reach::{Ask, Desk, OTHER, listed};
use crate::transport::site::Site;
use crate::transport::wire::{Fields, Header, Wire, attached, fields, maybe, segment};
use crate::transport::{
    Attached, Download, Heard, Incoming, LARGEST_FILE, NotHeard, Outgoing, Sending, Transport, client,
};

/// A file inside a request is held in memory whole, here and there.
const FILE: Intake = Intake::ANY.inline(16_000_000).typed();
const PICTURE: Intake = FILE.of(PICTURES);

const CAPABILITIES: Capabilities = Capabilities {
    kinds: &[
        Kind::new("text", &["reply_to", "mentions"]),
        Kind::new("link", &["caption", "preview", "reply_to", "mentions"]),
        Kind::media("image", &["caption", "name", "reply_to", "mentions"], PICTURE),
        Kind::media("file", &["caption", "name", "reply_to", "mentions"], FILE),
        Kind::media("video", &["caption", "name", "note", "reply_to", "mentions"], FILE),
        Kind::media("audio", &["name", "reply_to", "mentions"], FILE),
        Kind::media("voice", &["reply_to", "mentions"], FILE),
        Kind::media("sticker", &["reply_to", "mentions"], FILE),
        Kind::new("location", &["name", "address", "reply_to", "mentions"]),
        Kind::new("contact", &["several", "organization"]),
        Kind::new("poll", &["max_answers", "reply_to", "mentions"]),
        Kind::new("reaction", &[]),
        Kind::new("template", &["language", "components", "variables"]),
    ],
    addresses: &["phone", "group", "lid"],
    cards: false,
    whole_cards: false,
    in_flight: 8,
    max_text: None,
    max_caption: None,
    window: false,
};

/// What the parts of a message are called here, of whatever kind it is.
const RAW: Raw = Raw {
    gateway: EvolutionOptions::NAME,
    own: "text media mediatype caption fileName audio video sticker latitude longitude name address \
        contact values key reaction language components quoted options textMessage mediaMessage \
        audioMessage stickerMessage locationMessage contactMessage pollMessage reactionMessage \
        templateMessage listMessage buttonMessage",
};

/// The adapter.
pub struct Evolution {
    wire: Wire,
    options: EvolutionOptions,
}

impl Adapter for Evolution {
    type Options = EvolutionOptions;

    fn can(_: &EvolutionOptions) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn new(options: &EvolutionOptions, _: &Site<'_>) -> Result<Self, String> {
        let wire = Wire::new(
            client(options.timeout)?,
            &options.url,
            options.timeout,
            &[("apikey", Header::Secret(&options.api_key))],
        )?;
        Ok(Self { wire, options: options.clone() })
    }
}

impl Transport for Evolution {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn raw(&self) -> &'static Raw {
        &RAW
    }

    fn send(&self, message: Outgoing) -> Sending {
        let (wire, instance) = (self.wire.clone(), segment(&self.options.instance));
        Box::pin(async move {
            let Call { action, mut fields, file } = prepare(message)?;
            let _room = wire.room(file.as_ref().map(|(_, file)| file)).await;
            if let Some((name, file)) = file {
                let value = match file.base64().await? {
                    Some(bytes) => bytes,
                    None => file.url().unwrap_or_default().to_owned(),
                };
                fields.insert(name.into(), value.into());
            }
            answers::read(&exchange(wire.post(&format!("message/{action}/{instance}"), fields)).await?)
        })
    }

    fn desk(&self) -> Option<Desk> {
        let status = |body: &Value| match body["instance"]["state"].as_str() {
            Some("open") => Ok("the phone is linked".into()),
            None => Err(OTHER.into()),
            Some(state) => {
                Err(format!("the instance is not connected (`{state}`); link the phone on Evolution's own page"))
            }
        };
        let groups = |body: &Value| Some(listed(body.as_array()?, &["/id"], &["/subject"]));
        let instance = segment(&self.options.instance);
        Some(Desk {
            wire: self.wire.clone(),
            status: Some(Ask {
                path: format!("instance/connectionState/{instance}"),
                query: "",
                read: Box::new(status),
            }),
            groups: Some(Ask {
                path: format!("group/fetchAllGroups/{instance}"),
                query: "getParticipants=false",
                read: Box::new(groups),
            }),
        })
    }

    fn receive(&self, incoming: &Incoming<'_>) -> Result<Heard, NotHeard> {
        events::read(&self.options, incoming)
    }

    fn download(&self, source: &str) -> Download {
        // It finds the message in its store by the id.
        let fields = fields([("message", json!({ "key": { "id": source } }))]);
        let path = format!("chat/getBase64FromMediaMessage/{}", segment(&self.options.instance));
        let request = self.wire.post(&path, fields);
        Box::pin(async move {
            // Base64 has four characters for three bytes; what is told beside it is short.
            let answer = bytes_up_to(LARGEST_FILE / 3 * 4 + (64 << 10), request).await?;
            let given: Option<Given<'_>> = serde_json::from_slice(&answer).ok();
            let file = given.and_then(|given| STANDARD.decode(given.base64.as_bytes()).ok());
            file.ok_or_else(|| "evolution answered, but gave no file".to_owned())
        })
    }
}

/// A file as it comes back; borrowed, as it may be large.
#[derive(Deserialize)]
struct Given<'a> {
    #[serde(borrow)]
    base64: Cow<'a, str>,
}

struct Call {
    action: &'static str,
    fields: Fields,
    /// A file and the field it goes into.
    file: Option<(&'static str, Attached)>,
}

/// A phone goes as digits, everything else as the id that WhatsApp has for it.
fn number(to: &Recipient) -> String {
    match to {
        Recipient::Phone(digits) => digits.clone(),
        other => other.to_string(),
    }
}

/// The chat as a message's key names it.
fn jid(to: &Recipient) -> String {
    match to {
        Recipient::Phone(digits) => format!("{digits}@s.whatsapp.net"),
        other => other.to_string(),
    }
}

fn prepare(message: Outgoing) -> Result<Call, SendError> {
    let mut call = Call { action: "sendText", fields: fields([("number", number(&message.to).into())]), file: None };
    let options = message.body.options;
    if let Some(id) = options.reply_to {
        call.fields.insert("quoted".into(), json!({ "key": { "id": id } }));
    }
    mention(&mut call.fields, &options.mentions);
    match message.body.content {
        Content::Reaction { message: id, emoji, own } => {
            call.action = "sendReaction";
            let key = json!({ "id": id, "remoteJid": jid(&message.to), "fromMe": own });
            call.fields = fields([("key", key), ("reaction", emoji.into())]);
        }
        Content::Template { name, language, mut components, variables } => {
            components.extend(crate::transport::meta::adapter::body_of(&variables)?);
            call.action = "sendTemplate";
            let Some(language) = language else {
                let message = "evolution sends a template only with its `language`, such as `en`";
                return Err(SendError::new(ErrorClass::Invalid, message));
            };
            call.fields.insert("name".into(), name.into());
            call.fields.insert("language".into(), language.into());
            call.fields.insert("components".into(), components.into());
        }
        content => call.fill(content, message.file)?,
    }
    RAW.add(&mut call.fields, options.extra)?;
    Ok(call)
}

fn mention(fields: &mut Fields, mentions: &[String]) {
    let (all, some): (Vec<&String>, Vec<&String>) = mentions.iter().partition(|mention| *mention == "everyone");
    // Its schema names `everyOne`, its code reads this.
    maybe(fields, "mentionsEveryOne", (!all.is_empty()).then_some(true));
    if !some.is_empty() {
        let digits: Vec<&str> = some.iter().map(|mention| mention.trim_start_matches('+')).collect();
        fields.insert("mentioned".into(), digits.into());
    }
}

impl Call {
    /// What is written, shown or heard.
    fn fill(&mut self, content: Content, file: Option<Attached>) -> Result<(), SendError> {
        let kind = content.kind();
        let fields = &mut self.fields;
        match content {
            Content::Text { text } => {
                fields.insert("text".into(), text.into());
            }
            Content::Link { url, caption, preview, .. } => {
                let text = caption.map_or_else(|| url.clone(), |caption| format!("{caption}\n{url}"));
                fields.insert("text".into(), text.into());
                fields.insert("linkPreview".into(), preview.unwrap_or(true).into());
            }
            Content::Image(media) => self.media("image", media, file)?,
            Content::File(media) => self.media("document", media, file)?,
            Content::Audio(media) => self.media("audio", media, file)?,
            Content::Video(media) if media.note == Some(true) => {
                self.action = "sendPtv";
                self.file = Some(("video", attached(file)?));
            }
            Content::Video(media) => self.media("video", media, file)?,
            Content::Voice(_) => {
                self.action = "sendWhatsAppAudio";
                self.file = Some(("audio", attached(file)?));
            }
            Content::Sticker(_) => {
                self.action = "sendSticker";
                self.file = Some(("sticker", attached(file)?));
            }
            Content::Location { latitude, longitude, name, address } => {
                self.action = "sendLocation";
                // All four are required there.
                let coordinates = format!("{latitude}, {longitude}");
                let name = name.unwrap_or_else(|| coordinates.clone());
                fields.insert("latitude".into(), latitude.into());
                fields.insert("longitude".into(), longitude.into());
                fields.insert("address".into(), address.unwrap_or(coordinates).into());
                fields.insert("name".into(), name.into());
            }
            Content::Contact { contacts } => {
                self.action = "sendContact";
                fields.insert("contact".into(), contacts.iter().map(card).collect());
            }
            Content::Poll { question, answers, max_answers } => {
                self.action = "sendPoll";
                fields.insert("name".into(), question.into());
                fields.insert("selectableCount".into(), max_answers.into());
                fields.insert("values".into(), answers.into());
            }
            Content::Question { .. } | Content::Reaction { .. } | Content::Template { .. } => {
                let message = format!("evolution has no messages of kind `{kind}`");
                return Err(SendError::new(ErrorClass::Unsupported, message));
            }
        }
        Ok(())
    }

    fn media(&mut self, kind: &str, media: Media, file: Option<Attached>) -> Result<(), SendError> {
        let file = attached(file)?;
        self.action = "sendMedia";
        self.fields.insert("mediatype".into(), kind.into());
        maybe(&mut self.fields, "mimetype", file.mime.clone());
        maybe(&mut self.fields, "caption", media.caption);
        self.fields.insert("fileName".into(), file.name.as_str().into());
        self.file = Some(("media", file));
        Ok(())
    }
}

fn card(contact: &Contact) -> Value {
    let mut card = fields([
        ("fullName", contact.name.as_str().into()),
        ("wuid", contact.digits().into()),
        ("phoneNumber", contact.phone.as_str().into()),
    ]);
    maybe(&mut card, "organization", contact.organization.as_deref());
    card.into()
}
