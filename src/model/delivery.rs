//! The fate of a message: its states, what moves it between them, and how an attempt can end.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::message::Body;
use super::recipient::Recipient;
use crate::clock::millis;

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageState {
    /// Its time has not come.
    Scheduled,
    /// Due; waits for its turn.
    Queued,
    /// An attempt is open.
    Sending,
    /// The gateway has it.
    Accepted,
    /// WhatsApp has it.
    Sent,
    /// The phone has it.
    Delivered,
    /// The person has seen it.
    Read,
    /// It may or may not have gone out; nobody guesses.
    Unknown,
    /// The gateway says never.
    Rejected,
    /// Tries used up; a person must decide.
    Dead,
    /// Its `valid_for` passed before it went out.
    Expired,
    /// Taken back before it went out.
    Cancelled,
}

/// What may happen to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its `at` has come.
    Due,
    /// An attempt begins; its number is on record before the wire is touched.
    Claim,
    /// The gateway took it: accepted, sent, delivered or read.
    Reached(MessageState),
    /// A certain error that is safe to repeat.
    TryAgain,
    /// No clear answer, or the engine died in between.
    Doubt,
    /// The gateway says never.
    Refuse,
    /// No tries are left.
    GiveUp,
    /// `valid_for` has passed.
    Expire,
    /// The script or a person takes it back.
    Cancel,
    /// `on_unknown: resend`, or a person's word.
    Resend,
    /// A person's word that it did go out.
    Vouch,
    /// A person wants one more round.
    Retry,
}

impl MessageState {
    /// Every state, in the order of their numbers in the store.
    pub const ALL: [Self; 12] = [
        Self::Scheduled,
        Self::Queued,
        Self::Sending,
        Self::Accepted,
        Self::Sent,
        Self::Delivered,
        Self::Read,
        Self::Unknown,
        Self::Rejected,
        Self::Dead,
        Self::Expired,
        Self::Cancelled,
    ];

    /// The state after `step`; none when the step is not legal here.
    ///
    /// This is the whole state table: everything that moves a message asks it.
    pub fn after(self, step: Step) -> Option<Self> {
        use MessageState::*;
        match (self, step) {
            (Scheduled, Step::Due) => Some(Queued),
            (Queued, Step::Claim) => Some(Sending),
            (Sending, Step::Reached(state @ (Accepted | Sent | Delivered | Read))) => Some(state),
            (Accepted | Sent | Delivered | Unknown, Step::Reached(state @ (Accepted | Sent | Delivered | Read)))
                if self == Unknown || state > self =>
            {
                Some(state)
            }
            // Whoever has it has it, whatever was said before, and whether another try was to come.
            (Queued | Rejected, Step::Reached(state @ (Delivered | Read))) => Some(state),
            // A late failure may be one that passes.
            (Sending | Accepted | Sent, Step::TryAgain) => Some(Queued),
            (Sending, Step::Doubt) => Some(Unknown),
            (Sending | Accepted | Sent, Step::Refuse) => Some(Rejected),
            // An attempt whose error allows another, but none is left, passes through `queued`.
            (Queued | Sending, Step::GiveUp) => Some(Dead),
            (Scheduled | Queued, Step::Expire) => Some(Expired),
            (Scheduled | Queued, Step::Cancel) => Some(Cancelled),
            (Unknown, Step::Resend) => Some(Queued),
            (Unknown, Step::Vouch) => Some(Sent),
            (Dead | Rejected, Step::Retry) => Some(Queued),
            _ => None,
        }
    }

