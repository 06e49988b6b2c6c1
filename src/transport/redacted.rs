//! Keeps credentials out of what gateways say (an error may repeat the request that it refuses), and
//! what they say within bounds.

use std::sync::Arc;

use super::answer::{readable, shortened};
use super::{Download, Heard, Incoming, NotHeard, Outgoing, Sending, SharedTransport, Transport};
use crate::model::capability::Capabilities;
use crate::secret::{Secret, Veil};

/// Most characters of an error, and of an id.
const LONGEST_ERROR: usize = 400;
const LONGEST_ID: usize = 512;

/// A transport whose errors hold none of its account's credentials.
pub struct Redacted {
    inner: SharedTransport,
    veil: Arc<Veil>,
    /// A short secret may stand in an id by chance, and what is told of the id would go astray.
    long: Arc<Veil>,
}

impl Redacted {
    /// Around a transport.
    pub fn new(inner: SharedTransport, secrets: &[&Secret]) -> Self {
        let veil = Veil::over(secrets.iter().copied());
        Self { inner, long: Arc::new(veil.over_long_ones(12)), veil: Arc::new(veil) }
    }
}

impl Transport for Redacted {
    fn capabilities(&self) -> &'static Capabilities {
        self.inner.capabilities()
    }

    fn send(&self, message: Outgoing) -> Sending {
        let sending = self.inner.send(message);
        let (veil, long) = (self.veil.clone(), self.long.clone());
        Box::pin(async move {
            match sending.await {
                Ok(mut receipt) => {
                    let clean = |id: String| clean(&long, readable(&id), LONGEST_ID);
                    receipt.provider_id = receipt.provider_id.map(clean);
                    Ok(receipt)
                }
                Err(mut error) => {
                    error.message = clean(&veil, error.message, LONGEST_ERROR);
                    Err(error)
                }
            }
        })
    }

    fn receive(&self, incoming: &Incoming<'_>) -> Result<Heard, NotHeard> {
        self.inner.receive(incoming)
    }

    fn thanks(&self) -> &'static str {
        self.inner.thanks()
    }

    fn download(&self, source: &str) -> Download {
        let download = self.inner.download(source);
        let veil = self.veil.clone();
        Box::pin(async move { download.await.map_err(|error| clean(&veil, readable(&error), LONGEST_ERROR)) })
    }
}

/// A text without the account's credentials, and not too long.
fn clean(veil: &Veil, text: String, most: usize) -> String {
    shortened(&veil.drawn_over(text), most)
}
