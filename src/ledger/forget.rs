//! Erases a person: messages, events, and the journals in which they stand.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;

use super::react::react;
use super::work::{Happened, Work};
use super::{endings, runs};
use crate::clock::rfc3339;
use crate::id::RunId;
use crate::model::inbound::bare_id;
use crate::model::message::Body;
use crate::model::run::{RunState, RunStep, ScriptError};
use crate::store::records::Forgotten;
use crate::store::rows;
use crate::store::rows::forget::{Erasable, Known};
use crate::store::tx::{Read, text};

/// Erases everything that is kept of a person, whatever address it stands under, and the runs that
/// know of them. Those that are under way end: their journals cannot be replayed without the words.
/// That the person wants to hear no more, if so, stays: it is what keeps others from writing again.
pub fn forget(work: &mut Work<'_>, known: &Known, mark: &str, now: Timestamp) -> Read<Forgotten> {
    let mut blobs = BTreeSet::new();
    let mut forgotten = Forgotten::default();
    for run in &known.runs {
        if erase_run(work, *run, mark, now)? {
            forgotten.ended.push(*run);
        }
    }
    // Others may wait for a message that was taken back by that, which is gone in a moment.
    react(work, now)?;
    let erased = &mut forgotten.erased;
    erased.runs = known.runs.len() as u64;
    for id in &known.messages {
        erased.messages += erase(work, &rows::forget::erase_message(work.tx, *id)?, &mut blobs)?;
        erased.messages += blobs_of(&rows::forget::erase_on_phones(work.tx, *id)?, &mut blobs);
    }
    for name in &known.names {
        erased.messages += erase(work, &rows::forget::erase_messages_to(work.tx, name)?, &mut blobs)?;
        erased.messages += blobs_of(&rows::forget::erase_phone(work.tx, name)?, &mut blobs);
        rows::forget::erase_name(work.tx, name)?;
    }
    for (account, id) in &known.written {
        erased.events += rows::forget::erase_written(work.tx, account, id)?;
    }
    for (account, id) in &known.events {
        erased.events += rows::forget::erase_event(work.tx, account, id)?;
    }
    for name in &known.names {
        rows::forget::erase_alias(work.tx, name)?;
    }
    work.ask_anew();
    rows::forget::note_forgotten(work.tx, mark, &text(&forgotten.erased)?, now)?;
    forgotten.blobs = rows::keep::unattached(work.tx, blobs.into_iter().collect())?;
    work.after.scrub();
    Ok(forgotten)
}

fn blob(body: &Body) -> Option<String> {
    body.content.blob().map(str::to_owned)
}

/// What the sandbox's phones had of it.
fn blobs_of(bodies: &[Option<Body>], blobs: &mut BTreeSet<String>) -> u64 {
    blobs.extend(bodies.iter().flatten().filter_map(blob));
    bodies.len() as u64
}

/// What hung on messages that are gone.
fn erase(work: &Work<'_>, messages: &[Erasable], blobs: &mut BTreeSet<String>) -> Read<u64> {
    for Erasable { account, provider_id, body, parts } in messages {
        for provider_id in parts.iter().filter_map(|part| part.provider_id.as_ref()).chain(provider_id) {
            rows::reconciliation::unpost(work.tx, account.as_ref(), bare_id(provider_id), provider_id)?;
        }
        blobs.extend(body.iter().chain(parts.iter().map(|part| &part.body)).filter_map(blob));
    }
    Ok(messages.len() as u64)
}

/// Says whether the run was under way.
fn erase_run(work: &mut Work<'_>, run: RunId, mark: &str, now: Timestamp) -> Read<bool> {
    endings::let_go(work, run, now)?;
    // A run of which nothing is known any more is not under way.
    let before = rows::runs::state(work.tx, run)?.flatten();
    let cancelled = before.and_then(|state| state.after(RunStep::Cancel));
    if cancelled.is_some() {
        // As with every run that is taken back.
        endings::recall_unsent(work, run, now)?;
    }
    if before == Some(RunState::Queued) {
        runs::leave_backlog(work, run)?;
    }
    rows::journal::erase(work.tx, run)?;
    rows::events::erase(work.tx, run)?;
    let event = text(&json!({ "forgotten": mark, "at": rfc3339(now) }))?;
    let kind = |error: Option<ScriptError>| error.map_or_else(|| "damaged".to_owned(), |error| error.kind);
    let error = rows::runs::error(work.tx, run)?.map(|error| ScriptError::new(&kind(error), "forgotten"));
    // A state that cannot be read is that of a run that failed.
    let state = cancelled.or(before.is_none().then_some(RunState::Failed));
    rows::runs::erase(work.tx, run, state, (&event, error.as_ref()), now)?;
    if let Some(state) = cancelled {
        runs::is_now(work, run, state)?;
    }
    work.happened.push_back(Happened::Over(run));
    Ok(cancelled.is_some())
}
