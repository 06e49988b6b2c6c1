//! The values of flows and of the workspace.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Number, Value};

use super::work::Work;
use crate::clock::millis;
use crate::model::journal::TurnCommit;
use crate::model::question::Answer;
use crate::model::run::ScriptError;
use crate::store::rows;
use crate::store::tx::Read;

/// For how long a value that has expired is kept, so that a clock that is put right does no harm.
const EXPIRED_FOR: Duration = Duration::from_secs(24 * 3600);

/// What a turn has set and deleted.
pub fn write(work: &Work<'_>, turn: &TurnCommit) -> Read<()> {
    for write in &turn.promises.kv {
        let flow = scope(turn, write.shared);
        match &write.value {
            Some(value) => rows::values::set(work.tx, flow, &write.key, value, write.expires_at)?,
            None => rows::values::delete(work.tx, flow, &write.key)?,
        }
    }
    let expiring = turn.promises.kv.iter().filter(|write| write.expires_at.is_some()).count();
    match expiring {
        0 => Ok(()),
        _ => drop_expired(work, turn.at, expiring + 100),
    }
}

fn scope(turn: &TurnCommit, shared: bool) -> &str {
    if shared { "" } else { &turn.flow }
}

/// Nobody can see them any more. A turn that sets values that expire removes more of them than it sets.
fn drop_expired(work: &Work<'_>, now: Timestamp, most: usize) -> Read<()> {
    let before = millis(now).saturating_sub(i64::try_from(EXPIRED_FOR.as_millis()).unwrap_or(i64::MAX));
    rows::values::delete_expired(work.tx, before, most)
}

/// Adds to a number; one that is not there is 0. A life time stays what it was.
pub fn increment(work: &Work<'_>, turn: &TurnCommit, shared: bool, key: &str, by: &Number) -> Read<Answer> {
    let flow = scope(turn, shared);
    let found = rows::values::get_with_end(work.tx, flow, key, turn.at)?;
    let (before, expires_at) = found.unwrap_or((0.into(), None));
    let Some(sum) = sum(&before, by) else {
        let message = match before.is_number() {
            true => format!("`{key}` plus {by} is no number that can be kept"),
            false => format!("`{key}` holds {before}, which is no number; nothing can be added to it"),
        };
        return Ok(Err(ScriptError::new("type", message)));
    };
    let sum = Value::Number(sum);
    rows::values::set(work.tx, flow, key, &sum, expires_at)?;
    Ok(Ok(sum))
}

fn sum(before: &Value, by: &Number) -> Option<Number> {
    match (before.as_i64(), by.as_i64()) {
        (Some(before), Some(by)) => before.checked_add(by).map(Number::from),
        _ => Number::from_f64(before.as_f64()? + by.as_f64()?),
    }
}
