//! The hot commands of a group as sets: many rows are read, it is decided, many are written. A set takes what is plain;
//! the rest, and every second command for a row that is in the set already, is left to the general way. Nobody in a
//! group has an answer yet, so any order of it is a legal one.
//!
//! What is plain is said by one function for each kind of command, and gives the same as the general way: a test runs
//! both on the same random histories and compares all tables.

use std::collections::HashSet;

use super::Command;
use super::job::Job;
use super::steps::{Claim, CommitTurn, Intake, Receive, Settle};
use crate::id::MessageId;
use crate::ledger::attempts::meant;
use crate::ledger::claims::{claim_unbudgeted, is_prepared, opened_first};
use crate::ledger::inbound::sweep;
use crate::ledger::messages::{Change, Move, entered, entering, is_now};
use crate::ledger::reconciliation;
use crate::ledger::runs::{disk_has_room, inserted, intake};
use crate::ledger::turns::{leaving, left};
use crate::ledger::work::{Refusal, Work};
use crate::model::delivery::{AttemptOutcome, MessageState, Step};
use crate::model::inbound::{Ack, Fate, Told, bare_id};
use crate::model::journal::{Outcome, TurnCommit};
use crate::model::question::{Question, Wait};
use crate::store::records::{Claimed, Claims, Committed, Inbound, Received, Settlement, Verdict};
use crate::store::rows;
use crate::store::rows::messages::Standing;
use crate::store::tx::Read;

/// Takes what is plain among the commands of a group.
///
/// # Errors
/// The database's, or a row cannot be read: the group is then run one by one in the general way.
pub fn take(work: &mut Work<'_>, group: &mut [Command]) -> Read<()> {
    let (mut intakes, mut turns, mut claims) = (Vec::new(), Vec::new(), Vec::new());
    let (mut settles, mut acks) = (Vec::new(), Vec::new());
    for command in group {
        match command {
            Command::Intake(job) => intakes.push(job),
            Command::Turn(job) if is_plain_turn(&job.step.turn) => turns.push(job),
            Command::Claim(job) if job.step.rules.budget.is_none() => claims.push(job),
            Command::Settle(job) if is_plain_settlement(&job.step.settlement) => settles.push(job),
            Command::Receive(job) if plain_acks(&job.step.inbound).is_some() => acks.push(job),
            _ => {}
        }
    }
    take_intakes(work, intakes)?;
    take_turns(work, turns)?;
    take_claims(work, claims)?;
    take_settlements(work, settles)?;
    take_acks(work, acks)
}

fn take_intakes(work: &mut Work<'_>, jobs: Vec<&mut Box<Job<Intake>>>) -> Read<()> {
    // Where room is scarce, each is asked for by itself: whether one is new decides about the next.
    if !work.memory.backlog.is_ample(jobs.len() as u64) || disk_has_room(work).is_err() {
        for job in jobs {
            match intake(work, &job.step.run) {
                Err(Refusal::Failed(error)) => return Err(error),
                outcome => job.taken(outcome),
            }
        }
        return Ok(());
    }
    let rows: Vec<_> = jobs.iter().map(|job| (&job.step.run, work.memory.next_seq())).collect();
    let new = rows::runs::insert_all(work.tx, &rows)?;
    for (job, is_new) in jobs.into_iter().zip(new) {
        if is_new {
            inserted(work, &job.step.run);
        }
        job.taken(Ok(()));
    }
    Ok(())
}

/// Whether a turn changes nothing but its run, its journal and the outbox, and asks nobody else for anything.
fn is_plain_turn(turn: &TurnCommit) -> bool {
    let promises = &turn.promises;
    let asks_nobody = match &turn.outcome {
        Outcome::Succeeded(_) | Outcome::Failed(_) | Outcome::Retrying(_) => true,
        Outcome::Waiting(pending) => {
            matches!(pending.question, Question::Wait(Wait::Sleep { .. }) | Question::Errand(_))
        }
    };
    asks_nobody
        && promises.messages.iter().all(|message| message.key.is_none())
        && promises.kv.is_empty()
        && promises.events.is_empty()
        && promises.runs.is_empty()
        && turn.waited_for.is_none()
        && turn.lost.is_empty()
        && turn.follow_up.is_none()
}

