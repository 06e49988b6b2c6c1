//! Messages: promised, moved by legal steps, taken back. Every change of a state asks the one table in
//! [`crate::model::delivery`].

use jiff::Timestamp;

use std::sync::Arc;

use super::work::{Happened, Work};
use crate::clock::{after, millis, rfc3339};
use crate::id::MessageId;
use crate::model::delivery::{AttemptOutcome, Degraded, MessageState, Part, Step};
use crate::model::message::NewMessage;
use crate::store::records::DueMessage;
use crate::store::rows;
use crate::store::rows::messages::{Entering, Standing, Stepped};
use crate::store::tx::Read;

/// Puts a message into the outbox. The same id twice is one message.
pub fn insert(work: &mut Work<'_>, message: &NewMessage, now: Timestamp) -> Read<()> {
    let entering = entering(work, message, now);
    let is_new = rows::messages::insert(work.tx, message, entering)?;
    entered(work, message, entering, is_new, None);
    Ok(())
}

/// How a message comes into the outbox.
pub fn entering(work: &mut Work<'_>, message: &NewMessage, now: Timestamp) -> Entering {
    let scheduled = message.at.filter(|at| *at > now);
    let expires_at = message.valid_for.map(|span| millis(after(scheduled.unwrap_or(now), span)));
    let (state, seq) = match scheduled {
        Some(_) => (MessageState::Scheduled, None),
        None => (MessageState::Queued, Some(work.memory.next_seq())),
    };
    Entering { state, seq, due_at: scheduled.map(millis), expires_at, now }
}

/// A message is in the outbox. One that is `known` goes to its lane with the commit; else that has to read it.
pub fn entered(
    work: &mut Work<'_>,
    message: &NewMessage,
    entering: Entering,
    is_new: bool,
    known: Option<&Arc<NewMessage>>,
) {
    if is_new {
        let about = || (message.run, message.to.to_string());
        work.after.message_is(message.id, &message.account, entering.state, about);
    }
    match (entering.seq, known) {
        (Some(seq), Some(known)) if is_new => {
            let (id, to, known) = (message.id, message.to.to_string(), Some(known.clone()));
            work.after.arrives(&message.account, DueMessage { id, seq, to, due_at: None, known });
        }
        (Some(_), _) => work.after.lane(&message.account),
        (None, _) => {}
    }
    if entering.seq.is_none() || entering.expires_at.is_some() {
        work.after.message_timer();
    }
}

/// What a step changes besides the state.
#[derive(Default)]
pub struct Change {
    /// How the open attempt ended.
    pub outcome: Option<AttemptOutcome>,
    /// What went wrong.
    pub error: Option<String>,
    /// Not before this, in milliseconds since 1970.
    pub due_at: Option<i64>,
    /// The try counts.
    pub counts: bool,
    /// The gateway's id.
    pub provider_id: Option<String>,
    /// What was changed on the way.
    pub degraded: Vec<Degraded>,
    /// Its parts.
    pub parts: Vec<Part>,
    /// Begins a new round: the tries are counted anew.
    pub anew: bool,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The message is in this state now.
    Now(MessageState),
    /// The step is not legal in the state that it is in.
    NotIn(MessageState),
    /// There is no such message.
    Missing,
}

/// Applies one step that changes nothing else.
pub fn step(work: &mut Work<'_>, id: MessageId, step: Step, now: Timestamp) -> Read<()> {
    apply(work, id, step, now, Change::default()).map(drop)
}

/// Applies one step.
pub fn apply(work: &mut Work<'_>, id: MessageId, step: Step, now: Timestamp, change: Change) -> Read<Applied> {
    let Some(standing) = rows::messages::standing(work.tx, id)? else { return Ok(Applied::Missing) };
    let before = standing.state;
    let Some(moved) = Move::of(work, standing, step, now, change) else { return Ok(Applied::NotIn(before)) };
    rows::messages::step(work.tx, id, &moved.stepped, now)?;
    moved.consequences.follow(work, id)?;
    Ok(Applied::Now(moved.consequences.next))
}

/// A legal step of a message: what is written, and what follows from it.
pub struct Move {
    /// What is written.
    pub stepped: Stepped,
    /// What follows from it.
    pub consequences: Consequences,
}

/// What follows from a step of a message.
pub struct Consequences {
    before: MessageState,
    /// Where it stands now.
    pub next: MessageState,
    account: String,
    waited: bool,
    comes_anew: bool,
    timed: bool,
}

