//! What kind of message WAHA tells of, and the file that came with it: there is no field for the
//! kind, and each engine shows WhatsApp's own message in its own way.

use serde_json::Value;

use crate::model::inbound::InboundMedia;
use crate::transport::events::{first_text, text, whole};

/// The kind of a message; none for what people did not write.
pub fn kind(payload: &Value) -> Option<&'static str> {
    let known = by_word(&payload["_data"]["type"])?;
    let mime = payload["media"]["mimetype"].as_str().or(payload["_data"]["mimetype"].as_str()).unwrap_or_default();
    let filled = |value: &Value| match value {
        Value::Array(list) => !list.is_empty(),
        // An empty list may be written as an object.
        Value::Object(map) => !map.is_empty(),
        _ => false,
    };
    let kind = known.or_else(|| inner(payload).and_then(|(name, message)| by_name(name, message)));
    Some(match kind {
        Some(kind) => kind,
        None if filled(&payload["interactiveResponse"]) => "choice",
        None if payload["hasMedia"] == true || filled(&payload["media"]) => by_mime(mime),
        None if filled(&payload["location"]) => "location",
        None if filled(&payload["vCards"]) => "contact",
        None if text(&payload["body"]).is_some() => "text",
        None => "other",
    })
}

/// By the word that WhatsApp's own page has; nothing for its notices, `Some(None)` where it tells
/// nothing.
fn by_word(word: &Value) -> Option<Option<&'static str>> {
    Some(match word.as_str().unwrap_or_default() {
        "chat" => Some("text"),
        "image" => Some("image"),
        "video" | "ptv" => Some("video"),
        "audio" => Some("audio"),
        "ptt" => Some("voice"),
        "document" => Some("file"),
        "sticker" => Some("sticker"),
        "location" => Some("location"),
        "vcard" | "multi_vcard" => Some("contact"),
        "poll_creation" => Some("poll"),
        "list_response" | "buttons_response" | "template_button_reply" | "interactive_response" => Some("choice"),
        "e2e_notification"
        | "notification"
        | "notification_template"
        | "broadcast_notification"
        | "gp2"
        | "protocol"
        | "call_log"
        | "revoked"
        | "ciphertext"
        | "album" => return None,
        _ => None,
    })
}

/// WhatsApp's own message with its name, such as `imageMessage`, as clients show it.
fn inner(payload: &Value) -> Option<(&str, &Value)> {
    let data = &payload["_data"];
    let mut message = [&data["message"], &data["Message"]].into_iter().find(|message| message.is_object())?;
    // What disappears, or may be seen once, is wrapped, and twice at most.
    for _ in 0..3 {
        let (name, found) = message.as_object()?.iter().find(|(name, value)| {
            !value.is_null() && !matches!(name.as_str(), "messageContextInfo" | "senderKeyDistributionMessage")
        })?;
        if !found["message"].is_object() {
            return Some((name.as_str(), found));
        }
        message = &found["message"];
    }
    None
}

fn by_name(name: &str, message: &Value) -> Option<&'static str> {
    Some(match name {
        "conversation" | "extendedTextMessage" => "text",
        "imageMessage" => "image",
        "videoMessage" | "ptvMessage" => "video",
        "audioMessage" if message["ptt"] == true || message["PTT"] == true => "voice",
        "audioMessage" => "audio",
        "documentMessage" => "file",
        "stickerMessage" | "lottieStickerMessage" => "sticker",
        "locationMessage" | "liveLocationMessage" => "location",
        "contactMessage" | "contactsArrayMessage" => "contact",
        "buttonsResponseMessage"
        | "listResponseMessage"
        | "templateButtonReplyMessage"
        | "interactiveResponseMessage" => "choice",
        name if name.starts_with("pollCreationMessage") => "poll",
        _ => return None,
    })
}

fn by_mime(mime: &str) -> &'static str {
    match mime.split_once('/') {
        // WhatsApp's pictures are never of this type, its stickers always are.
        Some(("image", "webp")) => "sticker",
        Some(("image", _)) => "image",
        Some(("video", _)) => "video",
        // Voice notes are Ogg, sound files hardly ever are.
        Some(("audio", kind)) if kind.starts_with("ogg") => "voice",
        Some(("audio", _)) => "audio",
        _ => "file",
    }
}

/// What a poll asks, where the body does not say it.
pub fn question(payload: &Value) -> Option<String> {
    inner(payload).and_then(|(_, message)| text(&message["name"]))
}

/// The file of a message, if the gateway has loaded it.
pub fn medium(payload: &Value) -> Option<InboundMedia> {
    let media = &payload["media"];
    let size = [&media["filesize"], &payload["_data"]["size"]].into_iter().find_map(whole);
    Some(InboundMedia {
        mime: text(&media["mimetype"]),
        name: text(&media["filename"]),
        size: size.and_then(|size| u64::try_from(size).ok()),
        source: first_text([&media["url"], &payload["mediaUrl"]])?,
    })
}
