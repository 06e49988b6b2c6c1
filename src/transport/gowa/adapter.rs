//! GOWA (aldinokemal/go-whatsapp-web-multidevice, 9.2.0): a self-hosted bridge to phones.
//!
//! Facts are from its source: `src/ui/rest/send.go`, `src/validations/send_validation.go`,
//! `src/usecase/send.go`, `src/pkg/error/*.go`. Its OpenAPI file lags behind the code.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use reqwest::multipart::Form;
use serde_json::Value;

use super::answers::{is_download, read};
use super::events;
use super::options::GowaOptions;
use crate::model::capability::{Capabilities, Intake, Kind};
use crate::model::delivery::{Degraded, ErrorClass, Receipt, SendError};
use crate::model::message::{Content, Media};
use crate::model::mime::STILLS;
use crate::model::recipient::Recipient;
use crate::secret::Secret;
use crate::transport::answer::{exchange, readable};
use crate::transport::events::{below_folder, bytes, get};
use crate::transport::extra::Raw;
use crate::transport::gateway::{Adapter, Options as _};
use crate::transport::reach::{Ask, Desk, OTHER, listed};
use crate::transport::site::Site;
use crate::transport::wire::{Fields, Header, Wire, attached, basic, fields, maybe, segment};
use crate::transport::{
    Attached, Download, FilePlace, Heard, Incoming, NotHeard, Outgoing, Sending, Transport, client,
};

/// Behind an address it believes what the server calls a file, and refuses a picture that is called
/// otherwise (`invalid content type` in its code).
const FILE: Intake = Intake::ANY.served();
const FILMS: &[&str] = &["video/mp4", "video/x-matroska", "video/x-msvideo"];
/// It looks at the ending of the address's last part, not at what is behind it.
const ENDINGS: &[&str] = &[".jpg", ".jpeg", ".png", ".webp"];

/// The limits are its defaults; a larger upload is refused by it after all bytes have travelled.
const CAPABILITIES: Capabilities = Capabilities {
    kinds: &[
        Kind::new("text", &["reply_to", "forwarded", "disappear", "mentions"]),
        Kind::new("link", &["caption", "forwarded", "disappear"]),
        Kind::media(
            "image",
            &["caption", "view_once", "hd", "reply_to", "forwarded", "disappear"],
            FILE.up_to(20_000_000).of(STILLS).ending(ENDINGS),
        ),
        Kind::media("file", &["caption", "name", "reply_to", "forwarded", "disappear"], Intake::ANY.up_to(50_000_000)),
        Kind::media(
            "video",
            &["caption", "view_once", "hd", "gif", "reply_to", "forwarded", "disappear"],
            FILE.up_to(100_000_000).of(FILMS),
        ),
        Kind::media("audio", &["reply_to", "forwarded", "disappear"], FILE.up_to(50_000_000)),
        Kind::media("voice", &["reply_to", "forwarded", "disappear"], FILE.up_to(50_000_000)),
        Kind::media("sticker", &["forwarded", "disappear"], FILE.up_to(20_000_000)),
        Kind::new("location", &["forwarded", "disappear"]),
        Kind::new("contact", &["forwarded", "disappear"]),
        Kind::new("poll", &["max_answers", "forwarded", "disappear"]),
        Kind::new("reaction", &[]),
    ],
    addresses: &["phone", "group", "newsletter", "lid"],
    cards: false,
    whole_cards: false,
    in_flight: 64,
    max_text: None,
    max_caption: None,
    window: false,
};

/// What the parts of a message are called here, of whatever kind it is.
const RAW: Raw = Raw {
    gateway: GowaOptions::NAME,
    own: "message caption link image image_url file file_url video video_url audio audio_url sticker \
        sticker_url ptt latitude longitude contact_name contact_phone question options max_answer emoji \
        reply_message_id",
};

/// The adapter.
pub struct Gowa {
    wire: Wire,
    base: url::Url,
    device: Option<String>,
    webhook_secret: Option<Secret>,
}

