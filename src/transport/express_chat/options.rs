//! What an account is configured with.

use std::time::Duration;

use crate::secret::Secret;

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
