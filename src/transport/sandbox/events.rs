//! What is told to the sandbox, in a shape of our own: one event, or a list of them.
//!
//! ```json
//! {"event": "message", "id": "A1", "from": "+15417543010", "text": "hi"}
//! {"event": "ack", "id": "SANDBOX-...", "state": "read"}
//! {"event": "reaction", "id": "R1", "message_id": "SANDBOX-...", "from": "+15417543010", "emoji": "👍"}
//! ```
//!
//! A message may have `chat`, `name`, `kind`, `reply_to`, `at` and `media` (`mime`, `name`, `size`,
//! `source`) besides; `also` names a second address of its writer.

use serde_json::Value;

use crate::model::delivery::{ErrorClass, MessageState};
use crate::model::inbound::{Ack, Fate, InboundMedia, Reaction, Told, Written};
use crate::model::recipient::Recipient;
use crate::plain::shortened;
use crate::transport::answer::readable;
use crate::transport::events::moment;
use crate::transport::{Heard, Incoming, NotHeard};

/// Most characters of an error.
const LONGEST_ERROR: usize = 400;

const KINDS: [&str; 11] =
    ["text", "image", "video", "audio", "voice", "file", "sticker", "location", "contact", "poll", "choice"];

/// Reads what came to the address that only the sender knows.
pub fn read(incoming: &Incoming<'_>) -> Result<Heard, NotHeard> {
    incoming.proven(None, |_| false)?;
    let body = incoming.json()?;
    let items = match &body {
        Value::Array(items) => items.iter().collect(),
        one => vec![one],
    };
    let mut told = Vec::new();
    for item in items {
        event(item, incoming, &mut told);
    }
    Ok(Heard::Told(told))
}

fn event(item: &Value, incoming: &Incoming<'_>, told: &mut Vec<Told>) {
    let text = |field: &str| item[field].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let person = |field: &str| Recipient::parse(item[field].as_str()?).ok();
    let Some(id) = text("id") else { return };
    match item["event"].as_str().unwrap_or("message") {
        "ack" => {
            let fate = match item["state"].as_str().and_then(MessageState::parse) {
                Some(
                    state
                    @ (MessageState::Accepted | MessageState::Sent | MessageState::Delivered | MessageState::Read),
                ) => Fate::Reached(state),
                _ if item["state"] == "failed" => Fate::Failed {
                    class: ErrorClass::Invalid,
                    error: text("error").map_or_else(
                        || "the phone refused it".into(),
                        |said| shortened(&readable(&said), LONGEST_ERROR),
                    ),
                },
                _ => return,
            };
            told.push(Told::Ack(Ack { message_id: id, fate, ours: None, chat: None }));
        }
        "reaction" => {
            let (Some(from), Some(message_id)) = (person("from"), text("message_id")) else { return };
            let (chat, at) = (person("chat").unwrap_or_else(|| from.clone()), moment(&item["at"], incoming.now));
            let (event_id, emoji) = (format!("reaction:{id}"), text("emoji").unwrap_or_default());
            told.push(Told::Reaction(Reaction { event_id, message_id, at, chat, from, emoji }));
        }
        "message" => {
            let Some(from) = person("from") else { return };
            if let Some(other) = person("also") {
                told.push(Told::Same(from.clone(), other));
            }
            let media = item.get("media").filter(|media| media.is_object()).map(|media| InboundMedia {
                mime: media["mime"].as_str().map(str::to_owned),
                name: media["name"].as_str().map(str::to_owned),
                size: media["size"].as_u64(),
                source: media["source"].as_str().unwrap_or_default().to_owned(),
            });
            let kind = item["kind"].as_str().and_then(|kind| KINDS.into_iter().find(|known| *known == kind));
            told.push(Told::Written(Box::new(Written {
                fields: None,
                event_id: format!("message:{id}"),
                message_id: id,
                at: moment(&item["at"], incoming.now),
                chat: person("chat").unwrap_or_else(|| from.clone()),
                from,
                name: text("name"),
                kind: kind.unwrap_or(if media.is_some() { "file" } else { "text" }),
                text: text("text"),
                media,
                reply_to: text("reply_to"),
            })));
        }
        _ => {}
    }
}
