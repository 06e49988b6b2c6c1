//! Gateways: one contract, one file for each dialect. No gateway's oddity leaves its file.

pub mod answer;
pub mod evolution;
pub mod express_chat;
pub mod gowa;
pub mod meta;
mod meta_codes;
pub mod sandbox;
pub mod twilio;
pub mod waha;
pub mod wapim;
pub mod wawp;
pub mod wire;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::id::MessageId;
use crate::model::capability::Capabilities;
use crate::model::delivery::{Receipt, SendError};
use crate::model::message::Body;
use crate::model::recipient::Recipient;

/// A message on its way to a gateway, already fitted to what the transport can do.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Our id for it.
    pub id: MessageId,
    /// Which of the message's parts it is, from 0.
    pub part: u32,
    /// Whom it goes to.
    pub to: Recipient,
    /// What it says.
    pub body: Body,
    /// Nothing of it may be left out.
    pub strict: bool,
    /// Its file, in a way that the gateway takes.
    pub file: Option<Attached>,
}

/// A file on its way to a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Where its bytes are.
    pub place: FilePlace,
    /// Its type, such as `image/png`, as far as it is known.
    pub mime: Option<String>,
    /// Its name, with an ending.
    pub name: String,
}

/// Where the bytes of a file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilePlace {
    /// The gateway fetches them from there.
    Url(String),
    /// We have them.
    Local {
        /// Where.
        path: PathBuf,
        /// How many.
        size: u64,
    },
}

/// What sending gives.
pub type Sending = Pin<Box<dyn Future<Output = Result<Receipt, SendError>> + Send>>;

/// Our adapter for one gateway's dialect.
pub trait Transport: Send + Sync {
    /// What the gateway can do.
    fn capabilities(&self) -> &'static Capabilities;

    /// Sends to the gateway; each error says by its class whether anything can have gone out.
    fn send(&self, message: Outgoing) -> Sending;
}

/// A transport shared by everything that sends through its account.
pub type SharedTransport = Arc<dyn Transport>;

/// The client that all transports send with: no redirects, no proxies, connections kept.
///
/// # Errors
/// When the machine's certificates cannot be read.
pub fn client() -> Result<reqwest::Client, String> {
    // A second call finds the provider installed, which is all that it wants.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_secs(10))
        .pool_idle_timeout(Duration::from_secs(30))
        .user_agent(concat!("postrider/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| error.to_string())
}
