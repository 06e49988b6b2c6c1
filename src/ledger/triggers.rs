//! What triggers know and begin: each instant has one fate, each file is seen once.

use jiff::Timestamp;

use super::work::{Refusal, Work};
use super::{runs, slots};
use crate::feed::Change;
use crate::model::occurrence::{Fate, Occurrence};
use crate::store::records::{Firing, NewTrigger, Seen, TriggerKey};
use crate::store::rows;
use crate::store::tx::Read;

/// Forgets triggers, and gets to know others.
pub fn arm(work: &mut Work<'_>, gone: &[TriggerKey], come: &[NewTrigger]) -> Read<()> {
    for key in gone {
        rows::triggers::disarm(work.tx, key)?;
        rows::seen_files::forget_all(work.tx, key)?;
    }
    for NewTrigger { row, past, files } in come {
        rows::triggers::arm(work.tx, row)?;
        if let Some(past) = past {
            record(work, &row.key, past)?;
        }
        for file in files {
            rows::seen_files::see(work.tx, &row.key, file)?;
        }
    }
    Ok(())
}

/// Gives instants their fate and begins their runs. Gives how many began.
pub fn fire(work: &mut Work<'_>, firings: &[Firing]) -> Result<u64, Refusal> {
    // Whoever fires can wait; but what it hands in together comes in together.
    for Firing { row, .. } in firings {
        runs::has_room_for(work, &row.key.flow, 1)?;
    }
    let mut begun = 0;
    for Firing { row, occurrences } in firings {
        // What the next run stands for has its fate when that is known to begin.
        let mut stood_for: Option<&Occurrence> = None;
        for occurrence in occurrences {
            if occurrence.fate == Fate::Coalesced {
                stood_for = Some(occurrence);
                continue;
            }
            let passed_over = match &occurrence.run {
                Some(run) if slots::is_passed_over(work, run)? => run.slot.as_ref().map(slots::why),
                _ => None,
            };
            if let Some(earlier) = stood_for.take() {
                record(work, &row.key, &skipped(earlier, passed_over.clone()))?;
            }
            if passed_over.is_some() {
                record(work, &row.key, &skipped(occurrence, passed_over))?;
                continue;
            }
            // An instant that has its fate already begins nothing again.
            if record(work, &row.key, occurrence)?
                && let Some(run) = &occurrence.run
            {
                runs::insert(work, run)?;
                begun += 1;
            }
        }
        if let Some(earlier) = stood_for {
            record(work, &row.key, earlier)?;
        }
        rows::triggers::advance(work.tx, row)?;
    }
    Ok(begun)
}

/// An occurrence that is passed over for a reason; as it was where there is none.
fn skipped(occurrence: &Occurrence, reason: Option<String>) -> Occurrence {
    match reason {
        None => occurrence.clone(),
        reason => Occurrence { run: None, late_by: None, fate: Fate::Skipped, reason, ..occurrence.clone() },
    }
}

/// Writes down an instant's fate, unless it has one; says whether it did.
fn record(work: &mut Work<'_>, key: &TriggerKey, occurrence: &Occurrence) -> Read<bool> {
    // Times that follow each other and are passed over for one reason are one row.
    let is_new = (occurrence.fate == Fate::Skipped && rows::triggers::extend(work.tx, key, occurrence)?)
        || rows::triggers::insert(work.tx, key, occurrence)?;
    if is_new {
        if let Some(late) = occurrence.late_by {
            work.after.late(late);
        }
        work.after.note(|| Change::Occurrence { flow: key.flow.to_string(), fate: occurrence.fate.name() });
    }
    Ok(is_new)
}

/// Records what a trigger saw, with the runs that begin because of it.
pub fn see(work: &mut Work<'_>, key: &TriggerKey, seen: &[Seen], forget: Timestamp) -> Result<(), Refusal> {
    if seen.iter().any(|seen| seen.run.is_some()) {
        runs::has_room_for(work, &key.flow, 1)?;
    }
    for Seen { row, run } in seen {
        rows::seen_files::see(work.tx, key, row)?;
        if let Some(run) = run {
            runs::insert(work, run)?;
        }
    }
    Ok(rows::seen_files::forget_gone(work.tx, key, forget)?)
}
