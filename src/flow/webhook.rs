//! A webhook trigger: which requests it means, who may send them, and how they are answered.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;

use crate::secret::{Hash, Secret};

/// A webhook trigger.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Path below `/hooks`, with `{parameters}`.
    pub path: String,
    /// Methods that start a run.
    pub methods: Vec<String>,
    /// How callers show that they may; none lets anybody in.
    pub verify: Option<Box<Verify>>,
    /// The file says in words that anybody may come in.
    pub open: bool,
    /// When the caller is answered.
    pub respond: Respond,
    /// Its line and column in the flow's file.
    pub at: (u32, u32),
    /// Pages that may call it, by their origins; `*` stands for all.
    pub origins: Vec<String>,
    /// Addresses that may call it; none lets all.
    pub from: Vec<IpNet>,
    /// What makes two requests one event.
    pub dedupe: Option<Dedupe>,
    /// Requests for so much time.
    pub rate: Option<Rate>,
}

/// When a webhook's caller is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Respond {
    /// As soon as the event is on disk, with this status.
    Accepted(u16),
    /// When the script has an answer.
    Result,
}

/// What makes two requests one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dedupe {
    /// Where its name is found.
    pub by: Mark,
    /// For how long it is remembered.
    pub window: Duration,
}

/// Where the name of an event is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// In the body, by the names that lead to it.
    Body(Vec<String>),
    /// In a header, in small letters.
    Header(String),
    /// The body itself.
    Whole,
}

/// So many requests in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub most: u32,
    /// In this time.
    pub per: Duration,
}

/// How a caller shows that it may start a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verify {
    /// What it shows.
    pub way: Way,
    /// Whoever shows nothing is let in all the same, and the log says so.
    pub observe: bool,
}

/// What a caller shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// A secret that both sides know; any of them.
    Token(Place, Vec<Secret>),
    /// `user:password` (RFC 7617); any of them.
    Basic(Vec<Secret>),
    /// A signature.
    Signed(Signed),
    /// A signature by Twilio's rules, over the address and the fields.
    Twilio(Vec<Secret>),
}

/// Where a token stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `Authorization: Bearer S` or `X-Token: S`.
    Usual,
    /// In this header, in small letters.
    Header(String),
    /// Behind this name in the query.
    Query(String),
}

/// A signature over the raw body, and what stands around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Header that carries it, in small letters.
    pub header: String,
    /// Any of these.
    pub secrets: Vec<Secret>,
    /// The key is what a secret says in base64, behind `whsec_`; see [`key_within`].
    pub wrapped: bool,
    /// Hash function.
    pub algorithm: Hash,
    /// How the bytes are written.
    pub encoding: Encoding,
    /// Stands before the signature. Where a header has several, each has it.
    pub prefix: String,
    /// What is signed, one behind the other.
    pub over: Vec<Part>,
    /// When it was signed.
    pub stamp: Option<Stamp>,
    /// The header that names a message, which stays the same when the sender tries again with another signature.
    pub id: Option<&'static str>,
    /// A question of the sender that is answered without a run.
    pub handshake: Option<Handshake>,
}

/// What a sender asks beside its events, to learn whether this is the right address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// Meta's question, with the word that it must show.
    Word(Secret),
    /// WooCommerce's ping, which it does not sign.
    Ping,
}

/// A part of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// These letters.
    Text(&'static str),
    /// The time, as it is written in the request.
    Stamp,
    /// The value of this header.
    Header(&'static str),
    /// The body, as it came.
    Body,
}

/// The time of a signature, in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Where it stands.
    pub place: StampPlace,
    /// How far from now it may be.
    pub tolerance: Duration,
}

/// Where the time of a signature stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StampPlace {
    /// In this header, in small letters.
    Header(String),
    /// In the header of the signature, behind these letters.
    Within(&'static str),
}

/// How a signature's bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Lower or upper case.
    Hex,
    /// Standard alphabet.
    Base64,
}

impl Encoding {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hex => "hex",
            Self::Base64 => "base64",
        }
    }
}

/// The key that a secret holds in base64, behind `whsec_` (Standard Webhooks, "Signature scheme").
pub fn key_within(secret: &Secret) -> Option<Vec<u8>> {
    let written = secret.reveal();
    let key = STANDARD.decode(written.strip_prefix("whsec_").unwrap_or(written).trim()).ok();
    key.filter(|key| !key.is_empty())
}

impl Webhook {
    /// Whether nobody gets in who has not shown that they may: who is only observed gets in.
    pub fn is_verified(&self) -> bool {
        self.verify.as_ref().is_some_and(|rule| !rule.observe)
    }
}

impl Verify {
    /// The headers, in small letters, that carry what is shown: not for scripts.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        let header = match &self.way {
            Way::Token(Place::Header(name), _) => Some(name.as_str()),
            Way::Signed(signed) => Some(signed.header.as_str()),
            Way::Token(..) | Way::Basic(_) | Way::Twilio(_) => None,
        };
        header.into_iter()
    }

    /// The name in the query that carries what is shown.
    pub fn query(&self) -> Option<&str> {
        match &self.way {
            Way::Token(Place::Query(name), _) => Some(name),
            _ => None,
        }
    }
}
