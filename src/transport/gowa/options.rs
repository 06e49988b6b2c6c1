//! What an account is configured with.

use std::time::Duration;

use crate::secret::Secret;

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
