//! What an account is configured with.

use std::time::Duration;

use crate::model::policy::Pace;
use crate::secret::Secret;
use crate::transport::gateway::Options;
use crate::transport::keys::Keys;

/// The header that the signature comes in, as its sister WAHA calls it: its own pages do not say.
const HEADER: &str = "x-webhook-hmac";

/// What an account of this transport is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WawpOptions {
    /// Base address, without `/v2`.
    pub url: url::Url,
    /// The instance.
    pub instance_id: String,
    /// The token.
    pub access_token: Secret,
    /// Signs what it sends to us.
    pub webhook_secret: Option<Secret>,
    /// The header that the signature comes in, in lower case.
    pub webhook_header: String,
    /// For one request.
    pub timeout: Duration,
}

impl Options for WawpOptions {
    const NAME: &'static str = "wawp";
    const KEYS: &'static [&'static str] = &["url", "instance_id", "access_token", "webhook_secret", "webhook_header"];
    const PACE: Pace = Pace::PHONE;
    const REMEDY: &'static str = "set `webhook_secret` on the account, as on the gateway itself, or `inbound_token`";

    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let access_token = keys.secret("access_token", "WAWP_TOKEN");
        let instance_id = keys.must("instance_id", "ABC123DEF456");
        let url = keys.url(Some("https://api.wawp.net"));
        let timeout = keys.timeout(60);
        let webhook_secret = keys.signing("webhook_secret");
        let webhook_header = keys.word("webhook_header").map_or(HEADER.to_owned(), |name| name.to_ascii_lowercase());
        Some(Self {
            url: url?,
            instance_id: instance_id?,
            access_token: access_token?,
            webhook_secret,
            webhook_header,
            timeout,
        })
    }

    fn secrets(&self) -> Vec<Secret> {
        std::iter::once(&self.access_token).chain(&self.webhook_secret).cloned().collect()
    }
}
