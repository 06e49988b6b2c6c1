//! What an account is configured with.

use std::time::Duration;

use crate::model::policy::Pace;
use crate::model::recipient::Recipient;
use crate::secret::Secret;
use crate::transport::gateway::Options;
use crate::transport::keys::Keys;

/// The field of a status callback's address in which our own id of the message stands.
pub const OURS: &str = "message";

/// Who sends: a number, or a service that chooses one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// International digits.
    Number(String),
    /// A Messaging Service's id, `MG...`.
    Service(String),
}

/// What an account of this transport is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TwilioOptions {
    /// Base address.
    pub url: url::Url,
    /// `AC...`.
    pub account_sid: String,
    /// The token.
    pub auth_token: Secret,
    /// Who sends.
    pub from: Sender,
    /// For one request.
    pub timeout: Duration,
}

impl Options for TwilioOptions {
    const NAME: &'static str = "twilio";
    const KEYS: &'static [&'static str] = &["url", "account_sid", "auth_token", "from", "messaging_service"];
    const PACE: Pace = Pace::TWILIO;

    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let auth_token = keys.secret("auth_token", "TWILIO_TOKEN");
        let account_sid = keys.id("account_sid", "AC0123456789abcdef0123456789abcdef", "AC");
        let (url, timeout) = (keys.url(Some("https://api.twilio.com")), keys.timeout(15));
        let from = sender(keys);
        Some(Self { url: url?, account_sid: account_sid?, auth_token: auth_token?, from: from?, timeout })
    }

    fn secrets(&self) -> Vec<Secret> {
        // Its header is made of both, which Base64 joins.
        let pair = format!("{}:{}", self.account_sid, self.auth_token.reveal());
        vec![self.auth_token.clone(), Secret::new(pair)]
    }
}

/// Who sends: one of two keys.
fn sender(keys: &mut Keys<'_>) -> Option<Sender> {
    let number = |text: &str| match Recipient::parse(text.trim_start_matches("whatsapp:"))? {
        Recipient::Phone(digits) => Ok(Sender::Number(digits)),
        other => Err(format!("`{other}` is no phone")),
    };
    match (keys.parsed("from", number), keys.word("messaging_service")) {
        (Some(_), Some(_)) => {
            let message = "`from` and `messaging_service` exclude each other";
            keys.wrong(None, message, Some("keep the one that is to send"));
            None
        }
        (Some(number), None) => Some(number),
        (None, Some(service)) => Some(Sender::Service(service)),
        (None, None) => {
            if !keys.has("from") {
                keys.missing("from", "\"+14155238886\"");
            }
            None
        }
    }
}
