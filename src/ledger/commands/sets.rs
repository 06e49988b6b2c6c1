//! The hot commands of a group as sets: many rows are read, it is decided, many are written. A set takes what is plain;
//! the rest, and every second command for a row that is in the set already, is left to the general way. Nobody in a
//! group has an answer yet, so any order of it is a legal one.
//!
//! What is plain is said by one function for each kind of command, and gives the same as the general way: a test runs
//! both on the same random histories and compares all tables.

use std::collections::{BTreeMap, HashSet};

use super::Command;
use super::job::{Job, Step as Taken, Task};
use super::steps::{Begin, Claim, CommitTurn, Intake, Receive, Settle};
use crate::id::MessageId;
use crate::ledger::attempts::meant;
use crate::ledger::claims::{claim_unbudgeted, is_prepared, opened_first};
use crate::ledger::inbound::sweep;
use crate::ledger::messages::{Change, Move, entered, entering, is_now};
use crate::ledger::reconciliation;
use crate::ledger::runs::{begun_before, disk_has_room, inserted, intake};
use crate::ledger::turns::{leaving, left};
use crate::ledger::work::{Refusal, Work};
use crate::model::delivery::{AttemptOutcome, MessageState, Step};
use crate::model::inbound::{Ack, Fate, Told, bare_id};
use crate::model::journal::{Outcome, TurnCommit};
use crate::model::message::Content;
use crate::model::question::{Question, Wait};
use crate::model::run::{NewRun, RunState};
use crate::store::StoreError;
use crate::store::records::{
    Begun, Claimed, Claims, Committed, Inbound, KnownClaimed, Opened, Received, Settlement, ToClaim, Verdict,
};
use crate::store::rows;
use crate::store::rows::messages::Standing;
use crate::store::tx::Read;

/// Takes what is plain among the commands of a group.
///
/// # Errors
/// The database's, or a row cannot be read: the group is then run one by one in the general way.
pub fn take(work: &mut Work<'_>, group: &mut [Command]) -> Read<()> {
    let (mut intakes, mut begins, mut turns) = (Vec::new(), Vec::new(), Vec::new());
    let (mut claims, mut settles, mut acks) = (Vec::new(), Vec::new(), Vec::new());
    let limited = &work.memory.limited;
    let is_free = |run: &NewRun| run.slot.is_none() && !limited.contains(&run.flow);
    for command in group {
        match command {
            Command::Intake(job) if is_free(&job.step.run) => intakes.push(job),
            Command::Begin(job) if is_free(&job.step.run) && is_plain_turn(&job.step.turn) => begins.push(job),
            Command::Turn(job) if is_plain_turn(&job.step.turn) && !limited.contains(&job.step.turn.flow) => {
                turns.push(job);
            }
            Command::Claim(job) if job.step.rules.budget.is_none() => claims.push(job),
            Command::Settle(job) if is_plain_settlement(&job.step.settlement) => settles.push(job),
            Command::Receive(job) if plain_acks(&job.step.inbound).is_some() => acks.push(job),
            _ => {}
        }
    }
    take_intakes(work, intakes)?;
    take_begins(work, begins)?;
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
    let jobs = new_events(work, jobs, |step| &step.run)?;
    let rows: Vec<_> = jobs.iter().map(|job| (&job.step.run, work.memory.next_seq())).collect();
    let new = rows::runs::insert_all(work.tx, &rows)?;
    let are_new = || rows.iter().zip(&new).filter(|(_, is_new)| **is_new).map(|((run, _), _)| *run);
    are_new().for_each(|run| inserted(work, run));
    count_versions(work, are_new())?;
    let numbers: Vec<i64> = rows.iter().zip(new).map(|((_, ready), is_new)| if is_new { *ready } else { 0 }).collect();
    jobs.into_iter().zip(numbers).for_each(|(job, ready)| job.taken(Ok(ready)));
    Ok(())
}

