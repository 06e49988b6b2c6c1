//! Meta's WhatsApp Cloud API: the official one, with templates, a 24-hour window and a price.
//!
//! Facts are from Meta's OpenAPI file (v23.0) and its pages on errors, throughput and
//! business-scoped ids, which the file predates.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::multipart::Form;
use serde_json::{Value, json};

use super::codes::refused;
use super::events;
use super::options::MetaOptions;
use crate::model::capability::{Capabilities, Intake, Kind};
use crate::model::conversation::numbered;
use crate::model::delivery::{ErrorClass, MessageState, Receipt, SendError};
use crate::model::message::{Contact, Content, Media};
use crate::model::mime::{DOC, DOCX, PPT, PPTX, XLS, XLSX};
use crate::model::recipient::Recipient;
use crate::transport::answer::{Answer, exchange};
use crate::transport::events::person_in;
use crate::transport::extra::Raw;
use crate::transport::gateway::{Adapter, Options as _};
use crate::transport::reach::{Ask, Desk};
use crate::transport::site::Site;
use crate::transport::wire::{Fields, Header, Wire, attached, fields, maybe, segment};
use crate::transport::{Attached, Download, Heard, Incoming, NotHeard, Outgoing, Sending, Transport, client};

/// Most bytes of a file's id at Meta; they have about 16.
const LONGEST_ID: usize = 512;
/// Most bytes of a document.
pub const LARGEST_FILE: u64 = 100_000_000;
/// Pictures: 8-bit RGB or RGBA.
pub const PICTURE: Intake = FILE.up_to(5_000_000).of(&["image/jpeg", "image/png"]);
/// Of an address it believes what the server says, and refuses the file for it.
const FILE: Intake = Intake::ANY.served();
/// Its list for documents; what else can be read goes as plain text.
const DOCUMENTS: &[&str] = &["text/plain", "application/pdf", DOC, DOCX, XLS, XLSX, PPT, PPTX];
const SOUNDS: &[&str] = &["audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/m4a", "audio/ogg"];

const CAPABILITIES: Capabilities = Capabilities {
    kinds: &[
        Kind::new("text", &["reply_to"]),
        Kind::new("link", &["caption", "preview", "reply_to"]),
        Kind::media("image", &["caption", "reply_to"], PICTURE),
        Kind::media("file", &["caption", "name", "reply_to"], FILE.up_to(LARGEST_FILE).of(DOCUMENTS)),
        Kind::media("video", &["caption", "reply_to"], FILE.up_to(16_000_000).of(&["video/mp4", "video/3gpp"])),
        Kind::media("audio", &["reply_to"], FILE.up_to(16_000_000).of(SOUNDS)),
        // Shown as a voice note when it is Opus in OGG.
        Kind::media("voice", &["reply_to"], FILE.up_to(16_000_000).of(&["audio/ogg"])),
        // A still one may have 100 KB, an animated one 500; which it is, Meta sees.
        Kind::media("sticker", &["reply_to"], FILE.up_to(500_000).of(&["image/webp"])),
        Kind::new("location", &["name", "address", "reply_to"]),
        Kind::new("contact", &["several", "organization", "reply_to"]),
        Kind::new("question", &["reply_to"]),
        Kind::new("reaction", &[]),
        Kind::new("template", &["language", "components", "variables", "reply_to"]),
    ],
    addresses: &["phone", "group", "bsuid"],
    cards: false,
    whole_cards: false,
    in_flight: 64,
    max_text: Some(4096),
    max_caption: Some(1024),
    window: true,
};

/// What the parts of a message are called here, of whatever kind it is.
const RAW: Raw = Raw {
    gateway: MetaOptions::NAME,
    own: "messaging_product type text image document video audio sticker location contacts interactive \
        template reaction context status message_id id ids biz_opaque_callback_data",
};

/// The adapter.
pub struct Meta {
    wire: Wire,
    client: reqwest::Client,
    options: MetaOptions,
    /// `{version}/{phone_number_id}`.
    number: String,
    uploads: Uploads,
}

/// Ids of files that Meta has already, by where they are here: what goes to many is uploaded once.
/// Meta keeps them for 30 days; an hour is enough for that.
#[derive(Clone, Default)]
struct Uploads(Arc<Mutex<HashMap<Attached, (Instant, String)>>>);

