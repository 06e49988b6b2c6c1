//! `kv::`: values of the flow that outlive its runs.

use rhai::{Dynamic, Module, NativeCallContext};
use serde_json::Value;

use crate::model::journal::{Kind, KvWrite, Read};
use crate::script::error::{HostResult, thrown};
use crate::script::state::{self, State, json};
use crate::script::time::span_of;
use crate::script::value::{to_dynamic, to_json};

fn get(ctx: NativeCallContext, key: &str) -> HostResult<Dynamic> {
    let at = state::line(&ctx);
    state::with(&ctx, |turn| {
        let read = Read::Kv { key: key.into() };
        // A run reads its own writes, also those that are not in the store yet.
        let Some(unsaved) = turn.unsaved.get(key).cloned() else {
            return turn.read(Kind::KvGet, at, read).map(|value| to_dynamic(&value));
        };
        let request = json(&read)?;
        let value = unsaved.unwrap_or(Value::Null);
        if let Some(recorded) = turn.recall(Kind::KvGet, &request)? {
            return Ok(to_dynamic(&recorded));
        }
        turn.record(Kind::KvGet, request, at, value.clone())?;
        Ok(to_dynamic(&value))
    })
}

fn write(
    turn: &mut State,
    line: u32,
    kind: Kind,
    key: &str,
    value: Option<Value>,
    life: Option<std::time::Duration>,
) -> HostResult<()> {
    if key.is_empty() || key.len() > 512 {
        return Err(thrown("invalid", "kv: a key has between 1 and 512 bytes"));
    }
    let life_text = life.map(crate::units::format_duration);
    let request = json(&serde_json::json!({ "key": key, "value": value, "life": life_text }))?;
    if turn.recall(kind, &request)?.is_none() {
        let expires_at = life.map(|life| crate::clock::after(turn.now, life).as_millisecond());
        turn.record(kind, request, line, Value::Null)?;
        turn.promises.kv.push(KvWrite { key: key.into(), value: value.clone(), expires_at });
        turn.unsaved.insert(key.into(), value);
    } else if turn.is_unsaved() {
        turn.unsaved.insert(key.into(), value);
    }
    Ok(())
}

fn set(ctx: NativeCallContext, key: &str, value: Dynamic, life: Dynamic) -> HostResult<()> {
    let at = state::line(&ctx);
    state::with(&ctx, |turn| {
        let value = to_json(&value).map_err(|error| thrown("invalid", format!("kv::set(\"{key}\"): {error}")))?;
        let life = state::given(&life).map(|life| span_of(life, "kv::set: the life time")).transpose()?;
        write(turn, at, Kind::KvSet, key, Some(value), life)
    })
}

fn delete(ctx: NativeCallContext, key: &str) -> HostResult<()> {
    let at = state::line(&ctx);
    state::with(&ctx, |turn| write(turn, at, Kind::KvDelete, key, None, None))
}

/// The `kv::` functions.
pub fn space() -> Module {
    let mut module = Module::new();
    module.set_native_fn("get", get);
    module
        .set_native_fn("set", |ctx: NativeCallContext, key: &str, value: Dynamic| set(ctx, key, value, Dynamic::UNIT));
    module.set_native_fn("set", set);
    module.set_native_fn("delete", delete);
    module
}
