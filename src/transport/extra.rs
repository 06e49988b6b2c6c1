//! Raw fields that an author adds to a request (`extra`). They add and never replace: whom a message
//! goes to, who sends it, what it says and where the gateway reports to is on record here, and a raw
//! field that changes one of these would make the record a lie and pass by opt-outs, pace and order.

use serde_json::Value;

use super::answer::readable;
use super::wire::Fields;
use crate::model::delivery::{ErrorClass, SendError};
use crate::plain::shortened;

/// Most characters of a field's name.
const LONGEST_NAME: usize = 64;

/// What a dialect says about raw fields.
pub struct Raw {
    /// The gateway's name in errors.
    pub gateway: &'static str,
    /// Fields that are the message itself in one kind of message or another, with blanks between them. What
    /// addresses a message is known for all gateways, see `Taken::by`.
    pub own: &'static str,
}

/// What a field would change.
// The words that gateways have for whom, who, and where to. What a gateway documents is not all that it reads: many
// take older writings, and some read names whatever their case.
const RECIPIENT: [&str; 28] = [
    "to",
    "number",
    "numbers",
    "tonumber",
    "mobilenumber",
    "whatsappnumber",
    "mobile",
    "mobiles",
    "tel",
    "chat",
    "chats",
    "group",
    "groups",
    "groupid",
    "groupids",
    "newsletter",
    "channel",
    "channelid",
    "broadcast",
    "lid",
    "bsuid",
    "waid",
    "wuid",
    "user",
    "userid",
    "target",
    "peer",
    "msisdn",
];
const IN_RECIPIENT: [&str; 8] =
    ["recipient", "receiver", "phone", "chatid", "jid", "participant", "destination", "addressee"];
const SENDER: [&str; 8] = ["from", "fromnumber", "device", "deviceid", "account", "accountid", "bot", "botid"];
const IN_SENDER: [&str; 11] = [
    "session",
    "instance",
    "sender",
    "token",
    "apikey",
    "secret",
    "password",
    "authorization",
    "credential",
    "accountsid",
    "servicesid",
];
const IN_REPORTS: [&str; 4] = ["callback", "webhook", "notifyurl", "applicationsid"];
// Some servers take the request's method from its body; the rest is how JavaScript is deceived.
const REQUEST: [&str; 7] = ["method", "httpmethod", "methodoverride", "batch", "proto", "prototype", "constructor"];

#[derive(Clone, Copy)]
enum Taken {
    Recipient,
    Sender,
    Reports,
    Request,
    Message,
}

impl Taken {
    /// By the words above.
    fn by(plain: &str) -> Option<Self> {
        let holds = |words: &[&str]| words.iter().any(|word| plain.contains(word));
        if IN_REPORTS.iter().any(|word| plain.contains(word)) {
            Some(Self::Reports)
        } else if SENDER.contains(&plain) || holds(&IN_SENDER) {
            Some(Self::Sender)
        } else if RECIPIENT.contains(&plain) || holds(&IN_RECIPIENT) {
            Some(Self::Recipient)
        } else if REQUEST.contains(&plain) {
            Some(Self::Request)
        } else {
            None
        }
    }

    fn instead(self) -> &'static str {
        match self {
            Self::Recipient => "it says whom the message goes to; name the recipient as `to` of the message instead",
            Self::Sender => "it says who sends the message; name another `account` instead",
            Self::Reports => "it says where the gateway reports to, which follows from `public_url` in postrider.yaml",
            Self::Request => "the gateway would take the request for another one; leave it out",
            Self::Message => "it is a part of the message that is written here; use the message's own options instead",
        }
    }
}

impl Raw {
    /// Adds raw fields to a request in JSON.
    ///
    /// # Errors
    /// As of [`check`](Self::check).
    pub fn add(&self, fields: &mut Fields, extra: Fields) -> Result<(), SendError> {
        self.check(&extra, fields.keys().map(String::as_str))?;
        fields.extend(extra);
        Ok(())
    }

