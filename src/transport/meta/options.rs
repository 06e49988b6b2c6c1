//! What an account is configured with.

use std::time::Duration;

use crate::model::policy::Pace;
use crate::secret::Secret;
use crate::transport::gateway::Options;
use crate::transport::keys::Keys;

/// The Graph API's version where none is named.
const VERSION: &str = "v25.0";

/// What an account of this transport is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaOptions {
    /// Base address.
    pub url: url::Url,
    /// Of the Graph API, such as `v25.0`.
    pub version: String,
    /// The number that sends, by its id.
    pub phone_number_id: String,
    /// With the permission `whatsapp_business_messaging`.
    pub access_token: Secret,
    /// Signs what Meta sends to us.
    pub app_secret: Option<Secret>,
    /// What Meta shows when it asks whether we are there.
    pub verify_token: Option<Secret>,
    /// For one request.
    pub timeout: Duration,
}

impl Options for MetaOptions {
    const NAME: &'static str = "meta";
    const KEYS: &'static [&'static str] =
        &["url", "version", "phone_number_id", "access_token", "app_secret", "verify_token"];
    const PACE: Pace = Pace::META;
    const REMEDY: &'static str = "set `app_secret` and `verify_token` on the account";

    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let access_token = keys.secret("access_token", "META_TOKEN");
        let phone_number_id = keys.id("phone_number_id", "\"106540352242922\"", "");
        let version = |text: &str| {
            let sound = text.strip_prefix('v').is_some_and(|rest| {
                rest.starts_with(|c: char| c.is_ascii_digit()) && rest.bytes().all(|b| b.is_ascii_digit() || b == b'.')
            });
            match sound {
                true => Ok(text.to_owned()),
                false => Err(format!("`{text}` is no version; write one such as `{VERSION}`")),
            }
        };
        let version = keys.parsed("version", version).unwrap_or(VERSION.into());
        let (app_secret, verify_token) = (keys.signing("app_secret"), keys.word("verify_token"));
        let (url, timeout) = (keys.url(Some("https://graph.facebook.com")), keys.timeout(30));
        Some(Self {
            url: url?,
            version,
            phone_number_id: phone_number_id?,
            access_token: access_token?,
            app_secret,
            verify_token: verify_token.map(Secret::new),
            timeout,
        })
    }

    fn secrets(&self) -> Vec<Secret> {
        let inbound = self.app_secret.iter().chain(&self.verify_token);
        std::iter::once(&self.access_token).chain(inbound).cloned().collect()
    }
}
