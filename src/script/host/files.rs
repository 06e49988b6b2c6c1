//! `files::`: the workspace's files, read as they are when the script asks; a run that goes on
//! after a wait sees what it saw.

use rhai::{Array, Dynamic, Map, Module, NativeCallContext};
use serde_json::Value;

use super::table;
use crate::model::journal::Kind;
use crate::model::question::{Errand, Question, Read};
use crate::script::error::{HostResult, at};
use crate::script::state;
use crate::script::value::to_dynamic;

fn ask(ctx: &NativeCallContext, kind: Kind, read: Read) -> HostResult<Value> {
    let line = state::line(ctx);
    state::with(ctx, |turn| turn.read(kind, line, read))
}

fn text(ctx: &NativeCallContext, path: &str) -> HostResult<String> {
    let answer = ask(ctx, Kind::FileRead, Read::File { path: path.into() })?;
    Ok(answer.as_str().unwrap_or_default().to_owned())
}

fn lines(ctx: NativeCallContext, path: &str) -> HostResult<Array> {
    Ok(text(&ctx, path)?.lines().map(|line| Dynamic::from(line.to_owned())).collect())
}

fn csv(ctx: &NativeCallContext, path: &str, options: Map) -> HostResult<Array> {
    let text = text(ctx, path)?;
    at(ctx, table::parse(&format!("files::csv(\"{path}\")"), &text, options))
}

fn exists(ctx: NativeCallContext, path: &str) -> HostResult<bool> {
    Ok(ask(&ctx, Kind::FileExists, Read::Exists { path: path.into() })? == Value::Bool(true))
}

fn list(ctx: NativeCallContext, path: &str) -> HostResult<Dynamic> {
    Ok(to_dynamic(&ask(&ctx, Kind::FileList, Read::List { path: path.into() })?))
}

fn move_to(ctx: NativeCallContext, from: &str, to: &str) -> HostResult<()> {
    let line = state::line(&ctx);
    state::with(&ctx, |turn| {
        let seen = turn.read(Kind::FileSeen, line, Read::Seen { path: from.into() })?;
        let request = state::json(&serde_json::json!({ "from": from, "to": to }))?;
        match turn.recall(Kind::FileMove, &request)? {
            Some(_) => Ok(()),
            None => {
                let seen = serde_json::from_value(seen).ok();
                let errand = Errand::Move { from: from.into(), to: to.into(), seen };
                turn.ask(Kind::FileMove, request, line, Question::Errand(errand))
            }
        }
    })
}

/// The `files::` functions.
pub fn space() -> Module {
    let mut module = Module::new();
    module.set_native_fn("read", |ctx: NativeCallContext, path: &str| text(&ctx, path));
    module.set_native_fn("lines", lines);
    module.set_native_fn("csv", |ctx: NativeCallContext, path: &str| csv(&ctx, path, Map::new()));
    module.set_native_fn("csv", |ctx: NativeCallContext, path: &str, options: Map| csv(&ctx, path, options));
    module.set_native_fn("exists", exists);
    module.set_native_fn("list", list);
    module.set_native_fn("move", move_to);
    module
}