impl Adapter for Gowa {
    type Options = GowaOptions;

    fn can(_: &GowaOptions) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn new(options: &GowaOptions, _: &Site<'_>) -> Result<Self, String> {
        let mut headers = Vec::new();
        // The server URL-decodes the header.
        let device = options.device.as_ref().map(|device| utf8_percent_encode(device, NON_ALPHANUMERIC).to_string());
        if let Some(device) = &device {
            headers.push(("x-device-id", Header::Plain(device)));
        }
        if let Some(auth) = &options.basic_auth {
            headers.push(("authorization", Header::Made(basic(auth.reveal()))));
        }
        let wire = Wire::new(client(options.timeout)?, &options.url, options.timeout, &headers)?;
        let (device, webhook_secret) = (options.device.clone(), options.webhook_secret.clone());
        Ok(Self { wire, base: options.url.clone(), device, webhook_secret })
    }
}

impl Transport for Gowa {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn raw(&self) -> &'static Raw {
        &RAW
    }

    fn send(&self, message: Outgoing) -> Sending {
        let wire = self.wire.clone();
        Box::pin(async move {
            let mut call = prepare(message)?;
            let result = call.made(&wire).await;
            let mut receipt = match result {
                Err(error) if call.path == "send/link" && is_download(&error) && !call.strict => {
                    call.as_text(&wire).await?
                }
                Err(error) if error.message.contains("DEVICE_ID_REQUIRED") => {
                    return Err(with_devices(error, &wire).await);
                }
                other => other?,
            };
            receipt.degraded = call.degraded;
            Ok(receipt)
        })
    }

    fn desk(&self) -> Option<Desk> {
        let device = self.device.clone();
        let status = move |body: &Value| {
            let Some(rows) = body["results"].as_array() else { return Err(OTHER.into()) };
            let is_own = |row: &&Value| {
                device
                    .as_deref()
                    .is_none_or(|device| ["id", "jid", "phone_number"].iter().any(|name| row[*name] == device))
            };
            match rows.iter().find(is_own).map(|row| row["state"].as_str().unwrap_or_default()) {
                Some("logged_in") => Ok("the phone is linked".into()),
                Some(state) => Err(format!("the phone is not linked (`{state}`); link it on GOWA's own page")),
                None => Err("GOWA has no such device; link a phone on its own page, or mend `device`".into()),
            }
        };
        let groups = |body: &Value| {
            // Of a phone in no group it is null.
            let rows = match &body["results"]["data"] {
                Value::Array(rows) => rows.as_slice(),
                Value::Null if body["results"].is_object() => &[],
                _ => return None,
            };
            Some(listed(rows, &["/JID", "/jid"], &["/Name", "/name"]))
        };
        Some(Desk {
            wire: self.wire.clone(),
            status: Some(Ask { path: "devices".into(), query: "", read: Box::new(status) }),
            groups: Some(Ask { path: "user/my/groups".into(), query: "", read: Box::new(groups) }),
        })
    }

    fn receive(&self, incoming: &Incoming<'_>) -> Result<Heard, NotHeard> {
        events::read(self.device.as_deref(), self.webhook_secret.as_ref(), incoming)
    }

    fn download(&self, source: &str) -> Download {
        let (wire, base, source) = (self.wire.clone(), self.base.clone(), source.to_owned());
        Box::pin(async move {
            let place = match events::unloaded(&source) {
                Some((id, chat)) => loaded(&wire, id, &chat).await?,
                None => source,
            };
            let path = below_folder(&base, "statics/", &place).ok_or("gowa has no such file to give")?;
            bytes(get(&wire, &path)).await
        })
    }
}

