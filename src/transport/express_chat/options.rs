//! What an account is configured with.

use std::time::Duration;

use crate::model::policy::Pace;
use crate::secret::Secret;
use crate::transport::gateway::Options;
use crate::transport::keys::Keys;

/// What an account of this transport is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressChatOptions {
    /// Base address: each brand has its own.
    pub url: url::Url,
    /// The key.
    pub api_key: Secret,
    /// For one request.
    pub timeout: Duration,
}

impl Options for ExpressChatOptions {
    const NAME: &'static str = "express-chat";
    const KEYS: &'static [&'static str] = &["url", "api_key"];
    const PACE: Pace = Pace::META;

    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let api_key = keys.secret("api_key", "EXPRESS_CHAT_KEY");
        let url = keys.url(Some("https://api.v7.express-chat.com"));
        Some(Self { url: url?, api_key: api_key?, timeout: keys.timeout(30) })
    }

    fn secrets(&self) -> Vec<Secret> {
        vec![self.api_key.clone()]
    }
}
