//! The built-in stand-in for a gateway: delivers at once to phones that can be looked at.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::{Outgoing, Sending, Transport};
use crate::model::capability::Capabilities;
use crate::model::delivery::{ErrorClass, MessageState, Receipt, SendError};

const LINK: &[&str] = &[
    "caption",
    "title",
    "description",
    "thumbnail",
    "high_quality",
    "preview",
    "reply_to",
    "forwarded",
    "disappear",
    "mentions",
    "recipient_name",
];
const TEXT: &[&str] = &["reply_to", "forwarded", "disappear", "mentions", "recipient_name"];
const IMAGE: &[&str] =
    &["caption", "view_once", "hd", "reply_to", "forwarded", "disappear", "mentions", "recipient_name"];
const FILE: &[&str] = &["caption", "name", "reply_to", "forwarded", "disappear", "mentions", "recipient_name"];

const CAPABILITIES: Capabilities = Capabilities {
    kinds: &[("text", TEXT), ("link", LINK), ("image", IMAGE), ("file", FILE)],
    addresses: &["phone", "group", "newsletter", "lid"],
    in_flight: 64,
};

/// Where the phones keep what they got.
pub trait Phones: Send + Sync {
    /// Keeps a message, once for each id.
    fn receive(&self, account: &str, message: Outgoing) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
}

/// The stand-in.
pub struct Sandbox {
    account: String,
    phones: Arc<dyn Phones>,
}

impl Sandbox {
    /// For one account.
    pub fn new(account: String, phones: Arc<dyn Phones>) -> Self {
        Self { account, phones }
    }
}

impl Transport for Sandbox {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn send(&self, message: Outgoing) -> Sending {
        let provider_id = format!("SANDBOX-{}", message.id);
        let kept = self.phones.receive(&self.account, message);
        Box::pin(async move {
            match kept.await {
                Ok(()) => {
                    Ok(Receipt { state: MessageState::Delivered, provider_id: Some(provider_id), degraded: Vec::new() })
                }
                // A phone keeps a message once for each id, so a second try does no harm.
                Err(error) => Err(SendError::new(ErrorClass::Upstream { retry_after: None }, error)),
            }
        })
    }
}
