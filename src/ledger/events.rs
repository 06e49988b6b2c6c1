//! What runs let each other know.

use std::time::Duration;

use serde_json::{Value, json};

use super::runs;
use super::work::Work;
use crate::clock::millis;
use crate::id::RunId;
use crate::model::journal::TurnCommit;
use crate::store::rows;
use crate::store::tx::Read;

/// How long an event is kept for runs that have not come to wait for it yet.
const KEPT: Duration = Duration::from_secs(7 * 86_400);

/// Lets others know.
pub fn emit(work: &mut Work<'_>, turn: &TurnCommit) -> Read<()> {
    for event in &turn.promises.events {
        let Some(number) = rows::events::insert(work.tx, turn.run, event, turn.at)? else { continue };
        for run in rows::events::awaited_by(work.tx, &event.name, event.key.as_ref())? {
            rows::events::await_none(work.tx, run)?;
            runs::answer(work, run, &Ok(answer(number, event.data.clone())))?;
        }
    }
    if !turn.promises.events.is_empty() {
        let old = millis(turn.at) - i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
        rows::events::delete_before(work.tx, old)?;
    }
    Ok(())
}

/// The event as its waiter's journal has it: the number is where the next wait begins.
fn answer(number: i64, data: Value) -> Value {
    json!({ "number": number, "data": data })
}

/// What a run is waiting for, if it has been emitted since the run was accepted, by another one and
/// later than `after`, but for those that it `got`; else the run is noted.
pub fn wait(
    work: &Work<'_>,
    run: RunId,
    (name, key): (&str, Option<&str>),
    (after, got): (i64, &[i64]),
) -> Read<Option<Value>> {
    match rows::events::first_for(work.tx, run, (name, key), (after, got))? {
        Some((number, data)) => Ok(Some(answer(number, serde_json::from_str(&data).unwrap_or_default()))),
        None => rows::events::await_one(work.tx, run, name, key).map(|()| None),
    }
}