impl Move {
    /// The step from where a message stands; none when it is not legal there.
    pub fn of(work: &mut Work<'_>, standing: Standing, step: Step, now: Timestamp, change: Change) -> Option<Self> {
        let Standing {
            state: before, account, mut attempts, mut degraded, waited, tries, seq, expires, recalled, ..
        } = standing;
        let next = before.after(step)?;
        // Taken back meanwhile, it is not tried again.
        let next = next.after(Step::Cancel).filter(|_| recalled).unwrap_or(next);
        if let (Some(outcome), Some(last)) = (change.outcome, attempts.last_mut())
            && last.outcome.is_open()
        {
            last.outcome = outcome;
            last.error.clone_from(&change.error);
        }
        use MessageState::{Accepted, Delivered, Queued, Read, Sending, Sent, Unknown};
        if let (Accepted | Sent | Delivered | Read, Some(last)) = (next, attempts.last_mut()) {
            last.reached.push((next, millis(now)));
        }
        let is_queued = next == Queued;
        // A message that backs off keeps its place; one that comes back by other ways goes to the end. Only what is
        // queued or on the wire has a place.
        let comes_anew = is_queued && before != Sending;
        let seq = match comes_anew {
            true => Some(work.memory.next_seq()),
            false => seq.filter(|_| is_queued),
        };
        let tries = if change.anew { 0 } else { tries.saturating_add(u32::from(change.counts)) };
        // What was recorded before (another account, say) stays beside what is new.
        let known = degraded.len();
        degraded.extend(change.degraded);
        let degraded = (degraded.len() > known).then(|| distinct(degraded));
        let stepped = Stepped {
            state: next,
            seq,
            due_at: change.due_at,
            tries,
            attempts,
            error: change.error,
            provider_id: change.provider_id,
            degraded,
            parts: change.parts,
        };
        // An expiry may have come while the message was on the wire.
        let timed = next == Unknown || (is_queued && expires);
        Some(Self { stepped, consequences: Consequences { before, next, account, waited, comes_anew, timed } })
    }
}

impl Consequences {
    /// What a step means for others.
    pub fn follow(&self, work: &mut Work<'_>, id: MessageId) -> Read<()> {
        if self.before == MessageState::Sending {
            work.memory.on_the_wire.remove(id);
        }
        if self.comes_anew {
            work.after.lane(&self.account);
        }
        if self.timed {
            work.after.message_timer();
        }
        if self.waited {
            work.happened.push_back(Happened::Moved(id, self.next));
        }
        note_trouble(work, id, self.before, self.next)?;
        is_now(work, id, &self.account, self.next)
    }
}

fn distinct(list: Vec<Degraded>) -> Vec<Degraded> {
    let mut kept: Vec<Degraded> = Vec::new();
    for one in list {
        if !kept.contains(&one) {
            kept.push(one);
        }
    }
    kept
}

/// Whether a message that ends so is trouble.
fn is_trouble(state: MessageState) -> bool {
    matches!(state, MessageState::Rejected | MessageState::Dead | MessageState::Unknown)
}

/// What somebody is to be told of a message's step.
fn note_trouble(work: &mut Work<'_>, id: MessageId, before: MessageState, now: MessageState) -> Read<()> {
    if is_trouble(before) {
        rows::troubles::delete_of(work.tx, id)?;
    }
    if is_trouble(now) {
        rows::troubles::insert(work.tx, id)?;
        work.after.troubles();
    }
    Ok(())
}

/// A message has come to a state.
pub fn is_now(work: &mut Work<'_>, id: MessageId, account: &str, state: MessageState) -> Read<()> {
    let about = if work.after.watched { rows::messages::about(work.tx, id)? } else { None };
    work.after.message_is(id, account, state, || about.unwrap_or_default());
    Ok(())
}

/// What is not sent is taken back; what is on the wire, or may have been, is not tried again.
pub fn recall(work: &mut Work<'_>, id: MessageId, now: Timestamp) -> Read<()> {
    step(work, id, Step::Cancel, now)?;
    rows::messages::recall_if_out(work.tx, id)
}

/// Takes a message back; says whether it was in time.
pub fn cancel(work: &mut Work<'_>, id: MessageId, now: Timestamp) -> Read<bool> {
    Ok(matches!(apply(work, id, Step::Cancel, now, Change::default())?, Applied::Now(_)))
}

/// A message of which nobody knew whether it went out did: something shows it.
pub fn infer(work: &mut Work<'_>, id: MessageId, from: &str, now: Timestamp) -> Read<()> {
    if rows::messages::is_unknown(work.tx, id)? {
        let action = format!("inferred at {}: {from}", rfc3339(now));
        let degraded = vec![Degraded { field: "delivery".into(), action }];
        apply(work, id, Step::Reached(MessageState::Sent), now, Change { degraded, ..Change::default() })?;
    }
    Ok(())
}

/// A change of one message; should its row not read as what it should be, it is set aside at `at`, if that is given.
pub fn each<T: Default>(
    work: &mut Work<'_>,
    id: MessageId,
    at: Option<Timestamp>,
    act: impl FnOnce(&mut Work<'_>) -> Read<T>,
) -> Read<T> {
    let aside = |work: &mut Work<'_>, why: &str| match at {
        Some(at) => set_aside(work, id, why, at),
        None => Ok(()),
    };
    Ok(work.each(act, aside)?.unwrap_or_default())
}

/// A message whose row does not read as what it should be goes out no more, and whoever waits for it hears
/// of that. One that was on the wire may have gone out, and one that went out did.
pub fn set_aside(work: &mut Work<'_>, id: MessageId, why: &str, now: Timestamp) -> Read<()> {
    let error = format!("damaged: the message's row in the state file cannot be read: {why}");
    tracing::error!(%id, "{error}");
    let Some((before, account)) = rows::messages::damaged(work.tx, id)? else { return Ok(()) };
    let left = match before {
        Some(MessageState::Scheduled | MessageState::Queued) => MessageState::Dead,
        Some(MessageState::Sending) | None => MessageState::Unknown,
        Some(state) => state,
    };
    rows::messages::set_aside(work.tx, id, left, &error, now)?;
    work.memory.on_the_wire.remove(id);
    note_trouble(work, id, left, left)?;
    is_now(work, id, &account, left)?;
    work.happened.push_back(Happened::Moved(id, left));
    Ok(())
}
