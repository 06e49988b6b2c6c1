//! What is old enough goes: runs with their journals, messages with what hangs on them, records of what happened.
//! Nothing that is under way, or that a person is to decide about, is ever old enough.

use std::collections::BTreeMap;
use std::time::Instant;

use super::work::Work;
use crate::id::{MessageId, RunId};
use crate::model::inbound::bare_id;
use crate::store::records::{OldRecords, Pruned, Spans};
use crate::store::rows;
use crate::store::tx::Read;

/// Deletes what may go of these, and some of what is recorded by its time.
pub fn prune(
    work: &mut Work<'_>,
    (runs, messages): (&[RunId], &[MessageId]),
    until: &Spans,
    old: &OldRecords,
) -> Read<Pruned> {
    let begun = Instant::now();
    let deleted = rows::keep::delete_messages(work.tx, messages, until.messages)?;
    for message in &deleted {
        let ids = message.parts.iter().filter_map(|part| part.provider_id.as_ref()).chain(&message.provider_id);
        for id in ids {
            rows::reconciliation::unpost(work.tx, Some(&message.account), bare_id(id), id)?;
        }
    }
    let versions = rows::keep::delete_runs(work.tx, runs, until.runs)?;
    let gone = versions.len() as u64;
    let mut uses = BTreeMap::<String, i64>::new();
    versions.into_iter().for_each(|version| *uses.entry(version).or_default() -= 1);
    for (version, runs) in uses {
        rows::flows::count_runs(work.tx, &version, runs)?;
    }
    let records = rows::keep::delete_records(work.tx, old)?;
    work.after.reclaim();
    let (messages, more) = (deleted.len() as u64, records >= old.limit as u64);
    Ok(Pruned { runs: gone, messages, records, more, took: begun.elapsed() })
}
