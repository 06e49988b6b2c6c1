//! Waiting: for the clock and for what becomes of a message.

use rhai::{Dynamic, Module, NativeCallContext};

use crate::model::delivery::{Goal, MessageState};
use crate::model::journal::Kind;
use crate::model::question::{Change, Question, Wait};
use crate::script::error::{HostResult, thrown};
use crate::script::state::{self, State, json};
use crate::script::time::{instant_of, span_of};
use crate::script::types::Message;
use crate::script::types::{Moment, Span};
use crate::script::value::to_dynamic;

fn rest(turn: &mut State, line: u32, request: serde_json::Value, until: jiff::Timestamp) -> HostResult<()> {
    let request = json(&request)?;
    match turn.recall(Kind::Sleep, &request)? {
        Some(_) => Ok(()),
        None => {
            let wait = Wait::Sleep { until: until.as_millisecond() };
            turn.ask(Kind::Sleep, request, line, Question::Wait(wait))
        }
    }
}

fn sleep(ctx: NativeCallContext, length: Dynamic) -> HostResult<()> {
    let at = state::line(&ctx);
    let length = span_of(&length, "sleep")?;
    state::with(&ctx, |turn| {
        let until = crate::clock::after(turn.moment, length);
        rest(turn, at, serde_json::json!({ "for": crate::units::format_duration(length) }), until)
    })
}

fn sleep_until(ctx: NativeCallContext, instant: Dynamic) -> HostResult<()> {
    let at = state::line(&ctx);
    state::with(&ctx, |turn| {
        let until = instant_of(&instant, &turn.zone, "sleep_until")?;
        rest(turn, at, serde_json::json!({ "until": crate::clock::rfc3339(until) }), until)
    })
}

fn teach_sleep() -> HostResult<()> {
    Err(thrown("type", "sleep takes a duration with its unit: write `sleep(\"5s\")` or `sleep(\"2h\")`"))
}

fn wait(ctx: NativeCallContext, message: &Message, goal: Goal, timeout: Option<Dynamic>) -> HostResult<Dynamic> {
    let at = state::line(&ctx);
    let timeout = timeout.map(|timeout| span_of(&timeout, "wait")).transpose()?;
    state::with(&ctx, |turn| {
        let request = json(&serde_json::json!({
            "message": message.id,
            "goal": goal.name(),
            "timeout": timeout.map(crate::units::format_duration),
        }))?;
        if let Some(answer) = turn.recall(Kind::Wait, &request)? {
            return Ok(to_dynamic(&answer));
        }
        let until = timeout.map(|timeout| crate::clock::after(turn.moment, timeout).as_millisecond());
        let wait = Wait::Delivery { message: message.id, goal: goal.name().into(), until };
        turn.ask(Kind::Wait, request, at, Question::Wait(wait))
    })
}

fn goal(word: &str) -> HostResult<Goal> {
    Goal::parse(word).filter(|goal| *goal != Goal::Settled).ok_or_else(|| {
        let states = MessageState::ALL.map(|state| format!("`{}`", state.name())).join(", ");
        thrown("invalid", format!("wait: `{word}` is none of {states}, `clicked`"))
    })
}

/// `wait("30s")` or `wait("delivered")`: a state's name is never a duration.
fn wait_one(ctx: NativeCallContext, message: &mut Message, what: Dynamic) -> HostResult<Dynamic> {
    let word = what.as_immutable_string_ref().map(|word| word.to_string()).unwrap_or_default();
    match Goal::parse(&word).filter(|goal| *goal != Goal::Settled) {
        Some(goal) => wait(ctx, message, goal, None),
        // Who writes a word means a state.
        None if word.starts_with(char::is_alphabetic) => goal(&word).and_then(|goal| wait(ctx, message, goal, None)),
        None => wait(ctx, message, Goal::Settled, Some(what)),
    }
}

fn cancel(ctx: NativeCallContext, message: &mut Message) -> HostResult<bool> {
    let at = state::line(&ctx);
    state::with(&ctx, |turn| {
        let request = json(&serde_json::json!({ "message": message.id }))?;
        match turn.recall(Kind::Cancel, &request)? {
            Some(answer) => Ok(answer == serde_json::Value::Bool(true)),
            None => turn.ask(Kind::Cancel, request, at, Question::Change(Change::Cancel { message: message.id })),
        }
    })
}

/// Registers `sleep`, `sleep_until` and the methods of messages.
pub fn register(module: &mut Module) {
    module.set_custom_type::<Message>("message");
    module.set_native_fn("sleep", |ctx: NativeCallContext, text: &str| sleep(ctx, text.into()));
    module.set_native_fn("sleep", |ctx: NativeCallContext, span: Span| sleep(ctx, Dynamic::from(span)));
    // Rhai brings its own, which block the thread.
    module.set_native_fn("sleep", |_: i64| teach_sleep());
    module.set_native_fn("sleep", |_: f64| teach_sleep());
    module.set_native_fn("sleep_until", |ctx: NativeCallContext, text: &str| sleep_until(ctx, text.into()));
    module
        .set_native_fn("sleep_until", |ctx: NativeCallContext, moment: Moment| sleep_until(ctx, Dynamic::from(moment)));
    module
        .set_native_fn("wait", |ctx: NativeCallContext, message: &mut Message| wait(ctx, message, Goal::Settled, None));
    module.set_native_fn("wait", wait_one);
    module.set_native_fn("wait", |ctx: NativeCallContext, message: &mut Message, word: &str, timeout: Dynamic| {
        wait(ctx, message, goal(word)?, Some(timeout))
    });
    module.set_native_fn("cancel", cancel);
    module.set_getter_fn("id", |message: &mut Message| Ok(message.id.to_string()));
    module.set_getter_fn("to", |message: &mut Message| Ok(message.to.clone()));
    module.set_getter_fn("account", |message: &mut Message| Ok(message.account.clone()));
    for name in ["to_string", "to_debug"] {
        module.set_native_fn(name, |message: &mut Message| Ok(format!("message {} to {}", message.id, message.to)));
    }
}
