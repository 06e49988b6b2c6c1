//! What an adapter finds around it: its account, the way back to us, and the phones of the sandbox.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use url::Url;

use super::{Download, Outgoing};
use crate::secret::Secret;

/// Where the phones of the sandbox keep what they got.
pub trait Phones: Send + Sync {
    /// Keeps a message, once for each id; says whether the phone that it is for is on.
    fn receive(&self, account: &str, message: Outgoing) -> Pin<Box<dyn Future<Output = Result<bool, String>> + Send>>;

    /// Gets a file that was sent from a phone.
    fn file(&self, source: &str) -> Download;
}

/// What the adapter of one account stands on, besides its options.
pub struct Site<'a> {
    /// The account's name.
    pub account: &'a str,
    /// How the world reaches us.
    pub public_url: Option<&'a Url>,
    /// The part of the account's address that only the gateway knows.
    pub inbound_token: Option<&'a Secret>,
    /// For accounts of the sandbox.
    pub phones: &'a Arc<dyn Phones>,
}

impl Site<'_> {
    /// Where the gateway is to tell how far messages are: `<public_url>/gateways/<account>`, token included.
    pub fn callback(&self) -> Option<Secret> {
        let base = self.public_url?.as_str().trim_end_matches('/');
        let token = self.inbound_token.map_or(String::new(), |token| format!("/{}", token.reveal()));
        Some(Secret::new(format!("{base}/gateways/{}{token}", self.account)))
    }
}
