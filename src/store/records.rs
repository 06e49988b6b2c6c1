//! What goes into a store and comes out of it.

mod inbound;
mod lists;
mod outbox;
mod triggers;
mod troubles;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{MessageId, RunId};
use crate::model::delivery::{Attempt, Degraded, MessageState, Part};
use crate::model::journal::{Entry, Pending};
use crate::model::message::Body;
use crate::model::question::{Answer, Errand, Question};
use crate::model::run::{NewRun, RunState, ScriptError};
use crate::store::StoreError;

pub use inbound::*;
pub use lists::*;
pub use outbox::*;
pub use triggers::*;
pub use troubles::*;

/// The text of a flow version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRow {
    /// Hash of the content.
    pub id: String,
    /// Name of the flow.
    pub flow: String,
    /// Everything needed to build it again, as JSON.
    pub content: String,
}

/// What is to be kept of a set of flows.
#[derive(Clone, Debug, Default)]
pub struct KeptFlows {
    /// Versions that are live now, each with the file that it is the last good one of.
    pub good: Vec<(String, VersionRow)>,
    /// Files that are gone for good.
    pub gone: Vec<String>,
    /// The folder that they lie in, if it is another one than before.
    pub home: Option<FolderId>,
}

/// The engine was there at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// When.
    pub at: Timestamp,
    /// It went then, as it was told to.
    pub stopped: bool,
}

/// A time in which nobody was there, or by which the clock was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// When it began; of a clock that was moved, what it showed before.
    pub from: Timestamp,
    /// When it ended; of a clock that was moved, what it showed then.
    pub to: Timestamp,
    /// Of which kind.
    pub kind: GapKind,
}

/// Why nobody was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapKind {
    /// The engine was stopped.
    Stopped,
    /// It ended without a word: it was killed, or the power went.
    Down,
    /// The computer slept.
    Asleep,
    /// The clock was put forward.
    Forward,
    /// The clock was put back: `to` lies before `from`.
    Back,
}

impl GapKind {
    /// Every kind, in the order of their numbers in the store.
    pub const ALL: [Self; 5] = [Self::Stopped, Self::Down, Self::Asleep, Self::Forward, Self::Back];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Down => "down",
            Self::Asleep => "asleep",
            Self::Forward => "clock_forward",
            Self::Back => "clock_back",
        }
    }
}

/// A request that was turned away; those that are alike and come together are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRow {
    /// Its number: later ones have higher ones.
    pub id: i64,
    /// The first time.
    pub since: Timestamp,
    /// The last time.
    pub at: Timestamp,
    /// Method and path.
    pub what: String,
    /// The status of the answer.
    pub status: u16,
    /// Why.
    pub reason: String,
    /// From where it came.
    pub from: String,
    /// How often.
    pub count: u64,
}

/// What tells a folder from another one that lies in its place: its device and its inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolderId {
    /// Number of the device.
    pub device: u64,
    /// Number on the device.
    pub inode: u64,
}

/// A run whose next turn may begin.
#[derive(Clone, Debug)]
pub struct ReadyRun {
    /// Which.
    pub id: RunId,
    /// Name of its flow.
    pub flow: String,
    /// What it is pinned to.
    pub version: String,
    /// Its place among the ready ones.
    pub ready: i64,
    /// The event as JSON.
    pub event: Arc<str>,
    /// Where its chance comes from.
    pub seed: [u8; 16],
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When the first turn of its journal began; none before it.
    pub base: Option<Timestamp>,
    /// Attempt to be made, from 1.
    pub attempt: u32,
    /// CPU time used so far.
    pub cpu: Duration,
    /// The question that was asked last.
    pub pending: Option<Pending>,
    /// Its answer, if it is one that is not looked for anew.
    pub answer: Option<Answer>,
    /// The run that this one repeats.
    pub root: Option<RunId>,
    /// How often its journal was cut.
    pub cuts: i64,
    /// How many runs stand before it that began each other.
    pub generation: u32,
    /// Why its question or its answer cannot be read, if the file is damaged there.
    pub damaged: Option<String>,
}

