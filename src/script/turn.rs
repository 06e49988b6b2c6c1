//! One turn: the script from its first line until it ends or must wait. Pure and synchronous.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rhai::{Dynamic, EvalAltResult, Map, Scope};
use serde_json::Value;

use super::constants::Constant;
use super::engine;
use super::error;
use super::limits::{Watch, excess_error};
use super::printed::Text;
use super::program::{Code, Program};
use super::report::report;
use super::state::{Differs, Handle, Latch, State};
use super::value::{read_json, to_dynamic, to_json};
use crate::id::RunId;
use crate::model::accounts::Accounts;
use crate::model::event::raw_of;
use crate::model::journal::{Entry, Pending, Promises};
use crate::model::message::Promised;
use crate::model::phone::Country;
use crate::model::policy::Limits;
use crate::model::run::ScriptError;
use crate::model::walls::Who;
use crate::panics;
use crate::secret::Secret;

/// Everything a turn depends on. The same input gives the same output.
pub struct TurnInput<'a> {
    /// The script with its modules.
    pub program: &'a Program,
    /// The event, as the text of JSON.
    pub event: &'a str,
    /// The flow's constants, as JSON.
    pub params: &'a Value,
    /// Name of the flow.
    pub flow: &'a str,
    /// What walls between flows go by; none for a person, whom they do not stop.
    pub who: Option<Arc<Who>>,
    /// The flow's account.
    pub account: Option<&'a str>,
    /// The flow's zone.
    pub zone: jiff::tz::TimeZone,
    /// Whose phones are meant by those without a country's code.
    pub country: Option<Country>,
    /// The configured accounts.
    pub accounts: Arc<Accounts>,
    /// The secrets that the flow may ask for.
    pub secrets: Arc<BTreeMap<String, Option<Secret>>>,
    /// The run.
    pub run: RunId,
    /// When the run was accepted.
    pub run_time: Timestamp,
    /// Where the run's chance comes from.
    pub seed: [u8; 16],
    /// When the first turn of the journal began.
    pub base: Timestamp,
    /// When this turn began.
    pub now: Timestamp,
    /// What the run has done so far.
    pub journal: Arc<Vec<Entry>>,
    /// About how many bytes that takes, by [`Entry::weight`].
    pub weight: u64,
    /// How much of the journal is in the store already.
    pub committed: usize,
    /// What the other runs for the same event promised and may have sent: it is not sent again.
    pub already: Arc<Vec<Promised>>,
    /// Bounds.
    pub limits: Limits,
    /// CPU time that is left to the run.
    pub cpu_left: Duration,
    /// Which attempt of the run this is, from 1.
    pub attempt: u32,
    /// How many runs stand before this one that began each other.
    pub generation: u32,
}

impl<'a> TurnInput<'a> {
    /// The first turn of a run that nothing is known of: no event, no constants, nobody to send to. What is
    /// known is put in its place.
    pub fn first(program: &'a Program, run: RunId, now: Timestamp) -> Self {
        let limits = Limits::default();
        Self {
            program,
            event: "{}",
            params: &Value::Null,
            flow: "",
            who: None,
            account: None,
            zone: jiff::tz::TimeZone::UTC,
            country: None,
            accounts: Arc::default(),
            secrets: Arc::default(),
            run,
            run_time: now,
            seed: [0; 16],
            base: now,
            now,
            journal: Arc::default(),
            weight: 0,
            committed: 0,
            already: Arc::default(),
            limits,
            cpu_left: limits.cpu_turn,
            attempt: 1,
            generation: 0,
        }
    }
}

/// How a turn ended.
#[derive(Clone)]
pub enum Ending {
    /// The script came to its end, with its last value.
    Done(Value),
    /// It needs an answer.
    Waiting(Pending),
    /// It threw, and nobody caught it: its promises do not count.
    Thrown(ScriptError),
    /// `fail(reason)`: its promises count, and it is not tried again.
    Failed(ScriptError),
}

/// What a turn gives back.
pub struct TurnOutput {
    /// How it ended.
    pub ending: Ending,
    /// New entries, in order.
    pub entries: Vec<Entry>,
    /// What it promised.
    pub promises: Promises,
    /// CPU time it used.
    pub cpu: Duration,
    /// How many of the recorded calls it made again.
    pub replayed: usize,
    /// The call that does not fit the journal, if one does not.
    pub differs: Option<Differs>,
    /// Bytes that the script has left behind and nobody can free.
    pub leaked: u64,
}

