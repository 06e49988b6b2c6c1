//! The phones of the sandbox, kept in the store.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::clock::SharedClock;
use crate::store::Store;
use crate::store::rows::PhoneMessage;
use crate::transport::Outgoing;
use crate::transport::sandbox::Phones;

/// Phones whose messages survive a restart.
pub struct StoredPhones {
    /// Where they are kept.
    pub store: Arc<dyn Store>,
    /// When they come.
    pub clock: SharedClock,
}

impl Phones for StoredPhones {
    fn receive(&self, account: &str, message: Outgoing) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        let kept = self.store.receive_on_phone(PhoneMessage {
            id: message.id,
            account: account.to_owned(),
            to: message.to.to_string(),
            body: message.body,
            at: self.clock.now(),
        });
        Box::pin(async move { kept.await.map_err(|error| error.to_string()) })
    }
}
