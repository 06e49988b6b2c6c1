//! What a flow's `on_failure` gets to hear.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::flow::catalog::Catalog;
use crate::flow::{Flow, prepare};
use crate::model::delivery::OPTED_OUT;
use crate::model::event::seen;
use crate::model::run::{NewRun, ScriptError};
use crate::store::records::ReadyRun;

/// The run that hears of a failed one: none without `on_failure`, or when the failed run was
/// itself one that heard of a failure (so that two flows cannot ping each other for ever), or is of the
/// flow that would hear of it. Somebody who wants no more messages is no failure.
pub fn follow_up(catalog: &Catalog, flow: &Flow, run: &ReadyRun, error: &ScriptError, at: Timestamp) -> Option<NewRun> {
    let next = flow.on_failure.as_deref().or(catalog.ground.on_failure.as_deref())?;
    let event = seen(&run.event);
    if event.get("trigger").and_then(Value::as_str) == Some("failure") || *flow.name == *next || error.kind == OPTED_OUT
    {
        return None;
    }
    let Some(next) = catalog.flow(next) else {
        tracing::error!(flow = %flow.name, run = %run.id, "the run failed, and its `on_failure` flow `{next}` is not there");
        return None;
    };
    let mut about = Map::new();
    // Here `flow` and `run` name what failed, not what hears of it.
    about.insert("what".into(), "run".into());
    about.insert("flow".into(), (*flow.name).into());
    about.insert("run".into(), run.id.to_string().into());
    about.insert("attempt".into(), run.attempt.into());
    about.insert("event".into(), event);
    about.insert(
        "error".into(),
        json!({ "kind": error.kind, "message": error.message, "script": error.script, "line": error.line }),
    );
    Some(prepare(next, "failure", &about, at))
}
