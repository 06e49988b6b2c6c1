//! What an account is configured with.

use std::time::Duration;

use crate::model::policy::Pace;
use crate::secret::Secret;
use crate::transport::gateway::Options;
use crate::transport::keys::Keys;

/// What an account of this transport is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WapimOptions {
    /// Base address; the service has moved before.
    pub url: url::Url,
    /// The account's token.
    pub token: Secret,
    /// For one request.
    pub timeout: Duration,
}

impl Options for WapimOptions {
    const NAME: &'static str = "wapim";
    const KEYS: &'static [&'static str] = &["url", "token"];
    const PACE: Pace = Pace::PHONE;

    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let token = keys.secret("token", "WAPIM_TOKEN");
        let url = keys.url(Some("https://api.wapim.io/api/v1/whatsapp"));
        Some(Self { url: url?, token: token?, timeout: keys.timeout(30) })
    }

    fn secrets(&self) -> Vec<Secret> {
        vec![self.token.clone()]
    }
}
