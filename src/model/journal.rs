//! What a run has done so far: its host calls in order, each with its result.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::message::{NewMessage, Snapshot};
use super::question::{Answer, Question};
use super::run::{NewRun, Response, ScriptError};
use crate::id::{MessageId, RunId};

/// Which host call an entry records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `send_text`, `send_link`, `send_image`, `send_file`.
    Send,
    /// The copy of a file that is sent.
    Snapshot,
    /// Whether a message with this `key` exists already.
    Keyed,
    /// `Message.wait`.
    Wait,
    /// `Message.cancel`.
    Cancel,
    /// `sleep`, `sleep_until`.
    Sleep,
    /// `files::read`, `files::lines`, `files::csv`.
    FileRead,
    /// `files::exists`.
    FileExists,
    /// `files::list`.
    FileList,
    /// `kv::get`.
    KvGet,
    /// `kv::set`.
    KvSet,
    /// `kv::delete`.
    KvDelete,
    /// `kv::increment`.
    KvIncrement,
    /// `kv::list`.
    KvList,
    /// `shared::get`.
    SharedGet,
    /// `shared::set`.
    SharedSet,
    /// `shared::delete`.
    SharedDelete,
    /// `shared::increment`.
    SharedIncrement,
    /// `shared::list`.
    SharedList,
    /// `http::*`.
    Http,
    /// Which file `files::move` moves.
    FileSeen,
    /// `files::move`.
    FileMove,
    /// `event.media.save`.
    Save,
    /// `ask`.
    Ask,
    /// `wait_for_message`.
    WaitMessage,
    /// `wait_for_event`.
    WaitEvent,
    /// `emit`.
    Emit,
    /// Which version of a flow `flows::start` begins.
    FlowVersion,
    /// `flows::start`.
    FlowStart,
    /// `respond`.
    Respond,
    /// `hash::hmac_*` with a secret, which may be another one some day.
    Hmac,
    /// `now`, `today`.
    Now,
    /// `log::*`, `print`.
    Log,
    /// `fail`.
    Fail,
}

/// A short fingerprint of a call's arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(u64);

impl Digest {
    /// Of the arguments as they are recorded: JSON, secrets by name.
    pub fn of(request: &str) -> Self {
        let hash = Sha256::digest(request.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        Self(u64::from_be_bytes(first))
    }

    /// As a number for a column.
    pub fn number(self) -> i64 {
        self.0.cast_signed()
    }
}

/// A recorded host call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in the journal, from 0.
    pub position: u32,
    /// Which call.
    pub kind: Kind,
    /// Fingerprint of the arguments: at replay it must be the same.
    pub digest: Digest,
    /// Line of the script that called.
    pub line: u32,
    /// Milliseconds since 1970: when the answer came.
    pub at: i64,
    /// When it was asked, where that was earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<i64>,
    /// The arguments, for people.
    pub request: Box<RawValue>,
    /// What the script got.
    pub result: Value,
    /// What the script got thrown instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ScriptError>,
}

impl Entry {
    /// About how many bytes it takes in the store.
    pub fn weight(&self) -> u64 {
        let result = match &self.result {
            Value::Null | Value::Bool(_) | Value::Number(_) => 8,
            Value::String(text) => text.len(),
            other => other.to_string().len(),
        };
        (self.request.get().len() + result + 96) as u64
    }
}

/// The answer to [`Read::Snapshot`](super::question::Read::Snapshot) as recorded.
pub fn snapshot_answer(snapshot: &Snapshot) -> Value {
    serde_json::json!({ "blob": snapshot.blob, "size": snapshot.size, "file_name": snapshot.file_name })
}

/// A question that stands open, with all that its entry will need.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pending {
    /// The entry's place.
    pub position: u32,
    /// The entry's kind.
    pub kind: Kind,
    /// The entry's fingerprint.
    pub digest: Digest,
    /// The entry's line.
    pub line: u32,
    /// The entry's arguments.
    pub request: Box<RawValue>,
    /// Milliseconds since 1970: when it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<i64>,
    /// What is asked.
    pub question: Question,
}

