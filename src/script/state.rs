//! What a turn knows while its script runs: the journal and the place in it, what is new, and
//! the latch that closes at the first question without an answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rhai::{Dynamic, NativeCallContext};
use serde_json::Value;
use serde_json::value::RawValue;

use super::error::{HostResult, at, rethrown, terminated, thrown};
use super::limits::{self, Watch};
use super::printed::Text;
use crate::id::RunId;
use crate::model::accounts::Accounts;
use crate::model::journal::{Digest, Entry, Kind, Pending, Promises};
use crate::model::message::Promised;
use crate::model::phone::Country;
use crate::model::policy::Limits;
use crate::model::question::{Question, Read};
use crate::model::run::ScriptError;
use crate::model::walls::Who;
use crate::secret::Secret;

/// What the turn's functions share. One thread uses it; the lock is only what Rhai's `sync`
/// build asks for.
pub type Handle = Arc<Mutex<State>>;

/// Why the turn ended before its script did.
pub enum Latch {
    /// A question without an answer.
    Question(Pending),
    /// A bound was broken, or the journal does not fit the script.
    Fatal(ScriptError),
    /// `fail(reason)`.
    Failed(ScriptError),
}

/// The state of one turn.
pub struct State {
    pub(super) run: RunId,
    pub(super) run_time: Timestamp,
    pub(super) seed: [u8; 16],
    pub(super) flow: String,
    pub(super) who: Option<Arc<Who>>,
    pub(super) account: Option<String>,
    pub(super) accounts: Arc<Accounts>,
    pub(super) zone: TimeZone,
    pub(super) country: Option<Country>,
    pub(super) secrets: Arc<BTreeMap<String, Option<Secret>>>,
    pub(super) limits: Limits,
    pub(super) watch: Watch,
    pub(super) journal: Arc<Vec<Entry>>,
    pub(super) committed: usize,
    pub(super) position: usize,
    pub(super) weight: u64,
    pub(super) now: Timestamp,
    pub(super) moment: Timestamp,
    pub(super) drawn: u64,
    /// Values that are not in the store yet: of the workspace (true) or the flow, by name.
    pub(super) unsaved: BTreeMap<(bool, String), Option<Value>>,
    /// Messages that this run promised under a key, by key and recipient.
    pub(super) keyed: BTreeMap<(String, String), Value>,
    pub(super) entries: Vec<Entry>,
    pub(super) promises: Promises,
    /// What the other runs for the same event promised and may have sent.
    pub(super) already: Arc<Vec<Promised>>,
    /// How many messages of each kind this run has promised; counted only if there are others.
    pub(super) promised: BTreeMap<String, usize>,
    /// Events that the run got: name, the key that it waited for, number.
    pub(super) events: Vec<(String, Option<String>, i64)>,
    pub(super) generation: u32,
    /// Bytes that may still go to the log.
    pub(super) log_left: usize,
    pub(super) responded: bool,
    pub(super) latch: Option<Latch>,
    /// The call that does not fit the journal.
    pub(super) differs: Option<Differs>,
}

/// A call that is not the one that the journal has in its place.
#[derive(Clone, Debug)]
pub struct Differs {
    /// The place.
    pub position: usize,
    /// Which call it is now.
    pub kind: Kind,
    /// Its arguments.
    pub request: String,
}

/// Gives `act` the state of the turn that the call belongs to.
///
/// # Errors
/// After the latch has closed, or a bound was broken, nothing is done any more; outside a turn (while a module is
/// loaded) there is no state.
pub fn with<T>(ctx: &NativeCallContext, act: impl FnOnce(&mut State) -> HostResult<T>) -> HostResult<T> {
    let handle = ctx.tag().and_then(|tag| tag.read_lock::<Handle>().map(|handle| handle.clone()));
    let Some(handle) = handle else {
        let message = format!(
            "`{}` cannot be called while a module is loaded; a module may only define functions and constants",
            ctx.fn_name()
        );
        return at(ctx, Err(thrown("module", message)));
    };
    let mut state = handle.lock().unwrap_or_else(PoisonError::into_inner);
    if state.latch.is_some() || state.watch.has_ended() {
        return Err(terminated());
    }
    let result = act(&mut state);
    at(ctx, result)
}

/// The line that the call stands in.
pub fn line(ctx: &NativeCallContext) -> u32 {
    ctx.call_position().line().map_or(0, |line| line as u32)
}

impl State {
    /// Whether the flow may send from an account and hear it.
    ///
    /// # Errors
    /// A sentence, when it may not.
    pub fn may_use(&self, function: &str, account: &str) -> Result<(), ScriptError> {
        match &self.who {
            Some(who) if !self.accounts.allows(account, who) => {
                let (message, remedy) = who.barred_from(account);
                Err(ScriptError::new("invalid", format!("{function}: {message}; {remedy}")))
            }
            _ => Ok(()),
        }
    }

    /// The names of the secrets that the flow may ask for.
    pub fn secret_names(&self) -> Vec<String> {
        self.secrets.keys().cloned().collect()
    }