/// Bytes that a turn of the first attempt may write into the log; later attempts get their part of that,
/// so that a run that is tried a thousand times does not say a thousand times as much.
const LOGGED: usize = 1 << 20;
const LOGGED_AT_LEAST: usize = 4 << 10;

/// What a turn leaves behind besides what it gives back: caches of the engine, and of the allocator.
const LEFT_BEHIND: u64 = 1 << 20;

/// Runs one turn on the calling thread.
pub fn turn(input: TurnInput<'_>) -> TurnOutput {
    // That it is compiled now is not the script's doing.
    let code = match input.program.code() {
        Ok(code) => code,
        Err(error) => return nothing(error),
    };
    let cpu_left = input.cpu_left.min(input.limits.cpu_turn);
    let watch = Watch::new(cpu_left, input.limits.memory);
    let _entered = watch.enter();
    let program = input.program;
    let event = match read_event(input.event) {
        Ok(event) => event,
        Err(error) => {
            let damaged = || ScriptError::new("damaged", format!("the run's event cannot be read: {error}"));
            return nothing(watch.excess().map_or_else(damaged, excess_error));
        }
    };
    let (event, params) = (Constant::new(event), Constant::new(to_dynamic(input.params)));
    let handle: Handle = Arc::new(Mutex::new(new_state(input, watch.clone())));
    let engine = engine_of(&code, event, params, handle.clone(), watch.clone());

    let evaluate = || engine.eval_ast_with_scope::<Dynamic>(&mut Scope::new(), &code.ast).or_else(exited);
    let result = catch_unwind(AssertUnwindSafe(evaluate));
    drop(engine);
    let mut state = handle.lock().unwrap_or_else(PoisonError::into_inner);
    let entries = std::mem::take(&mut state.entries);
    let promises = std::mem::take(&mut state.promises);
    let latch = state.latch.take();
    let ending = ended(latch, result, program, &watch);
    let replayed = state.position;
    let differs = state.differs.take();
    drop(state);
    drop(handle);
    let weight: u64 = entries.iter().map(Entry::weight).sum();
    // Closures that are kept in the variables that they have captured hold each other for ever.
    let mut leaked = watch.held().saturating_sub(LEFT_BEHIND + weight.saturating_mul(8));
    if leaked > 0 {
        let given = size_of(&watch, &ending) + size_of(&watch, &entries) + size_of(&watch, &promises);
        // A list that grew has room for twice as much.
        leaked = leaked.saturating_sub(2 * given);
    }
    TurnOutput { ending, entries, promises, cpu: watch.spent(), replayed, differs, leaked }
}

/// What a value takes, by what a copy of it takes.
fn size_of<T: Clone>(watch: &Watch, value: &T) -> u64 {
    let before = watch.held();
    let copy = value.clone();
    let size = watch.held().saturating_sub(before);
    drop(copy);
    size
}

/// A turn that did not come to its script.
fn nothing(error: ScriptError) -> TurnOutput {
    TurnOutput {
        ending: Ending::Thrown(error),
        entries: Vec::new(),
        promises: Promises::default(),
        cpu: Duration::ZERO,
        replayed: 0,
        differs: None,
        leaked: 0,
    }
}

/// The engine of one turn. `event` and `params` are looked up by name instead of standing in the
/// scope, so that functions and modules see them too and nothing can assign to them.
fn engine_of(code: &Code, event: Constant, params: Constant, handle: Handle, watch: Watch) -> rhai::Engine {
    let mut engine = engine::bare();
    engine.set_module_resolver(code.resolver());
    engine.set_default_tag(Dynamic::from(handle.clone()));
    engine::watched(&mut engine, watch);
    let caught = code.caught.clone();
    #[allow(deprecated, reason = "Rhai marks the interface as one that may change, not as one that goes")]
    engine.on_var(move |name, _, mut context| {
        Ok(match name {
            "event" => Some(event.mentioned(context.call_level())),
            "params" => Some(params.mentioned(context.call_level())),
            _ => {
                if caught.contains(name)
                    && let Some(value) = context.scope_mut().get_mut(name)
                {
                    error::complete_caught(value);
                }
                None
            }
        })
    });
    engine
}

/// `exit` within a closure ends the script as well; Rhai would call it an error of who called the closure.
fn exited(error: Box<EvalAltResult>) -> Result<Dynamic, Box<EvalAltResult>> {
    let mut inner = &*error;
    while let EvalAltResult::ErrorInFunctionCall(_, _, error, _) = inner {
        inner = error;
    }
    match inner {
        EvalAltResult::Exit(value, _) => Ok(value.clone()),
        _ => Err(error),
    }
}

