//! Runs: accepted where there is room, and made ready.

use super::slots::{self, Entered};
use super::work::{Refusal, Work};
use crate::id::RunId;
use crate::model::question::Answer;
use crate::model::run::{NewRun, RunState};
use crate::store::StoreError;
use crate::store::rows;
use crate::store::tx::Read;

/// Accepts a run. Gives its number among the ready ones: 0 for one that was accepted before.
pub fn intake(work: &mut Work<'_>, run: &NewRun) -> Result<i64, Refusal> {
    has_room_for(work, &run.flow, 1)?;
    if let Some(first) = begun_before(work, run)? {
        return Err(Refusal::Rule(StoreError::Repeated(first)));
    }
    Ok(insert(work, run)?)
}

/// The run that the same event has begun already; else the event is remembered.
pub fn begun_before(work: &mut Work<'_>, run: &NewRun) -> Read<Option<RunId>> {
    for mark in &run.marks {
        let first = rows::repeats::run_of(work.tx, mark, run.at)?;
        if first.is_some_and(|first| first != run.id) {
            return Ok(first);
        }
    }
    run.marks.iter().try_for_each(|mark| rows::repeats::remember(work.tx, mark, run.id))?;
    Ok(None)
}

/// Whether there is room for so many runs more of a flow.
pub fn has_room_for(work: &mut Work<'_>, flow: &str, more: u64) -> Result<(), Refusal> {
    disk_has_room(work)?;
    match work.memory.backlog.has_room(flow, more) {
        true => Ok(()),
        false => Err(Refusal::Rule(StoreError::Backlog(work.memory.backlog.total()))),
    }
}

/// Whether the disk has room for more work.
pub fn disk_has_room(work: &mut Work<'_>) -> Result<(), Refusal> {
    match work.memory.disk.low() {
        Some(free) => Err(Refusal::Rule(StoreError::NoRoom(format!("only {} MiB of the disk are free", free >> 20)))),
        None => Ok(()),
    }
}

/// Puts a run in without asking. The same promise of a run is one run. Gives its number among the ready ones: 0 for
/// one that was accepted before.
pub fn insert(work: &mut Work<'_>, run: &NewRun) -> Read<i64> {
    slots::make_way(work, run)?;
    let ready = work.memory.next_seq();
    if !rows::runs::insert(work.tx, run, ready)? {
        return Ok(0);
    }
    rows::flows::count_runs(work.tx, &run.version, 1)?;
    if let Some(slot) = &run.slot {
        match slots::enter(work, run, slot, ready)? {
            Entered::Begins => {}
            Entered::InLine => {
                inserted(work, run);
                return Ok(0);
            }
            Entered::PassedOver => {
                work.after.run_is(run.id, &run.flow, RunState::Skipped);
                return Ok(0);
            }
        }
    }
    inserted(work, run);
    Ok(ready)
}

/// A new run waits for its first turn.
pub fn inserted(work: &mut Work<'_>, run: &NewRun) {
    work.memory.backlog.add(&run.flow);
    work.after.run(&run.flow);
    work.after.run_is(run.id, &run.flow, RunState::Queued);
}

/// A run does not wait for its first turn any more.
pub fn leave_backlog(work: &mut Work<'_>, run: RunId) -> Read<()> {
    if let Some(flow) = rows::runs::flow(work.tx, run)? {
        work.memory.backlog.remove(&flow);
    }
    Ok(())
}

/// A run has come to a state otherwise than by a turn.
pub fn is_now(work: &mut Work<'_>, run: RunId, state: RunState) -> Read<()> {
    let flow = if work.after.watched { rows::runs::flow(work.tx, run)? } else { None };
    work.after.run_is(run, &flow.unwrap_or_default(), state);
    Ok(())
}

/// A waiting run can go on.
pub fn make_ready(work: &mut Work<'_>, run: RunId) -> Read<()> {
    let ready = work.memory.next_seq();
    if let Some(flow) = rows::runs::make_waiting_ready(work.tx, run, ready)? {
        work.after.run(&flow);
    }
    Ok(())
}

/// A waiting run gets the answer to its question.
pub fn answer(work: &mut Work<'_>, run: RunId, answer: &Answer) -> Read<()> {
    let ready = work.memory.next_seq();
    if let Some(flow) = rows::runs::answer_waiting(work.tx, run, ready, answer)? {
        work.after.run(&flow);
    }
    Ok(())
}

/// An errand was run: its answer makes the run ready anew. Says whether anybody still wants it.
pub fn answer_errand(work: &mut Work<'_>, run: RunId, was: i64, answer: &Answer) -> Read<bool> {
    let ready = work.memory.next_seq();
    let flow = rows::runs::answer_errand(work.tx, run, was, ready, answer)?;
    if let Some(flow) = &flow {
        work.after.run(flow);
    }
    Ok(flow.is_some())
}