/// Makes the gateway load a file from WhatsApp; gives its place there.
async fn loaded(wire: &Wire, id: &str, chat: &Recipient) -> Result<String, String> {
    let query = format!("phone={}", segment(&address(chat)));
    let request = wire.with_query(Method::GET, &format!("message/{}/download", segment(id)), &query);
    let answer = exchange(request).await.map_err(|error| error.message)?;
    let body: Value = answer.json().unwrap_or_default();
    let places = [&body["results"]["file_path"], &body["results"]["file_url"]];
    match places.into_iter().find_map(Value::as_str) {
        Some(place) if answer.status == 200 => Ok(place.to_owned()),
        _ => {
            Err(answer.refusal(GowaOptions::NAME, answer.class(), body["message"].as_str().unwrap_or_default()).message)
        }
    }
}

/// A request before it is one.
struct Call {
    path: String,
    fields: Fields,
    /// A file that travels in the request, under this name.
    upload: Option<(&'static str, Attached)>,
    strict: bool,
    degraded: Vec<Degraded>,
}

impl Call {
    async fn made(&self, wire: &Wire) -> Result<Receipt, SendError> {
        let request = match &self.upload {
            None => wire.post(&self.path, self.fields.clone()),
            Some((field, file)) => wire.request(Method::POST, &self.path).multipart(self.form(field, file).await?),
        };
        read(&exchange(request).await?)
    }

    async fn form(&self, field: &'static str, file: &Attached) -> Result<Form, SendError> {
        let mut form = Form::new();
        for (name, value) in &self.fields {
            let text = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            form = form.text(name.clone(), text);
        }
        Ok(match file.part().await? {
            Some(part) => form.part(field, part),
            None => form,
        })
    }

    /// The link's page could not be loaded, and nothing was sent: the link goes as text.
    async fn as_text(&mut self, wire: &Wire) -> Result<Receipt, SendError> {
        let mut words = Vec::new();
        for name in ["caption", "link"] {
            if let Some(Value::String(text)) = self.fields.remove(name)
                && !words.contains(&text)
            {
                words.push(text);
            }
        }
        self.degraded.retain(|change| change.field != "caption");
        self.fields.insert("message".into(), words.join("\n").into());
        self.path = "send/message".into();
        let action = "left out: the gateway could not load the page; sent as text".into();
        self.degraded.push(Degraded { field: "preview".into(), action });
        self.made(wire).await
    }
}

fn address(to: &Recipient) -> String {
    match to {
        Recipient::Phone(digits) => format!("{digits}@s.whatsapp.net"),
        other => other.to_string(),
    }
}

fn prepare(message: Outgoing) -> Result<Call, SendError> {
    let mut call = Call {
        path: String::new(),
        fields: fields([("phone", address(&message.to).into())]),
        upload: None,
        strict: message.strict,
        degraded: Vec::new(),
    };
    call.path = call.fill(message.body.content, message.file)?;
    let options = message.body.options;
    maybe(&mut call.fields, "reply_message_id", options.reply_to);
    maybe(&mut call.fields, "is_forwarded", options.forwarded.then_some(true));
    maybe(&mut call.fields, "duration", options.disappear);
    if !options.mentions.is_empty() {
        let mentions = options.mentions.iter().map(|mention| match mention.as_str() {
            "everyone" => "@everyone".to_owned(),
            phone => phone.trim_start_matches('+').to_owned(),
        });
        call.fields.insert("mentions".into(), mentions.collect());
    }
    RAW.add(&mut call.fields, options.extra)?;
    Ok(call)
}

fn reaction(message: &str) -> Result<String, SendError> {
    // A path of dots alone leads elsewhere, however it is encoded; what a proxy on the way takes for
    // a slash as well.
    if message.bytes().all(|b| b == b'.') || message.contains(['/', '\\', '%', '?', '#']) {
        return Err(SendError::new(ErrorClass::Invalid, format!("`{message}` is no id of a message")));
    }
    Ok(format!("message/{}/reaction", segment(message)))
}

impl Call {
    /// Gives the path.
    fn fill(&mut self, content: Content, file: Option<Attached>) -> Result<String, SendError> {
        let kind = content.kind();
        Ok(match content {
            Content::Text { text } => {
                self.fields.insert("message".into(), text.into());
                "send/message".into()
            }
            Content::Link { url, caption, .. } => {
                // The documentation calls the caption optional, the validator refuses a blank one.
                let caption = caption.unwrap_or_else(|| {
                    self.degraded.push(Degraded { field: "caption".into(), action: "filled with the link".into() });
                    url.clone()
                });
                self.fields.insert("caption".into(), caption.into());
                self.fields.insert("link".into(), url.into());
                "send/link".into()
            }
            Content::Image(media) => self.media("image", media, file)?,
            Content::File(media) => self.media("file", media, file)?,
            Content::Video(media) => self.media("video", media, file)?,
            Content::Audio(media) => self.media("audio", media, file)?,
            Content::Voice(media) => {
                self.fields.insert("ptt".into(), true.into());
                self.media("audio", media, file)?
            }
            Content::Sticker(media) => self.media("sticker", media, file)?,
            Content::Location { latitude, longitude, .. } => {
                // As strings: that is how the server declares them.
                self.fields.insert("latitude".into(), latitude.to_string().into());
                self.fields.insert("longitude".into(), longitude.to_string().into());
                "send/location".into()
            }
            Content::Contact { contacts } => {
                if let Some(contact) = contacts.into_iter().next() {
                    self.fields.insert("contact_phone".into(), contact.digits().into());
                    self.fields.insert("contact_name".into(), contact.name.into());
                }
                "send/contact".into()
            }
            Content::Poll { question, answers, max_answers } => {
                self.fields.insert("question".into(), question.into());
                self.fields.insert("options".into(), answers.into());
                self.fields.insert("max_answer".into(), max_answers.into());
                "send/poll".into()
            }
            Content::Reaction { message, emoji, .. } => {
                self.fields.insert("emoji".into(), emoji.into());
                reaction(&message)?
            }
            Content::Template { .. } | Content::Question { .. } => {
                let message = format!("gowa has no messages of kind `{kind}`");
                return Err(SendError::new(ErrorClass::Unsupported, message));
            }
        })
    }

