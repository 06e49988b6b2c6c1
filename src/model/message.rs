//! What a script asked to send.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::policy::OnUnsupported;
use super::recipient::Recipient;
use crate::id::{MessageId, RunId};

/// The message itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Content {
    /// Words.
    Text {
        /// What is said.
        text: String,
    },
    /// A link with words beside it and, where the gateway can, a card.
    Link {
        /// `http://` or `https://`.
        url: String,
        /// Words beside the link.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caption: Option<String>,
        /// First line of the card.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// Second line of the card.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        /// Picture of the card, a URL.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thumbnail: Option<String>,
        /// Asks for the large card.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        high_quality: Option<bool>,
        /// Off: no card at all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        preview: Option<bool>,
        /// Sends an address of ours that leads there and counts who comes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        track: Option<bool>,
    },
    /// A picture.
    Image(Media),
    /// A document.
    File(Media),
    /// A film.
    Video(Media),
    /// A sound file.
    Audio(Media),
    /// A voice note.
    Voice(Media),
    /// A sticker.
    Sticker(Media),
    /// A place.
    Location {
        /// Degrees, -90 to 90.
        latitude: f64,
        /// Degrees, -180 to 180.
        longitude: f64,
        /// What is there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Where it is, in words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<String>,
    },
    /// People to be added to the address book.
    Contact {
        /// One or more.
        contacts: Vec<Contact>,
    },
    /// A question with answers to choose from.
    Poll {
        /// What is asked.
        question: String,
        /// 2 to 12 of them, all different.
        answers: Vec<String>,
        /// How many of them a person may choose.
        max_answers: u32,
    },
    /// A question of `ask`; with answers to choose from natively a poll, or buttons.
    Question {
        /// What is asked.
        text: String,
        /// All different; none means that any answer will do.
        choices: Vec<String>,
    },
    /// A mark on a message that was received or sent before.
    Reaction {
        /// The gateway's id of that message.
        message: String,
        /// One emoji; empty takes the mark back.
        emoji: String,
        /// Whether that message was ours; some gateways cannot find it otherwise.
        #[serde(default, skip_serializing_if = "is_false")]
        own: bool,
    },
    /// A text that WhatsApp has approved, filled in.
    Template {
        /// The gateway's name or id for it.
        name: String,
        /// Code such as `en` or `pt_BR`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        language: Option<String>,
        /// Meta's components, or what the gateway takes instead.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        components: Vec<Value>,
        /// Values by name or number.
        #[serde(default, skip_serializing_if = "Map::is_empty")]
        variables: Map<String, Value>,
    },
}

impl Content {
    /// Every kind that scripts send, in the order in which they are explained.
    pub const KINDS: [&'static str; 13] = [
        "text", "link", "image", "file", "video", "audio", "voice", "sticker", "location", "contact", "poll",
        "reaction", "template",
    ];