impl Uploads {
    const AGE: Duration = Duration::from_secs(3600);
    const MOST: usize = 1_000;

    fn get(&self, file: &Attached) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(file).filter(|(at, _)| at.elapsed() < Self::AGE).map(|(_, id)| id.clone())
    }

    fn put(&self, file: Attached, id: String) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= Self::MOST {
            known.clear();
        }
        known.insert(file, (Instant::now(), id));
    }
}

impl Adapter for Meta {
    type Options = MetaOptions;

    fn can(_: &MetaOptions) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn new(options: &MetaOptions, _: &Site<'_>) -> Result<Self, String> {
        let client = client(options.timeout)?;
        let bearer = Header::Made(format!("Bearer {}", options.access_token.reveal()));
        let wire = Wire::new(client.clone(), &options.url, options.timeout, &[("authorization", bearer)])?;
        // A version is letters, digits and a dot, which encoding would only disfigure.
        let number = format!("{}/{}", options.version, segment(&options.phone_number_id));
        Ok(Self { wire, client, options: options.clone(), number, uploads: Uploads::default() })
    }
}

impl Transport for Meta {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn raw(&self) -> &'static Raw {
        &RAW
    }

    fn send(&self, message: Outgoing) -> Sending {
        let (wire, number, uploads) = (self.wire.clone(), self.number.clone(), self.uploads.clone());
        Box::pin(async move {
            let Call { mut fields, file } = prepare(message)?;
            let path = format!("{number}/messages");
            let Some((kind, file)) = file else { return read(&exchange(wire.post(&path, fields)).await?) };
            if let Some(url) = file.url() {
                put(&mut fields, kind, "link", url);
                return read(&exchange(wire.post(&path, fields)).await?);
            }
            if let Some(id) = uploads.get(&file) {
                put(&mut fields, kind, "id", &id);
                match read(&exchange(wire.post(&path, fields.clone())).await?) {
                    // Meta may have it no more. A refused message has not gone out.
                    Err(SendError { class: ErrorClass::MediaRejected | ErrorClass::Invalid, .. }) => {}
                    result => return result,
                }
            }
            let id = upload(&wire, &number, &file).await?;
            put(&mut fields, kind, "id", &id);
            uploads.put(file, id);
            read(&exchange(wire.post(&path, fields)).await?)
        })
    }

    fn desk(&self) -> Option<Desk> {
        let status = |body: &Value| match body["id"].as_str() {
            Some(_) => Ok("the number is there".into()),
            None => Err("Meta does not know the number; is `phone_number_id` right?".into()),
        };
        let number = Ask { path: self.number.clone(), query: "fields=id", read: Box::new(status) };
        Some(Desk { wire: self.wire.clone(), status: Some(number), groups: None })
    }

    fn receive(&self, incoming: &Incoming<'_>) -> Result<Heard, NotHeard> {
        events::read(&self.options, incoming)
    }

    fn download(&self, source: &str) -> Download {
        let (wire, client, options) = (self.wire.clone(), self.client.clone(), self.options.clone());
        Box::pin(events::download(wire, client, options, source.to_owned()))
    }
}

/// Puts a file onto Meta's servers; gives its id there.
async fn upload(wire: &Wire, number: &str, file: &Attached) -> Result<String, SendError> {
    let Some(part) = file.part().await? else { return Err(SendError::new(ErrorClass::MediaRejected, "no file")) };
    let form = Form::new().text("messaging_product", "whatsapp").text("type", file.mime().to_owned());
    let request = wire.request(Method::POST, &format!("{number}/media")).multipart(form.part("file", part));
    // Whatever goes wrong with an upload, no message has been sent by it.
    let certain = |error: SendError| match error.class {
        ErrorClass::Ambiguous => SendError::new(ErrorClass::Upstream { retry_after: None }, error.message),
        _ => error,
    };
    let answer = exchange(request).await.map_err(certain)?;
    let body: Value = answer.json().unwrap_or_default();
    match body["id"].as_str() {
        // It is remembered, a thousand of them.
        Some(id) if answer.status < 300 && id.len() <= LONGEST_ID => Ok(id.to_owned()),
        _ => Err(certain(refused(&answer, &body))),
    }
}