/// Those whose event has not begun a run before. The others are refused.
fn new_events<'a, S: Taken>(
    work: &mut Work<'_>,
    jobs: Vec<&'a mut Box<Job<S>>>,
    run: impl Fn(&S) -> &NewRun,
) -> Read<Vec<&'a mut Box<Job<S>>>> {
    let mut new = Vec::with_capacity(jobs.len());
    for job in jobs {
        match begun_before(work, run(&job.step))? {
            Some(first) => job.taken(Err(Refusal::Rule(StoreError::Repeated(first)))),
            None => new.push(job),
        }
    }
    Ok(new)
}

/// So many runs more are kept of some versions.
fn count_versions<'a>(work: &mut Work<'_>, new: impl Iterator<Item = &'a NewRun>) -> Read<()> {
    let mut uses = BTreeMap::<&str, i64>::new();
    new.for_each(|run| *uses.entry(&run.version).or_default() += 1);
    uses.into_iter().try_for_each(|(version, runs)| rows::flows::count_runs(work.tx, version, runs))
}

/// Runs that come with their first turns, where there is ample room for them.
fn take_begins(work: &mut Work<'_>, jobs: Vec<&mut Box<Job<Begin>>>) -> Read<()> {
    let mut seen = HashSet::new();
    let jobs: Vec<_> = jobs.into_iter().filter(|job| seen.insert(job.step.run.id)).collect();
    // Where room is scarce, each is asked for by itself: whether one is new decides about the next.
    if !work.memory.backlog.is_ample(jobs.len() as u64) || disk_has_room(work).is_err() {
        return jobs.into_iter().try_for_each(|job| job.take(work));
    }
    let jobs = new_events(work, jobs, |step| &step.run)?;
    let leavings: Vec<_> = jobs.iter().map(|job| leaving(work, &job.step.turn)).collect::<Read<_>>()?;
    let rows = jobs.iter().zip(&leavings).map(|(job, (leaving, _))| (&job.step.run, leaving));
    let new = rows::runs::insert_all_left(work.tx, &rows.collect::<Vec<_>>())?;
    let mut done: Vec<_> =
        jobs.into_iter().zip(leavings).zip(new).filter(|(_, new)| *new).map(|(begun, _)| begun).collect();
    for (job, _) in &done {
        work.after.run_is(job.step.run.id, &job.step.run.flow, RunState::Queued);
    }
    count_versions(work, done.iter().map(|(job, _)| &job.step.run))?;
    promise(work, &done.iter().map(|(job, _)| &job.step.turn).collect::<Vec<_>>())?;
    for (job, (leaving, errand)) in &mut done {
        let turn = &job.step.turn;
        left(work, turn, leaving, *errand);
        let turn = Ok(Committed::Yes { part: part_of(turn), ready: leaving.ready });
        job.taken(Ok(Begun { ready: None, turn }));
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
    promise(work, &done.iter().map(|(job, _)| &job.step.turn).collect::<Vec<_>>())?;
    for (job, (leaving, errand)) in &mut done {
        let turn = &job.step.turn;
        work.memory.backlog.remove(&turn.flow);
        left(work, turn, leaving, *errand);
        let part = part_of(turn);
        job.taken(Ok(Committed::Yes { part, ready: leaving.ready }));
    }
    Ok(())
}

/// The part of its run's journal that a first turn becomes.
fn part_of(turn: &TurnCommit) -> Option<i64> {
    (!turn.entries.is_empty()).then_some(rows::journal::FIRST)
}

/// What first turns leave: messages in the outbox, and the beginnings of journals.
fn promise(work: &mut Work<'_>, turns: &[&TurnCommit]) -> Read<()> {
    let mut promised = Vec::new();
    for turn in turns {
        for message in &turn.promises.messages {
            promised.push((message, entering(work, message, turn.at)));
        }
    }
    let new = rows::messages::insert_all(work.tx, &promised)?;
    for ((message, entering), is_new) in promised.iter().zip(new) {
        entered(work, message, *entering, is_new, Some(message));
    }
    let recorded = turns.iter().filter(|turn| !turn.entries.is_empty());
    let parts: Vec<_> = recorded.map(|turn| (turn.run, turn.attempt, &turn.entries[..])).collect();
    rows::journal::append_first(work.tx, &parts)
}

/// First attempts, where nobody wants to hear no more and no day's budget is counted.
fn take_claims(work: &mut Work<'_>, jobs: Vec<&mut Box<Job<Claim>>>) -> Read<()> {
    if jobs.is_empty() || work.anybody_opted_out()? {
        return Ok(());
    }
    let mut seen = HashSet::new();
    for job in jobs {
        let Claim { account, messages, rules, now } = &job.step;
        if !messages.iter().all(|message| seen.insert(message.id)) {
            continue;
        }
        let mut claims = Claims::default();
        let unread = claim_known(work, &job.step, &mut claims)?;
        let found = rows::outbox::claim_all_if_first(work.tx, account, &unread, *now)?;
        for (id, found) in unread.into_iter().zip(found) {
            let Some((to, body, tries)) = found else {
                // It is no first attempt, or not there for one any more.
                claims.claimed.extend(claim_unbudgeted(work, account, id, rules, *now)?);
                continue;
            };
            let (preparing, opened) = opened(work, &job.step, id, (&to, &body.content, tries))?;
            claims.claimed.push(Claimed { id, to, body, tries, parts: Vec::new(), preparing, opened: Some(opened) });
        }
        job.taken(Ok(claims));
    }
    Ok(())
}

/// First attempts on messages that need not be read. Gives the others.
fn claim_known(work: &mut Work<'_>, claim: &Claim, claims: &mut Claims) -> Read<Vec<MessageId>> {
    let (known, unknown): (Vec<_>, Vec<_>) = claim.messages.iter().partition(|message| message.known.is_some());
    let ids: Vec<MessageId> = known.iter().map(|message| message.id).collect();
    let is_first = rows::outbox::claim_all_if_untried(work.tx, &claim.account, &ids, claim.now)?;
    let mut unread: Vec<MessageId> = unknown.into_iter().map(|message| message.id).collect();
    for (ToClaim { id, known }, is_first) in known.into_iter().zip(is_first) {
        match known.as_ref().filter(|_| is_first) {
            Some(message) => {
                let (preparing, opened) =
                    opened(work, claim, *id, (&message.to.to_string(), &message.body.content, 0))?;
                claims.known.push(KnownClaimed { id: *id, preparing, opened });
            }
            None => unread.push(*id),
        }
    }
    Ok(unread)
}

/// A first attempt is open: whether it is only being prepared, and how it stands.
fn opened(
    work: &mut Work<'_>,
    claim: &Claim,
    id: MessageId,
    (to, content, tries): (&str, &Content, u32),
) -> Read<(bool, Opened)> {
    let Claim { account, rules, now, .. } = claim;
    let preparing = is_prepared(content, rules.cards);
    if preparing {
        rows::messages::set_attempts(work.tx, id, &opened_first(*now, AttemptOutcome::Preparing))?;
    }
    work.memory.on_the_wire.add(id, account, to);
    is_now(work, id, account, MessageState::Sending)?;
    Ok((preparing, Opened { account: account.clone(), at: *now, tries }))
}

/// Whether the gateway took a message that is one, and says nothing of the chat.
fn is_plain_settlement(settlement: &Settlement) -> bool {
    settlement.parts.is_empty() && matches!(settlement.verdict, Verdict::Reached { chat: None, .. })
}

/// Whether a step of a message concerns nobody else.
fn is_alone(standing: &Standing) -> bool {
    !standing.waited && !standing.recalled
}

/// A settlement that is taken in a set, with what it means.
struct Settled<'a> {
    job: &'a mut Box<Job<Settle>>,
    account: String,
    moved: Move,
}

