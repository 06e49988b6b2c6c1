//! What went wrong and somebody is to be told of.

use jiff::Timestamp;

use crate::id::{MessageId, RunId};
use crate::model::delivery::{AttemptOutcome, MessageState};
use crate::model::run::NewRun;

/// A message that came to a bad end, of which nobody has been told yet.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// Its place among them.
    pub number: i64,
    /// Which.
    pub message: MessageId,
    /// Who was to send it.
    pub account: String,
    /// The flow that promised it; empty for a person.
    pub flow: String,
    /// The run.
    pub run: Option<RunId>,
    /// Whom it was for.
    pub to: String,
    /// `rejected`, `dead` or `unknown`.
    pub state: MessageState,
    /// How its last attempt ended.
    pub outcome: Option<AttemptOutcome>,
    /// What was said.
    pub error: String,
}

impl Trouble {
    /// The word for how its last attempt ended; empty where there was none.
    pub fn kind(&self) -> &str {
        self.outcome.as_ref().map_or("", AttemptOutcome::name)
    }
}

/// Tells of troubles: begins the runs that hear of them and remembers what was told, all or none.
#[derive(Clone, Debug, Default)]
pub struct Telling {
    /// Places of the [`Trouble`]s that are told by it, or need not be.
    pub done: Vec<i64>,
    /// The runs, each with the place of the [`Trouble`] that it is about, if it is about one: when that is gone
    /// by now, because the message was forgotten or settled, it does not begin.
    pub runs: Vec<(NewRun, Option<i64>)>,
    /// Causes that are told from now on.
    pub causes: Vec<(String, Timestamp)>,
    /// Causes that are over.
    pub over: Vec<String>,
}