fn put(fields: &mut Fields, kind: &str, name: &str, value: &str) {
    if let Some(Value::Object(media)) = fields.get_mut(kind) {
        media.insert(name.into(), value.into());
    }
}

struct Call {
    fields: Fields,
    /// A file and the field whose `id` or `link` it becomes.
    file: Option<(&'static str, Attached)>,
}

fn addressed(to: &Recipient) -> Fields {
    let (kind, field, id) = match to {
        // Without `+` the country code of the sending number may be put in front.
        Recipient::Phone(digits) => ("individual", "to", format!("+{digits}")),
        // In `to` it would be accepted and never arrive.
        Recipient::Bsuid(id) => ("individual", "recipient", id.clone()),
        other => ("group", "to", other.id().to_owned()),
    };
    fields([("messaging_product", "whatsapp".into()), ("recipient_type", kind.into()), (field, id.into())])
}

fn prepare(message: Outgoing) -> Result<Call, SendError> {
    let mut call = Call { file: None, fields: addressed(&message.to) };
    // Comes back with each status of the message.
    call.fields.insert("biz_opaque_callback_data".into(), message.own_id().to_string().into());
    let options = message.body.options;
    if let Some(id) = options.reply_to {
        call.fields.insert("context".into(), json!({ "message_id": id }));
    }
    let kind = message.body.content.kind();
    match message.body.content {
        Content::Text { text } => call.object("text", fields([("body", text.into())])),
        Content::Link { url, caption, preview, .. } => {
            let text = caption.map_or_else(|| url.clone(), |caption| format!("{caption}\n{url}"));
            call.object("text", fields([("body", text.into()), ("preview_url", preview.unwrap_or(true).into())]));
        }
        Content::Image(media) => call.media("image", media, message.file)?,
        Content::Video(media) => call.media("video", media, message.file)?,
        Content::Audio(media) | Content::Voice(media) => call.media("audio", media, message.file)?,
        Content::Sticker(media) => call.media("sticker", media, message.file)?,
        Content::File(media) => call.media("document", media, message.file)?,
        Content::Location { latitude, longitude, name, address } => {
            // Its file calls them texts, its examples show numbers; it takes both.
            let (latitude, longitude) = (latitude.to_string(), longitude.to_string());
            let mut place = fields([("latitude", latitude.into()), ("longitude", longitude.into())]);
            maybe(&mut place, "name", name);
            maybe(&mut place, "address", address);
            call.object("location", place);
        }
        Content::Contact { contacts } => {
            call.fields.insert("type".into(), "contacts".into());
            call.fields.insert("contacts".into(), contacts.iter().map(card).collect());
        }
        Content::Reaction { message, emoji, .. } => {
            call.object("reaction", fields([("message_id", message.into()), ("emoji", emoji.into())]));
        }
        Content::Template { name, language, mut components, variables } => {
            let Some(language) = language else {
                let message = "meta sends a template only with its `language`, such as `en_US`";
                return Err(SendError::new(ErrorClass::Invalid, message));
            };
            components.extend(body_of(&variables)?);
            let language = json!({ "code": language, "policy": "deterministic" });
            let mut template = fields([("name", name.into()), ("language", language)]);
            if !components.is_empty() {
                template.insert("components".into(), components.into());
            }
            call.object("template", template);
        }
        Content::Question { text, choices } => call.question(text, &choices, matches!(message.to, Recipient::Group(_))),
        Content::Poll { .. } => {
            return Err(SendError::new(ErrorClass::Unsupported, format!("meta has no messages of kind `{kind}`")));
        }
    }
    RAW.add(&mut call.fields, options.extra)?;
    Ok(call)
}

impl Call {
    fn object(&mut self, kind: &str, object: Fields) {
        self.fields.insert("type".into(), kind.into());
        self.fields.insert(kind.into(), object.into());
    }

    /// Groups know neither buttons nor lists.
    fn question(&mut self, text: String, choices: &[String], in_group: bool) {
        if let Some(interactive) = buttons(&text, choices).filter(|_| !in_group) {
            return self.object("interactive", interactive);
        }
        self.object("text", fields([("body", numbered(&text, choices).into())]));
    }

