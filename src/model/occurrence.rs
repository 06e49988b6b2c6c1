//! An instant at which a schedule was due, and its fate.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::run::NewRun;

/// What became of an instant at which a schedule was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// A run was begun in time.
    Ran,
    /// A run was begun later than it was due: nobody was there.
    Late,
    /// Nobody was there, and a later instant's run stands for it.
    Coalesced,
    /// Nobody was there until `not_after` had passed.
    TooLate,
    /// It was not wanted: the flow was disabled, an exception, an overlap.
    Skipped,
    /// Nobody was there, and `missed: skip` wants nothing done about it.
    Down,
    /// It was past when the trigger was first seen.
    BeforeKnown,
}

impl Fate {
    /// Every fate, in the order of their numbers in the store.
    pub const ALL: [Self; 7] =
        [Self::Ran, Self::Late, Self::Coalesced, Self::TooLate, Self::Skipped, Self::Down, Self::BeforeKnown];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ran => "ran",
            Self::Late => "late",
            Self::Coalesced => "coalesced",
            Self::TooLate => "too_late",
            Self::Skipped => "skipped",
            Self::Down => "down",
            Self::BeforeKnown => "before_known",
        }
    }
}

// What is written by its place is read by it.
const _: () = {
    let mut place = 0;
    while place < Fate::ALL.len() {
        assert!(Fate::ALL[place] as usize == place);
        place += 1;
    }
};

/// An instant with its fate, or a stretch of instants that share one.
#[derive(Clone, Debug)]
pub struct Occurrence {
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
    /// The run that it begins.
    pub run: Option<NewRun>,
    /// In words.
    pub reason: Option<String>,
}

impl Occurrence {
    /// One instant without a run.
    pub fn new(at: Timestamp, fate: Fate) -> Self {
        Self { at, until: None, count: Some(1), fate, late_by: None, run: None, reason: None }
    }
}
