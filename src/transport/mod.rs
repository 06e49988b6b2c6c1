//! Gateways: one contract, one folder for each dialect, one line for each in [`GATEWAYS`]. No gateway's oddity leaves
//! its folder.

mod acks;
pub mod answer;
mod events;
pub mod evolution;
pub mod express_chat;
pub mod extra;
pub mod gateway;
pub mod gowa;
pub mod keys;
pub mod meta;
pub mod reach;
pub mod redacted;
pub mod sandbox;
pub mod site;
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
use serde_json::Value;

use self::gateway::Gateway;
use self::reach::{Desk, Listing, Looking};
use crate::id::MessageId;
use crate::model::capability::Capabilities;
use crate::model::delivery::{Receipt, SendError};
use crate::model::inbound::{OwnId, Told};
use crate::model::message::Body;
use crate::model::recipient::Recipient;
use crate::secret::Secret;

/// All gateways, in the order in which they are named to people.
pub static GATEWAYS: [Gateway; 9] = [
    Gateway::of::<sandbox::Sandbox>(),
    Gateway::of::<gowa::Gowa>(),
    Gateway::of::<wapim::Wapim>(),
    Gateway::of::<wawp::Wawp>(),
    Gateway::of::<express_chat::ExpressChat>(),
    Gateway::of::<waha::Waha>(),
    Gateway::of::<meta::Meta>(),
    Gateway::of::<evolution::Evolution>(),
    Gateway::of::<twilio::Twilio>(),
];

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

impl Outgoing {
    /// What gateways are given to say back.
    pub fn own_id(&self) -> OwnId {
        OwnId { message: self.id, part: self.part }
    }
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

    /// What raw fields of an author may not be.
    fn raw(&self) -> &'static extra::Raw;

    /// Sends to the gateway; each error says by its class whether anything can have gone out.
    fn send(&self, message: Outgoing) -> Sending;

    /// Reads what the gateway sent to us, once it has shown that it is the gateway.
    ///
    /// # Errors
    /// [`NotHeard`].
    fn receive(&self, incoming: &Incoming<'_>) -> Result<Heard, NotHeard>;

    /// Whether what its gateway tells can be verified at all; `by_token` where its address is a secret one.
    fn hears(&self, by_token: bool) -> bool {
        let nothing = Incoming {
            is_get: false,
            path: "",
            query: "",
            url: None,
            header: &|_| None,
            body: &[],
            by_token,
            now: Timestamp::UNIX_EPOCH,
        };
        self.receive(&nothing) != Err(NotHeard::Unverifiable)
    }

    /// What a gateway is answered that was heard; XML, if it is not empty.
    fn thanks(&self) -> &'static str {
        ""
    }

    /// Where the gateway says how it is; none for what is built in.
    fn desk(&self) -> Option<Desk> {
        None
    }

    /// Whether anybody is there.
    fn reach(&self) -> Looking {
        reach::reach(self.desk())
    }

    /// Whether something could be sent now, as far as the gateway tells.
    fn check(&self) -> Looking {
        reach::check(self.desk())
    }

    /// The groups that the account's phone is in.
    fn groups(&self) -> Listing {
        reach::groups(self.desk())
    }

    /// Gets a file that came with a message, by its
    /// [`InboundMedia::source`](crate::model::inbound::InboundMedia::source).
    fn download(&self, source: &str) -> Download;
}

/// What getting a file gives: its bytes, [`LARGEST_FILE`] at most, or a sentence.
pub type Download = Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send>>;

/// Most bytes of a file that came with a message.
pub const LARGEST_FILE: usize = 100 << 20;

/// A request from a gateway, before anything of it is believed.
pub struct Incoming<'a> {
    /// GET instead of POST.
    pub is_get: bool,
    /// What stands behind `/gateways/<account>` and the token, without a slash at its beginning.
    pub path: &'a str,
    /// Without the `?`.
    pub query: &'a str,
    /// The whole address as the world sees it; none without `public_url`.
    pub url: Option<&'a str>,
    /// A header by its name in lower case.
    pub header: &'a dyn Fn(&str) -> Option<String>,
    /// The raw body.
    pub body: &'a [u8],
    /// It came to the address that only the gateway knows (`inbound_token`).
    pub by_token: bool,
    /// Now.
    pub now: Timestamp,
}

impl Incoming<'_> {
    /// Whether this comes from the gateway: its signature says so, where there is a secret to make
    /// one; else its address must be the secret one.
    ///
    /// # Errors
    /// [`NotHeard::Forged`], or [`NotHeard::Unverifiable`] where there is neither.
    pub fn proven(&self, secret: Option<&Secret>, signed: impl FnOnce(&Secret) -> bool) -> Result<(), NotHeard> {
        match secret {
            Some(secret) if signed(secret) => Ok(()),
            Some(_) => Err(NotHeard::Forged),
            None if self.by_token => Ok(()),
            None => Err(NotHeard::Unverifiable),
        }
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`NotHeard::Unreadable`].
    pub fn json(&self) -> Result<Value, NotHeard> {
        serde_json::from_slice(self.body).map_err(|_| NotHeard::Unreadable)
    }
}

/// What a gateway told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It asks whether we are there, and wants this back.
    Challenge(String),
    /// This happened, in this order. What is none of our business is left out.
    Told(Vec<Told>),
}

/// Why a request from a gateway is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotHeard {
    /// The account has nothing to verify it by.
    Unverifiable,
    /// It is not from the gateway.
    Forged,
    /// It asks whether we are there, with a wrong token.
    WrongToken,
    /// It is from the gateway, and makes no sense.
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