    /// The word for it: one of [`Content::KINDS`], or `question`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Link { .. } => "link",
            Self::Image(_) => "image",
            Self::File(_) => "file",
            Self::Video(_) => "video",
            Self::Audio(_) => "audio",
            Self::Voice(_) => "voice",
            Self::Sticker(_) => "sticker",
            Self::Location { .. } => "location",
            Self::Contact { .. } => "contact",
            Self::Poll { .. } => "poll",
            Self::Question { .. } => "question",
            Self::Reaction { .. } => "reaction",
            Self::Template { .. } => "template",
        }
    }

    /// What it says, in a few words.
    pub fn gist(&self) -> String {
        let file = |media: &Media| {
            let name = match &media.source {
                Source::Url { url } => url.clone(),
                Source::Snapshot(copy) => copy.file_name.clone(),
                Source::Inline { file_name, .. } => file_name.clone(),
            };
            media.caption.clone().unwrap_or_else(|| media.name.clone().unwrap_or(name))
        };
        match self {
            Self::Text { text } | Self::Question { text, .. } => text.clone(),
            Self::Link { url, caption, .. } => match caption {
                Some(caption) => format!("{caption} {url}"),
                None => url.clone(),
            },
            Self::Location { latitude, longitude, name, .. } => {
                name.clone().unwrap_or_else(|| format!("{latitude}, {longitude}"))
            }
            Self::Contact { contacts } => {
                contacts.iter().map(|contact| contact.name.as_str()).collect::<Vec<_>>().join(", ")
            }
            Self::Poll { question, .. } => question.clone(),
            Self::Reaction { emoji, .. } => emoji.clone(),
            Self::Template { name, .. } => name.clone(),
            other => other.media().map(file).unwrap_or_default(),
        }
    }

    /// Its file, if it is one.
    pub fn media(&self) -> Option<&Media> {
        match self {
            Self::Image(media)
            | Self::File(media)
            | Self::Video(media)
            | Self::Audio(media)
            | Self::Voice(media)
            | Self::Sticker(media) => Some(media),
            _ => None,
        }
    }

    /// The copy of a file that it needs.
    pub fn blob(&self) -> Option<&str> {
        match &self.media()?.source {
            Source::Snapshot(copy) => Some(&copy.blob),
            Source::Url { .. } | Source::Inline { .. } => None,
        }
    }

    /// The same, to be changed.
    pub fn media_mut(&mut self) -> Option<&mut Media> {
        match self {
            Self::Image(media)
            | Self::File(media)
            | Self::Video(media)
            | Self::Audio(media)
            | Self::Voice(media)
            | Self::Sticker(media) => Some(media),
            _ => None,
        }
    }

    /// The addresses that it names besides its own file, for somebody else to fetch: a card's picture, files in
    /// a template.
    pub fn addresses(&self) -> Vec<&str> {
        let mut named = Vec::new();
        match self {
            Self::Link { thumbnail, .. } => named.extend(thumbnail.as_deref()),
            Self::Template { components, variables, .. } => {
                components.iter().chain(variables.values()).for_each(|value| collect(value, &mut named));
            }
            _ => {}
        }
        named
    }

    /// Whether there are any, or a page that is looked at for a preview.
    pub fn names_addresses(&self) -> bool {
        matches!(self, Self::Link { preview, .. } if *preview != Some(false)) || !self.addresses().is_empty()
    }

    /// A file as a message of a kind; none for kinds that are no files.
    pub fn of_media(kind: &str, media: Media) -> Option<Self> {
        Some(match kind {
            "image" => Self::Image(media),
            "file" => Self::File(media),
            "video" => Self::Video(media),
            "audio" => Self::Audio(media),
            "voice" => Self::Voice(media),
            "sticker" => Self::Sticker(media),
            _ => return None,
        })
    }
}

/// The addresses in what fills a template in; those in its words are only read.
fn collect<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => {
            let start = text.trim_start().get(..8).unwrap_or(text).to_ascii_lowercase();
            if start.starts_with("http://") || start.starts_with("https://") {
                found.push(text.trim());
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => {
            fields.iter().filter(|(name, _)| *name != "text").for_each(|(_, value)| collect(value, found));
        }
        _ => {}
    }
}

/// A picture, document, film or sound, with what may be said about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Media {
    /// Where its bytes are.
    pub source: Source,
    /// Words below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// The name that the person sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Gone after one look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view_once: Option<bool>,
    /// Asks for the better quality.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hd: Option<bool>,
    /// A film that plays in a loop, without sound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gif: Option<bool>,
    /// A film in a circle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<bool>,
}

impl Media {
    /// A file with nothing said about it.
    pub fn new(source: Source) -> Self {
        Self { source, caption: None, name: None, view_once: None, hd: None, gif: None, note: None }
    }
}

/// A person for the address book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// The whole name.
    pub name: String,
    /// International digits, with `+`.
    pub phone: String,
    /// Where the person works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
}

impl Contact {
    /// The digits of the phone.
    pub fn digits(&self) -> &str {
        self.phone.trim_start_matches('+')
    }

