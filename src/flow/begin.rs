//! Where runs begin: a flow and an event.

use serde::Serialize;

use super::Flow;
use crate::clock::rfc3339;
use crate::id::{RunId, random_bytes};
use crate::model::run::NewRun;

/// Makes the run of a flow for an event at an instant.
pub fn prepare(flow: &Flow, trigger: &'static str, event: &impl Serialize, at: jiff::Timestamp) -> NewRun {
    let id = RunId::new(at);
    let whole = Event { trigger, at: rfc3339(at), flow: &flow.name, run: id, rest: event };
    // Texts and numbers under text keys: that cannot fail to be written as JSON.
    let event = serde_json::to_string(&whole).unwrap_or_default();
    NewRun {
        id,
        flow: flow.name.to_string(),
        version: flow.version.to_string(),
        trigger: trigger.to_owned(),
        slot: flow.slot(&event),
        event: event.into(),
        seed: random_bytes(),
        at,
        root: None,
        generation: 0,
        marks: Vec::new(),
    }
}

/// What every event has, and what its trigger adds. A key of the trigger's own wins, because a
/// reader of JSON keeps the last: a failure event names the flow and the run that failed.
#[derive(Serialize)]
struct Event<'a, E: Serialize> {
    trigger: &'static str,
    at: String,
    flow: &'a str,
    run: RunId,
    #[serde(flatten)]
    rest: &'a E,
}
