//! The phones of the sandbox, kept in the store.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::blobs::Blobs;
use crate::clock::SharedClock;
use crate::store::Store;
use crate::store::records::PhoneMessage;
use crate::transport::site::Phones;
use crate::transport::{Download, Outgoing};

/// Phones whose messages survive a restart.
pub struct StoredPhones {
    /// Where they are kept.
    pub store: Arc<dyn Store>,
    /// When they come.
    pub clock: SharedClock,
    /// Where their files are.
    pub blobs: Blobs,
}

impl Phones for StoredPhones {
    fn receive(&self, account: &str, message: Outgoing) -> Pin<Box<dyn Future<Output = Result<bool, String>> + Send>> {
        let kept = self.store.receive_on_phone(PhoneMessage {
            id: message.id,
            account: account.to_owned(),
            to: message.to.to_string(),
            body: message.body,
            at: self.clock.now(),
            incoming: false,
        });
        Box::pin(async move { kept.await.map_err(|error| error.to_string()) })
    }

    fn file(&self, source: &str) -> Download {
        // Copies are named by their hash, and nothing else is theirs.
        let known = source.len() == 64 && source.bytes().all(|b| b.is_ascii_hexdigit());
        let path = known.then(|| self.blobs.path(source));
        Box::pin(async move {
            let path = path.ok_or("there is no such file on the phone")?;
            tokio::fs::read(path).await.map_err(|error| format!("the phone's file cannot be read: {error}"))
        })
    }
}
