//! What an account is configured with.

use std::time::Duration;

use crate::secret::Secret;

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
