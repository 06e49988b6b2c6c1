//! What an account is configured with.

use std::time::Duration;

use super::engine::Engine;
use crate::model::policy::Pace;
use crate::secret::Secret;
use crate::transport::gateway::Options;
use crate::transport::keys::Keys;

/// What an account of this transport is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WahaOptions {
    /// Base address.
    pub url: url::Url,
    /// The key, where one is set there.
    pub api_key: Option<Secret>,
    /// The session.
    pub session: String,
    /// Its engine.
    pub engine: Engine,
    /// Signs what it sends to us.
    pub webhook_secret: Option<Secret>,
    /// For one request.
    pub timeout: Duration,
}

impl Options for WahaOptions {
    const NAME: &'static str = "waha";
    const KEYS: &'static [&'static str] = &["url", "api_key", "session", "engine", "webhook_secret"];
    const PACE: Pace = Pace::PHONE;
    const REMEDY: &'static str = "set `webhook_secret` on the account, as on the gateway itself, or `inbound_token`";

    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let engine = keys.parsed("engine", Engine::parse).unwrap_or(Engine::Webjs);
        let (api_key, session) = (keys.word("api_key").map(Secret::new), keys.word("session"));
        let (url, timeout) = (keys.url(Some("http://127.0.0.1:3000")), keys.timeout(60));
        let (session, webhook_secret) = (session.unwrap_or("default".into()), keys.signing("webhook_secret"));
        Some(Self { url: url?, api_key, session, engine, webhook_secret, timeout })
    }

    fn secrets(&self) -> Vec<Secret> {
        self.api_key.iter().chain(&self.webhook_secret).cloned().collect()
    }
}