    /// The recorded result of this call, if the journal has it.
    ///
    /// # Errors
    /// The recorded error, thrown again; the end of the turn when the journal holds another call
    /// at this place, or has no room for one more.
    pub fn recall(&mut self, kind: Kind, request: &str) -> HostResult<Option<Value>> {
        let Some(entry) = self.journal.get(self.position) else {
            self.room()?;
            return Ok(None);
        };
        let digest = Digest::of(request);
        if entry.kind != kind || entry.digest != digest {
            self.differs = Some(Differs { position: self.position, kind, request: request.to_owned() });
            let message = format!(
                "the journal has {:?}({}) at position {}, the script now calls {kind:?}({request}); \
                 a run's script cannot change under it, so this is a defect of Postrider",
                entry.kind,
                entry.request.get(),
                self.position,
            );
            return Err(self.fatal(ScriptError::new("replay", message)));
        }
        self.position += 1;
        self.moment = crate::clock::from_millis(entry.at);
        match &entry.error {
            Some(error) => Err(rethrown(error)),
            None => Ok(Some(entry.result.clone())),
        }
    }

    /// Which call the journal has next, if it has one.
    pub fn next_kind(&self) -> Option<Kind> {
        self.journal.get(self.position).map(|entry| entry.kind)
    }

    /// Whether the call that was just recalled is not in the store yet.
    pub fn is_unsaved(&self) -> bool {
        self.position > self.committed
    }

    /// Records a call that needs no answer from outside.
    pub fn record(&mut self, kind: Kind, request: String, line: u32, result: Value) -> HostResult<()> {
        let digest = Digest::of(&request);
        let request = raw(request)?;
        let position = self.next_position();
        let at = self.now.as_millisecond();
        let entry = Entry { position, kind, digest, line, at, asked_at: None, request, result, error: None };
        self.weight += entry.weight();
        self.entries.push(entry);
        self.moment = self.now;
        Ok(())
    }

    /// Records that a call is refused, and throws. What the engine's settings say now may not be what
    /// they say when the script runs again: it is to see the same refusal then.
    pub fn refuse<T>(&mut self, kind: Kind, request: String, line: u32, error: ScriptError) -> HostResult<T> {
        self.record(kind, request, line, Value::Null)?;
        let thrown = rethrown(&error);
        if let Some(entry) = self.entries.last_mut() {
            entry.error = Some(error);
        }
        Err(thrown)
    }

    /// Ends the turn with a question.
    pub fn ask<T>(&mut self, kind: Kind, request: String, line: u32, question: Question) -> HostResult<T> {
        let digest = Digest::of(&request);
        let request = raw(request)?;
        let position = self.next_position();
        let asked_at = Some(self.now.as_millisecond());
        self.close(Latch::Question(Pending { position, kind, digest, line, request, asked_at, question }));
        Err(terminated())
    }

    /// A question to our own store: recalled or asked.
    pub fn read(&mut self, kind: Kind, line: u32, read: Read) -> HostResult<Value> {
        let request = json(&read)?;
        match self.recall(kind, &request)? {
            Some(answer) => Ok(answer),
            None => self.ask(kind, request, line, Question::Read(read)),
        }
    }

    /// The position that a new entry gets.
    pub fn next_position(&self) -> u32 {
        (self.journal.len() + self.entries.len()) as u32
    }

    /// Ends the turn for good; nothing can catch it.
    pub fn fatal(&mut self, error: ScriptError) -> Box<rhai::EvalAltResult> {
        self.close(Latch::Fatal(error));
        terminated()
    }

    /// Ends the turn as `fail(reason)` does.
    pub fn failed(&mut self, error: ScriptError) -> Box<rhai::EvalAltResult> {
        self.close(Latch::Failed(error));
        terminated()
    }

    fn close(&mut self, latch: Latch) {
        self.latch = Some(latch);
        self.watch.end();
    }

    fn room(&mut self) -> HostResult<()> {
        let full = if self.next_position() >= self.limits.journal {
            format!("the run has made {} recorded calls, which is its limit", self.limits.journal)
        } else if self.weight >= self.limits.journal_bytes {
            format!("the run's recorded calls take more than {} bytes, which is its limit", self.limits.journal_bytes)
        } else {
            return Ok(());
        };
        let hint = "do the work in several runs, or raise `limits.journal` or `limits.journal_bytes`";
        Err(self.fatal(ScriptError::new("limit", format!("{full}; {hint}"))))
    }
}

/// Arguments as they are recorded.
///
/// # Errors
/// What cannot be written as JSON; the end of the turn when there is no room for the text.
pub fn json(request: &impl serde::Serialize) -> HostResult<String> {
    let mut text = Text::new(limits::room_left() / 2);
    match serde_json::to_writer(&mut text, request) {
        Ok(()) => Ok(text.into()),
        Err(error) if error.is_io() => {
            limits::too_large();
            Err(terminated())
        }
        Err(error) => Err(thrown("invalid", error.to_string())),
    }
}

fn raw(request: String) -> HostResult<Box<RawValue>> {
    RawValue::from_string(request).map_err(|error| thrown("invalid", error.to_string()))
}

/// An argument that may be left out: `()` counts as not given.
pub fn given(value: &Dynamic) -> Option<&Dynamic> {
    (!value.is_unit()).then_some(value)
}
