//! What an account is configured with.

use std::time::Duration;

use crate::secret::Secret;

/// The field of a status callback's address in which our own id of the message stands.
pub const OURS: &str = "message";

/// Who sends: a number, or a service that chooses one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// International digits.
    Number(String),
    /// A Messaging Service's id, `MG...`.
    Service(String),
}

/// What an account of this transport is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TwilioOptions {
    /// Base address.
    pub url: url::Url,
    /// `AC...`.
    pub account_sid: String,
    /// The token.
    pub auth_token: Secret,
    /// Who sends.
    pub from: Sender,
    /// Where it is to tell how far a message is: `<public_url>/gateways/<account>`, token included.
    pub callback: Option<Secret>,
    /// For one request.
    pub timeout: Duration,
}
