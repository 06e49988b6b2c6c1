//! Keeps credentials out of what gateways say (an error may repeat the request that it refuses), and
//! what they say within bounds.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::answer::{readable, shortened};
use super::{Download, Heard, Incoming, NotHeard, Outgoing, Sending, SharedTransport, Transport};
use crate::model::capability::Capabilities;
use crate::model::delivery::SendError;
use crate::secret::Secret;

/// Most characters of an error, and of an id.
const LONGEST_ERROR: usize = 400;
const LONGEST_ID: usize = 512;

/// A transport whose errors hold none of its account's credentials.
pub struct Redacted {
    inner: SharedTransport,
    /// Every way in which they may be written, the longest first.
    written: Arc<[String]>,
}

impl Redacted {
    /// Around a transport.
    pub fn new(inner: SharedTransport, secrets: &[&Secret]) -> Self {
        let mut written: Vec<String> = secrets.iter().flat_map(|secret| ways(secret.reveal())).collect();
        written.sort_by_key(|way| std::cmp::Reverse(way.len()));
        written.dedup();
        Self { inner, written: written.into() }
    }
}

fn ways(secret: &str) -> Vec<String> {
    // `user:password` is as secret as the password alone.
    let password = secret.split_once(':').map(|(_, password)| password);
    let mut ways = Vec::new();
    for text in std::iter::once(secret).chain(password) {
        ways.push(text.to_owned());
        ways.push(form_urlencoded::byte_serialize(text.as_bytes()).collect());
        ways.push(super::wire::segment(text));
        ways.push(serde_json::Value::from(text).to_string().trim_matches('"').to_owned());
        ways.push(text.replace('/', "\\/"));
        // Within a longer text its Base64 depends on where it begins and on what stands around it;
        // the characters that it shares with that are left alone.
        for before in ["", "x", "xx"] {
            let encoded = STANDARD_NO_PAD.encode(format!("{before}{text}"));
            let shared = if before.is_empty() { 0 } else { 4 };
            let inner = encoded.get(shared..encoded.len().saturating_sub(2)).unwrap_or_default();
            ways.push(inner.to_owned());
            ways.push(inner.replace('+', "-").replace('/', "_"));
        }
    }
    // What is too short to be a secret would blacken half of every sentence.
    ways.retain(|way| way.len() >= 4);
    ways
}

impl Transport for Redacted {
    fn capabilities(&self) -> &'static Capabilities {
        self.inner.capabilities()
    }

    fn send(&self, message: Outgoing) -> Sending {
        let sending = self.inner.send(message);
        let written = self.written.clone();
        Box::pin(async move {
            let clean = |text: &str, most: usize| clean(&written, text, most);
            match sending.await {
                Ok(mut receipt) => {
                    // A short one may stand in an id by chance, and what is told of the id would go astray.
                    let long: Vec<String> = written.iter().filter(|way| way.len() >= 12).cloned().collect();
                    let clean = |id: String| self::clean(&long, &readable(&id), LONGEST_ID);
                    receipt.provider_id = receipt.provider_id.map(clean);
                    Ok(receipt)
                }
                Err(error) => Err(SendError { message: clean(&error.message, LONGEST_ERROR), ..error }),
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
        let written = self.written.clone();
        Box::pin(async move { download.await.map_err(|error| clean(&written, &readable(&error), LONGEST_ERROR)) })
    }
}

/// A text without any of the ways in which credentials are written, and not too long.
fn clean(written: &[String], text: &str, most: usize) -> String {
    let whole = written.iter().fold(text.to_owned(), |text, way| text.replace(way.as_str(), "***"));
    shortened(&whole, most)
}