impl Pending {
    /// Whether it is the same question in the same place.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.position, self.kind, self.digest) == (other.position, other.kind, other.digest)
    }

    /// The entry, now that the answer is there.
    pub fn answered(self, at: Timestamp, answer: Answer) -> Entry {
        let (result, error) = match answer {
            Ok(value) => (value, None),
            Err(error) => (Value::Null, Some(error)),
        };
        Entry {
            position: self.position,
            kind: self.kind,
            digest: self.digest,
            line: self.line,
            at: at.as_millisecond(),
            asked_at: self.asked_at.filter(|asked| *asked < at.as_millisecond()),
            request: self.request,
            result,
            error,
        }
    }
}

/// A change to a flow's values, or to the workspace's.
#[derive(Clone, Debug, PartialEq)]
pub struct KvWrite {
    /// The workspace's.
    pub shared: bool,
    /// Its name.
    pub key: String,
    /// None deletes it.
    pub value: Option<Value>,
    /// Milliseconds since 1970; none lives for ever.
    pub expires_at: Option<i64>,
}

/// Something that a run lets others know.
#[derive(Clone, Debug, PartialEq)]
pub struct Emitted {
    /// The place of its entry, ...
    pub position: u32,
    /// ... and its fingerprint: the same promise is one event.
    pub mark: Digest,
    /// Its name.
    pub name: String,
    /// Which of them it concerns.
    pub key: Option<String>,
    /// What it says.
    pub data: Value,
}

/// What a turn promised besides its entries.
#[derive(Clone, Debug, Default)]
pub struct Promises {
    /// For the outbox.
    pub messages: Vec<Arc<NewMessage>>,
    /// For the flow's values, in order.
    pub kv: Vec<KvWrite>,
    /// For runs that wait for it.
    pub events: Vec<Emitted>,
    /// Runs to begin.
    pub runs: Vec<NewRun>,
    /// For the caller who waits.
    pub response: Option<Response>,
}

impl Promises {
    /// Adds what was promised later.
    pub fn add(&mut self, mut later: Self) {
        self.messages.append(&mut later.messages);
        self.kv.append(&mut later.kv);
        self.events.append(&mut later.events);
        self.runs.append(&mut later.runs);
        self.response = later.response.or(self.response.take());
    }
}

/// How a turn leaves its run.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Over, with the script's last value.
    Succeeded(Value),
    /// Over.
    Failed(ScriptError),
    /// Waits for an answer.
    Waiting(Pending),
    /// Thrown, but another attempt is left.
    Retrying(Box<Retrying>),
}

/// A run that threw and is tried again.
#[derive(Clone, Debug)]
pub struct Retrying {
    /// Why it is.
    pub error: ScriptError,
    /// When it goes on.
    pub at: Timestamp,
    /// The question that was answered when it was thrown.
    pub pending: Option<Pending>,
    /// Its answer; none when it is to be answered anew.
    pub answer: Option<Answer>,
}

/// All that one turn changes, committed as one transaction.
#[derive(Clone, Debug)]
pub struct TurnCommit {
    /// Whose turn it was.
    pub run: RunId,
    /// Name of its flow.
    pub flow: String,
    /// The run's number among the ready ones when it was read: a turn made from an older reading
    /// does not count.
    pub ready: i64,
    /// The attempt it belongs to, from 1.
    pub attempt: u32,
    /// When it began.
    pub at: Timestamp,
    /// CPU time it used.
    pub cpu: Duration,
    /// The message whose `.wait` this turn began with the answer of.
    pub waited_for: Option<MessageId>,
    /// New entries, in order.
    pub entries: Vec<Entry>,
    /// Log lines of a turn that threw: kept for reading, not for replay.
    pub lost: Vec<Entry>,
    /// What it promised.
    pub promises: Promises,
    /// How it left the run.
    pub outcome: Outcome,
    /// The run of the `on_failure` flow, when this one has failed for good.
    pub follow_up: Option<NewRun>,
}