    /// Whether it is still on its way out, so that its successors may have to wait.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Scheduled | Self::Queued | Self::Sending)
    }

    /// Whether a wait for `goal` is over: reached, or never to be reached without a person's word.
    pub fn answers(self, goal: Goal) -> bool {
        use MessageState::*;
        let is_out = matches!(self, Accepted | Sent | Delivered | Read);
        match goal {
            _ if matches!(self, Rejected | Dead | Expired | Cancelled) => true,
            Goal::Settled => !self.is_open(),
            Goal::State(wanted) if wanted <= Sending => self >= wanted,
            Goal::State(wanted) if wanted <= Read => is_out && self >= wanted,
            Goal::State(Rejected) => matches!(self, Delivered | Read),
            Goal::State(wanted) => is_out || self == wanted,
            // No state tells; the store looks at the clicks.
            Goal::Clicked => false,
        }
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Accepted => "accepted",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Unknown => "unknown",
            Self::Rejected => "rejected",
            Self::Dead => "dead",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    /// Back from the word.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

// What is written by its place is read by it.
const _: () = {
    let mut place = 0;
    while place < MessageState::ALL.len() {
        assert!(MessageState::ALL[place] as usize == place);
        place += 1;
    }
};

/// What a script's `.wait` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Anything but scheduled, queued, sending.
    Settled,
    /// That state, or one that comes after it.
    State(MessageState),
    /// A person followed its tracked link.
    Clicked,
}

impl Goal {
    /// The word for it; `settled` is what a bare `.wait()` means.
    pub fn name(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::State(state) => state.name(),
            Self::Clicked => "clicked",
        }
    }

    /// Back from the word.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "settled" => Some(Self::Settled),
            "clicked" => Some(Self::Clicked),
            _ => MessageState::parse(name).map(Self::State),
        }
    }
}

/// Whom a rate limit concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The whole account.
    Account,
    /// One recipient only.
    Recipient,
}

/// Why an attempt did not succeed, sorted by what is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Credentials are wrong: the lane pauses.
    Auth,
    /// The request is wrong and will stay so.
    Invalid,
    /// The gateway cannot do this.
    Unsupported,
    /// Nobody is there.
    RecipientInvalid,
    /// Outside the customer-service window.
    WindowClosed,
    /// The picture or document was refused.
    MediaRejected,
    /// Too many bytes.
    TooLarge,
    /// Too fast.
    RateLimited {
        /// What the gateway asked for.
        retry_after: Option<Duration>,
        /// Whom it concerns.
        scope: Scope,
    },
    /// The phone behind the gateway is away: the lane pauses.
    NotConnected,
    /// Paid or counted out: the lane pauses.
    Quota,
    /// The gateway or the way to it is in trouble, and certainly nothing was sent.
    Upstream {
        /// What the gateway asked for.
        retry_after: Option<Duration>,
    },
    /// Nobody can say whether it was sent.
    Ambiguous,
}

/// What the class of an error means for its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Try this message again later.
    Retry,
    /// Pause the whole lane and probe; the try does not count.
    Pause,
    /// Never again.
    Refuse,
    /// Wait for evidence.
    Doubt,
}

impl ErrorClass {
    /// The word for it, as in the API and in `catch`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Invalid => "invalid",
            Self::Unsupported => "unsupported",
            Self::RecipientInvalid => "recipient_invalid",
            Self::WindowClosed => "window_closed",
            Self::MediaRejected => "media_rejected",
            Self::TooLarge => "too_large",
            Self::RateLimited { .. } => "rate_limited",
            Self::NotConnected => "not_connected",
            Self::Quota => "quota",
            Self::Upstream { .. } => "upstream",
            Self::Ambiguous => "ambiguous",
        }
    }

    /// What is to be done.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Auth | Self::NotConnected | Self::Quota => Remedy::Pause,
            Self::RateLimited { .. } | Self::Upstream { .. } => Remedy::Retry,
            Self::Ambiguous => Remedy::Doubt,
            Self::Invalid
            | Self::Unsupported
            | Self::RecipientInvalid
            | Self::WindowClosed
            | Self::MediaRejected
            | Self::TooLarge => Remedy::Refuse,
        }
    }

    /// How long the gateway asked us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Upstream { retry_after } => *retry_after,
            _ => None,
        }
    }
}

/// One wish that a gateway could not fulfil as asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degraded {
    /// The option's name.
    pub field: String,
    /// What was done instead.
    pub action: String,
}

/// One request's worth of a message that needs several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// What it is: `text`, `image`, ...
    pub kind: String,
    /// Where it stands; a message's states.
    pub state: MessageState,
    /// The gateway's id for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    /// What went wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// It carries what was meant: its id is the message's.
    #[serde(default)]
    pub main: bool,
    /// What it says. A message stays as it was cut, whatever its account can do by now.
    pub body: Body,
}

