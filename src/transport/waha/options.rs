//! What an account is configured with.

use std::time::Duration;

use super::engine::Engine;
use crate::secret::Secret;

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