/// Those of the turns that are the first ones of their runs. The run's own row says so, and is the guard.
fn take_turns(work: &mut Work<'_>, jobs: Vec<&mut Box<Job<CommitTurn>>>) -> Read<()> {
    let mut leavings = Vec::with_capacity(jobs.len());
    for job in &jobs {
        let (leaving, errand) = leaving(work, &job.step.turn)?;
        leavings.push((leaving, errand));
    }
    let turns = jobs.iter().zip(&leavings).map(|(job, (leaving, _))| (job.step.turn.run, job.step.turn.ready, leaving));
    let first = rows::runs::leave_all_if_first(work.tx, &turns.collect::<Vec<_>>())?;
    let mut done: Vec<_> =
        jobs.into_iter().zip(leavings).zip(first).filter(|(_, first)| *first).map(|(turn, _)| turn).collect();
    let mut promised = Vec::new();
    for (job, _) in &done {
        for message in &job.step.turn.promises.messages {
            promised.push((message, entering(work, message, job.step.turn.at)));
        }
    }
    let new = rows::messages::insert_all(work.tx, &promised)?;
    for ((message, entering), is_new) in promised.iter().zip(new) {
        entered(work, message, *entering, is_new);
    }
    let recorded = done.iter().map(|(job, _)| &job.step.turn).filter(|turn| !turn.entries.is_empty());
    rows::journal::append_first(
        work.tx,
        &recorded.map(|turn| (turn.run, turn.attempt, &turn.entries[..])).collect::<Vec<_>>(),
    )?;
    for (job, (leaving, errand)) in &mut done {
        let turn = &job.step.turn;
        work.memory.backlog.remove(&turn.flow);
        left(work, turn, leaving, *errand);
        let part = (!turn.entries.is_empty()).then_some(rows::journal::FIRST);
        job.taken(Ok(Committed::Yes { part, ready: leaving.ready }));
    }
    Ok(())
}

/// First attempts, where nobody wants to hear no more and no day's budget is counted.
fn take_claims(work: &mut Work<'_>, jobs: Vec<&mut Box<Job<Claim>>>) -> Read<()> {
    if jobs.is_empty() || work.anybody_opted_out()? {
        return Ok(());
    }
    let mut seen = HashSet::new();
    for job in jobs {
        let Claim { account, messages: ids, rules, now } = &job.step;
        if !ids.iter().all(|id| seen.insert(*id)) {
            continue;
        }
        let found =
            rows::outbox::claim_all_if_first(work.tx, account, ids, &opened_first(*now, AttemptOutcome::Open), *now)?;
        let mut claims = Claims { claimed: Vec::with_capacity(ids.len()), held: Vec::new() };
        for (id, found) in ids.iter().zip(found) {
            let Some((to, body, tries)) = found else {
                // It is no first attempt, or not there for one any more.
                claims.claimed.extend(claim_unbudgeted(work, account, *id, rules, *now)?);
                continue;
            };
            let preparing = is_prepared(&body.content, rules.cards);
            if preparing {
                rows::messages::set_attempts(work.tx, *id, &opened_first(*now, AttemptOutcome::Preparing))?;
            }
            is_now(work, *id, account, MessageState::Sending)?;
            claims.claimed.push(Claimed { id: *id, to, body, tries, parts: Vec::new(), preparing });
        }
        job.taken(Ok(claims));
    }
    Ok(())
}

/// Whether the gateway took a message that is one, and says nothing of the chat.
fn is_plain_settlement(settlement: &Settlement) -> bool {
    settlement.parts.is_empty() && matches!(settlement.verdict, Verdict::Reached { chat: None, .. })
}

/// Whether a step of a message concerns nobody else.
fn is_alone(standing: &Standing) -> bool {
    !standing.waited && !standing.recalled
}

