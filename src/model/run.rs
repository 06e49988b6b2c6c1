//! A run: one durable execution of a flow for one event.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::id::RunId;

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Accepted; its first turn has not ended.
    Queued,
    /// A turn is under way.
    Running,
    /// Waits for a time, a delivery or its next attempt.
    Waiting,
    /// The script came to its end.
    Succeeded,
    /// The script threw, or broke a limit, and no attempt is left.
    Failed,
    /// Taken back.
    Cancelled,
    /// Accepted but not run, by policy.
    Skipped,
}

impl RunState {
    /// Every state, in the order of their numbers in the store.
    pub const ALL: [Self; 7] =
        [Self::Queued, Self::Running, Self::Waiting, Self::Succeeded, Self::Failed, Self::Cancelled, Self::Skipped];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }

    /// Back from the word.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether nothing will happen to it any more.
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running | Self::Waiting)
    }

    /// The state after `step`; none when the step is not legal here.
    ///
    /// This is the whole state table: everything that moves a run asks it.
    pub fn after(self, step: RunStep) -> Option<Self> {
        match (self, step) {
            (Self::Queued | Self::Running | Self::Waiting, RunStep::Wait) => Some(Self::Waiting),
            (Self::Queued | Self::Running | Self::Waiting, RunStep::Succeed) => Some(Self::Succeeded),
            (Self::Queued | Self::Running | Self::Waiting, RunStep::Fail) => Some(Self::Failed),
            (Self::Queued | Self::Running | Self::Waiting, RunStep::Cancel) => Some(Self::Cancelled),
            (Self::Failed, RunStep::Retry) => Some(Self::Waiting),
            _ => None,
        }
    }
}

/// What may happen to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStep {
    /// A turn ends with a question, or with another attempt to come.
    Wait,
    /// The script came to its end.
    Succeed,
    /// It threw for good, or broke a limit.
    Fail,
    /// A person takes it back.
    Cancel,
    /// A person wants it to go on.
    Retry,
}

// What is written by its place is read by it.
const _: () = {
    let mut place = 0;
    while place < RunState::ALL.len() {
        assert!(RunState::ALL[place] as usize == place);
        place += 1;
    }
};

/// What went wrong in a script, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptError {
    /// One of the kinds in the script reference, such as `invalid` or `limit`.
    pub kind: String,
    /// What, where, remedy.
    pub message: String,
    /// File that the place is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// Counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// The line itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl ScriptError {
    /// An error without a place.
    pub fn new(kind: &str, message: impl Into<String>) -> Self {
        Self { kind: kind.into(), message: message.into(), script: None, line: None, column: None, source: None }
    }
}

impl std::fmt::Display for ScriptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let (Some(script), Some(line)) = (&self.script, self.line) {
            write!(f, "{script}:{line}:{}: ", self.column.unwrap_or(1))?;
        }
        f.write_str(&self.message)?;
        match &self.source {
            Some(source) => write!(f, "\n    {}", source.trim()),
            None => Ok(()),
        }
    }
}

/// A run as it is accepted.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// Made at the door.
    pub id: RunId,
    /// Name of its flow.
    pub flow: String,
    /// What it is pinned to.
    pub version: String,
    /// `webhook`, `manual`, `failure`, ...
    pub trigger: String,
    /// The whole event as JSON.
    pub event: Arc<str>,
    /// Secret bytes that the run's chance comes from.
    pub seed: [u8; 16],
    /// When it was accepted.
    pub at: Timestamp,
    /// The run that it repeats: what that one promised is not sent again.
    pub root: Option<RunId>,
    /// How many runs stand before it that began each other by `flows::start`.
    pub generation: u32,
    /// What makes another event the same one: while it is remembered no other run with it is accepted.
    pub marks: Vec<Mark>,
    /// The place that it takes among the runs of its flow, where these are limited.
    pub slot: Option<Slot>,
}

/// A place among the runs of a flow that limits how many of them are under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Those that are counted together, as a hash of what they have in common.
    pub part: String,
    /// How many of them may be under way.
    pub most: u32,
    /// What becomes of one more.
    pub when_full: WhenFull,
}

/// What becomes of a run when as many are under way as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits in line.
    Queue,
    /// It is not run.
    Skip,
    /// The oldest one is cancelled for it.
    Replace,
}

impl WhenFull {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Skip => "skip",
            Self::Replace => "replace",
        }
    }
}

/// The name of an event, hashed with whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The hash.
    pub mark: [u8; 16],
    /// When it is forgotten.
    pub until: Timestamp,
}

/// What the script of a webhook with `respond: result` answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// JSON; a text is sent as it is.
    pub body: serde_json::Value,
    /// Further headers.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
}
