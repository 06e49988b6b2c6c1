//! Lists for people and programs to look at: what is asked for, and what comes back.

use jiff::Timestamp;
use serde_json::Value;

use crate::id::{MessageId, RunId};
use crate::model::delivery::MessageState;
use crate::model::run::RunState;

/// One page of a list, newest first.
#[derive(Clone, Debug)]
pub struct Page<T, I> {
    /// Its rows.
    pub rows: Vec<T>,
    /// Where to go on: older ones than this. There may be a page with few rows that goes on all the same: for one
    /// page only so many rows are looked at.
    pub next: Option<I>,
}

/// Which runs to list.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Of this flow.
    pub flow: Option<String>,
    /// In one of these states, by the store's knowledge (which has no `running`); none means any.
    pub states: Vec<RunState>,
    /// Only these.
    pub only: Option<Vec<RunId>>,
    /// Not these.
    pub without: Vec<RunId>,
    /// Started by one of these; none means by anything.
    pub triggers: Vec<&'static str>,
    /// Accepted at or after this.
    pub since: Option<Timestamp>,
    /// Accepted before this.
    pub until: Option<Timestamp>,
    /// Whose event, error or id holds these words.
    pub words: Option<String>,
    /// Older than this one.
    pub after: Option<RunId>,
    /// Newer than this one: the page next to it.
    pub before: Option<RunId>,
    /// With their events, which may be large.
    pub events: bool,
    /// At most so many.
    pub limit: usize,
}

/// Which messages to list.
#[derive(Clone, Debug, Default)]
pub struct MessageFilter {
    /// To one of these canonical recipients; none means anybody.
    pub to: Vec<String>,
    /// In one of these states; none means any.
    pub states: Vec<MessageState>,
    /// Of this flow.
    pub flow: Option<String>,
    /// By this account.
    pub account: Option<String>,
    /// Of this run.
    pub run: Option<RunId>,
    /// Written at or after this.
    pub since: Option<Timestamp>,
    /// Written before this.
    pub until: Option<Timestamp>,
    /// That hold these words, or go to an address that does.
    pub words: Option<String>,
    /// Older than this one.
    pub after: Option<MessageId>,
    /// Newer than this one: the page next to it.
    pub before: Option<MessageId>,
    /// At most so many.
    pub limit: usize,
}

/// A count that stops at a most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capped {
    /// How many were counted.
    pub count: u64,
    /// Whether there are more.
    pub more: bool,
}

/// How many runs or messages there are, as far as that is told by an index.
#[derive(Clone, Debug)]
pub struct StateCounts<S> {
    /// In all.
    pub all: Capped,
    /// By state.
    pub by_state: Vec<(S, Capped)>,
}

/// What was begun since a time: the newest, as far back as one look goes.
#[derive(Clone, Debug, Default)]
pub struct Lately {
    /// Runs: name of the flow, state, and when it was accepted.
    pub runs: Vec<(String, RunState, Timestamp)>,
    /// Messages: name of the flow, account, state, and when it was written.
    pub messages: Vec<(String, String, MessageState, Timestamp)>,
    /// There are more runs than these.
    pub more_runs: bool,
    /// There are more messages than these.
    pub more_messages: bool,
}

/// A run in a few words.
#[derive(Clone, Debug)]
pub struct RunBrief {
    /// Which.
    pub id: RunId,
    /// Where it stands.
    pub state: RunState,
    /// When it was accepted.
    pub created_at: Timestamp,
}

/// Which of what people wrote to list.
#[derive(Clone, Debug, Default)]
pub struct IncomingFilter {
    /// From one of these; none means anybody.
    pub from: Vec<String>,
    /// Of which this became: a name of [`Fate`](super::Fate).
    pub fates: Vec<&'static str>,
    /// That hold these words.
    pub words: Option<String>,
    /// Came at or after this.
    pub since: Option<Timestamp>,
    /// Came before this.
    pub until: Option<Timestamp>,
    /// At most so many.
    pub limit: usize,
}

/// Something that a person wrote.
#[derive(Clone, Debug)]
pub struct IncomingRecord {
    /// To this account.
    pub account: String,
    /// The event's own id within the account.
    pub id: String,
    /// When it came.
    pub at: Timestamp,
    /// Who wrote it.
    pub from: String,
    /// As scripts see it.
    pub event: Value,
    /// What became of it: a name of [`Fate`](super::Fate), empty for a reaction.
    pub fate: String,
    /// The run that it began or answered.
    pub run: Option<RunId>,
    /// That run's flow.
    pub flow: Option<String>,
}

/// All that is known of whom an address leads to.
#[derive(Clone, Debug, Default)]
pub struct Person {
    /// What the person was last called.
    pub name: Option<String>,
    /// Every address that leads there.
    pub addresses: Vec<String>,
    /// Accounts from which the person wants no more messages, and since when.
    pub opted_out: Vec<(String, Timestamp)>,
}

/// A phone of the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handset {
    /// Its number, or another address.
    pub phone: String,
    /// What somebody called it.
    pub name: Option<String>,
    /// It gets nothing until it is switched on.
    pub off: bool,
    /// When something last came, or when it was made.
    pub at: Timestamp,
}

/// What is to be changed of a phone of the sandbox.
#[derive(Clone, Debug, Default)]
pub struct HandsetChange {
    /// What it is called from now on.
    pub name: Option<String>,
    /// Whether it is off from now on.
    pub off: Option<bool>,
}

/// How an account stands today.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Messages that it has sent, where days are counted.
    pub sent: Option<u32>,
    /// People who got something from it for the first time.
    pub new: Option<u32>,
    /// When the oldest message that waits was written.
    pub oldest: Option<Timestamp>,
    /// When something last came from its gateway.
    pub heard: Option<Timestamp>,
}