fn take_settlements(work: &mut Work<'_>, jobs: Vec<&mut Box<Job<Settle>>>) -> Read<()> {
    let mut seen = HashSet::new();
    let jobs: Vec<_> = jobs.into_iter().filter(|job| seen.insert(job.step.settlement.id)).collect();
    let ids: Vec<MessageId> = jobs.iter().map(|job| job.step.settlement.id).collect();
    let standings = rows::messages::standings(work.tx, &ids)?;
    let (mut done, mut stepped) = (Vec::new(), Vec::new());
    for (job, standing) in jobs.into_iter().zip(standings) {
        let Some(standing) = standing.filter(|found| found.state == MessageState::Sending && is_alone(found)) else {
            continue;
        };
        let Settlement { id, at, verdict, .. } = &job.step.settlement;
        let (step, change, ..) = meant(verdict);
        let account = standing.account.clone();
        let Some(moved) = Move::of(work, standing, step, *at, change) else { continue };
        stepped.push((*id, moved.stepped, *at));
        done.push((job, account, moved.consequences));
    }
    rows::messages::step_all(work.tx, &stepped)?;
    let mut posted = Vec::new();
    for (job, account, consequences) in &done {
        consequences.follow(work, job.step.settlement.id)?;
        if let Verdict::Reached { provider_id: Some(provider_id), .. } = &job.step.settlement.verdict {
            posted.push((account.as_str(), provider_id.as_str(), job.step.settlement.id, job.step.settlement.at));
        }
    }
    let rows: Vec<_> = posted.iter().map(|(account, id, message, _)| (*account, bare_id(id), *message)).collect();
    rows::reconciliation::post_all(work.tx, &rows)?;
    for (account, provider_id, message, at) in posted {
        reconciliation::posted(work, account, provider_id, message, at)?;
    }
    done.into_iter().for_each(|(job, ..)| job.taken(Ok(())));
    Ok(())
}

/// What a request told, if that is nothing but acks of messages that got further, with nothing said of their chats.
fn plain_acks(inbound: &Inbound) -> Option<Vec<(&Ack, MessageState)>> {
    let plain = |received| match received {
        &Received::Told(Told::Ack(ref ack)) if ack.chat.is_none() => match ack.fate {
            Fate::Reached(state) => Some((ack, state)),
            Fate::Failed { .. } => None,
        },
        _ => None,
    };
    if inbound.window { None } else { inbound.told.iter().map(plain).collect() }
}

fn take_acks(work: &mut Work<'_>, jobs: Vec<&mut Box<Job<Receive>>>) -> Read<()> {
    let mut told = Vec::new();
    for (place, job) in jobs.iter().enumerate() {
        let acks = plain_acks(&job.step.inbound).unwrap_or_default();
        told.extend(acks.into_iter().map(|(ack, state)| (place, job.step.inbound.account.as_str(), ack, state)));
    }
    let ids = told.iter().map(|(_, account, ack, _)| (*account, bare_id(&ack.message_id), ack.message_id.as_str()));
    let found = rows::reconciliation::messages_of(work.tx, &ids.collect::<Vec<_>>())?;
    let ids: Vec<MessageId> = found.iter().map(|id| id.unwrap_or(MessageId::from_bytes([0; 16]))).collect();
    let standings = rows::messages::standings(work.tx, &ids)?;
    // A request is plain as a whole, or not at all.
    let mut plain = vec![true; jobs.len()];
    let mut seen = HashSet::new();
    for (((place, ..), id), standing) in told.iter().zip(&found).zip(&standings) {
        let is_alone = standing.as_ref().is_some_and(|found| is_alone(found) && !found.has_parts);
        plain[*place] &= is_alone && id.is_some_and(|id| seen.insert(id));
    }
    let (mut stepped, mut done) = (Vec::new(), Vec::new());
    for (((place, _, _, state), id), standing) in told.iter().zip(&ids).zip(standings) {
        let now = jobs[*place].step.inbound.now;
        // An ack that was overtaken changes nothing.
        if let Some(standing) = standing.filter(|_| plain[*place])
            && let Some(moved) = Move::of(work, standing, Step::Reached(*state), now, Change::default())
        {
            stepped.push((*id, moved.stepped, now));
            done.push((*id, moved.consequences));
        }
    }
    drop(told);
    rows::messages::step_all(work.tx, &stepped)?;
    for (id, consequences) in &done {
        consequences.follow(work, *id)?;
    }
    for (job, _) in jobs.into_iter().zip(plain).filter(|(_, plain)| *plain) {
        sweep(work, job.step.inbound.now)?;
        job.taken(Ok(Vec::new()));
    }
    Ok(())
}

#[cfg(test)]
#[path = "sets_tests.rs"]
mod tests;
