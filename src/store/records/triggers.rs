//! What is kept of triggers.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::id::RunId;
use crate::model::occurrence::{Fate, Occurrence};
use crate::model::run::NewRun;

/// A trigger that has a state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TriggerKey {
    /// Name of its flow.
    pub flow: Arc<str>,
    /// What it is known by within the flow.
    pub trigger: Arc<str>,
}

/// What is known of a trigger.
#[derive(Clone, Debug)]
pub struct ArmedRow {
    /// Which.
    pub key: TriggerKey,
    /// All instants up to this one have their fate. At first, when the trigger was first seen.
    pub position: Timestamp,
}

/// A trigger that was not known before.
#[derive(Clone, Debug)]
pub struct NewTrigger {
    /// What is known of it.
    pub row: ArmedRow,
    /// An instant that was past already.
    pub past: Option<Occurrence>,
    /// Files that were there already.
    pub files: Vec<SeenFile>,
}

/// Instants of one trigger that have their fate now.
#[derive(Clone, Debug)]
pub struct Firing {
    /// Which trigger, and up to where.
    pub row: ArmedRow,
    /// Their fates, with the runs that begin.
    pub occurrences: Vec<Occurrence>,
}

/// A file as a trigger last saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenFile {
    /// Relative to the workspace.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub modified: i64,
    /// When anything of it was last changed, in nanoseconds since 1970; nobody can set that. None where it is not
    /// known, as in files of earlier versions.
    pub changed: Option<i64>,
    /// The device that it lay on; none where it is not known.
    pub device: Option<u64>,
    /// Of its content; none as long as nobody has read it.
    pub hash: Option<[u8; 16]>,
    /// Since when it is gone.
    pub gone_at: Option<Timestamp>,
}

/// What a trigger saw of a file.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The file as it is now.
    pub row: SeenFile,
    /// The run that begins because of it.
    pub run: Option<NewRun>,
}

/// Which occurrences to list.
#[derive(Clone, Debug, Default)]
pub struct OccurrenceFilter {
    /// Of this flow.
    pub flow: Option<String>,
    /// At or after this.
    pub from: Option<Timestamp>,
    /// Before this.
    pub to: Option<Timestamp>,
    /// At most so many.
    pub limit: usize,
}

/// An occurrence as it is shown.
#[derive(Clone, Debug)]
pub struct OccurrenceRecord {
    /// Which trigger.
    pub key: TriggerKey,
    /// When it was due; of a stretch, the first.
    pub at: Timestamp,
    /// Of a stretch, the last.
    pub until: Option<Timestamp>,
    /// How many instants this is; none when nobody counted.
    pub count: Option<u32>,
    /// What became of it.
    pub fate: Fate,
    /// How much later the run was begun.
    pub late_by: Option<Duration>,
    /// The run that it began.
    pub run: Option<RunId>,
    /// In words.
    pub reason: Option<String>,
}