/// What a settlement means for a message that stands so; none where it is left to the general way.
fn settled<'a>(
    work: &mut Work<'_>,
    job: &'a mut Box<Job<Settle>>,
    standing: Option<Standing>,
) -> Result<Settled<'a>, &'a mut Box<Job<Settle>>> {
    let plain = standing.filter(|found| found.state == MessageState::Sending && is_alone(found));
    let Some(standing) = plain else { return Err(job) };
    let (step, change, ..) = meant(&job.step.settlement.verdict);
    let account = standing.account.clone();
    match Move::of(work, standing, step, job.step.settlement.at, change) {
        Some(moved) => Ok(Settled { job, account, moved }),
        None => Err(job),
    }
}

fn take_settlements(work: &mut Work<'_>, jobs: Vec<&mut Box<Job<Settle>>>) -> Read<()> {
    let mut seen = HashSet::new();
    let jobs = jobs.into_iter().filter(|job| seen.insert(job.step.settlement.id));
    let (opened, mut others): (Vec<_>, Vec<_>) = jobs.partition(|job| job.step.settlement.opened.is_some());
    let mut done = Vec::new();
    // What is known of a message since its claim need not be read, as long as the row says that it is so still.
    for job in opened {
        let standing = job.step.settlement.opened.as_ref().map(Standing::of_opened);
        match settled(work, job, standing) {
            Ok(settled) => done.push(settled),
            Err(job) => others.push(job),
        }
    }
    let steps = done.iter().filter_map(|Settled { job, moved, .. }| {
        let settlement = &job.step.settlement;
        Some((settlement.id, settlement.opened.as_ref()?, &moved.stepped, settlement.at))
    });
    let stands = rows::messages::step_all_if_opened(work.tx, &steps.collect::<Vec<_>>())?;
    let (mut done, changed): (Vec<_>, Vec<_>) = done.into_iter().zip(stands).partition(|(_, stands)| *stands);
    others.extend(changed.into_iter().map(|(settled, _)| settled.job));
    let ids: Vec<MessageId> = others.iter().map(|job| job.step.settlement.id).collect();
    let standings = rows::messages::standings(work.tx, &ids)?;
    let read: Vec<_> =
        others.into_iter().zip(standings).filter_map(|(job, standing)| settled(work, job, standing).ok()).collect();
    let steps = read.iter().map(|one| (one.job.step.settlement.id, &one.moved.stepped, one.job.step.settlement.at));
    rows::messages::step_all(work.tx, &steps.collect::<Vec<_>>())?;
    done.extend(read.into_iter().map(|settled| (settled, true)));
    post_all(work, done.iter().map(|(settled, _)| settled))?;
    done.into_iter().for_each(|(settled, _)| settled.job.taken(Ok(())));
    Ok(())
}

