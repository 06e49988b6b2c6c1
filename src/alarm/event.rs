//! What a flow sees of what went wrong: `event.what` says which kind it is.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::clock::rfc3339;
use crate::model::diagnostic::Diagnostic;
use crate::store::records::Trouble;
use crate::units::format_duration;

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// A message; `count` of them ended alike.
pub fn message(trouble: &Trouble, count: usize) -> Map<String, Value> {
    let mut about = fields(json!({
        "what": "message",
        "message": trouble.message,
        "account": trouble.account,
        "to": trouble.to,
        "state": trouble.state.name(),
        "error": { "kind": trouble.kind(), "message": trouble.error },
        "run": trouble.run,
        "count": count,
    }));
    // Of a message by hand there is none; the event has a flow of its own then, which is the one that hears.
    about.insert("flow".into(), if trouble.flow.is_empty() { Value::Null } else { trouble.flow.as_str().into() });
    about
}

/// An account that cannot send, or can again.
pub struct Account<'a> {
    /// Its name.
    pub name: &'a str,
    /// `paused` or `ready`.
    pub state: &'static str,
    /// What its gateway said.
    pub reason: Option<&'a str>,
    /// Since when it has been paused.
    pub since: Option<Timestamp>,
}

/// An account; so many messages wait.
pub fn account(account: &Account<'_>, backlog: u64) -> Map<String, Value> {
    fields(json!({
        "what": "account",
        "account": account.name,
        "state": account.state,
        "reason": account.reason,
        "since": account.since.map(rfc3339),
        "backlog": backlog,
    }))
}

/// A flow that nothing has come to for longer than it says.
pub fn silence(name: &str, every: Duration, last: Option<Timestamp>) -> Map<String, Value> {
    fields(json!({
        "what": "silence",
        "flow": name,
        "every": format_duration(every),
        "last": last.map(rfc3339),
    }))
}

/// A flow whose file is broken, so that its last good version stays.
pub fn flow(name: &str, findings: &[Diagnostic]) -> Map<String, Value> {
    fields(json!({ "what": "flow", "flow": name, "diagnostics": findings }))
}