/// Until when what is settled may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spans {
    /// Runs that ended before this, and records of what began them.
    pub runs: Timestamp,
    /// Messages to which nothing has happened since.
    pub messages: Timestamp,
}

/// Records of what happened that go along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldRecords {
    /// Those of before this.
    pub until: Spans,
    /// Most rows of each table.
    pub limit: usize,
}

/// What may go, each with the time by which it is sorted (milliseconds since 1970), the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prunable {
    /// Runs.
    pub runs: Vec<(i64, RunId)>,
    /// Messages.
    pub messages: Vec<(i64, MessageId)>,
}

/// What has gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Runs.
    pub runs: u64,
    /// Messages.
    pub messages: u64,
    /// Records of what happened.
    pub records: u64,
    /// There may be more records.
    pub more: bool,
    /// How long others had to wait for it.
    pub took: Duration,
}

/// What came of a run that was handed in with its first turn.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Its number among the ready runs, if it was accepted without the turn.
    pub ready: Option<i64>,
    /// What came of the turn.
    pub turn: Result<Committed, StoreError>,
}

impl ReadyRun {
    /// The number of a run that is not on disk yet, above all that there are.
    pub const UNNUMBERED: i64 = i64::MAX;

    /// A run that is not on disk yet.
    pub fn fresh(run: &NewRun) -> Self {
        Self {
            version: run.version.clone(),
            event: run.event.clone(),
            seed: run.seed,
            created_at: run.at,
            root: run.root,
            generation: run.generation,
            ..Self::bare(&run.flow, run.id, Self::UNNUMBERED)
        }
    }

    /// What is known of a run by its number alone.
    pub fn bare(flow: &str, id: RunId, ready: i64) -> Self {
        Self {
            id,
            flow: flow.to_owned(),
            version: String::new(),
            ready,
            event: "{}".into(),
            seed: [0; 16],
            created_at: Timestamp::UNIX_EPOCH,
            base: None,
            attempt: 1,
            cpu: Duration::ZERO,
            pending: None,
            answer: None,
            root: None,
            cuts: 0,
            generation: 0,
            damaged: None,
        }
    }

    /// The errand whose answer is missing, if one is, with the place of its entry: the run was made ready so
    /// that this is found after a crash.
    pub fn errand(&self) -> Option<(u32, &Errand)> {
        match (&self.pending, &self.answer) {
            (Some(Pending { position, question: Question::Errand(errand), .. }), None) => Some((*position, errand)),
            _ => None,
        }
    }
}

/// Where a run comes from: all that its turns depend on besides its journal.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Name of its flow.
    pub flow: String,
    /// What it is pinned to.
    pub version: String,
    /// What started it.
    pub trigger: String,
    /// The event as JSON.
    pub event: String,
    /// Where its chance comes from.
    pub seed: [u8; 16],
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When the first turn of its journal began; none before it.
    pub base: Option<Timestamp>,
    /// The run that it repeats.
    pub root: Option<RunId>,
    /// Whether its last question has no answer, unless that is there: it waits, or was cancelled while it did.
    pub is_open: bool,
    /// Whether it waits for the end of another question to the same person, before it asks.
    pub is_behind: bool,
    /// Its last question, until a turn has used the answer.
    pub pending: Option<Pending>,
    /// What was answered, where that is kept.
    pub answer: Option<Answer>,
}

/// An entry as it is shown to people.
#[derive(Clone, Debug)]
pub struct Called {
    /// What was called.
    pub entry: Entry,
    /// In which attempt of the run, from 1.
    pub attempt: u32,
    /// Its turn was thrown away: it is kept for reading only.
    pub lost: bool,
}

/// What became of a turn that was handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It is on disk.
    Yes {
        /// The part of the journal that it became; none when it recorded nothing.
        part: Option<i64>,
        /// The run's number among the ready ones, when it can go on at once or waits for an errand.
        ready: Option<i64>,
    },
    /// The runs that it begins have no room; nothing was written.
    NoRoom,
    /// Another run promised a message under the same key meanwhile: do the turn again.
    KeyTaken,
    /// The run is over already; nothing was written.
    Over,
    /// The run has had this turn already; nothing was written.
    Stale,
}

