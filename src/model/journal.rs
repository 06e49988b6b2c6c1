//! What a run has done so far: its host calls in order, each with its result.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::delivery::Goal;
use super::message::{NewMessage, Snapshot};
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
    /// `respond`.
    Respond,
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
    /// Milliseconds since 1970.
    pub at: i64,
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

/// A host call that needs an answer from outside before the script can go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Question {
    /// The time.
    Sleep {
        /// Milliseconds since 1970.
        until: i64,
    },
    /// What becomes of a message.
    Delivery {
        /// Which.
        message: MessageId,
        /// A state's name, or `settled`.
        goal: String,
        /// Milliseconds since 1970; none waits for as long as it takes.
        until: Option<i64>,
    },
    /// Takes a message back and says whether it was in time.
    Cancel {
        /// Which.
        message: MessageId,
    },
    /// Something that only reads our own store: answered within the turn.
    Read(Read),
}

impl Question {
    /// What a `.wait` waits for; `None` for every other question.
    pub fn goal(&self) -> Option<Goal> {
        match self {
            Self::Delivery { goal, .. } => Goal::parse(goal),
            _ => None,
        }
    }

    /// When it is answered by the clock alone.
    pub fn until(&self) -> Option<i64> {
        match self {
            Self::Sleep { until } => Some(*until),
            Self::Delivery { until, .. } => *until,
            Self::Cancel { .. } | Self::Read(_) => None,
        }
    }
}

/// A question to our own store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "read", rename_all = "snake_case")]
pub enum Read {
    /// A value of this flow.
    Kv {
        /// Its name.
        key: String,
    },
    /// A copy of a file below the workspace, taken now.
    Snapshot {
        /// Relative to the workspace.
        path: String,
    },
    /// The text of a file below the workspace.
    File {
        /// Relative to the workspace.
        path: String,
    },
    /// Whether there is such a file or folder.
    Exists {
        /// Relative to the workspace.
        path: String,
    },
    /// The files in a folder.
    List {
        /// Relative to the workspace.
        path: String,
    },
    /// The message that this flow already promised under a key.
    Keyed {
        /// The key.
        key: String,
        /// Canonical recipient.
        to: String,
    },
}

/// What a read gives: a value, or an error that is thrown at the line.
pub type Answer = Result<Value, ScriptError>;

/// The answer to [`Read::Snapshot`] as recorded.
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
    /// What is asked.
    pub question: Question,
}

impl Pending {
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
            request: self.request,
            result,
            error,
        }
    }
}

/// A change to a flow's values.
#[derive(Clone, Debug, PartialEq)]
pub struct KvWrite {
    /// Its name.
    pub key: String,
    /// None deletes it.
    pub value: Option<Value>,
    /// Milliseconds since 1970; none lives for ever.
    pub expires_at: Option<i64>,
}

/// What a turn promised besides its entries.
#[derive(Clone, Debug, Default)]
pub struct Promises {
    /// For the outbox.
    pub messages: Vec<NewMessage>,
    /// For the flow's values, in order.
    pub kv: Vec<KvWrite>,
    /// For the caller who waits.
    pub response: Option<Response>,
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
    Retrying {
        /// Why.
        error: ScriptError,
        /// When it goes on.
        at: Timestamp,
        /// The question that was answered when it was thrown, to be answered again.
        pending: Option<Pending>,
    },
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
