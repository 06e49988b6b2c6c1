//! What an account is configured with.

use std::time::Duration;

use crate::secret::Secret;

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
