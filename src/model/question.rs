//! What a script may ask the world, and how it is put on record.

mod record;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::call::Call;
use super::run::ScriptError;
use crate::id::MessageId;
pub use record::QuestionRecord;

/// What a read gives: a value, or an error that is thrown at the line.
pub type Answer = Result<Value, ScriptError>;

/// A host call that needs an answer from outside before the script can go on. Of four kinds, by who
/// answers: what is written of it is [`QuestionRecord`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "QuestionRecord", into = "QuestionRecord")]
pub enum Question {
    /// Our own store and files are only read: answered within the turn.
    Read(Read),
    /// The clock and people answer, in their own time.
    Wait(Wait),
    /// The engine does something outside, once the question is on record.
    Errand(Errand),
    /// Our own store is changed: answered by the commit that puts the question on record.
    Change(Change),
}

/// What the clock and people answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Wait {
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
    /// A person's answer to a question over chat: put to them once more, where there is none.
    Ask(Box<Asked>),
    /// A message that a person writes of their own accord.
    Message {
        /// To this account; none means any.
        account: Option<String>,
        /// In this chat, or from this person; none means anybody.
        from: Option<String>,
        /// That this pattern finds something in.
        text: Option<String>,
        /// Milliseconds since 1970.
        until: i64,
    },
    /// Something that another run emits.
    Event {
        /// Its name.
        name: String,
        /// With this key; none means any.
        key: Option<String>,
        /// Later than this one, by its number.
        after: i64,
        /// None of these, which came to other waits of the run.
        got: Vec<i64>,
        /// Milliseconds since 1970; none waits for as long as it takes.
        until: Option<i64>,
    },
}

/// What the engine does outside for an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Errand {
    /// Requests over HTTP, all at once.
    Http {
        /// In order.
        calls: Vec<Call>,
        /// Whether the script asked for a list (`http::all`), in which each call has its own fate.
        all: bool,
        /// How often answers to each came that were thrown away by a retry: those to come are to be
        /// other ones, and so the request carries another key.
        again: Vec<u32>,
    },
    /// Gives a file another place below the workspace.
    Move {
        /// Where it is.
        from: String,
        /// Where it is to be.
        to: String,
        /// Which file it is: the number that the system knows it by, its size and its time of change.
        /// After a crash it tells whether it was moved before.
        seen: Option<[i64; 3]>,
    },
    /// Puts the file of an incoming message below the workspace.
    Save {
        /// The account that it came to.
        account: String,
        /// Where the gateway has it.
        source: String,
        /// Its type, as far as it was told.
        mime: Option<String>,
        /// Where it is to be.
        to: String,
    },
    /// Puts a file of the run's own event below the workspace.
    Part {
        /// Its place among them, from 0.
        part: u32,
        /// Where it is to be.
        to: String,
    },
}

/// What the commit of the question changes, and answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Takes a message back and says whether it was in time.
    Cancel {
        /// Which.
        message: MessageId,
    },
    /// Adds to a number among the values, and says what it is then.
    Increment {
        /// Among the workspace's values instead of the flow's.
        shared: bool,
        /// Its name.
        key: String,
        /// How much.
        by: serde_json::Number,
    },
}

/// A question over chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The message that asks.
    pub message: MessageId,
    /// The message that reminds.
    pub reminder: MessageId,
    /// The message that asks once more when an answer made no sense.
    pub repetition: MessageId,
    /// The account that it goes out by.
    pub account: String,
    /// Canonical recipient: the chat.
    pub to: String,
    /// What is asked.
    pub text: String,
    /// The answers to choose from; none means that any will do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// How long to wait, in milliseconds from when the gateway had it.
    pub timeout: i64,
    /// When to remind, in the same way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remind: Option<i64>,
}

impl Asked {
    /// Whether a message puts this question: its own, or one that it took the place of.
    pub fn is_put_by(&self, message: MessageId) -> bool {
        /// How often a run may have put it before, and is still understood.
        const TRIES: usize = 32;
        let mut id = message;
        for _ in 0..TRIES {
            if [self.message, self.reminder, self.repetition].contains(&id) {
                return true;
            }
            id = id.again();
        }
        false
    }

    /// The same question in messages of its own.
    pub fn again(&self) -> Self {
        let (message, reminder, repetition) = (self.message.again(), self.reminder.again(), self.repetition.again());
        Self { message, reminder, repetition, ..self.clone() }
    }
}

impl Question {
    /// The question as it is asked again by a retry, after an answer that was of no use. Only the world
    /// may answer differently: what people said and what the clock showed stays said. None when the
    /// answer stays.
    pub fn asked_again(&self, answer: &Answer) -> Option<Self> {
        match self {
            Self::Errand(errand) => errand.done_again(answer).map(Self::Errand),
            // A question that did not reach anybody goes out once more.
            Self::Wait(Wait::Ask(asked)) if answer.is_err() => Some(Self::Wait(Wait::Ask(Box::new(asked.again())))),
            Self::Wait(_) | Self::Change(_) | Self::Read(_) => None,
        }
    }
}

impl Wait {
    /// When it is answered by the clock alone. (An `ask` is so too, but its time runs only when the
    /// gateway has the question.)
    pub fn until(&self) -> Option<i64> {
        match self {
            Self::Sleep { until } | Self::Message { until, .. } => Some(*until),
            Self::Delivery { until, .. } | Self::Event { until, .. } => *until,
            Self::Ask(_) => None,
        }
    }
}

impl Errand {
    /// The errand as a retry runs it again, after an answer that was of no use; none when the answer stays.
    fn done_again(&self, answer: &Answer) -> Option<Self> {
        match self {
            Self::Http { calls, all, again } => {
                let came = |index: usize| match answer {
                    Ok(Value::Array(list)) if *all => {
                        let one = &list[index.min(list.len().saturating_sub(1))];
                        one["status"] != 0 || one["error"]["kind"] == TOO_LARGE
                    }
                    Ok(_) => true,
                    Err(error) => error.kind == TOO_LARGE,
                };
                let before = |index: usize| again.get(index).copied().unwrap_or(0);
                let again = (0..calls.len()).map(|index| before(index) + u32::from(came(index))).collect();
                Some(Self::Http { calls: calls.clone(), all: *all, again })
            }
            Self::Move { .. } | Self::Save { .. } | Self::Part { .. } => answer.is_err().then(|| self.clone()),
        }
    }
}

/// The kind of error of an answer that came and was too large to be taken.
pub const TOO_LARGE: &str = "too_large";

/// A question to our own store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "read", rename_all = "snake_case")]
pub enum Read {
    /// A value of this flow.
    Kv {
        /// Its name.
        key: String,
    },
    /// A value of the workspace.
    Shared {
        /// Its name.
        key: String,
    },
    /// The names of values, sorted.
    Keys {
        /// Of the workspace instead of the flow.
        shared: bool,
        /// That they begin with.
        prefix: String,
        /// Names that this turn has written (true) or deleted (false) already.
        #[serde(default)]
        unsaved: Vec<(String, bool)>,
    },
    /// The version of a flow that is to be started.
    Flow {
        /// Its name.
        name: String,
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
    /// Which file is there: what [`Errand::Move`] wants to know of it.
    Seen {
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
