//! What gateways tell us: what people wrote, how far our messages are, and how the link to WhatsApp
//! stands.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::delivery::{ErrorClass, MessageState};
use super::recipient::Recipient;
use crate::id::MessageId;

/// How old a message may be: gateways that were away for a while tell what came meanwhile, and Meta tells
/// again for a week.
pub const OLDEST: Duration = Duration::from_secs(7 * 86_400);
/// How far ahead of us a gateway's clock may be.
pub const AHEAD: Duration = Duration::from_secs(86_400);

/// Whether a time that a gateway gives to a message is believed. What is older than what is remembered of
/// ids could be told twice by whoever kept it.
pub fn is_believed(at: Timestamp, now: Timestamp) -> bool {
    let age = now.duration_since(at);
    let longest = |span: Duration| SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
    age <= longest(OLDEST) && age >= -longest(AHEAD)
}

/// WhatsApp's own part of a message's id. Its web page, and what is built on that, writes the chat in front of
/// it and in groups the writer behind (`true_<chat>_<id>_<writer>`), each of them by phone here and hidden there.
pub fn bare_id(id: &str) -> &str {
    let mut parts = id.split('_');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("true" | "false"), Some(chat), Some(bare)) if chat.contains('@') && !bare.is_empty() => bare,
        _ => id,
    }
}

/// One thing that a gateway told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Two addresses lead to one chat. Comes before what it helps to understand.
    Same(Recipient, Recipient),
    /// A person wrote.
    Written(Box<Written>),
    /// How far a message of ours is.
    Ack(Ack),
    /// A message of our own number came back, or was typed on its phone.
    Echo(Echo),
    /// A person put a mark on a message, or took it back.
    Reaction(Reaction),
    /// How the gateway's link to WhatsApp stands.
    Connection(Connection),
    /// Something was told that cannot be made use of, for this reason.
    LeftOut(&'static str),
}

impl Told {
    /// When it was written, where that is told.
    pub fn at(&self) -> Option<Timestamp> {
        match self {
            Self::Written(written) => Some(written.at),
            Self::Echo(echo) => Some(echo.at),
            Self::Reaction(reaction) => Some(reaction.at),
            Self::Same(..) | Self::Ack(_) | Self::Connection(_) | Self::LeftOut(_) => None,
        }
    }
}

/// A message that a person wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Identity of the event within its account: the same when the gateway tells it again.
    pub event_id: String,
    /// The gateway's id of the message.
    pub message_id: String,
    /// When it was written, by the gateway's clock.
    pub at: Timestamp,
    /// The chat that it stands in: a group, or the person.
    pub chat: Recipient,
    /// Who wrote.
    pub from: Recipient,
    /// What the person is called.
    pub name: Option<String>,
    /// `text`, `image`, `video`, `audio`, `voice`, `file`, `sticker`, `location`, `contact`, `poll`,
    /// `choice` (a button, a list's row, a poll's answer), `form` or `other`.
    pub kind: &'static str,
    /// What was said: the text, the caption, the words of the choice.
    pub text: Option<String>,
    /// The file that came with it.
    pub media: Option<InboundMedia>,
    /// What else it holds: a place, people's cards, what was filled into a form.
    pub fields: Option<Value>,
    /// The gateway's id of the message that it answers.
    pub reply_to: Option<String>,
}

/// A file that came with a message. It stays at the gateway until a script asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboundMedia {
    /// Its type, such as `image/jpeg`, as far as it is told.
    pub mime: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// How many bytes it has.
    pub size: Option<u64>,
    /// Where the gateway has it; only its transport reads this. Holds no credential.
    pub source: String,
}

/// How far a message of ours is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The gateway's id of the message.
    pub message_id: String,
    /// Our own id of it, where the gateway says it back.
    pub ours: Option<OwnId>,
    /// The chat that it stands in, where that is told: perhaps by another address than we sent it to.
    pub chat: Option<Recipient>,
    /// What became of it.
    pub fate: Fate,
}

/// Our own id of what one request sent, as gateways are given it to say it back: `01a1f7c1-...`, for a later
/// part of a message `01a1f7c1-....1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnId {
    /// The message.
    pub message: MessageId,
    /// Which of its parts, from 0.
    pub part: u32,
}

impl fmt::Display for OwnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            0 => write!(f, "{}", self.message),
            part => write!(f, "{}.{part}", self.message),
        }
    }
}

impl FromStr for OwnId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (message, part) = text.split_once('.').unwrap_or((text, "0"));
        let part = part.parse().map_err(|_| format!("`{text}` names no part of a message"))?;
        Ok(Self { message: message.parse()?, part })
    }
}

/// What became of a message of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It got as far as that: `accepted`, `sent`, `delivered` or `read`.
    Reached(MessageState),
    /// It failed after all.
    Failed {
        /// Sorted as the error of an answer is.
        class: ErrorClass,
        /// What was said.
        error: String,
    },
}

/// A message of our own number that came back as an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo {
    /// The gateway's id of the message.
    pub message_id: String,
    /// When it was written, by the gateway's clock.
    pub at: Timestamp,
    /// The chat that it stands in.
    pub chat: Recipient,
    /// Its kind, as in [`Written::kind`].
    pub kind: &'static str,
    /// What it says: the text or the caption.
    pub text: Option<String>,
    /// It was typed on the phone, so that no program can have sent it.
    pub by_hand: bool,
}

/// A mark on a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// Identity of the event within its account.
    pub event_id: String,
    /// The gateway's id of the message that is marked.
    pub message_id: String,
    /// When.
    pub at: Timestamp,
    /// The chat that it stands in.
    pub chat: Recipient,
    /// Who marked it.
    pub from: Recipient,
    /// The mark; empty when it was taken back.
    pub emoji: String,
}

/// How the gateway's link to WhatsApp stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Whether messages can go out.
    pub is_up: bool,
    /// The gateway's word for it.
    pub state: String,
}

#[cfg(test)]
mod tests {
    use super::bare_id;

    #[test]
    fn an_id_is_known_by_the_part_that_is_always_the_same() {
        for id in [
            "3EB0AB",
            "true_15417543010@c.us_3EB0AB",
            "true_77@lid_3EB0AB",
            "true_120363025246125486@g.us_3EB0AB_628111000001@c.us",
            "false_120363025246125486@g.us_3EB0AB_77@lid",
        ] {
            assert_eq!(bare_id(id), "3EB0AB");
        }
        for other in ["wamid.HBgL_x", "true_x", "true_a_b", "true_a@b", "true_a@b_", "SM_1_2", ""] {
            assert_eq!(bare_id(other), other);
        }
    }
}
