//! What an account is configured with.

use std::time::Duration;

use crate::model::policy::Pace;
use crate::secret::Secret;
use crate::transport::gateway::Options;
use crate::transport::keys::Keys;

/// What an account of this transport is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GowaOptions {
    /// Base address, with `APP_BASE_PATH` if one is set there.
    pub url: url::Url,
    /// Device, where the gateway has several.
    pub device: Option<String>,
    /// `user:password`.
    pub basic_auth: Option<Secret>,
    /// Signs what it sends to us.
    pub webhook_secret: Option<Secret>,
    /// For one request; the server itself gives up after 45 s.
    pub timeout: Duration,
}

impl Options for GowaOptions {
    const NAME: &'static str = "gowa";
    const KEYS: &'static [&'static str] = &["url", "device", "basic_auth", "webhook_secret"];
    const PACE: Pace = Pace::PHONE;
    const REMEDY: &'static str = "set `webhook_secret` on the account, as on the gateway itself, or `inbound_token`";

    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let basic_auth = keys.text("basic_auth").and_then(|text| {
            if !text.contains(':') {
                let message = "`basic_auth` is a user and a password with `:` between them";
                keys.wrong(Some("basic_auth"), message, None);
                return None;
            }
            Some(Secret::new(text))
        });
        // The server gives up after 45 s; a little more lets its own answer arrive.
        let (device, timeout) = (keys.word("device"), keys.timeout(60));
        let webhook_secret = keys.signing("webhook_secret");
        if webhook_secret.as_ref().is_some_and(|secret| secret.reveal() == "secret") {
            let message = "`webhook_secret` is the word that GOWA comes with: everybody knows it";
            let remedy = "set another one there (`WHATSAPP_WEBHOOK_SECRET`) and here";
            keys.wrong(Some("webhook_secret"), message, Some(remedy));
        }
        Some(Self { url: keys.url(Some("http://127.0.0.1:3000"))?, device, basic_auth, webhook_secret, timeout })
    }

    fn secrets(&self) -> Vec<Secret> {
        self.basic_auth.iter().chain(&self.webhook_secret).cloned().collect()
    }
}
