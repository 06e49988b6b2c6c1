//! Flows that limit how many of their runs are under way at once: who begins, who stands in line, who is passed over.

use super::work::{Happened, Work};
use crate::id::RunId;
use crate::model::run::{NewRun, ScriptError, Slot, WhenFull};
use crate::store::records::WaitingFor;
use crate::store::rows;
use crate::store::tx::Read;

/// Whether a run would be passed over, for as many are under way as may be.
pub fn is_passed_over(work: &Work<'_>, run: &NewRun) -> Read<bool> {
    match &run.slot {
        Some(slot) if slot.when_full == WhenFull::Skip => is_full(work, &run.flow, slot),
        _ => Ok(false),
    }
}

fn is_full(work: &Work<'_>, flow: &str, slot: &Slot) -> Read<bool> {
    Ok(rows::slots::held(work.tx, flow, &slot.part)? >= u64::from(slot.most))
}

/// Why a run is passed over, in words.
pub fn why(slot: &Slot) -> String {
    match slot.most {
        1 => "the run before it is still under way (`concurrency`)".to_owned(),
        most => format!("{most} runs are under way already (`concurrency`)"),
    }
}

/// What becomes of a new run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// It may begin.
    Begins,
    /// It stands in line.
    InLine,
    /// It is not run.
    PassedOver,
}

/// A new run, which stands in its row already, takes its place in line.
pub fn enter(work: &mut Work<'_>, run: &NewRun, slot: &Slot, place: i64) -> Read<Entered> {
    work.memory.limited.insert(run.flow.clone());
    let waits = rows::slots::next(work.tx, &run.flow, &slot.part)?.is_some();
    let mut is_full = waits || is_full(work, &run.flow, slot)?;
    if is_full && slot.when_full == WhenFull::Skip {
        let error = ScriptError::new("skipped", why(slot));
        rows::runs::skip(work.tx, run.id, &error, run.at)?;
        return Ok(Entered::PassedOver);
    }
    if is_full && slot.when_full == WhenFull::Replace {
        let holders = rows::slots::holders(work.tx, &run.flow, &slot.part)?;
        let more = (holders.len() + 1).saturating_sub(slot.most as usize);
        let older = rows::slots::line(work.tx, &run.flow, &slot.part)?;
        work.happened.extend(older.into_iter().chain(holders.into_iter().take(more)).map(Happened::Replaced));
        is_full = false;
    }
    rows::slots::take(work.tx, run.id, &run.flow, slot, place, !is_full)?;
    if is_full {
        let detail = "its turn among the runs of its flow".to_owned();
        rows::runs::stand_in_line(work.tx, run.id, &WaitingFor { kind: "slot".into(), until: None, detail })?;
        return Ok(Entered::InLine);
    }
    Ok(Entered::Begins)
}

/// A run is over: its place is free for those in line.
pub fn leave(work: &mut Work<'_>, run: RunId) -> Read<()> {
    if work.memory.limited.is_empty() {
        return Ok(());
    }
    let Some((flow, part)) = rows::slots::leave(work.tx, run)? else { return Ok(()) };
    let_in(work, &flow, &part)
}

/// Before a new run comes: those in line go by the rule of today, which may have changed since they came, and before
/// it. Where there is no rule any more, nobody has to stand in line.
pub fn make_way(work: &mut Work<'_>, run: &NewRun) -> Read<()> {
    if !work.memory.limited.contains(&run.flow) {
        return Ok(());
    }
    let free = |part| Slot { part, most: u32::MAX, when_full: WhenFull::Queue };
    let rules = match &run.slot {
        Some(slot) => vec![slot.clone()],
        None => rows::slots::parts_with_a_line(work.tx, &run.flow)?.into_iter().map(free).collect(),
    };
    for rule in rules {
        rows::slots::go_by(work.tx, &run.flow, &rule)?;
        let_in(work, &run.flow, &rule.part)?;
    }
    Ok(())
}

/// Lets those in line begin for whom there is a place.
fn let_in(work: &mut Work<'_>, flow: &str, part: &str) -> Read<()> {
    while let Some((next, most)) = rows::slots::next(work.tx, flow, part)? {
        if rows::slots::held(work.tx, flow, part)? >= most {
            break;
        }
        rows::slots::hold(work.tx, next)?;
        let ready = work.memory.next_seq();
        match rows::runs::let_in(work.tx, next, ready)? {
            true => work.after.run(flow),
            // It is gone, whatever took it: the next one has its place.
            false => drop(rows::slots::leave(work.tx, next)?),
        }
    }
    Ok(())
}
