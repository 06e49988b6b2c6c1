//! Rows of the outbox: what waits, what is claimed, how attempts end.

use std::sync::Arc;

use jiff::Timestamp;

use crate::id::MessageId;
use crate::model::capability::Capabilities;
use crate::model::delivery::{Degraded, MessageState, Part};
use crate::model::message::{Body, NewMessage};
use crate::model::policy::OnUnsupported;
use crate::model::recipient::Recipient;

/// A message that waits in a lane.
#[derive(Clone, Debug)]
pub struct DueMessage {
    /// Which.
    pub id: MessageId,
    /// Its place in its account.
    pub seq: i64,
    /// Canonical recipient.
    pub to: String,
    /// Not before this, after a failed attempt.
    pub due_at: Option<Timestamp>,
    /// The message itself, if it comes from where it was promised and has never been tried.
    pub known: Option<Arc<NewMessage>>,
}

impl DueMessage {
    /// About how many bytes it takes.
    pub fn weight(&self) -> usize {
        let known = self.known.as_ref().map_or(0, |message| message.weight());
        known.saturating_add(size_of::<Self>() + self.to.len())
    }
}

/// A message for which an attempt is to be opened.
#[derive(Clone, Debug)]
pub struct ToClaim {
    /// Which.
    pub id: MessageId,
    /// What it says and that it has never been tried, if whoever asks knows that: it is not read then.
    pub known: Option<Arc<NewMessage>>,
}

impl From<MessageId> for ToClaim {
    fn from(id: MessageId) -> Self {
        Self { id, known: None }
    }
}

/// A message with an attempt open.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Which.
    pub id: MessageId,
    /// Canonical recipient.
    pub to: String,
    /// What it says.
    pub body: Body,
    /// Tries that counted, this one not included.
    pub tries: u32,
    /// Its parts as earlier attempts left them; none before the first one that needs several.
    pub parts: Vec<Part>,
    /// It stands as one that is only being prepared, until [`touch`](crate::store::Store::touch).
    pub preparing: bool,
    /// How it stands now, if this is its first attempt.
    pub opened: Option<Opened>,
}

/// What an account says about claims.
#[derive(Clone, Debug, Default)]
pub struct ClaimRules {
    /// The day's budget, if days are counted.
    pub budget: Option<Budget>,
    /// Cards are made here: a link needs its page first.
    pub cards: bool,
}

/// How many messages an account may send in a day, counted where they are claimed.
#[derive(Clone, Debug)]
pub struct Budget {
    /// The account's calendar day, such as `2026-11-20`.
    pub day: String,
    /// Messages.
    pub daily: Option<u32>,
    /// People who got nothing from it before.
    pub new_recipients: Option<u32>,
}

/// What came of a claim.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// Messages with an attempt open.
    pub claimed: Vec<Claimed>,
    /// The same of messages that whoever asked knows.
    pub known: Vec<KnownClaimed>,
    /// Messages that the day has no room for.
    pub held: Vec<(MessageId, Held)>,
}

/// A message with its first attempt open, that whoever asked for it knows.
#[derive(Clone, Debug)]
pub struct KnownClaimed {
    /// Which.
    pub id: MessageId,
    /// It stands as one that is only being prepared, until [`touch`](crate::store::Store::touch).
    pub preparing: bool,
    /// How it stands now.
    pub opened: Opened,
}

/// Why the day has no room for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// The account has sent all that it may.
    Daily,
    /// It has written to as many new people as it may.
    NewRecipients,
}

/// Messages that leave an account for another one.
#[derive(Clone, Debug)]
pub struct Diversion {
    /// The account that cannot send.
    pub from: String,
    /// The account that takes over.
    pub to: String,
    /// What that one can do: what it cannot send or reach stays.
    pub capabilities: &'static Capabilities,
    /// What becomes there of what it cannot do.
    pub on_unsupported: OnUnsupported,
    /// Files can be had from an address of ours.
    pub hosted: bool,
    /// Why, in words.
    pub reason: String,
}

/// When a recipient last wrote, as far as an account's events tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastHeard {
    /// When the account's first event came; none when there were none.
    pub since: Option<Timestamp>,
    /// When its latest one came.
    pub latest: Option<Timestamp>,
    /// When somebody last wrote who hides the phone.
    pub hidden: Option<Timestamp>,
    /// When the recipient wrote last.
    pub last: Option<Timestamp>,
}

/// The first attempt of a message that is one, as its claim left it: with that its end can be put on record without
/// reading the message again, should nothing else have changed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The account that sends it.
    pub account: String,
    /// When it was claimed.
    pub at: Timestamp,
    /// Tries that counted before.
    pub tries: u32,
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// Which message.
    pub id: MessageId,
    /// When.
    pub at: Timestamp,
    /// How.
    pub verdict: Verdict,
    /// Its parts as the attempt left them; empty for a message that is one.
    pub parts: Vec<Part>,
    /// How its claim left it, if that is known.
    pub opened: Option<Opened>,
}

/// The verdict on an attempt.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The gateway took it.
    Reached {
        /// `accepted`, `sent`, `delivered` or `read`.
        state: MessageState,
        /// The gateway's id.
        provider_id: Option<String>,
        /// The chat as the gateway writes it.
        chat: Option<Recipient>,
        /// What was changed on the way.
        degraded: Vec<Degraded>,
    },
    /// It certainly did not go out and may be tried again.
    TryAgain {
        /// The error class's name and what was said.
        error: (String, String),
        /// Not before this.
        due_at: Timestamp,
        /// Whether the try counts.
        counts: bool,
    },
    /// Nobody knows.
    Doubt {
        /// What was seen.
        error: String,
        /// By what id it will be known if it did go out.
        provider_id: Option<String>,
    },
    /// The gateway says never.
    Refuse {
        /// The error class's name and what was said.
        error: (String, String),
    },
    /// No tries are left.
    GiveUp {
        /// The error class's name and what was said.
        error: (String, String),
    },
}

/// A person's decision about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Take it back.
    Cancel,
    /// One more round for one that is dead or rejected.
    Retry,
    /// An unknown one did go out.
    ReleaseAsSent,
    /// An unknown one did not; send it again.
    ReleaseAndResend,
}

/// What came of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decided {
    /// Done; the state it has now.
    Now(MessageState),
    /// Not possible in the state that it is in.
    NotIn(MessageState),
    /// There is no such message.
    Missing,
}