    /// Whether raw fields may stand beside those that are `set` already.
    ///
    /// # Errors
    /// [`ErrorClass::Invalid`] with the field that may not be there, and what to write instead.
    pub fn check<'a>(&self, extra: &Fields, set: impl IntoIterator<Item = &'a str>) -> Result<(), SendError> {
        if extra.is_empty() {
            return Ok(());
        }
        let mut taken: Vec<String> = set.into_iter().map(plain).collect();
        taken.extend(self.own.split_whitespace().map(plain));
        for (name, value) in extra {
            // In forms `a[b]` and `a.b` are fields within fields.
            let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            if name.is_empty() || name.len() > LONGEST_NAME || !is_name {
                let why = "the name of a raw field has letters, digits, `_` and `-`";
                return Err(self.refused(name, why));
            }
            let plain = plain(name);
            let why = Taken::by(&plain).or_else(|| taken.contains(&plain).then_some(Taken::Message));
            if let Some(why) = why {
                return Err(self.refused(name, why.instead()));
            }
            if let Some((inner, why)) = within(value) {
                return Err(self.refused(&format!("{name}.{inner}"), why.instead()));
            }
        }
        Ok(())
    }

    fn refused(&self, name: &str, why: &str) -> SendError {
        let name = shortened(&readable(name), 2 * LONGEST_NAME);
        let message = format!("`extra` may not have the field `{name}` for {}: {why}", self.gateway);
        SendError::new(ErrorClass::Invalid, message)
    }
}

/// A name without all in which its writings differ: case, also where a letter has two small forms,
/// underscores, hyphens.
fn plain(name: &str) -> String {
    name.to_uppercase().to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect()
}

/// The first field anywhere within a value that addresses a message.
fn within(value: &Value) -> Option<(&str, Taken)> {
    match value {
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            Taken::by(&plain(name)).map(|taken| (name.as_str(), taken)).or_else(|| within(value))
        }),
        Value::Array(items) => items.iter().find_map(within),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RAW: Raw = Raw { gateway: "g", own: "image_url" };

    fn joined(extra: Value) -> Result<Value, String> {
        let mut fields = super::super::wire::fields([("reply_to", "A".into()), ("x", json!({ "y": 1 }))]);
        let Value::Object(extra) = extra else { panic!("{extra}") };
        RAW.add(&mut fields, extra).map(|()| fields.into()).map_err(|error| error.message)
    }

    #[test]
    fn what_is_new_is_added() {
        let all = joined(json!({ "future": "x", "send-at": [1, { "deep": null }], "encoding": true })).unwrap();
        assert_eq!(all["future"], "x");
        assert_eq!(all["reply_to"], "A");
        assert_eq!(joined(json!({})).unwrap(), json!({ "reply_to": "A", "x": { "y": 1 } }));
    }

    #[test]
    fn what_is_there_or_addresses_a_message_is_refused_in_every_writing() {
        for name in [
            "reply_to",
            "replyTo",
            "REPLY-TO",
            "X",
            "imageUrl",
            "IMAGE_URL",
            "to",
            "To",
            "_to",
            "chatId",
            "chat_id",
            "CHATID",
            "phone",
            "Phone_Number",
            "number",
            "recipient",
            "recipientType",
            "jid",
            "remoteJid",
            "waId",
            "session",
            "sessionName",
            "From",
            "fromNumber",
            "instance_id",
            "access_token",
            "MessagingServiceSid",
            "StatusCallback",
            "webhookUrl",
            "_method",
            "__proto__",
            "sta\u{74}usCallback",
        ] {
            let why = joined(json!({ name: "x" })).unwrap_err();
            assert!(why.contains(&format!("`{name}`")), "{why}");
        }
        for name in ["", "phone[]", "a.b", "a b", "a\"; b", "a\r\nb", "chat\u{212a}d", "\u{17f}ession", "pho\u{0}ne"] {
            assert!(joined(json!({ name: "x" })).is_err(), "{name:?}");
        }
    }

    #[test]
    fn what_addresses_a_message_is_found_at_any_depth() {
        for value in [
            json!({ "number": "1" }),
            json!({ "a": { "key": { "remoteJid": "1" } } }),
            json!([[{ "ChatId": "1" }]]),
            json!({ "\u{17f}ession": "1" }),
        ] {
            let why = joined(json!({ "new": value })).unwrap_err();
            assert!(why.contains("`new."), "{why}");
        }
    }
}
