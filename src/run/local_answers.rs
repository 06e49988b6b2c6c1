//! Answers that need nobody outside: of the clock, of our own store, of the workspace's files.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::context::Context;
use crate::flow::Flow;
use crate::flow::catalog::Catalog;
use crate::model::journal::snapshot_answer;
use crate::model::message::Snapshot;
use crate::model::question::{Answer, Read, Wait};
use crate::model::run::ScriptError;
use crate::store::StoreError;

/// The answer to a wait that is over and that nobody else has answered.
pub async fn over(context: &Context, wait: &Wait) -> Result<Answer, StoreError> {
    Ok(Ok(match wait {
        Wait::Delivery { message, goal, .. } => match context.store.message(*message).await? {
            Some(message) => json!({
                "status": match message.clicks.filter(|_| goal == "clicked") {
                    Some(_) => "clicked",
                    None => message.state.name(),
                },
                "provider_id": message.provider_id,
                "error": message.error,
            }),
            None => json!({ "status": "gone", "provider_id": null, "error": "the message is not kept any more" }),
        },
        // Whoever had something to say would have answered.
        Wait::Sleep { .. } | Wait::Ask(_) | Wait::Message { .. } | Wait::Event { .. } => Value::Null,
    }))
}

/// The answer to a question that only reads.
pub async fn read(context: &Context, flow: &Flow, read: &Read, now: jiff::Timestamp) -> Result<Answer, StoreError> {
    Ok(Ok(match read {
        Read::Kv { key } => context.store.kv_get(&flow.name, key, now).await?.unwrap_or(Value::Null),
        Read::Shared { key } => context.store.kv_get("", key, now).await?.unwrap_or(Value::Null),
        Read::Keys { shared, prefix, unsaved } => {
            let flow = if *shared { "" } else { &*flow.name };
            let mut keys: BTreeSet<String> = context.store.kv_keys(flow, prefix, now).await?.into_iter().collect();
            for (key, is_there) in unsaved {
                match is_there {
                    true => keys.insert(key.clone()),
                    false => keys.remove(key),
                };
            }
            json!(keys)
        }
        Read::Flow { name } if !context.store.has_room(name) => {
            let message = "flows::start: too many runs wait for their first turn already (`limits.backlog`)";
            return Ok(Err(ScriptError::new("busy", message)));
        }
        Read::Flow { name } => return Ok(version_of(&context.catalog.borrow(), name)),
        Read::Keyed { key, to } => match context.store.keyed(&flow.name, key, to).await? {
            Some(known) => json!(known),
            None => Value::Null,
        },
        Read::File { path } => return Ok(of_file(context.files.text(path).map(Value::String))),
        Read::List { path } => return Ok(of_file(context.files.list(path).map(|list| json!(list)))),
        Read::Seen { path } => return Ok(of_file(context.files.seen(path).map(|seen| json!(seen)))),
        Read::Exists { path } => context.files.exists(path).into(),
        Read::Snapshot { path } => return Ok(of_file(snapshot(context, path).map(|copy| snapshot_answer(&copy)))),
    }))
}

/// The version that a run of a flow would be pinned to now.
fn version_of(catalog: &Catalog, name: &str) -> Answer {
    if let Some(flow) = catalog.flow(name) {
        return Ok((*flow.version).into());
    }
    let known = catalog.flows.keys().map(|known| &**known);
    let hint = crate::units::nearest(name, known).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    Err(ScriptError::new("unknown_flow", format!("flows::start: there is no flow `{name}`{hint}")))
}

fn of_file(read: Result<Value, String>) -> Answer {
    read.map_err(|error| ScriptError::new("file", error))
}

/// Copies a file that is to be sent.
///
/// # Errors
/// A sentence that names the file.
pub fn snapshot(context: &Context, path: &str) -> Result<Snapshot, String> {
    let mut file = context.files.open(path)?;
    let (blob, size) = context.blobs.keep(&mut file).map_err(|error| match error.kind() {
        std::io::ErrorKind::FileTooLarge => {
            format!("`{path}` is larger than {} MiB", crate::blobs::LARGEST >> 20)
        }
        _ => format!("`{path}` cannot be copied: {error}"),
    })?;
    let file_name = path.rsplit('/').next().unwrap_or(path).to_owned();
    Ok(Snapshot { blob, size, file_name })
}
