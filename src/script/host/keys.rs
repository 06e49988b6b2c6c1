//! `kv::` and `shared::`: values that outlive runs, of the flow and of the whole workspace.

use rhai::{Array, Dynamic, Module, NativeCallContext};
use serde_json::{Number, Value};

use crate::model::journal::{Kind, KvWrite};
use crate::model::question::{Change, Question, Read};
use crate::script::error::{HostResult, thrown};
use crate::script::state::{self, State, json};
use crate::script::time::span_of;
use crate::script::types::type_name;
use crate::script::value::{to_dynamic, to_json};

/// Whose values.
#[derive(Clone, Copy)]
struct Whose {
    shared: bool,
    space: &'static str,
}

const FLOW: Whose = Whose { shared: false, space: "kv" };
const WORKSPACE: Whose = Whose { shared: true, space: "shared" };

impl Whose {
    fn kind(self, flow: Kind, workspace: Kind) -> Kind {
        if self.shared { workspace } else { flow }
    }

    fn sound(self, key: &str) -> HostResult<()> {
        match key.is_empty() || key.len() > 512 {
            true => Err(thrown("invalid", format!("{}: a key has between 1 and 512 bytes", self.space))),
            false => Ok(()),
        }
    }

    fn get(self, ctx: NativeCallContext, key: &str) -> HostResult<Dynamic> {
        let at = state::line(&ctx);
        let kind = self.kind(Kind::KvGet, Kind::SharedGet);
        state::with(&ctx, |turn| {
            let read = match self.shared {
                true => Read::Shared { key: key.into() },
                false => Read::Kv { key: key.into() },
            };
            // A run reads its own writes, also those that are not in the store yet.
            let Some(unsaved) = turn.unsaved.get(&(self.shared, key.into())).cloned() else {
                return turn.read(kind, at, read).map(|value| to_dynamic(&value));
            };
            let request = json(&read)?;
            let value = unsaved.unwrap_or(Value::Null);
            if let Some(recorded) = turn.recall(kind, &request)? {
                return Ok(to_dynamic(&recorded));
            }
            turn.record(kind, request, at, value.clone())?;
            Ok(to_dynamic(&value))
        })
    }

    fn write(
        self,
        turn: &mut State,
        line: u32,
        kind: Kind,
        key: &str,
        value: Option<Value>,
        life: Option<std::time::Duration>,
    ) -> HostResult<()> {
        self.sound(key)?;
        let life_text = life.map(crate::units::format_duration);
        let request = json(&serde_json::json!({ "key": key, "value": value, "life": life_text }))?;
        let name = (self.shared, key.to_owned());
        if turn.recall(kind, &request)?.is_none() {
            let expires_at = life.map(|life| crate::clock::after(turn.now, life).as_millisecond());
            turn.record(kind, request, line, Value::Null)?;
            turn.promises.kv.push(KvWrite { shared: self.shared, key: key.into(), value: value.clone(), expires_at });
            turn.unsaved.insert(name, value);
        } else if turn.is_unsaved() {
            turn.unsaved.insert(name, value);
        }
        Ok(())
    }

    fn set(self, ctx: NativeCallContext, key: &str, value: Dynamic, life: Dynamic) -> HostResult<()> {
        let at = state::line(&ctx);
        state::with(&ctx, |turn| {
            let named = |error: String| thrown("invalid", format!("{}::set(\"{key}\"): {error}", self.space));
            let value = to_json(&value).map_err(named)?;
            let what = format!("{}::set: the life time", self.space);
            let life = state::given(&life).map(|life| span_of(life, &what)).transpose()?;
            self.write(turn, at, self.kind(Kind::KvSet, Kind::SharedSet), key, Some(value), life)
        })
    }

    fn delete(self, ctx: NativeCallContext, key: &str) -> HostResult<()> {
        let at = state::line(&ctx);
        state::with(&ctx, |turn| self.write(turn, at, self.kind(Kind::KvDelete, Kind::SharedDelete), key, None, None))
    }

    fn increment(self, ctx: NativeCallContext, key: &str, by: Dynamic) -> HostResult<Dynamic> {
        let at = state::line(&ctx);
        let kind = self.kind(Kind::KvIncrement, Kind::SharedIncrement);
        state::with(&ctx, |turn| {
            self.sound(key)?;
            let number = match (by.as_int(), by.as_float()) {
                (Ok(whole), _) => Some(Number::from(whole)),
                (_, Ok(number)) => Number::from_f64(number),
                _ => None,
            };
            let by = number.ok_or_else(|| {
                let found = type_name(&by);
                thrown("type", format!("{}::increment adds a number, not a value of type {found}", self.space))
            })?;
            let request = json(&serde_json::json!({ "key": key, "by": by }))?;
            match turn.recall(kind, &request)? {
                Some(sum) => Ok(to_dynamic(&sum)),
                None => {
                    let change = Change::Increment { shared: self.shared, key: key.into(), by };
                    turn.ask(kind, request, at, Question::Change(change))
                }
            }
        })
    }

    fn list(self, ctx: NativeCallContext, prefix: &str) -> HostResult<Array> {
        let at = state::line(&ctx);
        let kind = self.kind(Kind::KvList, Kind::SharedList);
        state::with(&ctx, |turn| {
            let request = json(&serde_json::json!({ "prefix": prefix }))?;
            let names = match turn.recall(kind, &request)? {
                Some(names) => names,
                None => {
                    let own = turn.unsaved.iter().filter(|((shared, _), _)| *shared == self.shared);
                    let own = own.filter(|((_, key), _)| key.starts_with(prefix));
                    let unsaved = own.map(|((_, key), value)| (key.clone(), value.is_some())).collect();
                    let read = Read::Keys { shared: self.shared, prefix: prefix.into(), unsaved };
                    return turn.ask(kind, request, at, Question::Read(read));
                }
            };
            Ok(names.as_array().into_iter().flatten().map(to_dynamic).collect())
        })
    }

    fn functions(self) -> Module {
        let mut module = Module::new();
        module.set_native_fn("get", move |ctx: NativeCallContext, key: &str| self.get(ctx, key));
        module.set_native_fn("set", move |ctx: NativeCallContext, key: &str, value: Dynamic| {
            self.set(ctx, key, value, Dynamic::UNIT)
        });
        module.set_native_fn("set", move |ctx: NativeCallContext, key: &str, value: Dynamic, life: Dynamic| {
            self.set(ctx, key, value, life)
        });
        module.set_native_fn("delete", move |ctx: NativeCallContext, key: &str| self.delete(ctx, key));
        module.set_native_fn("increment", move |ctx: NativeCallContext, key: &str| {
            self.increment(ctx, key, Dynamic::from_int(1))
        });
        module.set_native_fn("increment", move |ctx: NativeCallContext, key: &str, by: Dynamic| {
            self.increment(ctx, key, by)
        });
        module.set_native_fn("list", move |ctx: NativeCallContext| self.list(ctx, ""));
        module.set_native_fn("list", move |ctx: NativeCallContext, prefix: &str| self.list(ctx, prefix));
        module
    }
}

/// The functions of a flow's values.
pub fn space() -> Module {
    FLOW.functions()
}

/// The functions of the workspace's values.
pub fn shared() -> Module {
    WORKSPACE.functions()
}