/// What follows from settlements, and by what ids gateways know their messages.
fn post_all<'a, 'b: 'a>(work: &mut Work<'_>, settled: impl Iterator<Item = &'a Settled<'b>>) -> Read<()> {
    let mut posted = Vec::new();
    for Settled { job, account, moved } in settled {
        let settlement = &job.step.settlement;
        moved.consequences.follow(work, settlement.id)?;
        if let Verdict::Reached { provider_id: Some(provider_id), .. } = &settlement.verdict {
            posted.push((account.as_str(), provider_id.as_str(), settlement.id, settlement.at));
        }
    }
    let rows: Vec<_> = posted.iter().map(|(account, id, message, _)| (*account, bare_id(id), *message)).collect();
    rows::reconciliation::post_all(work.tx, &rows)?;
    for (account, provider_id, message, at) in posted {
        reconciliation::posted(work, account, provider_id, message, at)?;
    }
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
    let mut stepped = Vec::new();
    for (((place, _, _, state), id), standing) in told.iter().zip(&ids).zip(standings) {
        let now = jobs[*place].step.inbound.now;
        // An ack that was overtaken changes nothing.
        if let Some(standing) = standing.filter(|_| plain[*place])
            && let Some(moved) = Move::of(work, standing, Step::Reached(*state), now, Change::default())
        {
            stepped.push((*id, moved, now));
        }
    }
    drop(told);
    let steps = stepped.iter().map(|(id, moved, now)| (*id, &moved.stepped, *now));
    rows::messages::step_all(work.tx, &steps.collect::<Vec<_>>())?;
    for (id, moved, _) in &stepped {
        moved.consequences.follow(work, *id)?;
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