/// What [`super::Store::wake_runs`] did.
#[derive(Clone, Debug, Default)]
pub struct Woken {
    /// How many runs became ready.
    pub count: u64,
    /// When the next one will.
    pub next: Option<Timestamp>,
}

/// What [`super::Store::move_messages`] did.
#[derive(Clone, Debug, Default)]
pub struct Moved {
    /// How many messages moved.
    pub count: u64,
    /// When the next one will.
    pub next: Option<Timestamp>,
}

/// Unknown messages of an account are sent again when they are older than this.
#[derive(Clone, Debug)]
pub struct ResendPolicy {
    /// The account.
    pub account: String,
    /// `unknown_after`.
    pub after: Duration,
    /// Most tries in all.
    pub attempts: u32,
}

/// A message by its name cards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MessageRef {
    /// Which.
    pub id: MessageId,
    /// Canonical recipient.
    pub to: String,
    /// The account that sends it.
    pub account: String,
}

/// What a waiting run waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingFor {
    /// `time`, `reply`, `event`, `delivery`, `http`, `file`, `retry` or `slot`.
    pub kind: String,
    /// Milliseconds since 1970.
    pub until: Option<i64>,
    /// In words.
    pub detail: String,
}

/// A run as it is shown.
#[derive(Clone, Debug)]
pub struct RunRecord {
    /// Which.
    pub id: RunId,
    /// Name of its flow.
    pub flow: String,
    /// What it is pinned to.
    pub version: String,
    /// What started it.
    pub trigger: String,
    /// Where it stands.
    pub state: RunState,
    /// What it waits for.
    pub waiting_for: Option<WaitingFor>,
    /// From 1.
    pub attempt: u32,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its first turn was committed.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Why it failed, or why it is tried again.
    pub error: Option<ScriptError>,
    /// The event, as the text of JSON.
    pub event: String,
    /// The script's last value, as the text of JSON.
    pub result: Option<String>,
}

/// Where a run stands in line among those of its flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Those under way that it waits for, the oldest first.
    pub holders: Vec<RunId>,
    /// How many stand before it.
    pub before: u64,
}

/// A message as it is shown.
#[derive(Clone, Debug)]
pub struct MessageRecord {
    /// Which.
    pub id: MessageId,
    /// The run that promised it.
    pub run: Option<RunId>,
    /// Name of the flow; empty when sent by hand.
    pub flow: String,
    /// The account that sends it.
    pub account: String,
    /// Canonical recipient.
    pub to: String,
    /// What it says.
    pub body: Body,
    /// Where it stands.
    pub state: MessageState,
    /// Its tries.
    pub attempts: Vec<Attempt>,
    /// The gateway's id.
    pub provider_id: Option<String>,
    /// Its parts, when it needs several requests.
    pub parts: Vec<Part>,
    /// What was changed on the way.
    pub degraded: Vec<Degraded>,
    /// How often its tracked link was followed, and when first.
    pub clicks: Option<(u32, Timestamp)>,
    /// What last went wrong.
    pub error: Option<String>,
    /// When it was promised.
    pub created_at: Timestamp,
    /// Not before this.
    pub due_at: Option<Timestamp>,
    /// Not after this.
    pub expires_at: Option<Timestamp>,
    /// Tries that count.
    pub tries: u32,
    /// It was taken back when it might have been out already.
    pub recalled: bool,
    /// Since when it stands where it stands.
    pub changed_at: Timestamp,
}

/// A message on a phone of the sandbox.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhoneMessage {
    /// The message's own id.
    pub id: MessageId,
    /// The account that sent it.
    pub account: String,
    /// Canonical recipient: the phone.
    pub to: String,
    /// What it says.
    #[serde(flatten)]
    pub body: Body,
    /// When it came.
    #[serde(skip)]
    pub at: Timestamp,
    /// It was typed on the phone.
    #[serde(skip)]
    pub incoming: bool,
}

/// How much a store has written since it was opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Transactions.
    pub commits: u64,
    /// Commands in them.
    pub commands: u64,
}