    fn media(&mut self, field: &'static str, media: Media, file: Option<Attached>) -> Result<String, SendError> {
        let file = attached(file)?;
        maybe(&mut self.fields, "caption", media.caption);
        maybe(&mut self.fields, "view_once", media.view_once);
        maybe(&mut self.fields, "hd", media.hd);
        maybe(&mut self.fields, "gif_playback", media.gif);
        match &file.place {
            FilePlace::Url(url) => {
                if media.name.is_some() {
                    if self.strict {
                        let message = "gowa takes a file's name from its address; nothing was sent";
                        return Err(SendError::new(ErrorClass::Unsupported, message));
                    }
                    let action = "left out: the gateway takes it from the address".into();
                    self.degraded.push(Degraded { field: "name".into(), action });
                }
                self.fields.insert(format!("{field}_url"), url.as_str().into());
            }
            FilePlace::Local { .. } if field == "image" && file.mime() == "image/webp" => {
                let message = "gowa takes a WebP picture only from an address; send it as JPEG or PNG";
                return Err(SendError::new(ErrorClass::MediaRejected, message));
            }
            FilePlace::Local { .. } => self.upload = Some((field, file)),
        }
        Ok(format!("send/{field}"))
    }
}

/// Names the devices that there are, so that the settings can be mended.
async fn with_devices(error: SendError, wire: &Wire) -> SendError {
    let listed = exchange(wire.request(Method::GET, "devices")).await.ok();
    let listed: Value = listed.and_then(|answer| answer.json()).unwrap_or_default();
    let ids: Vec<&str> =
        listed["results"].as_array().into_iter().flatten().filter_map(|row| row["id"].as_str()).take(20).collect();
    let hint = match ids.is_empty() {
        true => "set `device` on the account".to_owned(),
        false => readable(&format!("set `device` on the account to one of {}", ids.join(", ").replace('\n', " "))),
    };
    SendError::new(error.class, format!("gowa has several devices; {hint}"))
}
