//! What an account is configured with.

use std::time::Duration;

use crate::secret::Secret;

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