impl Part {
    /// One that has not been tried.
    pub fn new(body: Body, main: bool) -> Self {
        let kind = body.content.kind().into();
        Self { kind, state: MessageState::Queued, provider_id: None, error: None, main, body }
    }

    /// Whether nobody knows if it went out.
    pub fn is_in_doubt(&self) -> bool {
        matches!(self.state, MessageState::Sending | MessageState::Unknown)
    }

    /// As a person's word that it went out leaves it.
    pub fn vouched(mut self) -> Self {
        if self.is_in_doubt() {
            (self.state, self.error) = (MessageState::Sent, None);
        }
        self
    }

    /// Whether the gateway has taken it, so that it is never sent again.
    pub fn is_out(&self) -> bool {
        use MessageState::*;
        matches!(self.state, Accepted | Sent | Delivered | Read)
    }
}

/// The gateway's yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// `accepted`, `sent`, `delivered` or `read`.
    pub state: MessageState,
    /// The gateway's id for the message.
    pub provider_id: Option<String>,
    /// The chat as the gateway writes it, where it says so: it may be another form than we wrote.
    pub chat: Option<Recipient>,
    /// Wishes that were changed on the way.
    pub degraded: Vec<Degraded>,
}

/// The gateway's no, or its silence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendError {
    /// What is to be done about it.
    pub class: ErrorClass,
    /// What, where and, if known, the remedy; free of secrets.
    pub message: String,
    /// The gateway was not reached at all, for which no message is to blame.
    pub unreached: bool,
    /// By what id the message will be known if it did go out, where we choose that ourselves.
    pub provider_id: Option<String>,
}

impl SendError {
    /// An error of `class` that says `message`.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), unreached: false, provider_id: None }
    }
}

/// How a try ended, or how far it is. On record it is one word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum AttemptOutcome {
    /// Its file or its card is being made: nothing has touched the wire.
    Preparing,
    /// It is on the wire.
    Open,
    /// The message has got so far by it.
    Reached(MessageState),
    /// The gateway has it, perhaps.
    Ambiguous,
    /// The engine stopped while it was open.
    Interrupted,
    /// Its recipient wants no more messages.
    OptedOut,
    /// It failed, by the word of its [`ErrorClass`].
    Failed(String),
}

/// Also the kind of error that an `ask` throws.
pub const OPTED_OUT: &str = "opted_out";

impl AttemptOutcome {
    /// The word for it.
    pub fn name(&self) -> &str {
        match self {
            Self::Preparing => "preparing",
            Self::Open => "open",
            Self::Reached(state) => state.name(),
            Self::Ambiguous => "ambiguous",
            Self::Interrupted => "interrupted",
            Self::OptedOut => OPTED_OUT,
            Self::Failed(class) => class,
        }
    }

    /// Whether it has not ended.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Preparing | Self::Open)
    }

    /// Whether nobody knows if anything went out.
    pub fn is_doubtful(&self) -> bool {
        matches!(self, Self::Ambiguous | Self::Interrupted)
    }
}

impl From<String> for AttemptOutcome {
    fn from(word: String) -> Self {
        let known = [Self::Preparing, Self::Open, Self::Ambiguous, Self::Interrupted, Self::OptedOut];
        let reached = || MessageState::parse(&word).map(Self::Reached);
        known.into_iter().find(|outcome| outcome.name() == word).or_else(reached).unwrap_or(Self::Failed(word))
    }
}

impl From<AttemptOutcome> for String {
    fn from(outcome: AttemptOutcome) -> Self {
        outcome.name().to_owned()
    }
}

/// One try, as it is kept with the message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Counted from 1.
    pub number: u32,
    /// Milliseconds since 1970.
    pub at: i64,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// What the gateway said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The account that it was made through, when it is another one than the message's own by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// States that it has reached since, each with its time in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reached: Vec<(MessageState, i64)>,
}

impl Attempt {
    /// One that touches the wire from now on, with its number.
    pub fn open(number: u32, now: Timestamp) -> Self {
        let (at, outcome) = (millis(now), AttemptOutcome::Open);
        Self { number, at, outcome, error: None, account: None, reached: Vec::new() }
    }
}

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;
