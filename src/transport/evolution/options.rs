//! What an account is configured with.

use std::time::Duration;

use crate::model::policy::Pace;
use crate::secret::Secret;
use crate::transport::gateway::Options;
use crate::transport::keys::Keys;

/// What an account of this transport is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvolutionOptions {
    /// Base address.
    pub url: url::Url,
    /// The global key or the instance's.
    pub api_key: Secret,
    /// The instance.
    pub instance: String,
    /// Signs the tokens (HS256) that it shows when it sends to us.
    pub webhook_secret: Option<Secret>,
    /// For one request.
    pub timeout: Duration,
}

impl Options for EvolutionOptions {
    const NAME: &'static str = "evolution";
    const KEYS: &'static [&'static str] = &["url", "api_key", "instance", "webhook_secret"];
    const PACE: Pace = Pace::PHONE;
    const REMEDY: &'static str = "set `webhook_secret` on the account, as on the gateway itself, or `inbound_token`";

    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let api_key = keys.secret("api_key", "EVOLUTION_KEY");
        let instance = keys.must("instance", "my-instance");
        let (url, timeout) = (keys.url(None), keys.timeout(60));
        let webhook_secret = keys.signing("webhook_secret");
        Some(Self { url: url?, api_key: api_key?, instance: instance?, webhook_secret, timeout })
    }

    fn secrets(&self) -> Vec<Secret> {
        std::iter::once(&self.api_key).chain(&self.webhook_secret).cloned().collect()
    }
}