    fn media(&mut self, kind: &'static str, media: Media, file: Option<Attached>) -> Result<(), SendError> {
        let file = attached(file)?;
        let mut object = Fields::new();
        maybe(&mut object, "caption", media.caption);
        if kind == "document" {
            object.insert("filename".into(), file.name.as_str().into());
        }
        self.object(kind, object);
        self.file = Some((kind, file));
        Ok(())
    }
}

/// The button that opens a list. No word, as nobody knows the person's language here.
const OPEN_LIST: &str = "☰";
/// Most characters of the words above buttons and a list.
const LONGEST_ABOVE: usize = 1024;

/// Up to three choices as buttons, up to ten as a list; their ids are their numbers from 1. Nothing
/// where one of them is too long.
fn buttons(text: &str, choices: &[String]) -> Option<Fields> {
    // In UTF-16 an emoji counts twice: rather too long than refused.
    let fit = |text: &str, most: usize| !text.trim().is_empty() && text.encode_utf16().count() <= most;
    let all_fit = |most: usize| choices.iter().all(|choice| fit(choice, most));
    let rows =
        || choices.iter().zip(1_u32..).map(|(choice, number)| json!({ "id": number.to_string(), "title": choice }));
    let (kind, action) = match choices.len() {
        _ if !fit(text, LONGEST_ABOVE) => return None,
        1..=3 if all_fit(20) => {
            let buttons: Vec<Value> = rows().map(|reply| json!({ "type": "reply", "reply": reply })).collect();
            ("button", json!({ "buttons": buttons }))
        }
        1..=10 if all_fit(24) => {
            ("list", json!({ "button": OPEN_LIST, "sections": [{ "rows": rows().collect::<Vec<_>>() }] }))
        }
        _ => return None,
    };
    Some(fields([("type", kind.into()), ("body", json!({ "text": text })), ("action", action)]))
}

/// Variables as the parameters of a template's body: numbered ones in their order, others by name.
///
/// # Errors
/// A number is missing between them: what follows would take its place.
pub fn body_of(variables: &Fields) -> Result<Option<Value>, SendError> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut numbered: Vec<(u32, &Value)> =
        variables.iter().filter_map(|(name, value)| Some((name.parse().ok()?, value))).collect();
    let parameters: Vec<Value> = if numbered.len() == variables.len() {
        numbered.sort_by_key(|(number, _)| *number);
        if let Some((_, missing)) = numbered.iter().zip(1..).find(|((number, _), place)| number != place) {
            let message = format!(
                "the template's variables are numbered from 1 without a gap: there is no `{missing}` among them"
            );
            return Err(SendError::new(ErrorClass::Invalid, message));
        }
        numbered.into_iter().map(|(_, value)| json!({ "type": "text", "text": text(value) })).collect()
    } else {
        let named =
            |(name, value): (&String, &Value)| json!({ "type": "text", "parameter_name": name, "text": text(value) });
        variables.iter().map(named).collect()
    };
    Ok((!parameters.is_empty()).then(|| json!({ "type": "body", "parameters": parameters })))
}

fn card(contact: &Contact) -> Value {
    let name = contact.name.trim();
    let first = name.split_whitespace().next().unwrap_or(name);
    let mut card = fields([
        ("name", json!({ "formatted_name": name, "first_name": first })),
        ("phones", json!([{ "phone": contact.phone, "wa_id": contact.digits() }])),
    ]);
    maybe(&mut card, "org", contact.organization.as_ref().map(|company| json!({ "company": company })));
    card.into()
}

fn read(answer: &Answer) -> Result<Receipt, SendError> {
    let body: Value = answer.json().unwrap_or_default();
    if let (200..=299, Some(id)) = (answer.status, body["messages"][0]["id"].as_str()) {
        // Taken, and no more: whether it arrives is told by events.
        let chat = person_in(&body["contacts"][0]["wa_id"]);
        return Ok(Receipt { state: MessageState::Accepted, provider_id: Some(id.into()), chat, degraded: Vec::new() });
    }
    Err(refused(answer, &body))
}