/// How a turn ended. Whatever Rhai returned, a broken bound decides, and then a closed latch: `sort` and
/// `dedup` swallow errors.
fn ended(
    latch: Option<Latch>,
    result: std::thread::Result<Result<Dynamic, Box<EvalAltResult>>>,
    program: &Program,
    watch: &Watch,
) -> Ending {
    if let Some(excess) = watch.excess() {
        return Ending::Thrown(place(excess_error(excess), result, program));
    }
    let ending = match (latch, result) {
        (Some(Latch::Question(pending)), _) => Ending::Waiting(pending),
        (Some(Latch::Failed(error)), _) => Ending::Failed(error),
        (Some(Latch::Fatal(error)), result) => return Ending::Thrown(place(error, result, program)),
        (None, Ok(Ok(value))) => {
            let value = to_json(&value).ok();
            // The last value of a script is often that of its last call, which nobody asked for.
            let value = value.filter(|value| is_within(value, LARGEST_RESULT));
            Ending::Done(value.unwrap_or(Value::Null))
        }
        (None, Ok(Err(error))) => {
            let report = report(&error, &program.main, engine::names());
            return Ending::Thrown(program.with_source(report));
        }
        (None, Err(panic)) => {
            let what = panics::words(&*panic);
            let message = format!("the script interpreter broke down ({what}); this is a defect, please report it");
            return Ending::Thrown(ScriptError::new("panic", message));
        }
    };
    // The last value, written as JSON, counts too.
    match watch.excess() {
        Some(excess) => Ending::Thrown(excess_error(excess)),
        None => ending,
    }
}

/// The event as the script sees it. What a webhook's body says is kept once; `raw` is made of it.
fn read_event(text: &str) -> Result<Dynamic, serde_json::Error> {
    let mut event = read_json(text)?;
    if let Some(mut fields) = event.write_lock::<Map>()
        && let Some(mut files) = fields.get_mut("files").and_then(|files| files.write_lock::<rhai::Array>())
    {
        // Their bytes are for `save` alone, which finds them by their place.
        for (place, file) in files.iter_mut().enumerate() {
            if let Some(mut file) = file.write_lock::<Map>()
                && file.remove("bytes").is_some()
            {
                file.insert("part".into(), (place as i64).into());
            }
        }
    }
    if let Some(mut fields) = event.write_lock::<Map>()
        && fields.get("trigger").is_some_and(|trigger| trigger.as_immutable_string_ref().is_ok_and(|t| *t == "webhook"))
        && !fields.contains_key("raw")
    {
        let body = fields.get("body").filter(|body| body.is_string()).cloned();
        let raw = body.map(|body| (body, false)).or_else(|| raw_of(text).map(|(raw, own)| (raw.into(), own)));
        if let Some((raw, is_body)) = raw {
            if is_body {
                fields.insert("body".into(), raw.clone());
            }
            fields.insert("raw".into(), raw);
        }
        fields.remove("raw_bytes");
        fields.remove("raw_around");
    }
    Ok(event)
}

/// Most bytes of a run's result.
const LARGEST_RESULT: u64 = 4 << 20;

fn is_within(value: &Value, bytes: u64) -> bool {
    serde_json::to_writer(&mut Text::new(bytes), value).is_ok()
}

/// A broken bound gets the place where Rhai stopped.
fn place(
    error: ScriptError,
    result: std::thread::Result<Result<Dynamic, Box<EvalAltResult>>>,
    program: &Program,
) -> ScriptError {
    let Ok(Err(stopped)) = result else { return error };
    let at = report(&stopped, &program.main, &[]);
    program.with_source(ScriptError { kind: error.kind, message: error.message, ..at })
}

fn new_state(input: TurnInput<'_>, watch: Watch) -> State {
    State {
        run: input.run,
        run_time: input.run_time,
        seed: input.seed,
        flow: input.flow.to_owned(),
        who: input.who,
        account: input.account.map(str::to_owned),
        accounts: input.accounts,
        zone: input.zone,
        country: input.country,
        secrets: input.secrets,
        limits: input.limits,
        watch,
        weight: input.weight,
        journal: input.journal,
        committed: input.committed,
        position: 0,
        now: input.now,
        moment: input.base,
        drawn: 0,
        unsaved: BTreeMap::new(),
        keyed: BTreeMap::new(),
        already: input.already,
        promised: BTreeMap::new(),
        events: Vec::new(),
        entries: Vec::new(),
        promises: Promises::default(),
        generation: input.generation,
        log_left: LOGGED / input.attempt.max(1) as usize + LOGGED_AT_LEAST,
        responded: false,
        latch: None,
        differs: None,
    }
}
