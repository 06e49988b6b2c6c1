//! Attempts: they touch the wire, and end. What that means for the message, and what the answer tells besides.

use jiff::Timestamp;

use super::messages::{Applied, Change, apply};
use super::reconciliation;
use super::work::Work;
use crate::clock::millis;
use crate::id::MessageId;
use crate::model::delivery::{AttemptOutcome, Degraded, MessageState, Part, Step};
use crate::model::recipient::Recipient;
use crate::store::StoreError;
use crate::store::records::{Settlement, Verdict};
use crate::store::rows;
use crate::store::tx::Read;

/// An attempt has all that it needs and touches the wire now.
pub fn touch(work: &mut Work<'_>, id: MessageId) -> Read<()> {
    // What cannot be read any more is not what holds a message up.
    let Some(mut attempts) = rows::messages::attempts(work.tx, id)? else { return Ok(()) };
    match attempts.last_mut().filter(|last| last.outcome == AttemptOutcome::Preparing) {
        Some(last) => {
            last.outcome = AttemptOutcome::Open;
            rows::messages::set_attempts(work.tx, id, &attempts)
        }
        None => Ok(()),
    }
}

/// Records how far a message of several parts has come, and by what changes it was cut.
pub fn note_parts(work: &mut Work<'_>, id: MessageId, parts: &[Part], cut: &[Degraded], now: Timestamp) -> Read<()> {
    // An ack of an earlier part may have come meanwhile.
    let parts = acked(work, id, parts.to_vec())?;
    let account = rows::messages::set_parts(work.tx, id, &parts)?;
    for provider_id in parts.iter().filter_map(|part| part.provider_id.as_deref()) {
        reconciliation::post(work, account.as_deref().unwrap_or_default(), provider_id, id, now)?;
    }
    if cut.is_empty() {
        return Ok(());
    }
    let mut all = rows::messages::degraded(work.tx, id)?;
    all.extend_from_slice(cut);
    rows::messages::set_degraded(work.tx, id, &all)
}

/// What a verdict does to a message: the step, what it changes, by what id the gateway knows it, and how the gateway
/// writes its chat.
pub fn meant(verdict: &Verdict) -> (Step, Change, Option<&String>, Option<&Recipient>) {
    let failed = |(class, error): &(String, String)| Change {
        outcome: Some(class.clone().into()),
        error: Some(error.clone()),
        counts: true,
        ..Change::default()
    };
    match verdict {
        Verdict::Reached { state, provider_id, chat, degraded } => {
            let change = Change {
                outcome: Some(AttemptOutcome::Reached(*state)),
                counts: true,
                provider_id: provider_id.clone(),
                degraded: degraded.clone(),
                ..Change::default()
            };
            (Step::Reached(*state), change, provider_id.as_ref(), chat.as_ref())
        }
        Verdict::TryAgain { error, due_at, counts } => {
            let change = Change { due_at: Some(millis(*due_at)), counts: *counts, ..failed(error) };
            (Step::TryAgain, change, None, None)
        }
        Verdict::Doubt { error, provider_id } => {
            let change = Change {
                outcome: Some(AttemptOutcome::Ambiguous),
                error: Some(error.clone()),
                counts: true,
                provider_id: provider_id.clone(),
                ..Change::default()
            };
            (Step::Doubt, change, provider_id.as_ref(), None)
        }
        Verdict::Refuse { error } => (Step::Refuse, failed(error), None, None),
        Verdict::GiveUp { error } => (Step::GiveUp, failed(error), None, None),
    }
}

/// Records how an attempt ended. An attempt that is not open any more (a person decided
/// meanwhile) changes nothing.
pub fn settle(work: &mut Work<'_>, settlement: &Settlement) -> Read<()> {
    let (id, at) = (settlement.id, settlement.at);
    let (step, change, provider_id, chat) = meant(&settlement.verdict);
    // A message that is further than its attempt (something else showed that it went out) is not tried again, nor
    // refused, by an attempt's end.
    let is_late = || Ok::<_, StoreError>(rows::messages::state(work.tx, id)? != Some(MessageState::Sending));
    if !matches!(step, Step::Reached(_)) && is_late()? {
        return Ok(());
    }
    let posted: Vec<&String> =
        settlement.parts.iter().filter_map(|part| part.provider_id.as_ref()).chain(provider_id).collect();
    let parts = acked(work, id, settlement.parts.clone())?;
    let failed = parts.iter().find(|part| part.state == MessageState::Rejected).and_then(|part| part.error.clone());
    let outcome = apply(work, id, step, at, Change { parts, ..change })?;
    if !posted.is_empty() || chat.is_some() {
        learn(work, id, &posted, chat, at)?;
    }
    match outcome {
        Applied::Now(MessageState::Unknown) => reconciliation::seek(work, id, at),
        // A part may have failed while another one was under way.
        Applied::Now(MessageState::Accepted | MessageState::Sent) if failed.is_some() => {
            apply(work, id, Step::Refuse, at, Change { error: failed, ..Change::default() }).map(drop)
        }
        _ => Ok(()),
    }
}

/// Parts as an attempt left them, with the acks that came for some of them while it was under way.
fn acked(work: &Work<'_>, id: MessageId, mut parts: Vec<Part>) -> Read<Vec<Part>> {
    if parts.is_empty() {
        return Ok(parts);
    }
    for known in rows::messages::parts(work.tx, id)? {
        let same = parts.iter_mut().find(|part| part.provider_id.is_some() && part.provider_id == known.provider_id);
        let step = if known.state == MessageState::Rejected { Step::Refuse } else { Step::Reached(known.state) };
        if let Some(part) = same.filter(|part| part.state.after(step) == Some(known.state)) {
            (part.state, part.error) = (known.state, known.error);
        }
    }
    Ok(parts)
}

/// What the gateway's answer tells besides: its ids, and how it writes the recipient.
fn learn(work: &mut Work<'_>, id: MessageId, posted: &[&String], chat: Option<&Recipient>, now: Timestamp) -> Read<()> {
    let Some((account, to)) = rows::messages::route(work.tx, id)? else { return Ok(()) };
    if let Some(chat) = chat {
        reconciliation::learn(work, &account, &to, chat)?;
    }
    for provider_id in posted {
        reconciliation::post(work, &account, provider_id, id, now)?;
    }
    Ok(())
}
