//! What runs have to do with each other: events that they emit and wait for, and runs that they begin.

use rhai::{Dynamic, Map, Module, NativeCallContext};
use serde_json::Value;

use super::options::Options;
use crate::clock::{after, rfc3339};
use crate::id::RunId;
use crate::model::journal::{Digest, Emitted, Kind};
use crate::model::question::{Question, Read, Wait};
use crate::model::run::{NewRun, ScriptError};
use crate::script::error::{HostResult, rethrown, thrown};
use crate::script::printed::plain;
use crate::script::state::{self, json};
use crate::script::value::{to_dynamic, to_json};
use crate::units::format_duration;

/// Runs that begin each other, one behind the other.
const MOST_GENERATIONS: u32 = 100;
/// Longest name or key of an event.
const LONGEST: usize = 512;

fn name(function: &str, what: &str, text: &str) -> Result<(), ScriptError> {
    match text.trim().is_empty() || text.len() > LONGEST {
        true => Err(ScriptError::new("invalid", format!("{function}: {what} has between 1 and {LONGEST} bytes"))),
        false => Ok(()),
    }
}

fn emit(ctx: &NativeCallContext, event: &str, data: &Dynamic, key: Option<String>) -> HostResult<()> {
    name("emit", "the name", event).map_err(|error| rethrown(&error))?;
    if let Some(key) = &key {
        name("emit", "the key", key).map_err(|error| rethrown(&error))?;
    }
    let data = to_json(data).map_err(|error| thrown("invalid", format!("emit: the data: {error}")))?;
    let line = state::line(ctx);
    state::with(ctx, |turn| {
        let request = json(&serde_json::json!({ "name": event, "key": key, "data": data }))?;
        if turn.recall(Kind::Emit, &request)?.is_none() {
            let (position, mark) = (turn.next_position(), Digest::of(&request));
            turn.record(Kind::Emit, request, line, Value::Null)?;
            turn.promises.events.push(Emitted { position, mark, name: event.to_owned(), key, data });
        }
        Ok(())
    })
}

fn wait_for_event(ctx: &NativeCallContext, event: &str, options: &Map) -> HostResult<Dynamic> {
    name("wait_for_event", "the name", event).map_err(|error| rethrown(&error))?;
    let options = Options::only("wait_for_event", options, &["key", "timeout"])?;
    let key = options.get("key").map(plain);
    let timeout = options.span("timeout")?;
    let line = state::line(ctx);
    state::with(ctx, |turn| {
        let timeout_text = timeout.map(format_duration);
        let request = json(&serde_json::json!({ "name": event, "key": key, "timeout": timeout_text }))?;
        if let Some(answer) = turn.recall(Kind::WaitEvent, &request)? {
            if let Some(number) = answer["number"].as_i64() {
                turn.events.push((event.to_owned(), key, number));
            }
            return Ok(to_dynamic(&answer["data"]));
        }
        if let Some(Err(error)) = key.as_deref().map(|key| name("wait_for_event", "the key", key)) {
            return turn.refuse(Kind::WaitEvent, request, line, error);
        }
        let until = timeout.map(|timeout| after(turn.moment, timeout).as_millisecond());
        // The next wait is for what comes behind the last one of this kind; what came to a wait of
        // another kind does not come again.
        let got: Vec<_> = turn.events.iter().filter(|(name, ..)| name == event).collect();
        let behind = got.iter().filter(|(_, other, _)| *other == key).map(|(.., number)| *number).max().unwrap_or(0);
        let got = got.iter().map(|(.., number)| *number).filter(|number| *number > behind).collect();
        let wait = Wait::Event { name: event.to_owned(), key, after: behind, got, until };
        turn.ask(Kind::WaitEvent, request, line, Question::Wait(wait))
    })
}

fn start(ctx: &NativeCallContext, flow: &str, data: &Dynamic) -> HostResult<String> {
    let data = to_json(data).map_err(|error| thrown("invalid", format!("flows::start: the data: {error}")))?;
    let line = state::line(ctx);
    state::with(ctx, |turn| {
        let version = turn.read(Kind::FlowVersion, line, Read::Flow { name: flow.to_owned() })?;
        let request = json(&serde_json::json!({ "flow": flow, "data": data }))?;
        if let Some(run) = turn.recall(Kind::FlowStart, &request)? {
            return Ok(run.as_str().unwrap_or_default().to_owned());
        }
        if turn.generation >= MOST_GENERATIONS {
            let why = format!("{MOST_GENERATIONS} runs have begun each other already; do they go round in circles?");
            return Err(thrown("limit", format!("flows::start: {why}")));
        }
        let position = turn.next_position();
        let id = RunId::promised(turn.run_time, &turn.seed, position, &request);
        let event = json(&serde_json::json!({
            "trigger": "flow",
            "at": rfc3339(turn.now),
            "flow": flow,
            "run": id,
            "data": data,
        }))?;
        turn.record(Kind::FlowStart, request, line, id.to_string().into())?;
        turn.promises.runs.push(NewRun {
            id,
            flow: flow.to_owned(),
            version: version.as_str().unwrap_or_default().to_owned(),
            trigger: "flow".into(),
            event: event.into(),
            seed: id.child_seed(&turn.seed),
            at: turn.now,
            root: None,
            generation: turn.generation.saturating_add(1),
            marks: Vec::new(),
            slot: None,
        });
        Ok(id.to_string())
    })
}

/// Registers `emit` and `wait_for_event`.
pub fn register(module: &mut Module) {
    module.set_native_fn("emit", |ctx: NativeCallContext, event: &str| emit(&ctx, event, &Dynamic::UNIT, None));
    module.set_native_fn("emit", |ctx: NativeCallContext, event: &str, data: Dynamic| emit(&ctx, event, &data, None));
    module.set_native_fn("emit", |ctx: NativeCallContext, event: &str, data: Dynamic, key: Dynamic| {
        emit(&ctx, event, &data, state::given(&key).map(plain))
    });
    module.set_native_fn("wait_for_event", |ctx: NativeCallContext, event: &str| {
        wait_for_event(&ctx, event, &Map::new())
    });
    module.set_native_fn("wait_for_event", |ctx: NativeCallContext, event: &str, options: Map| {
        wait_for_event(&ctx, event, &options)
    });
}

/// The `flows::` functions.
pub fn space() -> Module {
    let mut module = Module::new();
    module.set_native_fn("start", |ctx: NativeCallContext, flow: &str| {
        crate::script::error::at(&ctx, start(&ctx, flow, &Dynamic::UNIT))
    });
    module.set_native_fn("start", |ctx: NativeCallContext, flow: &str, data: Dynamic| {
        crate::script::error::at(&ctx, start(&ctx, flow, &data))
    });
    module
}
