//! What a script says without a gateway: log lines, the answer to a webhook, its own failure.

use rhai::{Array, Blob, Dynamic, FnPtr, ImmutableString, Map, Module, NativeCallContext};
use serde_json::Value;

use crate::memory::Ceiling;
use crate::model::call::{is_framing, is_name};
use crate::model::journal::Kind;
use crate::model::run::{Response, ScriptError};
use crate::script::error::{HostResult, LONGEST, cut, thrown};
use crate::script::printed::{beginning, plain};
use crate::script::state::{self, State, json};
use crate::script::types::type_name;
use crate::script::value::{to_json, to_json_within};

fn line(ctx: &NativeCallContext, level: &'static str, value: &Dynamic) -> HostResult<()> {
    let message = text(ctx, value)?;
    let at = state::line(ctx);
    state::with(ctx, |turn| {
        let request = json(&serde_json::json!({ "level": level, "message": message }))?;
        if turn.recall(Kind::Log, &request)?.is_none() {
            // Whoever writes the log may hold a lock that all others need.
            Ceiling::lifted(|| logged(turn, level, at, &message));
            turn.record(Kind::Log, request, at, Value::Null)?;
        }
        Ok(())
    })
}

fn logged(turn: &mut State, level: &str, line: u32, message: &str) {
    let (flow, run) = (&turn.flow, turn.run);
    let Some(left) = turn.log_left.checked_sub(message.len() + 100) else {
        if std::mem::take(&mut turn.log_left) > 0 {
            tracing::warn!(%flow, %run, line, "the run says more than fits into the log; the rest is in its journal only");
        }
        return;
    };
    turn.log_left = left;
    match level {
        "warn" => tracing::warn!(%flow, %run, line, "{message}"),
        "error" => tracing::error!(%flow, %run, line, "{message}"),
        _ => tracing::info!(%flow, %run, line, "{message}"),
    }
}

/// A value as a log line shows it: texts as they are, everything else as JSON; cut where it is too long.
fn text(ctx: &NativeCallContext, value: &Dynamic) -> HostResult<String> {
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(beginning(&*text, LONGEST));
    }
    if value.is::<crate::script::types::Message>() {
        return ctx.call_native_fn::<String>("to_string", (value.clone(),));
    }
    // What does not fit into a line is named, not written: it may be large beyond measure.
    Ok(match to_json_within(value, 16 * LONGEST) {
        Ok(value) => cut(value.to_string()),
        Err(_) => format!("({})", type_name(value)),
    })
}

fn print(ctx: NativeCallContext, value: Dynamic) -> HostResult<()> {
    line(&ctx, "info", &value)
}

fn respond(ctx: NativeCallContext, status: i64, body: Dynamic, headers: Map) -> HostResult<()> {
    let status = u16::try_from(status).ok().filter(|status| (200..=599).contains(status));
    let Some(status) = status else {
        return Err(thrown("invalid", "respond: an HTTP status lies between 200 and 599"));
    };
    let body = to_json(&body).map_err(|error| thrown("invalid", format!("respond: {error}")))?;
    let mut fields = Vec::new();
    for (name, value) in &headers {
        let value = plain(value);
        if !is_name(name) || value.bytes().any(|b| b != b'\t' && (b < 0x20 || b == 0x7f)) {
            return Err(thrown("invalid", format!("respond: `{name}` is no header that can be sent")));
        }
        fields.push((name.to_string(), value));
    }
    let mut response = Response { status, body, headers: fields };
    let at = state::line(&ctx);
    state::with(&ctx, |turn| {
        if turn.responded {
            return Err(thrown("invalid", "respond was called before; a request gets one answer"));
        }
        let request = json(&response)?;
        if turn.recall(Kind::Respond, &request)?.is_none() {
            if let Some((name, value)) = headers.iter().find(|(_, value)| value.is_array() || value.is_map()) {
                let message = format!("respond: the header `{name}` is a text, not {}", type_name(value));
                return turn.refuse(Kind::Respond, request, at, ScriptError::new("type", message));
            }
            turn.record(Kind::Respond, request, at, Value::Null)?;
            // Where the answer ends is ours to say, also where another server's headers are handed on.
            response.headers.retain(|(name, _)| !is_framing(name));
            turn.promises.response = Some(response);
        }
        turn.responded = true;
        Ok(())
    })
}

fn fail(ctx: NativeCallContext, reason: &str) -> HostResult<()> {
    let at = state::line(&ctx);
    let reason = beginning(&reason, LONGEST);
    state::with(&ctx, |turn| {
        let request = json(&serde_json::json!({ "reason": reason }))?;
        if turn.recall(Kind::Fail, &request)?.is_none() {
            turn.record(Kind::Fail, request, at, Value::Null)?;
        }
        let error = ScriptError { line: Some(at), ..ScriptError::new("fail", reason) };
        Err(turn.failed(error))
    })
}

/// Registers `print`, `respond`, `fail`.
pub fn register(module: &mut Module) {
    // Rhai has one for each of its types; an exact type wins over ours that takes any.
    macro_rules! instead_of_rhai_s {
        ($($kind:ty),*) => {
            for name in ["print", "debug"] {
                module.set_native_fn(name, print);
                $(module.set_native_fn(name, |ctx: NativeCallContext, value: $kind| print(ctx, Dynamic::from(value)));)*
            }
        };
    }
    instead_of_rhai_s!(ImmutableString, i64, f64, bool, char, (), Array, Map, Blob, FnPtr);
    module.set_native_fn("respond", |ctx: NativeCallContext, status: i64| {
        respond(ctx, status, Dynamic::UNIT, Map::new())
    });
    module.set_native_fn("respond", |ctx: NativeCallContext, status: i64, body: Dynamic| {
        respond(ctx, status, body, Map::new())
    });
    module.set_native_fn("respond", respond);
    module.set_native_fn("fail", fail);
}

/// The `log::` functions.
pub fn space() -> Module {
    let mut module = Module::new();
    module.set_native_fn("info", |ctx: NativeCallContext, value: Dynamic| line(&ctx, "info", &value));
    module.set_native_fn("warn", |ctx: NativeCallContext, value: Dynamic| line(&ctx, "warn", &value));
    module.set_native_fn("error", |ctx: NativeCallContext, value: Dynamic| line(&ctx, "error", &value));
    module
}
