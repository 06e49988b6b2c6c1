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
    },
    /// A picture.
    Image {
        /// Where its bytes are.
        source: Source,
        /// Words below it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caption: Option<String>,
        /// Gone after one look.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        view_once: Option<bool>,
        /// Asks for the better quality.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hd: Option<bool>,
    },
    /// A document.
    File {
        /// Where its bytes are.
        source: Source,
        /// Words below it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caption: Option<String>,
        /// The name that the person sees.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
}

impl Content {
    /// `text`, `link`, `image` or `file`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Link { .. } => "link",
            Self::Image { .. } => "image",
            Self::File { .. } => "file",
        }
    }

    /// Where its bytes are, if it has any.
    pub fn source(&self) -> Option<&Source> {
        match self {
            Self::Image { source, .. } | Self::File { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Where the bytes of a picture or document are.
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