    /// As a vCard of version 3 (RFC 2426), with the `waid` that WhatsApp looks for.
    pub fn vcard(&self) -> String {
        // RFC 2426, 5: backslash, comma, semicolon and line break are escaped.
        let escaped =
            |text: &str| text.replace('\\', "\\\\").replace(',', "\\,").replace(';', "\\;").replace(['\r', '\n'], " ");
        let name = escaped(&self.name);
        let organization = self.organization.as_deref().map_or(String::new(), |org| format!("ORG:{}\n", escaped(org)));
        format!(
            "BEGIN:VCARD\nVERSION:3.0\nN:;{name};;;\nFN:{name}\n{organization}TEL;type=CELL;type=VOICE;waid={}:{}\nEND:VCARD\n",
            self.digits(),
            self.phone,
        )
    }
}

/// Where the bytes of a message's file are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Source {
    /// The gateway fetches it.
    Url {
        /// `http://` or `https://`.
        url: String,
    },
    /// A copy that was taken when the message was promised.
    Snapshot(Snapshot),
    /// A small text that becomes a file when it is sent.
    Inline {
        /// The file's name.
        file_name: String,
        /// What is in it.
        text: String,
    },
}

/// A file as it was when a script sent it: moving or editing it later changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// SHA-256 of the bytes in hex; the name under `blobs/`.
    pub blob: String,
    /// How many bytes.
    pub size: u64,
    /// The file's own name.
    pub file_name: String,
}

/// Wishes of a message that do not depend on its kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SendOptions {
    /// Provider id of the message that this one answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// Shown as forwarded.
    #[serde(skip_serializing_if = "is_false")]
    pub forwarded: bool,
    /// Seconds after which it disappears: a day, a week or 90 days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disappear: Option<u32>,
    /// Phones in canonical form, or `everyone`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<String>,
    /// What the recipient is called, for gateways that want to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient_name: Option<String>,
    /// Survives a cancelled run.
    #[serde(skip_serializing_if = "is_false")]
    pub keep: bool,
    /// Overrides the account's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_unsupported: Option<OnUnsupported>,
    /// Raw gateway fields, merged last.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// What is stored of a message and does not change any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Body {
    /// The message itself.
    #[serde(flatten)]
    pub content: Content,
    /// Its wishes.
    #[serde(default, skip_serializing_if = "is_plain")]
    pub options: SendOptions,
}

fn is_plain(options: &SendOptions) -> bool {
    *options == SendOptions::default()
}

/// A message as it enters the outbox.
#[derive(Clone, Debug, PartialEq)]
pub struct NewMessage {
    /// Made from run, position and index, so that one promise is one message.
    pub id: MessageId,
    /// The run that promised it; none when sent by hand.
    pub run: Option<RunId>,
    /// Name of the flow, empty when sent by hand.
    pub flow: String,
    /// The account that sends it.
    pub account: String,
    /// Whom it goes to.
    pub to: Recipient,
    /// What it says.
    pub body: Body,
    /// Not before this instant.
    pub at: Option<Timestamp>,
    /// Worth sending for so long after it is due.
    pub valid_for: Option<Duration>,
    /// Identity within the flow, for as long as messages are kept.
    pub key: Option<String>,
}

impl NewMessage {
    /// About how many bytes it takes; as many as can be where that would have to be counted.
    pub fn weight(&self) -> usize {
        match &self.body.content {
            Content::Text { text } if self.body.options.extra.is_empty() => size_of::<Self>() + text.len(),
            _ => usize::MAX,
        }
    }
}

/// A message that a run promised, and that may have gone out.
#[derive(Clone, Debug, PartialEq)]
pub struct Promised {
    /// Which.
    pub id: MessageId,
    /// The account that sends it.
    pub account: String,
    /// Canonical recipient.
    pub to: String,
    /// What it says.
    pub content: Content,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_in_templates_are_found_wherever_they_are_fetched() {
        let value = json!([{ "type": "header", "parameters": [
            { "type": "image", "image": { "link": "HTTP://a/" } }, { "type": "text", "text": "http://b/" }] },
            " https://c/", "see http://d/", "\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}"]);
        let mut found = Vec::new();
        collect(&value, &mut found);
        assert_eq!(found, ["HTTP://a/", "https://c/"]);
    }
}
