//! Gateways: one contract, one file for each dialect. No gateway's oddity leaves its file.

pub mod answer;
pub mod evolution;
pub mod express_chat;
pub mod gowa;
pub mod meta;
mod meta_codes;
mod meta_events;
pub mod redacted;
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

use jiff::Timestamp;

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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attached {
    /// Where its bytes are.
    pub place: FilePlace,
    /// Its type, such as `image/png`, as far as it is known.
    pub mime: Option<String>,
    /// Its name, with an ending.
    pub name: String,
}

/// Where the bytes of a file are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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

    /// Reads what the gateway sent to us, once it has shown that it is the gateway.
    ///
    /// # Errors
    /// [`NotHeard`].
    fn receive(&self, incoming: &Incoming<'_>) -> Result<Heard, NotHeard> {
        let _ = incoming;
        Err(NotHeard::Deaf)
    }
}

/// A request from a gateway, before anything of it is believed.
pub struct Incoming<'a> {
    /// GET instead of POST.
    pub is_get: bool,
    /// Without the `?`.
    pub query: &'a str,
    /// A header by its name in lower case.
    pub header: &'a dyn Fn(&str) -> Option<String>,
    /// The raw body.
    pub body: &'a [u8],
}

/// What a gateway told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It asks whether we are there, and wants this back.
    Challenge(String),
    /// These people wrote, then.
    From(Vec<(Recipient, Timestamp)>),
}

/// Why a request from a gateway is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotHeard {
    /// Events of this gateway are not read.
    Deaf,
    /// The account has nothing to verify them by.
    Unverifiable,
    /// It is not from the gateway.
    Forged,
    /// It is, and makes no sense.
    Unreadable,
}

/// A transport shared by everything that sends through its account.
pub type SharedTransport = Arc<dyn Transport>;

/// The client that all transports send with: no redirects, no proxies, connections kept. `timeout`
/// is that of a whole request.
///
/// # Errors
/// When the machine's certificates cannot be read.
pub fn client(timeout: Duration) -> Result<reqwest::Client, String> {
    // A second call finds the provider installed, which is all that it wants.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        // Shorter than the whole: who cannot be reached is told from who does not answer.
        .connect_timeout(Duration::from_secs(10).min(timeout / 2))
        // Servers on Node close a connection that was idle for five seconds. A request that goes out
        // just then breaks off, and nobody knows what became of it.
        .pool_idle_timeout(Duration::from_secs(3))
        .user_agent(concat!("postrider/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| error.to_string())
}
