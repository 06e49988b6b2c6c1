//! Rows of what comes in: what gateways told, and what becomes of it.

use jiff::Timestamp;
use serde::Serialize;

use crate::id::RunId;
use crate::model::inbound::{Told, Written};
use crate::model::opt_out::OptOut;
use crate::model::policy::Retry;
use crate::model::run::{NewRun, RunState};
use crate::model::walls::FlowNames;

/// What one request of a gateway told, ready to be taken in as one transaction.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// The account that it came to.
    pub account: String,
    /// The gateway lets us write freely only after people wrote: it is noted when they did.
    pub window: bool,
    /// What people write who want to hear no more.
    pub opt_out: Option<OptOut>,
    /// How what failed late is tried again.
    pub retry: Retry,
    /// Which flows may hear it.
    pub flows: FlowNames,
    /// In order.
    pub told: Vec<Received>,
    /// When it came.
    pub now: Timestamp,
}

impl Inbound {
    /// About how many bytes it takes.
    pub fn weight(&self) -> usize {
        let of = |received: &Received| match received {
            Received::Letter(letter) => {
                let events: usize = letter.first.iter().chain(&letter.others).map(|run| run.event.len()).sum();
                512 + events + letter.written.text.as_ref().map_or(0, String::len)
            }
            Received::Told(_) => 256,
        };
        self.told.iter().map(of).sum()
    }
}

/// One thing that came in.
#[derive(Clone, Debug)]
pub enum Received {
    /// A person's message, with the runs that it may begin.
    Letter(Box<Letter>),
    /// Anything else.
    Told(Told),
}

/// A person's message on its way to whom it concerns.
#[derive(Clone, Debug)]
pub struct Letter {
    /// What was written.
    pub written: Written,
    /// The same as scripts see it, a map as JSON.
    pub event: serde_json::Value,
    /// Runs of `message` triggers that come before waiting runs.
    pub first: Vec<NewRun>,
    /// Runs of the others.
    pub others: Vec<NewRun>,
}

/// What became of a person's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was told before.
    Known,
    /// It began these runs.
    Began(Vec<RunId>),
    /// A run had waited for it.
    Answered(RunId),
    /// It made no sense as an answer, and the question was repeated.
    Repeated(RunId),
    /// It said that this person wants to hear no more, or wants to again.
    Opted,
    /// Nobody wants it.
    Unwanted,
}

impl Fate {
    /// The word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Began(_) => "began",
            Self::Answered(_) => "answered",
            Self::Repeated(_) => "repeated",
            Self::Opted => "opted",
            Self::Unwanted => "unwanted",
        }
    }

    /// The run that it is about; of several that began the first.
    pub fn run(&self) -> Option<RunId> {
        match self {
            Self::Began(runs) => runs.first().copied(),
            Self::Answered(run) | Self::Repeated(run) => Some(*run),
            Self::Known | Self::Opted | Self::Unwanted => None,
        }
    }
}

/// What came of a person's word about a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunDecided {
    /// Done.
    Done,
    /// Not possible in the state that it is in.
    NotIn(RunState),
    /// There is no such run.
    Missing,
}

/// What was erased of a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Erased {
    /// Messages, to and from.
    pub messages: u64,
    /// Events.
    pub events: u64,
    /// Runs whose texts are gone.
    pub runs: u64,
}

/// What came of forgetting a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// How much is gone.
    pub erased: Erased,
    /// Runs that were under way and are ended.
    pub ended: Vec<RunId>,
    /// Copies of files that nobody needs any more.
    pub blobs: Vec<String>,
}

impl Forgotten {
    /// Adds what was found later.
    pub fn add(&mut self, later: Self) {
        self.erased.messages += later.erased.messages;
        self.erased.events += later.erased.events;
        self.erased.runs += later.erased.runs;
        self.ended.extend(later.ended);
        self.blobs.extend(later.blobs);
    }
}
