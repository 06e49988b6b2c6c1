//! What an account is configured with.

use std::time::Duration;

use crate::secret::Secret;

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
